//! INT 13h of CDs: sectors of 2048 bytes by LBA, and the functions for what the machine was started from (4Ah to 4Dh).
//!
//! Specifications: Phoenix, "BIOS Enhanced Disk Drive Specification" 1.1; Phoenix and IBM, "El Torito" 1.0, section 4. Not
//! implemented: starting an emulation (AH = 4Ah and 4Ch), locking and ejecting.

use super::call::{BiosCall, BiosPlatform, Served};
use super::drives::BiosDrive;
use super::el_torito_state::StartedCd;
use super::int13_disk::{by_lba, extensions, finish, parameters, status};
use super::{el_torito::BootMedia, int11_equipment};
use crate::devices::bios_port::{BiosTransfer, TransferKind};

/// Number that stands for any drive in AH = 4Bh.
const ANY_DRIVE: u8 = 0x7F;

pub(super) fn serve(call: &mut BiosCall, drive: &BiosDrive, platform: &mut dyn BiosPlatform) -> Served {
    match call.ah() {
        // Reset, initialise, seek, test and recalibrate: there is nothing to do. 49h: it was not changed.
        0x00 | 0x09 | 0x0C | 0x0D | 0x10 | 0x11 | 0x14 | 0x47 | 0x49 => finish(call, status::DONE, platform),
        0x41 => extensions(call, platform),
        0x03 | 0x43 => finish(call, status::WRITE_PROTECTED, platform),
        0x42 | 0x44 => by_lba(call, drive, platform),
        0x46 => finish(call, status::NOT_REMOVABLE, platform),
        0x48 => parameters(call, drive, platform),
        _ => finish(call, status::BAD_COMMAND, platform),
    }
}

/// AH = 4Ah to 4Dh.
pub(super) fn boot_functions(call: &mut BiosCall, platform: &mut dyn BiosPlatform) -> Served {
    let started = StartedCd::read(platform);
    let of_drive = |started: &StartedCd| [started.drive_number(), ANY_DRIVE].contains(&call.dl());
    let Some(started) = started.filter(of_drive) else {
        return finish(call, status::BAD_COMMAND, platform);
    };
    match call.ax() {
        // 4B00h ends the emulation, 4B01h only reports it.
        0x4B00 | 0x4B01 => {
            report(call, &started, platform);
            if call.al() == 0 && started.image.media != BootMedia::NoEmulation {
                StartedCd::forget(platform);
                int11_equipment::set_diskettes(platform);
            }
            finish(call, status::DONE, platform)
        }
        _ => finish(call, status::BAD_COMMAND, platform),
    }
}

/// Writes the specification packet to DS:SI.
fn report(call: &BiosCall, started: &StartedCd, platform: &mut dyn BiosPlatform) {
    let image = &started.image;
    let mut packet = Vec::with_capacity(0x13);
    packet.extend([0x13, image.media.number(), started.drive_number()]);
    // Number of the IDE channel; whether it is the second drive there.
    packet.push(started.unit / 2);
    packet.extend(image.lba.to_le_bytes());
    packet.extend(u16::from(started.unit % 2).to_le_bytes());
    // There is no buffer for sectors.
    packet.extend(0u16.to_le_bytes());
    packet.extend(image.segment.to_le_bytes());
    packet.extend(image.loaded.to_le_bytes());
    let last = started.geometry.cylinders - 1;
    packet.push(last as u8);
    packet.push((last >> 2) as u8 & 0xC0 | started.geometry.sectors);
    packet.push(started.geometry.heads - 1);
    platform.write(call.in_ds(call.esi as u16), &packet);
}

/// A read of sectors of 512 bytes for INT 19h.
pub(super) fn read(call: &BiosCall, unit: u8, lba: u64, sectors: u32) -> Served {
    Served::Transfer(BiosTransfer {
        vector: call.vector,
        unit,
        lba,
        sectors,
        address: 0,
        kind: TransferKind::Read,
    })
}

#[cfg(test)]
#[path = "int13_cd_test.rs"]
mod tests;

//! INT 19h: loads a boot sector, or the boot image of a CD; INT 18h: there is none. And exceptions that no program has taken
//! over.
//!
//! The machine's disks are tried in their order, then the CD; or the CD first (`data_areas::CD_FIRST`). The caller's
//! registers say how far a call has come while it waits for a disk: CL is the number of the disk in that order, and CH
//! what was requested of it.

use super::call::{BiosCall, BiosDisk, BiosPlatform, Served, linear};
use super::data_areas::CD_FIRST;
use super::drives::{self, CD_SECTOR};
use super::el_torito::{self, BOOT_RECORD, ElToritoError};
use super::el_torito_state::StartedCd;
use super::int13_cd::read;
use super::{data_areas::bda, int11_equipment};
use crate::devices::bios_port::BiosTransfer;
use crate::devices::ide::DiskResult;
use crate::settings::DiskInterface;

/// Where the boot sector is loaded; the ROM returns there.
pub const BOOT_SECTOR: u64 = 0x7C00;
/// The last two bytes of a boot sector.
const SIGNATURE: [u8; 2] = [0x55, 0xAA];

/// Bytes of a boot sector that are code: the partition table of an MBR follows, with the disk's signature before it.
const CODE: usize = 440;

/// True for a boot sector. Tools that write a partition table (GPT or MBR) leave zeros where its code is.
fn has_boot_loader(sector: &[u8]) -> bool {
    sector.ends_with(&SIGNATURE) && sector.iter().take(CODE).any(|byte| *byte != 0)
}

/// What was requested of a disk.
mod step {
    pub const BOOT_SECTOR: u8 = 0;
    pub const BOOT_RECORD: u8 = 1;
    pub const CATALOG: u8 = 2;
    pub const IMAGE: u8 = 3;
}

/// The machine's disks in the order in which they are tried.
fn candidates(platform: &dyn BiosPlatform) -> Vec<BiosDisk> {
    let (mut first, second): (Vec<_>, Vec<_>) =
        platform.disks().into_iter().partition(|disk| is_cd(disk) == (platform.byte(CD_FIRST) != 0));
    first.extend(second);
    first
}

fn is_cd(disk: &BiosDisk) -> bool {
    disk.interface == DiskInterface::Cdrom
}

/// Starts with the first disk.
pub(super) fn boot(call: &mut BiosCall, platform: &mut dyn BiosPlatform) -> Served {
    StartedCd::forget(platform);
    try_disk(0, call, platform)
}

/// Requests the first sector that is needed of disk `index`, or fails for want of one.
fn try_disk(index: u8, call: &mut BiosCall, platform: &mut dyn BiosPlatform) -> Served {
    let Some(disk) = candidates(platform).get(usize::from(index)).copied() else {
        return failure(platform);
    };
    call.set_cl(index);
    if is_cd(&disk) {
        call.set_ch(step::BOOT_RECORD);
        return read(call, disk.unit, BOOT_RECORD * CD_SECTOR, CD_SECTOR as u32);
    }
    call.set_ch(step::BOOT_SECTOR);
    read(call, disk.unit, 0, 1)
}

/// The answer of a disk: its next part is requested, it is started, or the next disk is tried.
pub(super) fn complete(
    call: &mut BiosCall,
    transfer: &BiosTransfer,
    result: DiskResult,
    platform: &mut dyn BiosPlatform,
) -> Served {
    let next = call.cl().saturating_add(1);
    let disk = platform.disks().into_iter().find(|disk| disk.unit == transfer.unit);
    let (Ok(data), Some(disk)) = (result, disk) else { return try_disk(next, call, platform) };
    if call.ch() == step::BOOT_SECTOR {
        return match has_boot_loader(&data) {
            true => start_boot_sector(&data, disk.unit, call, platform),
            false => try_disk(next, call, platform),
        };
    }
    match go_on_with_cd(&data, &disk, transfer, call, platform) {
        Ok(served) => served,
        Err(error) => {
            let reason = format!("the CD cannot be started: {error}");
            if usize::from(next) < candidates(platform).len() {
                super::print(&format!("{reason}\r\n"), platform);
                return try_disk(next, call, platform);
            }
            stop(format!("no bootable disk: {reason}"), platform)
        }
    }
}

fn start_boot_sector(
    sector: &[u8],
    unit: u8,
    call: &mut BiosCall,
    platform: &mut dyn BiosPlatform,
) -> Served {
    platform.write(BOOT_SECTOR, sector);
    let number = drives::all(platform).find(|(_, drive)| drive.unit == unit).map(|(number, _)| number);
    set_drive(number.unwrap_or(drives::FIRST_HARD_DISK), call);
    Served::Done
}

fn set_drive(number: u8, call: &mut BiosCall) {
    call.set_cx(0);
    call.set_dx(number.into());
}

/// A part of the CD is there.
fn go_on_with_cd(
    data: &[u8],
    disk: &BiosDisk,
    transfer: &BiosTransfer,
    call: &mut BiosCall,
    platform: &mut dyn BiosPlatform,
) -> Result<Served, ElToritoError> {
    let sectors = disk.sectors / CD_SECTOR;
    match call.ch() {
        step::BOOT_RECORD => {
            let catalog = el_torito::catalog_of(data, sectors)?;
            call.set_ch(step::CATALOG);
            Ok(read(call, disk.unit, u64::from(catalog) * CD_SECTOR, CD_SECTOR as u32))
        }
        step::CATALOG => {
            let image = el_torito::image_of(data, (transfer.lba / CD_SECTOR) as u32, sectors)?;
            StartedCd::prepare(image, disk.unit, platform);
            call.set_ch(step::IMAGE);
            Ok(read(call, disk.unit, u64::from(image.lba) * CD_SECTOR, image.loaded.into()))
        }
        _ => {
            debug_assert_eq!(call.ch(), step::IMAGE);
            let Some(mut started) = StartedCd::prepared(platform) else { return Ok(failure(platform)) };
            let address = started.image.address();
            platform.write(address, data);
            started.set_geometry_of_hard_disk(data, disk.sectors);
            started.start(platform);
            let hard_disks = drives::hard_disks(platform);
            platform.set_byte(bda::DISKS, hard_disks);
            int11_equipment::set_diskettes(platform);
            // 7C0h:0 is entered as 0:7C00h, as boot sectors expect.
            call.ip = (started.image.segment & 0x0FFF) << 4;
            call.cs = started.image.segment & 0xF000;
            debug_assert_eq!(linear(call.cs, call.ip), address);
            set_drive(started.drive_number(), call);
            Ok(Served::Done)
        }
    }
}

/// INT 18h: nothing can be booted.
pub(super) fn failure(platform: &mut dyn BiosPlatform) -> Served {
    let disks = platform.disks().iter().filter(|disk| !is_cd(disk)).count();
    let numbers: Vec<String> = drives::all(platform)
        .filter(|(number, _)| *number < drives::CD)
        .map(|(number, _)| format!("{number:#04x}"))
        .collect();
    let reason = match disks {
        0 => "no bootable disk: the machine has no disk that can be read. Give an image: `kvm DISK`, `kvm CD.iso` or \
              `--disk DISK`"
            .to_owned(),
        1 => format!(
            "no bootable disk: the first sector of disk {} does not end with the boot signature 55 AA, has no code \
             before its partition table, or cannot be read. Install a boot loader on it; connect a CD with `--cdrom`",
            numbers.join(", ")
        ),
        _ => format!(
            "no bootable disk: no first sector of disks {} has code and ends with the boot signature 55 AA. Install a \
             boot loader on one of them; connect a CD with `--cdrom`",
            numbers.join(", ")
        ),
    };
    stop(reason, platform)
}

/// Shows the reason and ends.
fn stop(reason: String, platform: &mut dyn BiosPlatform) -> Served {
    super::print(&format!("{reason}\r\n"), platform);
    Served::Stop(reason)
}

/// An exception that would be raised again if its handler returned.
pub(super) fn unexpected_exception(call: &BiosCall) -> Served {
    let name = match call.vector {
        0x00 => "a division error (#DE)",
        0x06 => "an invalid instruction (#UD)",
        _ => "a coprocessor instruction without a coprocessor (#NM)",
    };
    Served::Stop(format!(
        "{name} at {:04x}:{:04x}, and the guest has no handler for interrupt {:#04x}",
        call.cs, call.ip, call.vector
    ))
}

#[cfg(test)]
#[path = "int19_boot_test.rs"]
mod tests;

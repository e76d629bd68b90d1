//! INT 13h: hard disks, by cylinder, head and sector and by LBA. INT 40h: diskettes, of which there are none.
//!
//! Drive 80h is the machine's first disk that is no CD, in the order of their numbers. Each drive has 63 sectors to a
//! track and 16 to 255 heads, as many as its size needs ("LBA-assisted translation").

use super::call::{BiosCall, BiosDrive, BiosPlatform, Served, linear};
use super::data_areas::bda;
use crate::devices::bios_port::{BiosTransfer, TransferKind};
use crate::devices::ide::{DiskResult, SECTOR};

/// Sectors of a track.
pub(super) const SECTORS_PER_TRACK: u64 = 63;
/// Most cylinders that CH and CL can name.
const MOST_CYLINDERS: u64 = 1024;
/// Most sectors of a transfer by LBA, as the specification has it.
const MOST_SECTORS: u16 = 127;
/// Number of the first hard disk.
pub(super) const FIRST_DRIVE: u8 = 0x80;
/// Flat address in a disk address packet: the buffer is at the 64-bit address behind it.
const FLAT: u32 = 0xFFFF_FFFF;
/// Version 1.1 of the extensions, and what of them there is: access by LBA.
const EXTENSIONS: (u8, u16) = (0x01, 1);

/// Status of an operation, in AH and at 40h:74h.
mod status {
    pub const DONE: u8 = 0x00;
    pub const BAD_COMMAND: u8 = 0x01;
    pub const WRITE_PROTECTED: u8 = 0x03;
    pub const NOT_FOUND: u8 = 0x04;
    pub const READ_ERROR: u8 = 0x10;
    pub const NO_MEDIA: u8 = 0x31;
    pub const WRITE_FAULT: u8 = 0xCC;
    pub const NOT_REMOVABLE: u8 = 0xB2;
}

/// Heads of a drive.
pub(super) fn heads(drive: &BiosDrive) -> u8 {
    let fits = |heads: &u8| drive.sectors <= MOST_CYLINDERS * SECTORS_PER_TRACK * u64::from(*heads);
    [16, 32, 64, 128].into_iter().find(fits).unwrap_or(255)
}

/// Cylinders of a drive, at most as many as can be named. The last one may be incomplete in a drive with one only.
pub(super) fn cylinders(drive: &BiosDrive) -> u16 {
    let cylinder = SECTORS_PER_TRACK * u64::from(heads(drive));
    (drive.sectors / cylinder).clamp(1, MOST_CYLINDERS) as u16
}

fn drive(number: u8, platform: &dyn BiosPlatform) -> Option<BiosDrive> {
    platform.drive(usize::from(number.checked_sub(FIRST_DRIVE)?))
}

pub(super) fn serve(call: &mut BiosCall, platform: &mut dyn BiosPlatform) -> Served {
    let Some(drive) = drive(call.dl(), platform) else {
        return without_drive(call, platform);
    };
    match call.ah() {
        // Reset, initialise, seek, test and recalibrate: there is nothing to do.
        0x00 | 0x09 | 0x0C | 0x0D | 0x10 | 0x11 | 0x14 | 0x47 => finish(call, status::DONE, platform),
        0x01 => {
            let last = platform.byte(bda::DISK_STATUS);
            let served = finish(call, status::DONE, platform);
            call.set_ah(last);
            call.set_carry(last != status::DONE);
            served
        }
        0x02..=0x04 => by_cylinder(call, &drive, platform),
        0x08 => {
            let last = cylinders(&drive) - 1;
            call.set_ch(last as u8);
            call.set_cl((last >> 2) as u8 & 0xC0 | SECTORS_PER_TRACK as u8);
            call.set_dh(heads(&drive) - 1);
            call.set_dl(platform.drives());
            call.set_al(0);
            finish(call, status::DONE, platform)
        }
        0x15 => {
            let sectors = u64::from(cylinders(&drive)) * u64::from(heads(&drive)) * SECTORS_PER_TRACK;
            let sectors = sectors.min(drive.sectors) as u32;
            call.set_cx((sectors >> 16) as u16);
            call.set_dx(sectors as u16);
            let served = finish(call, status::DONE, platform);
            // A hard disk.
            call.set_ah(0x03);
            served
        }
        0x41 if call.bx() == 0x55AA => {
            call.set_bx(0xAA55);
            call.set_cx(EXTENSIONS.1);
            let served = finish(call, status::DONE, platform);
            call.set_ah(EXTENSIONS.0);
            served
        }
        0x42..=0x44 => by_lba(call, &drive, platform),
        0x46 => finish(call, status::NOT_REMOVABLE, platform),
        0x48 => parameters(call, &drive, platform),
        _ => finish(call, status::BAD_COMMAND, platform),
    }
}

/// INT 40h, to which a BIOS moves the diskette's INT 13h.
pub(super) fn diskette(call: &mut BiosCall) -> Served {
    call.set_ah(status::BAD_COMMAND);
    call.set_carry(true);
    Served::Done
}

fn without_drive(call: &mut BiosCall, platform: &mut dyn BiosPlatform) -> Served {
    match (call.ah(), call.dl() < FIRST_DRIVE) {
        // Resets of a diskette drive succeed without one: boot sectors reset whatever they know.
        (0x00, true) => finish(call, status::DONE, platform),
        // No drive of this number, none at all, no parameters.
        (0x08, diskette) => {
            call.set_cx(0);
            call.set_dh(0);
            call.set_dl(if diskette { 0 } else { platform.drives() });
            if diskette {
                call.set_bx(0);
                call.set_al(0);
                return finish(call, status::DONE, platform);
            }
            finish(call, status::BAD_COMMAND, platform)
        }
        (0x15, _) => {
            let served = finish(call, status::DONE, platform);
            call.set_ah(0);
            served
        }
        (0x01, _) => {
            call.set_ah(platform.byte(bda::DISK_STATUS));
            call.set_carry(call.ah() != status::DONE);
            Served::Done
        }
        (0x02..=0x04, true) => finish(call, status::NO_MEDIA, platform),
        _ => finish(call, status::BAD_COMMAND, platform),
    }
}

/// Sets the status of the operation.
fn finish(call: &mut BiosCall, status: u8, platform: &mut dyn BiosPlatform) -> Served {
    platform.set_byte(bda::DISK_STATUS, status);
    call.set_ah(status);
    call.set_carry(status != status::DONE);
    Served::Done
}

fn kind_of(call: &BiosCall) -> TransferKind {
    match call.ah() & 0x0F {
        0x02 => TransferKind::Read,
        0x03 => TransferKind::Write,
        _ => TransferKind::Verify,
    }
}

fn by_cylinder(call: &mut BiosCall, drive: &BiosDrive, platform: &mut dyn BiosPlatform) -> Served {
    let (cylinder, sector) =
        (u64::from(call.ch()) | u64::from(call.cl() & 0xC0) << 2, u64::from(call.cl() & 0x3F));
    let head = u64::from(call.dh());
    let sectors = call.al();
    let transferred = |call: &mut BiosCall, status, platform| {
        call.set_al(0);
        finish(call, status, platform)
    };
    if sectors == 0 || sector == 0 {
        return transferred(call, status::BAD_COMMAND, platform);
    }
    if head >= u64::from(heads(drive)) || cylinder >= u64::from(cylinders(drive)) {
        return transferred(call, status::NOT_FOUND, platform);
    }
    let lba = (cylinder * u64::from(heads(drive)) + head) * SECTORS_PER_TRACK + sector - 1;
    let address = call.in_es(call.bx());
    match request(call, drive, lba, sectors.into(), address) {
        Ok(transfer) => Served::Transfer(transfer),
        Err(status) => transferred(call, status, platform),
    }
}

/// A disk address packet: size, number of sectors, buffer, first sector.
struct Packet {
    address: u64,
    sectors: u16,
    buffer: u64,
    lba: u64,
}

fn packet(call: &BiosCall, platform: &dyn BiosPlatform) -> Option<Packet> {
    let address = call.in_ds(call.esi as u16);
    let mut bytes = [0; 24];
    platform.read(address, &mut bytes);
    let word = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
    let long = |at: usize| bytes[at..at + 8].iter().rev().fold(0, |long, byte| long << 8 | u64::from(*byte));
    if bytes[0] < 16 {
        return None;
    }
    let buffer = match u32::from(word(6)) << 16 | u32::from(word(4)) {
        FLAT if bytes[0] >= 24 => long(16),
        _ => linear(word(6), word(4)),
    };
    Some(Packet { address, sectors: word(2), buffer, lba: long(8) })
}

fn by_lba(call: &mut BiosCall, drive: &BiosDrive, platform: &mut dyn BiosPlatform) -> Served {
    let Some(packet) = packet(call, platform) else {
        return finish(call, status::BAD_COMMAND, platform);
    };
    let result = match packet.sectors {
        0 => return finish(call, status::DONE, platform),
        sectors if sectors > MOST_SECTORS => Err(status::BAD_COMMAND),
        sectors => request(call, drive, packet.lba, sectors.into(), packet.buffer),
    };
    match result {
        Ok(transfer) => Served::Transfer(transfer),
        Err(status) => {
            platform.set_word(packet.address + 2, 0);
            finish(call, status, platform)
        }
    }
}

fn request(
    call: &BiosCall,
    drive: &BiosDrive,
    lba: u64,
    sectors: u32,
    address: u64,
) -> Result<BiosTransfer, u8> {
    let kind = kind_of(call);
    let is_there = lba.checked_add(sectors.into()).is_some_and(|end| end <= drive.sectors);
    match is_there {
        false => Err(status::NOT_FOUND),
        true if kind == TransferKind::Write && drive.read_only => Err(status::WRITE_PROTECTED),
        true => Ok(BiosTransfer { vector: call.vector, unit: drive.unit, lba, sectors, address, kind }),
    }
}

/// The answer of the disk.
pub(super) fn complete(
    call: &mut BiosCall,
    transfer: &BiosTransfer,
    result: DiskResult,
    platform: &mut dyn BiosPlatform,
) -> Served {
    let by_cylinder = call.ah() < 0x40;
    let (status, sectors) = match result {
        Ok(data) => {
            if transfer.kind == TransferKind::Read {
                platform.write(transfer.address, &data);
            }
            (status::DONE, transfer.sectors)
        }
        Err(error) => {
            let status =
                if transfer.kind == TransferKind::Write { status::WRITE_FAULT } else { status::READ_ERROR };
            (status, error.lba.saturating_sub(transfer.lba).min(transfer.sectors.into()) as u32)
        }
    };
    if by_cylinder {
        call.set_al(sectors as u8);
    } else if status != status::DONE {
        let address = call.in_ds(call.esi as u16);
        platform.set_word(address + 2, sectors as u16);
    }
    finish(call, status, platform)
}

fn parameters(call: &mut BiosCall, drive: &BiosDrive, platform: &mut dyn BiosPlatform) -> Served {
    let address = call.in_ds(call.esi as u16);
    let room = platform.word(address);
    if room < 26 {
        return finish(call, status::BAD_COMMAND, platform);
    }
    let cylinder = SECTORS_PER_TRACK * u64::from(heads(drive));
    let cylinders = (drive.sectors / cylinder).clamp(1, 16383);
    let mut table = Vec::with_capacity(30);
    let size: u16 = if room >= 30 { 30 } else { 26 };
    table.extend(size.to_le_bytes());
    // Cylinders, heads and sectors are valid.
    table.extend(2u16.to_le_bytes());
    for field in [cylinders as u32, heads(drive).into(), SECTORS_PER_TRACK as u32] {
        table.extend(field.to_le_bytes());
    }
    table.extend(drive.sectors.to_le_bytes());
    table.extend((SECTOR as u16).to_le_bytes());
    // No table of the drive's interface.
    table.extend(u32::MAX.to_le_bytes());
    platform.write(address, &table[..usize::from(size)]);
    finish(call, status::DONE, platform)
}

#[cfg(test)]
#[path = "int13_disk_test.rs"]
mod tests;

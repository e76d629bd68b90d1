//! INT 13h: diskettes and hard disks, by cylinder, head and sector, and hard disks by LBA; `int13_cd` has CDs. INT 40h: the
//! diskettes alone.

use super::call::{BiosCall, BiosPlatform, Served, linear};
use super::data_areas::bda;
use super::drives::{self, BiosDrive, BiosGeometry, DriveKind, FIRST_HARD_DISK};
use super::{int13_cd, rom};
use crate::devices::bios_port::{BiosTransfer, TransferKind};
use crate::devices::ide::{DiskResult, SECTOR};

/// Most sectors of a transfer by LBA, as the specification has it.
const MOST_SECTORS: u16 = 127;
/// Flat address in a disk address packet: the buffer is at the 64-bit address behind it.
const FLAT: u32 = 0xFFFF_FFFF;
/// Version 1.1 of the extensions, and what of them there is: access by LBA.
const EXTENSIONS: (u8, u16) = (0x01, 1);

/// Status of an operation, in AH and at 40h:74h.
pub(super) mod status {
    pub const DONE: u8 = 0x00;
    pub const BAD_COMMAND: u8 = 0x01;
    pub const WRITE_PROTECTED: u8 = 0x03;
    pub const NOT_FOUND: u8 = 0x04;
    pub const READ_ERROR: u8 = 0x10;
    pub const NO_MEDIA: u8 = 0x31;
    pub const WRITE_FAULT: u8 = 0xCC;
    pub const NOT_REMOVABLE: u8 = 0xB2;
}

pub(super) fn serve(call: &mut BiosCall, platform: &mut dyn BiosPlatform) -> Served {
    if (0x4A..=0x4D).contains(&call.ah()) {
        return int13_cd::boot_functions(call, platform);
    }
    let Some(drive) = drives::drive(call.dl(), platform) else {
        return without_drive(call, platform);
    };
    match (drive.kind, call.ah()) {
        (_, 0x01) => last_status(call, platform),
        (DriveKind::Cd, _) => int13_cd::serve(call, &drive, platform),
        (_, 0x00) => finish(call, status::DONE, platform),
        (_, 0x02..=0x04) => by_cylinder(call, &drive, platform),
        (DriveKind::Diskette { drive_type }, _) => of_diskette(call, &drive, drive_type, platform),
        // Initialise, seek, test and recalibrate: there is nothing to do.
        (_, 0x09 | 0x0C | 0x0D | 0x10 | 0x11 | 0x14 | 0x47) => finish(call, status::DONE, platform),
        (_, 0x08) => {
            set_geometry(call, drive.geometry);
            call.set_dl(drives::hard_disks(platform));
            finish(call, status::DONE, platform)
        }
        (_, 0x15) => {
            let sectors = drive.geometry.reach().min(drive.sectors) as u32;
            call.set_cx((sectors >> 16) as u16);
            call.set_dx(sectors as u16);
            let served = finish(call, status::DONE, platform);
            // A hard disk.
            call.set_ah(0x03);
            served
        }
        (_, 0x41) => extensions(call, platform),
        (_, 0x42..=0x44) => by_lba(call, &drive, platform),
        (_, 0x46) => finish(call, status::NOT_REMOVABLE, platform),
        (_, 0x48) => parameters(call, &drive, platform),
        _ => finish(call, status::BAD_COMMAND, platform),
    }
}

/// What only diskette drives have, or have in another way.
fn of_diskette(
    call: &mut BiosCall,
    drive: &BiosDrive,
    drive_type: u8,
    platform: &mut dyn BiosPlatform,
) -> Served {
    match call.ah() {
        0x08 => {
            set_geometry(call, drive.geometry);
            call.set_dl(drives::diskettes(platform));
            call.set_bx(drive_type.into());
            call.es = rom::SEGMENT;
            call.edi = call.edi & 0xFFFF_0000 | u32::from(rom::DISKETTE_PARAMETERS);
            finish(call, status::DONE, platform)
        }
        0x15 => {
            let served = finish(call, status::DONE, platform);
            // A diskette drive; only one of 360 KiB cannot say that the diskette was changed.
            call.set_ah(if drive_type == 1 { 0x01 } else { 0x02 });
            served
        }
        // It was not changed.
        0x16 => finish(call, status::DONE, platform),
        _ => finish(call, status::BAD_COMMAND, platform),
    }
}

/// The last cylinder, head and sector, as AH = 08h reports them.
fn set_geometry(call: &mut BiosCall, geometry: BiosGeometry) {
    let last = geometry.cylinders.saturating_sub(1);
    call.set_ch(last as u8);
    call.set_cl((last >> 2) as u8 & 0xC0 | geometry.sectors);
    call.set_dh(geometry.heads.saturating_sub(1));
    call.set_al(0);
}

/// INT 40h, to which a BIOS moves the diskettes' INT 13h.
pub(super) fn diskette(call: &mut BiosCall, platform: &mut dyn BiosPlatform) -> Served {
    match call.dl() < FIRST_HARD_DISK {
        true => serve(call, platform),
        false => finish(call, status::BAD_COMMAND, platform),
    }
}

/// AH = 41h: extensions for access by LBA.
pub(super) fn extensions(call: &mut BiosCall, platform: &mut dyn BiosPlatform) -> Served {
    if call.bx() != 0x55AA {
        return finish(call, status::BAD_COMMAND, platform);
    }
    call.set_bx(0xAA55);
    call.set_cx(EXTENSIONS.1);
    let served = finish(call, status::DONE, platform);
    call.set_ah(EXTENSIONS.0);
    served
}

/// AH = 01h.
fn last_status(call: &mut BiosCall, platform: &mut dyn BiosPlatform) -> Served {
    let last = platform.byte(bda::DISK_STATUS);
    let served = finish(call, status::DONE, platform);
    call.set_ah(last);
    call.set_carry(last != status::DONE);
    served
}

fn without_drive(call: &mut BiosCall, platform: &mut dyn BiosPlatform) -> Served {
    let diskette = call.dl() < FIRST_HARD_DISK;
    match (call.ah(), diskette) {
        // Resets of a diskette drive succeed without one: boot sectors reset whatever they know.
        (0x00, true) => finish(call, status::DONE, platform),
        // No drive of this number, none at all, no parameters.
        (0x08, _) => {
            call.set_cx(0);
            call.set_dh(0);
            call.set_dl(if diskette { drives::diskettes(platform) } else { drives::hard_disks(platform) });
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
        (0x01, _) => last_status(call, platform),
        (0x02..=0x04, true) => finish(call, status::NO_MEDIA, platform),
        _ => finish(call, status::BAD_COMMAND, platform),
    }
}

/// Sets the status of the operation.
pub(super) fn finish(call: &mut BiosCall, status: u8, platform: &mut dyn BiosPlatform) -> Served {
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
    let BiosGeometry { cylinders, heads, sectors: track } = drive.geometry;
    // A hard disk takes sectors beyond the end of a track.
    let beyond = drive.kind != DriveKind::HardDisk && sector > track.into();
    if head >= heads.into() || cylinder >= cylinders.into() || beyond {
        return transferred(call, status::NOT_FOUND, platform);
    }
    let lba = (cylinder * u64::from(heads) + head) * u64::from(track) + sector - 1;
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

pub(super) fn by_lba(call: &mut BiosCall, drive: &BiosDrive, platform: &mut dyn BiosPlatform) -> Served {
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
    let first = lba.checked_mul(drive.block());
    let sectors = sectors * drive.block() as u32;
    let is_there = |first: &u64| first.checked_add(sectors.into()).is_some_and(|end| end <= drive.sectors);
    match first.filter(is_there) {
        None => Err(status::NOT_FOUND),
        Some(_) if kind == TransferKind::Write && drive.read_only => Err(status::WRITE_PROTECTED),
        Some(first) => {
            let lba = drive.start + first;
            Ok(BiosTransfer { vector: call.vector, unit: drive.unit, lba, sectors, address, kind })
        }
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
    let block = if call.dl() < drives::CD { 1 } else { drives::CD_SECTOR as u32 };
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
    let sectors = sectors / block;
    if by_cylinder {
        call.set_al(sectors as u8);
    } else if status != status::DONE {
        let address = call.in_ds(call.esi as u16);
        platform.set_word(address + 2, sectors as u16);
    }
    finish(call, status, platform)
}

/// AH = 48h.
pub(super) fn parameters(call: &mut BiosCall, drive: &BiosDrive, platform: &mut dyn BiosPlatform) -> Served {
    /// Cylinders, heads and sectors are valid.
    const GEOMETRY_IS_VALID: u16 = 1 << 1;
    const REMOVABLE: u16 = 1 << 2;
    let address = call.in_ds(call.esi as u16);
    let room = platform.word(address);
    if room < 26 {
        return finish(call, status::BAD_COMMAND, platform);
    }
    let BiosGeometry { heads, sectors: track, .. } = drive.geometry;
    let cylinder = u64::from(track) * u64::from(heads);
    let cylinders = (drive.sectors / cylinder).clamp(1, 16383);
    let (flags, geometry) = match drive.kind {
        DriveKind::Cd => (REMOVABLE, [0; 3]),
        _ => (GEOMETRY_IS_VALID, [cylinders as u32, heads.into(), track.into()]),
    };
    let mut table = Vec::with_capacity(30);
    let size: u16 = if room >= 30 { 30 } else { 26 };
    table.extend(size.to_le_bytes());
    table.extend(flags.to_le_bytes());
    for field in geometry {
        table.extend(field.to_le_bytes());
    }
    table.extend((drive.sectors / drive.block()).to_le_bytes());
    table.extend((SECTOR as u16 * drive.block() as u16).to_le_bytes());
    // No table of the drive's interface.
    table.extend(u32::MAX.to_le_bytes());
    platform.write(address, &table[..usize::from(size)]);
    finish(call, status::DONE, platform)
}

#[cfg(test)]
#[path = "int13_disk_test.rs"]
mod tests;

//! What the machine was started from if that is a CD: kept in the extended BIOS data area, where a program can overwrite
//! it. So everything in it is checked when it is read.

use super::call::{BiosDisk, BiosPlatform};
use super::data_areas::EL_TORITO;
use super::drives::{BiosDrive, BiosGeometry, CD, CD_SECTOR, DisketteFormat, DriveKind, FIRST_HARD_DISK};
use super::el_torito::{BootImage, BootMedia};
use crate::settings::DiskInterface;

/// The first byte of what is kept, once the image is loaded.
const STARTED: u8 = 1;
/// Bytes that are kept.
const SIZE: usize = 16;

/// The boot image that was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct StartedCd {
    pub image: BootImage,
    /// Unit of the CD.
    pub unit: u8,
    /// Geometry of the drive that is emulated.
    pub geometry: BiosGeometry,
}

impl StartedCd {
    /// Reads it.
    pub fn read(platform: &dyn BiosPlatform) -> Option<StartedCd> {
        let (started, state) = read(platform);
        state.filter(|_| started == STARTED)
    }

    /// Reads what [`Self::prepare`] has kept.
    pub fn prepared(platform: &dyn BiosPlatform) -> Option<StartedCd> {
        read(platform).1
    }

    /// Keeps what is to be started, without effect yet.
    pub fn prepare(image: BootImage, unit: u8, platform: &mut dyn BiosPlatform) {
        let geometry = match image.media {
            BootMedia::Diskette(sectors) => DisketteFormat::of(sectors.into()).map(|format| format.geometry),
            _ => None,
        };
        let geometry = geometry.unwrap_or(BiosGeometry { cylinders: 1, heads: 1, sectors: 1 });
        StartedCd { image, unit, geometry }.keep(0, platform);
    }

    /// It has been loaded.
    pub fn start(self, platform: &mut dyn BiosPlatform) {
        self.keep(STARTED, platform);
    }

    fn keep(self, started: u8, platform: &mut dyn BiosPlatform) {
        let StartedCd { image, unit, geometry } = self;
        let mut bytes = [0; SIZE];
        bytes[..3].copy_from_slice(&[started, image.media.number(), unit]);
        bytes[3] = geometry.heads;
        bytes[4..8].copy_from_slice(&image.lba.to_le_bytes());
        bytes[8..10].copy_from_slice(&image.segment.to_le_bytes());
        bytes[10..12].copy_from_slice(&image.loaded.to_le_bytes());
        bytes[12..14].copy_from_slice(&geometry.cylinders.to_le_bytes());
        bytes[14] = geometry.sectors;
        platform.write(EL_TORITO, &bytes);
    }

    /// Ends the emulation: the drives have their own numbers again.
    pub fn forget(platform: &mut dyn BiosPlatform) {
        platform.write(EL_TORITO, &[0; SIZE]);
    }

    /// The number of the drive that the machine was started from.
    pub fn drive_number(&self) -> u8 {
        match self.image.media {
            BootMedia::NoEmulation => CD,
            BootMedia::Diskette(_) => 0,
            BootMedia::HardDisk => FIRST_HARD_DISK,
        }
    }

    /// The geometry of an emulated hard disk: the end of the first partition of its master boot record, which is `sector`.
    /// Without one the disk ends with the CD, which has `cd` sectors of 512 bytes.
    pub fn set_geometry_of_hard_disk(&mut self, sector: &[u8], cd: u64) {
        if self.image.media != BootMedia::HardDisk {
            return;
        }
        let end = sector.get(446 + 5..446 + 8).unwrap_or(&[0; 3]);
        let sectors = end[1] & 0x3F;
        self.geometry = match sectors > 0 && end[0] < u8::MAX {
            true => {
                let cylinder = u16::from(end[1] & 0xC0) << 2 | u16::from(end[2]);
                BiosGeometry { cylinders: cylinder + 1, heads: end[0] + 1, sectors }
            }
            false => BiosGeometry::of_hard_disk(cd.saturating_sub(u64::from(self.image.lba) * CD_SECTOR)),
        };
    }

    /// The drive that is emulated, if any is.
    pub fn emulated(&self, platform: &dyn BiosPlatform) -> Option<BiosDrive> {
        let cd = self.cd(platform)?;
        let start = u64::from(self.image.lba) * CD_SECTOR;
        let available = cd.sectors.checked_sub(start)?;
        let kind = match self.image.media {
            BootMedia::NoEmulation => return None,
            BootMedia::Diskette(sectors) => {
                DriveKind::Diskette { drive_type: DisketteFormat::of(sectors.into())?.drive_type }
            }
            BootMedia::HardDisk => DriveKind::HardDisk,
        };
        let sectors = self.geometry.reach().min(available);
        Some(BiosDrive { kind, unit: cd.unit, start, sectors, read_only: true, geometry: self.geometry })
    }

    fn cd(&self, platform: &dyn BiosPlatform) -> Option<BiosDisk> {
        let mut disks = platform.disks().into_iter();
        disks.find(|disk| disk.unit == self.unit && disk.interface == DiskInterface::Cdrom)
    }
}

fn read(platform: &dyn BiosPlatform) -> (u8, Option<StartedCd>) {
    let mut bytes = [0; SIZE];
    platform.read(EL_TORITO, &mut bytes);
    let word = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
    let geometry = BiosGeometry { cylinders: word(12), heads: bytes[3], sectors: bytes[14] };
    let possible = (1..=1024).contains(&geometry.cylinders)
        && geometry.heads > 0
        && (1..=63).contains(&geometry.sectors);
    let media = BootMedia::from_number(bytes[1]).filter(|_| possible);
    let state = media.map(|media| StartedCd {
        image: BootImage {
            media,
            segment: word(8),
            loaded: word(10),
            lba: u32::from(word(6)) << 16 | u32::from(word(4)),
        },
        unit: bytes[2],
        geometry,
    });
    (bytes[0], state)
}

//! The numbers of drives: diskettes from 0 on, hard disks from 80h on, the CD E0h.
//!
//! The machine has no diskette controller. A disk on IDE that has exactly the size of a diskette is one for the BIOS: a
//! virtio disk of that size is a hard disk. A CD that was started with the emulation of a diskette or a hard disk is
//! drive 0 or 80h, and the others follow (`el_torito_state`).

use super::call::{BiosDisk, BiosPlatform};
use super::el_torito_state::StartedCd;
use crate::settings::DiskInterface;

/// Number of the first hard disk.
pub(super) const FIRST_HARD_DISK: u8 = 0x80;
/// Number of the CD.
pub(super) const CD: u8 = 0xE0;
/// Sectors of 512 bytes in one of a CD.
pub(super) const CD_SECTOR: u64 = 4;

/// Sectors of a hard disk's track.
const SECTORS_PER_TRACK: u8 = 63;
/// Most cylinders that CH and CL can name.
const MOST_CYLINDERS: u16 = 1024;

/// How a drive is addressed by cylinder, head and sector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BiosGeometry {
    pub cylinders: u16,
    pub heads: u8,
    /// Sectors of a track.
    pub sectors: u8,
}

impl BiosGeometry {
    /// That of a hard disk: 63 sectors, and 16 to 255 heads, as many as its size needs ("LBA-assisted translation").
    /// There are at most as many cylinders as can be named. The last one may be incomplete in a disk with one only.
    pub fn of_hard_disk(sectors: u64) -> BiosGeometry {
        let track = u64::from(SECTORS_PER_TRACK);
        let fits = |heads: &u8| sectors <= u64::from(MOST_CYLINDERS) * track * u64::from(*heads);
        let heads = [16, 32, 64, 128].into_iter().find(fits).unwrap_or(255);
        let cylinders = sectors / (track * u64::from(heads));
        let cylinders = cylinders.clamp(1, MOST_CYLINDERS.into()) as u16;
        BiosGeometry { cylinders, heads, sectors: SECTORS_PER_TRACK }
    }

    /// Sectors that it names.
    pub fn reach(self) -> u64 {
        u64::from(self.cylinders) * u64::from(self.heads) * u64::from(self.sectors)
    }
}

/// A format of diskettes.
#[derive(Debug)]
pub(super) struct DisketteFormat {
    pub geometry: BiosGeometry,
    /// The type of the drive that it needs, as INT 13h, AH = 08h and the CMOS RAM have it.
    pub drive_type: u8,
}

const fn format(cylinders: u16, heads: u8, sectors: u8, drive_type: u8) -> DisketteFormat {
    DisketteFormat { geometry: BiosGeometry { cylinders, heads, sectors }, drive_type }
}

/// 360 KiB, 720 KiB, 1.2 MiB, 1.44 MB, 1.68 MB, 1.72 MB and 2.88 MB.
static FORMATS: [DisketteFormat; 7] = [
    format(40, 2, 9, 1),
    format(80, 2, 9, 3),
    format(80, 2, 15, 2),
    format(80, 2, 18, 4),
    format(80, 2, 21, 4),
    format(82, 2, 21, 4),
    format(80, 2, 36, 6),
];

impl DisketteFormat {
    /// The format with this many sectors.
    pub fn of(sectors: u64) -> Option<&'static DisketteFormat> {
        FORMATS.iter().find(|format| format.geometry.reach() == sectors)
    }
}

/// What a drive is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DriveKind {
    /// A diskette in a drive of this type.
    Diskette {
        drive_type: u8,
    },
    HardDisk,
    Cd,
}

/// A drive behind a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BiosDrive {
    pub kind: DriveKind,
    /// Number of the machine's disk.
    pub unit: u8,
    /// Sector of that disk at which the drive begins: not 0 only if a CD emulates it.
    pub start: u64,
    /// Number of sectors of 512 bytes.
    pub sectors: u64,
    pub read_only: bool,
    pub geometry: BiosGeometry,
}

impl BiosDrive {
    fn of(disk: BiosDisk) -> BiosDrive {
        let format = DisketteFormat::of(disk.sectors).filter(|_| disk.interface == DiskInterface::Ide);
        let (kind, geometry) = match (disk.interface, format) {
            (DiskInterface::Cdrom, _) => (DriveKind::Cd, BiosGeometry::of_hard_disk(disk.sectors)),
            (_, Some(format)) => (DriveKind::Diskette { drive_type: format.drive_type }, format.geometry),
            (_, None) => (DriveKind::HardDisk, BiosGeometry::of_hard_disk(disk.sectors)),
        };
        let BiosDisk { unit, sectors, read_only, .. } = disk;
        BiosDrive { kind, unit, start: 0, sectors, read_only, geometry }
    }

    /// Sectors of 512 bytes in one that is addressed by LBA.
    pub fn block(&self) -> u64 {
        if self.kind == DriveKind::Cd { CD_SECTOR } else { 1 }
    }
}

/// All drives of the machine, emulated ones first, with their numbers.
pub(super) fn all(platform: &dyn BiosPlatform) -> impl Iterator<Item = (u8, BiosDrive)> {
    let emulated = StartedCd::read(platform).and_then(|started| started.emulated(platform));
    let real = platform.disks().into_iter().map(BiosDrive::of);
    let mut next = [0, FIRST_HARD_DISK, CD];
    emulated.into_iter().chain(real).map(move |drive| {
        let class = match drive.kind {
            DriveKind::Diskette { .. } => 0,
            DriveKind::HardDisk => 1,
            DriveKind::Cd => 2,
        };
        let number = next[class];
        next[class] += 1;
        (number, drive)
    })
}

/// The drive with this number.
pub(super) fn drive(number: u8, platform: &dyn BiosPlatform) -> Option<BiosDrive> {
    all(platform).find(|(there, _)| *there == number).map(|(_, drive)| drive)
}

/// Number of diskette drives.
pub(super) fn diskettes(platform: &dyn BiosPlatform) -> u8 {
    all(platform).filter(|(_, drive)| matches!(drive.kind, DriveKind::Diskette { .. })).count() as u8
}

/// Number of hard disks.
pub(super) fn hard_disks(platform: &dyn BiosPlatform) -> u8 {
    all(platform).filter(|(_, drive)| drive.kind == DriveKind::HardDisk).count() as u8
}

#[cfg(test)]
mod tests {
    use super::super::testing::TestPlatform;
    use super::*;

    #[test]
    fn the_geometry_grows_with_the_disk() {
        let of = |sectors| {
            let geometry = BiosGeometry::of_hard_disk(sectors);
            (geometry.cylinders, geometry.heads)
        };
        assert_eq!([1, 20480, 1 << 20, 1 << 21].map(of), [(1, 16), (20, 16), (520, 32), (520, 64)]);
        assert_eq!(
            [1 << 22, 1 << 23, 1 << 24, 1 << 40].map(of),
            [(520, 128), (522, 255), (1024, 255), (1024, 255)]
        );
    }

    #[test]
    fn the_size_of_a_disk_on_ide_makes_it_a_diskette() {
        let sizes = [360, 720, 1200, 1440, 1680, 2880].map(|kib: u64| kib * 2);
        let types = sizes.map(|sectors| DisketteFormat::of(sectors).map(|format| format.drive_type));
        assert_eq!(types, [1, 3, 2, 4, 4, 6].map(Some));
        assert!(DisketteFormat::of(2048).is_none());
        let mut platform = TestPlatform::with_cd(&[2880, 100, 1440, 2880], 1000);
        platform.disks[4].interface = DiskInterface::Virtio;
        let numbers: Vec<(u8, u8)> = all(&platform).map(|(number, drive)| (number, drive.unit)).collect();
        assert_eq!(numbers, [(0, 0), (0x80, 1), (0xE0, 2), (1, 2), (0x81, 3)]);
        assert_eq!((diskettes(&platform), hard_disks(&platform)), (2, 2));
        let diskette = drive(0, &platform).unwrap();
        assert_eq!(diskette.geometry, BiosGeometry { cylinders: 80, heads: 2, sectors: 18 });
        assert_eq!(drive(0x82, &platform), None);
    }
}

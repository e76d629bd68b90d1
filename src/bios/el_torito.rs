//! The boot catalog of a CD: where its boot image is, and as what it is started.
//!
//! Specification: Phoenix and IBM, "El Torito" Bootable CD-ROM Format Specification 1.0. Numbers are little-endian, and
//! sectors have 2048 bytes. Only the first sector of the catalog is read: 64 entries.

use std::fmt;

/// Bytes of a sector of a CD.
pub const CD_SECTOR_BYTES: usize = 2048;
/// The sector of the boot record volume descriptor.
pub const BOOT_RECORD: u64 = 17;
/// Bytes of an entry.
const ENTRY: usize = 32;
/// Bytes of the part of the image that is counted by the sector count.
const VIRTUAL_SECTOR: u64 = 512;
/// Where an image is loaded that is to be at segment 0.
const DEFAULT_SEGMENT: u16 = 0x7C0;
/// The end of memory for an image: the extended BIOS data area.
const MEMORY_END: u64 = super::data_areas::EBDA;

/// How the drive of a boot image is addressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BootMedia {
    /// As a CD.
    NoEmulation,
    /// As a diskette with this many sectors of 512 bytes.
    Diskette(u16),
    /// As a hard disk.
    HardDisk,
}

impl BootMedia {
    /// The number in a catalog.
    pub(super) fn number(self) -> u8 {
        match self {
            BootMedia::NoEmulation => 0,
            BootMedia::Diskette(2400) => 1,
            BootMedia::Diskette(2880) => 2,
            BootMedia::Diskette(_) => 3,
            BootMedia::HardDisk => 4,
        }
    }

    /// That with this number in a catalog.
    pub(super) fn from_number(number: u8) -> Option<BootMedia> {
        Some(match number {
            0 => BootMedia::NoEmulation,
            1 => BootMedia::Diskette(2400),
            2 => BootMedia::Diskette(2880),
            3 => BootMedia::Diskette(5760),
            4 => BootMedia::HardDisk,
            _ => return None,
        })
    }
}

/// A boot image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BootImage {
    /// How it is started.
    pub media: BootMedia,
    /// The segment that it is loaded at.
    pub segment: u16,
    /// Number of sectors of 512 bytes that are loaded.
    pub loaded: u16,
    /// Its first sector, of 2048 bytes.
    pub lba: u32,
}

impl fmt::Display for BootImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.media {
            BootMedia::NoEmulation => f.write_str("no emulation")?,
            BootMedia::Diskette(sectors) => write!(f, "as a diskette of {} KiB", sectors / 2)?,
            BootMedia::HardDisk => f.write_str("as a hard disk")?,
        }
        let end = self.address() + u64::from(self.loaded) * VIRTUAL_SECTOR;
        write!(f, ", from sector {:#x}, loaded at {:#x}..{end:#x}", self.lba, self.address())
    }
}

impl BootImage {
    /// The address that it is loaded at.
    pub fn address(&self) -> u64 {
        u64::from(self.segment) << 4
    }
}

/// Why a CD cannot be started.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ElToritoError {
    /// It has no volume descriptor where every CD has one.
    #[error(
        "it has no volume descriptor (\"CD001\" in sector 17), so it is no CD image, or its \
         end is missing. Connect a disk with `--disk`, copy a CD again"
    )]
    NotACd,
    /// It has no boot record.
    #[error(
        "it has no boot record (\"EL TORITO SPECIFICATION\" in sector 17), so it is no bootable CD. \
         `grub-mkrescue -o CD.iso FOLDER` makes one, `xorriso -as mkisofs -b IMAGE` another"
    )]
    NoBootRecord,
    /// A part of it is beyond its end.
    #[error(
        "{what} is in sectors {first:#x} to {last:#x}, and it has {sectors:#x}: its end is missing. Copy it again"
    )]
    Outside {
        /// The part.
        what: &'static str,
        /// Its first sector, of 2048 bytes.
        first: u64,
        /// Its last one.
        last: u64,
        /// Number of sectors of the CD.
        sectors: u64,
    },
    /// The first entry of the catalog is no validation entry.
    #[error(
        "its boot catalog in sector {lba:#x} does not begin with 01 and end its first entry with 55 AA. Make it anew"
    )]
    Validation {
        /// Sector of the catalog.
        lba: u32,
    },
    /// The words of the validation entry do not add up to 0.
    #[error("the checksum of its boot catalog in sector {lba:#x} is {sum:#06x}, not 0. Make it anew")]
    Checksum {
        /// Sector of the catalog.
        lba: u32,
        /// Their sum.
        sum: u16,
    },
    /// No entry is for this machine.
    #[error(
        "its boot catalog in sector {lba:#x} has no bootable entry for a PC's BIOS, {other}. It needs one of platform 0"
    )]
    NoEntry {
        /// Sector of the catalog.
        lba: u32,
        /// What there is.
        other: &'static str,
    },
    /// The entry has a media type that the specification does not have.
    #[error("its boot image has media type {media}; there are 0 (no emulation) to 4 (hard disk)")]
    Media {
        /// The number.
        media: u8,
    },
    /// What is to be loaded does not fit below 640 KiB.
    #[error(
        "{sectors} sectors of its boot image are to be loaded at {address:#x}, which ends beyond {end:#x}. Use \
         `-boot-load-size 4`",
        end = MEMORY_END
    )]
    TooLarge {
        /// Number of sectors of 512 bytes.
        sectors: u16,
        /// Address of the first.
        address: u64,
    },
}

/// The sector of the catalog, which sector 17 names, of a CD with this many sectors.
///
/// # Errors
///
/// [`ElToritoError`].
pub fn catalog_of(boot_record: &[u8], sectors: u64) -> Result<u32, ElToritoError> {
    const SIGNATURE: &[u8] = b"\0CD001\x01EL TORITO SPECIFICATION";
    if boot_record.get(1..6) != Some(b"CD001") {
        return Err(ElToritoError::NotACd);
    }
    if !boot_record.starts_with(SIGNATURE) {
        return Err(ElToritoError::NoBootRecord);
    }
    let lba = double_word(boot_record, 0x47);
    inside("its boot catalog", lba.into(), 1, sectors)?;
    Ok(lba)
}

/// The boot image in a catalog, which is in sector `lba` of a CD with this many sectors.
///
/// # Errors
///
/// [`ElToritoError`].
pub fn image_of(catalog: &[u8], lba: u32, sectors: u64) -> Result<BootImage, ElToritoError> {
    let mut entries = catalog.chunks_exact(ENTRY);
    let validation = entries.next().unwrap_or(&[0; ENTRY]);
    if validation[0] != 1 || validation[30..] != [0x55, 0xAA] {
        return Err(ElToritoError::Validation { lba });
    }
    let words = validation.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]]));
    let sum = words.fold(0u16, u16::wrapping_add);
    if sum != 0 {
        return Err(ElToritoError::Checksum { lba, sum });
    }
    let entry = entry_for_bios(validation[1], entries, lba)?;
    let number = entry[1] & 0x0F;
    let media = BootMedia::from_number(number).ok_or(ElToritoError::Media { media: number })?;
    let segment = match word(entry, 2) {
        0 => DEFAULT_SEGMENT,
        segment => segment,
    };
    // An image of no sectors has at least one of the CD's.
    let loaded = match (word(entry, 6), media) {
        (0, BootMedia::NoEmulation) => 4,
        (0, _) => 1,
        (count, _) => count,
    };
    let image = BootImage { media, segment, loaded, lba: double_word(entry, 8) };
    if image.address() + u64::from(loaded) * VIRTUAL_SECTOR > MEMORY_END {
        return Err(ElToritoError::TooLarge { sectors: loaded, address: image.address() });
    }
    let size = match media {
        BootMedia::Diskette(size) => u64::from(size.max(loaded)),
        _ => loaded.into(),
    };
    inside("its boot image", image.lba.into(), size.div_ceil(super::drives::CD_SECTOR), sectors)?;
    Ok(image)
}

/// The first bootable entry whose platform is 0: the initial entry, which has the platform of the validation entry, or one
/// of a section.
fn entry_for_bios<'a>(
    initial_platform: u8,
    entries: impl Iterator<Item = &'a [u8]>,
    lba: u32,
) -> Result<&'a [u8], ElToritoError> {
    const BOOTABLE: u8 = 0x88;
    const SECTION: u8 = 0x90;
    const LAST_SECTION: u8 = 0x91;
    const EXTENSION: u8 = 0x44;
    let mut platform = initial_platform;
    let mut other = "none at all";
    // Entries of the section that are left, and whether another section follows.
    let (mut left, mut more) = (1, true);
    for entry in entries {
        match (left, entry[0]) {
            (0, SECTION | LAST_SECTION) if more => {
                (platform, left, more) = (entry[1], word(entry, 2), entry[0] == SECTION);
            }
            (0, EXTENSION) => {}
            (0, _) => break,
            (_, EXTENSION) => {}
            (_, BOOTABLE) if platform == 0 => return Ok(entry),
            (_, BOOTABLE) => (other, left) = ("only for other platforms such as EFI", left - 1),
            _ => left -= 1,
        }
    }
    Err(ElToritoError::NoEntry { lba, other })
}

fn inside(what: &'static str, first: u64, count: u64, sectors: u64) -> Result<(), ElToritoError> {
    let end = first.saturating_add(count);
    match end <= sectors {
        true => Ok(()),
        false => Err(ElToritoError::Outside { what, first, last: end - 1, sectors }),
    }
}

fn word(bytes: &[u8], at: usize) -> u16 {
    bytes.get(at..at + 2).map_or(0, |pair| u16::from_le_bytes([pair[0], pair[1]]))
}

fn double_word(bytes: &[u8], at: usize) -> u32 {
    u32::from(word(bytes, at + 2)) << 16 | u32::from(word(bytes, at))
}

#[cfg(test)]
#[path = "el_torito_test.rs"]
pub(crate) mod tests;

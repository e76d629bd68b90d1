//! The boot protocol of CD images (ISO 9660): the machine's own BIOS loads the boot image that the El Torito catalog
//! names, and starts it.
//!
//! As with disks, nothing is read from the CD when the BIOS is loaded. [`boot_image`] reads the catalog beforehand, so that
//! a CD that cannot be started is refused before there is a machine.
//!
//! Specification: Phoenix and IBM, "El Torito" 1.0.

use super::disk;
use super::error::BootError;
use super::protocol::{Candidate, Recognition};
use super::{BootOptions, Image, LoadedGuest, image};
use crate::bios::el_torito::{self, BootImage, CD_SECTOR_BYTES};
use crate::memory::GuestMemory;
use crate::settings::BootKind;

/// The signature of the first volume descriptor.
const SIGNATURE: (usize, &[u8]) = (0x8001, b"CD001");

/// A CD is recognised by its volume descriptor. It may have the boot sector of a disk, too (`isohybrid`).
pub(super) fn recognise(candidate: &Candidate<'_>) -> Recognition {
    let is_cd = candidate.head().get(SIGNATURE.0..).is_some_and(|head| head.starts_with(SIGNATURE.1));
    if is_cd { Recognition::ByContents } else { Recognition::No }
}

/// Loads the BIOS; [`super::load`] is the contract.
pub(super) fn load(
    image: &dyn Image,
    memory: &GuestMemory,
    options: &BootOptions,
) -> Result<LoadedGuest, BootError> {
    disk::load_bios(image, memory, options, BootKind::Cdrom)
}

/// The boot image of a CD.
///
/// # Errors
///
/// [`BootError::Cd`], or [`BootError::Guest`] if the file cannot be read.
pub fn boot_image(image: &dyn Image) -> Result<BootImage, BootError> {
    let file = || image.name().to_owned();
    let bytes = CD_SECTOR_BYTES as u64;
    // Zeros fill the last sector up.
    let sectors = image.len().div_ceil(bytes);
    let sector = |number: u64| {
        let start = (number * bytes).min(image.len());
        let part = image::read(image, start, bytes.min(image.len() - start), "the CD");
        part.map_err(|problem| BootError::Guest { file: file(), problem })
    };
    let wrong = |error| BootError::Cd { file: file(), error };
    let catalog = el_torito::catalog_of(&sector(el_torito::BOOT_RECORD)?, sectors).map_err(wrong)?;
    el_torito::image_of(&sector(catalog.into())?, catalog, sectors).map_err(wrong)
}

#[cfg(any(test, fuzzing))]
pub mod fuzzing {
    //! Arbitrary bytes as the boot record and the boot catalog of a CD.

    use super::super::BytesImage;
    use super::*;

    /// Reads the boot record in sector 0 of `file` and the catalog in sector 1, and the whole as a CD.
    ///
    /// # Panics
    ///
    /// If a boot image is outside the CD, or does not fit into memory.
    pub fn read_any_catalog(file: &[u8]) {
        let sectors = (file.len() as u64).div_ceil(CD_SECTOR_BYTES as u64);
        let check = |image: BootImage, sectors: u64| {
            let loaded = u64::from(image.loaded) * 512;
            assert!(u64::from(image.lba) * 4 + u64::from(image.loaded) <= sectors * 4);
            assert!(image.loaded > 0 && image.address() + loaded <= 0x9_FC00);
        };
        let (record, catalog) = file.split_at(file.len().min(CD_SECTOR_BYTES));
        let catalog = &catalog[..catalog.len().min(CD_SECTOR_BYTES)];
        for sectors in [sectors, 1 << 20, u64::MAX >> 11] {
            let lba = el_torito::catalog_of(record, sectors).unwrap_or(1);
            if let Ok(image) = el_torito::image_of(catalog, lba, sectors) {
                check(image, sectors);
            }
        }
        if let Ok(image) = boot_image(&BytesImage::new("fuzz", file)) {
            check(image, sectors);
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;
        use crate::fuzzing::FuzzDriver;

        #[test]
        fn any_boot_catalog_is_read_or_refused() {
            FuzzDriver::new("el_torito").run(read_any_catalog);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::BytesImage;
    use super::*;
    use crate::bios::el_torito::tests::{catalog, entry};

    /// A CD of 24 sectors whose catalog in sector 19 has this entry.
    fn cd(entry: [u8; 32]) -> Vec<u8> {
        let mut cd = vec![0; 24 * CD_SECTOR_BYTES];
        cd[0x8001..][..5].copy_from_slice(b"CD001");
        let record = &mut cd[17 * CD_SECTOR_BYTES..];
        record[..30].copy_from_slice(b"\0CD001\x01EL TORITO SPECIFICATION");
        record[0x47] = 19;
        cd[19 * CD_SECTOR_BYTES..][..CD_SECTOR_BYTES].copy_from_slice(&catalog(0, &[entry]));
        cd
    }

    #[test]
    fn a_cd_with_the_boot_sector_of_a_disk_is_a_cd() {
        let mut cd = cd(entry(0, 0, 4, 20));
        cd[510..512].copy_from_slice(&[0x55, 0xAA]);
        let found = super::super::Protocol::find(&BytesImage::new("a.iso", &cd), None).unwrap();
        assert_eq!(found.protocol.kind, BootKind::Cdrom);
        assert_eq!(boot_image(&BytesImage::new("a.iso", &cd)).unwrap().lba, 20);
    }

    #[test]
    fn a_cd_that_cannot_be_started_is_refused_with_its_name_and_the_reason() {
        let outside = boot_image(&BytesImage::new("a.iso", &cd(entry(0, 0, 4, 24)))).unwrap_err();
        let outside = outside.to_string();
        assert!(outside.contains("a.iso") && outside.contains("its end is missing"), "{outside}");
        let none = boot_image(&BytesImage::new("a.iso", &[0; 18 * CD_SECTOR_BYTES])).unwrap_err().to_string();
        assert!(none.contains("no CD image"), "{none}");
        let mut plain = cd(entry(0, 0, 4, 20));
        plain[17 * CD_SECTOR_BYTES + 7..][..8].fill(0);
        let plain = boot_image(&BytesImage::new("a.iso", &plain)).unwrap_err().to_string();
        assert!(plain.contains("no bootable CD"), "{plain}");
        // The file ends within the last sector of the image.
        let cut = cd(entry(0, 0, 4, 23));
        assert!(boot_image(&BytesImage::new("a.iso", &cut[..cut.len() - 2000])).is_ok());
    }
}

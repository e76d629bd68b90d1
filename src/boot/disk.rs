//! The boot protocol of disk images: the machine's own BIOS loads the first sector of a disk and starts it at 0:7C00.
//!
//! The processor starts at the reset vector of the ROM, as a PC does. The ROM, interrupt vectors, the data areas of the
//! BIOS, and the ACPI and MP tables are in memory before. The disk itself is connected to the machine like any other:
//! nothing is read from it here.

use super::error::BootError;
use super::protocol::{Candidate, Recognition};
use super::real_mode::{self, FarAddress};
use super::{
    BootOptions, Choice, Image, LoadedGuest, LoadedRegion, OwnedImage, Protocol, SymbolSource,
    firmware_tables, image,
};
use crate::arch::Registers;
use crate::bios::{data_areas, rom};
use crate::memory::GuestMemory;
use crate::settings::BootKind;

/// Bytes of a sector.
const SECTOR: u64 = 512;
/// The last two bytes of a boot sector.
const SIGNATURE: (usize, [u8; 2]) = (510, [0x55, 0xAA]);

/// A boot sector is recognised by its signature, unless another header says what the file is: a Linux kernel has the
/// signature, too.
pub(super) fn recognise(candidate: &Candidate<'_>) -> Recognition {
    let head = candidate.head();
    let at = |offset: usize, bytes: &[u8]| head.get(offset..).is_some_and(|head| head.starts_with(bytes));
    let other = at(0, b"\x7FELF") || at(0, b"MZ") || at(0x202, b"HdrS");
    if at(SIGNATURE.0, &SIGNATURE.1) && !other { Recognition::ByContents } else { Recognition::No }
}

/// Loads the BIOS; [`super::load`] is the contract.
pub(super) fn load(
    image: &dyn Image,
    memory: &GuestMemory,
    options: &BootOptions,
) -> Result<LoadedGuest, BootError> {
    load_bios(image, memory, options, BootKind::Disk)
}

/// Loads the BIOS, which starts from this kind of guest file first.
pub(super) fn load_bios(
    image: &dyn Image,
    memory: &GuestMemory,
    options: &BootOptions,
    kind: BootKind,
) -> Result<LoadedGuest, BootError> {
    let given = [
        ("module", !options.modules.is_empty()),
        ("initrd", options.initrd.is_some()),
        ("append", !options.command_line.is_empty()),
    ];
    if let Some((option, _)) = given.into_iter().find(|(_, given)| *given) {
        return Err(BootError::NotForDisk { file: image.name().to_owned(), option });
    }
    Ok(LoadedGuest {
        kind,
        choice: Choice::Chosen,
        registers: registers_at_reset(),
        other_processors: Vec::new(),
        framebuffer: None,
        reset: Protocol::of(kind).reset(),
        symbols: SymbolSource::None,
        layout: load_bios_and_tables(memory, options, kind)?,
        warnings: Vec::new(),
    })
}

/// Loads the machine's own BIOS with its tables for this kind of guest file, and returns the memory that they use.
pub(super) fn load_bios_and_tables(
    memory: &GuestMemory,
    options: &BootOptions,
    kind: BootKind,
) -> Result<Vec<LoadedRegion>, BootError> {
    let mut layout = Vec::new();
    add_bios(memory, kind, &mut layout)?;
    let tables = firmware_tables::write_at_usual_place(memory, &options.platform)?;
    layout.insert(2, LoadedRegion { name: "ACPI and MP tables".to_owned(), range: tables });
    Ok(layout)
}

/// Loads the machine's own BIOS beside the regions of `layout`, unless one of them is where it belongs. The devices are
/// as after a reset: it sets them up only if the processor starts in it.
pub(super) fn add_bios(
    memory: &GuestMemory,
    kind: BootKind,
    layout: &mut Vec<LoadedRegion>,
) -> Result<(), BootError> {
    let parts = [
        ("interrupt vectors and BIOS data", 0, data_areas::low_memory()),
        ("extended BIOS data", data_areas::EBDA, data_areas::ebda(kind == BootKind::Cdrom)),
        ("BIOS", rom::ADDRESS, rom::ROM.to_vec()),
    ];
    let regions = parts.each_ref().map(|(name, start, bytes)| LoadedRegion {
        name: (*name).to_owned(),
        range: *start..*start + bytes.len() as u64,
    });
    let overlap =
        |a: &LoadedRegion, b: &LoadedRegion| a.range.start < b.range.end && b.range.start < a.range.end;
    if layout.iter().any(|region| regions.iter().any(|part| overlap(region, part))) {
        return Ok(());
    }
    for (_, start, bytes) in parts {
        memory.write(start, &bytes)?;
    }
    layout.extend(regions);
    layout.sort_by_key(|region| region.range.start);
    Ok(())
}

/// The registers of a processor that starts at the reset vector of the BIOS.
pub(super) fn registers_at_reset() -> Registers {
    let entry = FarAddress { segment: rom::SEGMENT, offset: rom::RESET_VECTOR };
    real_mode::registers(entry, FarAddress::default())
}

/// The first sector of a disk or a CD in place of the whole, whose contents belong to the machine's disk: snapshots have a
/// copy of it, and nothing else is read from it. Any other image stays what it is.
pub fn without_contents(image: Box<dyn Image>, kind: BootKind) -> Box<dyn Image> {
    if !kind.is_disk_image() {
        return image;
    }
    let length = image.len().min(SECTOR);
    let bytes = image::read(image.as_ref(), 0, length, "the file").unwrap_or_default();
    Box::new(OwnedImage::new(image.name().to_owned(), bytes))
}

#[cfg(test)]
mod tests {
    use super::super::BytesImage;
    use super::*;

    fn recognised(changes: &[(usize, &[u8])]) -> bool {
        let mut disk = vec![0; 2048];
        disk[510..512].copy_from_slice(&[0x55, 0xAA]);
        for (at, bytes) in changes {
            disk[*at..*at + bytes.len()].copy_from_slice(bytes);
        }
        recognise(&Candidate::new(&BytesImage::new("disk", &disk))) != Recognition::No
    }

    #[test]
    fn a_disk_is_recognised_by_its_boot_signature() {
        assert!(recognised(&[]));
        assert!(!recognised(&[(510, &[0, 0])]));
        for other in [(0, &b"\x7FELF"[..]), (0, b"MZ"), (0x202, b"HdrS")] {
            assert!(!recognised(&[other]), "{other:?}");
        }
    }

    #[test]
    fn the_processor_starts_at_the_reset_vector_of_the_rom() {
        let memory = GuestMemory::new(1 << 20).unwrap();
        let guest = load(&BytesImage::new("disk", &[0; 512]), &memory, &BootOptions::default()).unwrap();
        assert_eq!(guest.registers.next_instruction(), 0xF_FFF0);
        let mut jump = [0; 5];
        memory.read(0xF_FFF0, &mut jump).unwrap();
        assert_eq!(jump, [0xEA, 0x5B, 0xE0, 0x00, 0xF0]);
        let ends: Vec<u64> = guest.layout.iter().map(|region| region.range.end).collect();
        assert!(
            guest.layout.iter().skip(1).zip(ends).all(|(next, end)| end <= next.range.start),
            "{:?}",
            guest.layout
        );
        let mut signature = [0; 8];
        memory.read(0xF_0000, &mut signature).unwrap();
        assert_eq!(&signature, b"RSD PTR ");
    }

    #[test]
    fn options_without_effect_are_refused() {
        let memory = GuestMemory::new(1 << 20).unwrap();
        let options = BootOptions { command_line: "quiet".to_owned(), ..BootOptions::default() };
        let error = load(&BytesImage::new("disk", &[0; 512]), &memory, &options).unwrap_err().to_string();
        assert!(error.contains("`--append`"), "{error}");
    }
}

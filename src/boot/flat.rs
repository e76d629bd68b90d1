//! The boot protocol of flat images: the bytes of the file are code, and the guest starts in real mode at the first of
//! them, or where the user says.
//!
//! Nothing else is in memory: no boot structures, no firmware, no interrupt vectors.

use super::error::{BootError, GuestProblem};
use super::protocol::{Candidate, Recognition};
use super::real_mode::{self, FarAddress};
use super::{BootOptions, Choice, Image, LoadedGuest, LoadedRegion, Protocol, SymbolSource, identify, image};
use crate::memory::GuestMemory;
use crate::settings::{BootKind, EntryAddress, RAM_GRANULE};

/// Names of such files end like this.
const ENDINGS: &[&str] = &[".bin", ".img"];

/// Any bytes can be code: a file is taken for it only if its name says so and its contents say nothing else.
pub(super) fn recognise(candidate: &Candidate<'_>) -> Recognition {
    match candidate.ending(ENDINGS) {
        Some(ending)
            if !candidate.image.is_empty()
                && identify::is_unknown(candidate.head())
                && !identify::is_blank(candidate.image) =>
        {
            Recognition::ByEnding(ending)
        }
        _ => Recognition::No,
    }
}

/// The size of RAM if the user chooses none: 1 MiB, or as much as the image needs.
pub(super) fn default_memory(image: &dyn Image, options: &BootOptions) -> u64 {
    let end = options.load.unwrap_or(0).saturating_add(image.len());
    end.max(RAM_GRANULE).checked_next_multiple_of(RAM_GRANULE).unwrap_or(end)
}

/// Loads a guest; [`super::load`] is the contract.
pub(super) fn load(
    image: &dyn Image,
    memory: &GuestMemory,
    options: &BootOptions,
) -> Result<LoadedGuest, BootError> {
    let wrap = |problem| BootError::Guest { file: image.name().to_owned(), problem };
    refuse_boot_information(image, options)?;
    if image.is_empty() {
        return Err(wrap(identify::without_elf_magic(image)));
    }
    let (start, length) = (options.load.unwrap_or(0), image.len());
    if !memory.is_ram(start, length) {
        let problem = GuestProblem::FlatOutsideRam { start, length, memory: memory.size() };
        return Err(wrap(problem));
    }
    let entry = FarAddress::of(options.entry.unwrap_or(EntryAddress::Linear(start))).map_err(wrap)?;
    let range = start..start + length;
    let mut warnings = Vec::new();
    if !range.contains(&entry.linear()) {
        warnings.push(format!(
            "the entry point {:#x} is outside of the image, which is at {:#x}..{:#x}",
            entry.linear(),
            range.start,
            range.end
        ));
    }
    image::copy(image, 0, length, memory, start, wrap)?;
    Ok(LoadedGuest {
        kind: BootKind::Flat,
        choice: Choice::Chosen,
        registers: real_mode::registers(entry, stack(start)),
        other_processors: Vec::new(),
        framebuffer: None,
        reset: Protocol::of(BootKind::Flat).reset(),
        symbols: SymbolSource::None,
        layout: vec![LoadedRegion { name: "image".to_owned(), range }],
        warnings,
    })
}

/// SS:SP. The stack grows down from an image that begins where there is room below it in the first 64 KiB, as that of a
/// boot sector does; otherwise from the end of them: the first word that is pushed is at 0xFFFE.
fn stack(start: u64) -> FarAddress {
    const LOWEST: u64 = 0x1000;
    let offset = match start {
        LOWEST..0x1_0000 => start as u16 & !1,
        _ => 0,
    };
    FarAddress { segment: 0, offset }
}

/// Such a guest gets no boot information, so options for it would have no effect.
fn refuse_boot_information(image: &dyn Image, options: &BootOptions) -> Result<(), BootError> {
    let given = [
        ("module", !options.modules.is_empty()),
        ("initrd", options.initrd.is_some()),
        ("append", !options.command_line.is_empty()),
    ];
    match given.into_iter().find(|(_, given)| *given) {
        Some((option, _)) => Err(BootError::NotForFlat { file: image.name().to_owned(), option }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::BytesImage;
    use super::*;

    fn load_at(options: BootOptions, length: usize) -> Result<LoadedGuest, String> {
        let memory = GuestMemory::new(1 << 20).unwrap();
        let bytes = vec![0xF4; length];
        let loaded = load(&BytesImage::new("a.bin", &bytes), &memory, &options);
        if loaded.is_ok() {
            let mut copied = vec![0; length];
            memory.read(options.load.unwrap_or(0), &mut copied).unwrap();
            assert_eq!(copied, bytes);
        }
        loaded.map_err(|error| error.to_string())
    }

    #[test]
    fn an_image_is_loaded_at_0_and_started_there() {
        let guest = load_at(BootOptions::default(), 1).unwrap();
        assert_eq!(guest.registers.next_instruction(), 0);
        assert_eq!((guest.registers.system.cs.selector, guest.registers.general.rsp), (0, 0));
        assert_eq!(guest.layout[0].range, 0..1);
    }

    #[test]
    fn the_user_sets_the_address_and_the_entry_point() {
        let guest = load_at(BootOptions { load: Some(0x7C00), ..Default::default() }, 512).unwrap();
        assert_eq!((guest.registers.next_instruction(), guest.registers.general.rsp), (0x7C00, 0x7C00));
        assert_eq!(guest.registers.system.cs.selector, 0);
        let entry = Some(EntryAddress::Far { segment: 0x7C0, offset: 0x10 });
        let guest = load_at(BootOptions { load: Some(0x7C00), entry, ..Default::default() }, 512).unwrap();
        assert_eq!((guest.registers.system.cs.selector, guest.registers.general.rip), (0x7C0, 0x10));
        assert_eq!(guest.warnings, [""; 0]);
        let outside = Some(EntryAddress::Linear(0x100));
        let guest = load_at(BootOptions { entry: outside, ..Default::default() }, 16).unwrap();
        assert!(guest.warnings[0].contains("0x100 is outside"), "{:?}", guest.warnings);
    }

    #[test]
    fn what_does_not_fit_is_refused_with_the_memory_it_needs() {
        let error = load_at(BootOptions { load: Some(0xF_FFFF), ..Default::default() }, 2).unwrap_err();
        assert!(error.ends_with("`--memory 2M` is enough"), "{error}");
        let error = load_at(BootOptions { load: Some(0xC000_0000), ..Default::default() }, 2).unwrap_err();
        assert!(error.contains("below 0xc0000000"), "{error}");
        let far = BootOptions { load: Some(0x20_0000), ..Default::default() };
        assert_eq!(default_memory(&BytesImage::new("a.bin", &[0; 3]), &far), 3 << 20);
        let high = BootOptions { entry: Some(EntryAddress::Linear(0x20_0000)), ..Default::default() };
        assert!(load_at(high, 1).unwrap_err().contains("real mode"));
    }

    #[test]
    fn options_without_effect_are_refused() {
        let error =
            load_at(BootOptions { command_line: "x".to_owned(), ..Default::default() }, 1).unwrap_err();
        assert!(error.contains("`--append`"), "{error}");
    }
}

//! Xen's PVH boot protocol (Xen, docs/misc/pvh.pandoc): an ELF file with the note XEN_ELFNOTE_PHYS32_ENTRY starts at
//! the address in the note, in 32-bit protected mode without paging, and gets an `hvm_start_info` in EBX.
//!
//! Segments are loaded at their physical addresses. There is no GDT: the guest loads its own before it loads a
//! segment register.

use super::allocator::Allocator;
use super::boot_information::{check_command_lines, load_modules, open_modules, write_start_info};
use super::error::{BootError, GuestProblem};
use super::image::Image;
use super::protected_mode::{self, EntryPoint32, FlatSelectors};
use super::protocol::{Candidate, Recognition};
use super::{BootOptions, Choice, LoadedGuest, Protocol, SymbolSource, elf64, notes, relocate, segments};
use crate::arch::{Registers, TableRegister};
use crate::memory::GuestMemory;
use crate::settings::BootKind;

/// The note (Xen, public/elfnote.h).
const NOTE_NAME: &[u8] = b"Xen";
const PHYS32_ENTRY: u32 = 18;

/// An ELF file with the note, of either class.
pub(super) fn recognise(candidate: &Candidate<'_>) -> Recognition {
    if entry(candidate.image).is_some() { Recognition::ByContents } else { Recognition::No }
}

/// The entry point in the note; `None` if there is no such note.
pub(super) fn entry(file: &dyn Image) -> Option<u64> {
    let content = notes::find(file, |name, kind| name == NOTE_NAME && kind == PHYS32_ENTRY)?;
    let mut bytes = [0; 8];
    bytes.get_mut(..content.len())?.copy_from_slice(&content);
    // Files of 32-bit kernels have four bytes.
    matches!(content.len(), 4 | 8).then(|| u64::from_le_bytes(bytes))
}

/// Loads a guest; [`super::load`] is the contract.
pub(super) fn load(
    image: &dyn Image,
    memory: &GuestMemory,
    options: &BootOptions,
) -> Result<LoadedGuest, BootError> {
    check_command_lines(options)?;
    let wrap = |problem| BootError::Guest { file: image.name().to_owned(), problem };
    let executable = if notes::is_elf64(image) { elf64::read(image) } else { elf64::read_any_class(image) };
    let mut executable = executable.map_err(wrap)?.by_physical_address();
    executable.entry = entry(image).ok_or_else(|| wrap(GuestProblem::NoPvhNote))?;
    let layout = segments::place(&executable, memory).map_err(wrap)?;
    let start = u32::try_from(layout.entry).map_err(|_| {
        wrap(GuestProblem::Field {
            field: "XEN_ELFNOTE_PHYS32_ENTRY".to_owned(),
            value: layout.entry,
            expected: "an address below 4 GiB",
        })
    })?;
    let modules = open_modules(options)?;
    let mut allocator = Allocator::new(memory, &layout, &modules);
    let mut warnings = executable.warnings.clone();
    layout.load(image, memory)?;
    if let Some(dynamic) = &executable.dynamic {
        relocate::relocate(image.name(), dynamic, &layout, memory)?;
    }
    let modules = load_modules(memory, modules, &mut allocator)?;
    let info_at = write_start_info(memory, options, &modules, &mut allocator, &mut warnings)?;
    Ok(LoadedGuest {
        registers: registers(start, info_at),
        kind: BootKind::Pvh,
        choice: Choice::Chosen,
        other_processors: Vec::new(),
        framebuffer: None,
        reset: Protocol::of(BootKind::Pvh).reset(),
        symbols: SymbolSource::GuestFile { bias: layout.bias },
        layout: allocator.into_layout(&layout.segments),
        warnings,
    })
}

/// The registers of the bootstrap processor at the guest's first instruction.
fn registers(entry: u32, start_info: u64) -> Registers {
    let mut registers = protected_mode::registers(&EntryPoint32 {
        entry,
        stack_pointer: 0,
        // The protocol leaves them open.
        selectors: FlatSelectors::USUAL,
        gdt: TableRegister::default(),
    });
    registers.general.rbx = start_info;
    registers
}

#[cfg(test)]
#[path = "pvh_test.rs"]
mod tests;

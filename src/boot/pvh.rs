//! Xen's PVH boot protocol (Xen, docs/misc/pvh.pandoc): an ELF file with the note XEN_ELFNOTE_PHYS32_ENTRY starts at
//! the address in the note, in 32-bit protected mode without paging, and gets an `hvm_start_info` in EBX.
//!
//! Segments are loaded at their physical addresses. There is no GDT: the guest loads its own before it loads a
//! segment register.

use super::allocator::Allocator;
use super::error::{BootError, GuestProblem};
use super::image::{self, Image};
use super::long_mode_elf::{check_command_lines, load_modules, open_modules, write_start_info};
use super::{BootOptions, LoadedGuest, ResetAction, SymbolSource, elf64, notes, relocate, segments};
use crate::arch::{GeneralRegisters, Registers, SegmentRegister, SystemRegisters};
use crate::memory::GuestMemory;

/// The note (Xen, public/elfnote.h).
const NOTE_NAME: &[u8] = b"Xen";
const PHYS32_ENTRY: u32 = 18;

/// CR0: PE and ET.
const CR0: u64 = 1 << 0 | 1 << 4;
/// RFLAGS: bit 1, which is always set.
const RFLAGS: u64 = 1 << 1;
/// IA32_APIC_BASE after a reset.
const APIC_BASE: u64 = 0xFEE0_0000 | 1 << 11 | 1 << 8;
/// Limit of the task state segment.
const TSS_LIMIT: u32 = 0x67;

/// The entry point in the note; `None` if there is no such note.
pub(super) fn entry(file: &dyn Image) -> Option<u64> {
    let content = notes::find(file, |name, kind| name == NOTE_NAME && kind == PHYS32_ENTRY)?;
    let mut bytes = [0; 8];
    bytes.get_mut(..content.len())?.copy_from_slice(&content);
    // Files of 32-bit kernels have four bytes.
    matches!(content.len(), 4 | 8).then(|| u64::from_le_bytes(bytes))
}

/// Loads a guest for which [`entry`] is not `None`; [`super::load`] is the contract.
pub(super) fn load(
    image: &dyn Image,
    memory: &GuestMemory,
    options: &BootOptions,
) -> Result<LoadedGuest, BootError> {
    check_command_lines(options)?;
    let wrap = |problem| BootError::Guest { file: image.name().to_owned(), problem };
    let mut executable = elf64::read(image).map_err(wrap)?.by_physical_address();
    if let Some(address) = entry(image) {
        executable.entry = address;
    }
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
    for segment in &layout.segments {
        image::copy(image, segment.offset, segment.file_size, memory, segment.range.start, wrap)?;
    }
    if let Some(dynamic) = &executable.dynamic {
        relocate::relocate(image.name(), dynamic, &layout, memory)?;
    }
    let modules = load_modules(memory, modules, &mut allocator)?;
    let info_at = write_start_info(memory, options, &modules, &mut allocator, &mut warnings)?;
    Ok(LoadedGuest {
        registers: registers(start, info_at),
        reset: ResetAction::Reload,
        symbols: SymbolSource::GuestFile { bias: layout.bias },
        layout: allocator.into_layout(&layout.segments),
        warnings,
    })
}

/// The registers of the bootstrap processor at the guest's first instruction.
fn registers(entry: u32, start_info: u64) -> Registers {
    let flat = |type_| SegmentRegister {
        limit: u32::MAX,
        type_,
        present: 1,
        db: 1,
        s: 1,
        g: 1,
        ..SegmentRegister::default()
    };
    // The protocol leaves selectors open. These are the ones of other loaders.
    let code = SegmentRegister { selector: 0x8, ..flat(0b1011) };
    let data = SegmentRegister { selector: 0x10, ..flat(0b0011) };
    let task = SegmentRegister {
        selector: 0x18,
        limit: TSS_LIMIT,
        type_: 0b1011,
        present: 1,
        ..SegmentRegister::default()
    };
    let unusable = SegmentRegister { unusable: 1, ..SegmentRegister::default() };
    Registers {
        general: GeneralRegisters {
            rip: entry.into(),
            rbx: start_info,
            rflags: RFLAGS,
            ..GeneralRegisters::default()
        },
        system: SystemRegisters {
            cs: code,
            ds: data,
            es: data,
            fs: data,
            gs: data,
            ss: data,
            tr: task,
            ldt: unusable,
            cr0: CR0,
            apic_base: APIC_BASE,
            ..SystemRegisters::default()
        },
    }
}

#[cfg(test)]
#[path = "pvh_test.rs"]
mod tests;

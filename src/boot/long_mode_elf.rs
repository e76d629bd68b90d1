//! The boot protocol of 64-bit ELF executables: the segments go to their addresses, and the guest starts in
//! long mode, with paging, descriptor tables, a stack and the PVH start info.

use super::address_space::{self, Protection};
use super::allocator::Allocator;
use super::boot_information::{check_command_lines, load_modules, open_modules, write_start_info};
use super::entry_return::STACK_SIZE;
use super::error::BootError;
use super::image::Image;
use super::long_mode::{self, EntryPoint};
use super::protocol::{Candidate, Recognition};
use super::rescue_idt::{self, GateCode};
use super::{BootOptions, Choice, LoadedGuest, Protocol, SymbolSource};
use super::{descriptors, elf64, entry_return, relocate, segments};
use crate::arch::PAGE_SIZE;
use crate::arch::TableRegister;
use crate::memory::GuestMemory;
use crate::settings::BootKind;

/// Every ELF file: those for other machines are refused with a message that names them.
pub(super) fn recognise(candidate: &Candidate<'_>) -> Recognition {
    let mut magic = [0; 4];
    match candidate.image.read_at(0, &mut magic) {
        Ok(()) if magic == *b"\x7FELF" => Recognition::ByContents,
        _ => Recognition::No,
    }
}

/// Loads a guest; [`super::load`] is the contract.
pub(super) fn load(
    image: &dyn Image,
    memory: &GuestMemory,
    options: &BootOptions,
) -> Result<LoadedGuest, BootError> {
    check_command_lines(options)?;
    let wrap = |problem| BootError::Guest { file: image.name().to_owned(), problem };
    let executable = elf64::read(image).map_err(wrap)?;
    let segment_layout = segments::place(&executable, memory).map_err(wrap)?;
    let modules = open_modules(options)?;
    let mut allocator = Allocator::new(memory, &segment_layout, &modules);
    let mut warnings = executable.warnings.clone();

    segment_layout.load(image, memory)?;
    if let Some(dynamic) = &executable.dynamic {
        relocate::relocate(image.name(), dynamic, &segment_layout, memory)?;
    }
    let modules = load_modules(memory, modules, &mut allocator)?;

    // Small structures first, in the order of docs/boot-state.md: they then have the same addresses for every
    // memory size.
    let descriptors_at = allocator.allocate("the descriptor tables", descriptors::SIZE)?;
    let idt_at = allocator.allocate("the interrupt descriptor table", descriptors::IDT_SIZE)?;
    let info_at = write_start_info(memory, options, &modules, &mut allocator, &mut warnings)?;
    let guard_size = if options.no_guards { 0 } else { PAGE_SIZE };
    let stack_at = allocator.allocate("the boot stack", STACK_SIZE + guard_size)?;
    let stack_top = stack_at + guard_size + STACK_SIZE;
    let return_at = allocator.allocate("the entry function's return address", PAGE_SIZE)?;
    memory.write(return_at, entry_return::CODE)?;
    let code = GateCode { page: return_at, mapped_from: 0, selector: long_mode::CODE_SELECTOR };
    rescue_idt::write(memory, idt_at, code)?;
    memory.write_u64(stack_top - entry_return::STACK_USE, return_at)?;
    let protection = Protection {
        strict: options.strict,
        guard: (!options.no_guards).then_some(stack_at),
        entry_return: return_at,
    };
    let (gdt, tss) = descriptors::write(memory, descriptors_at, stack_top)?;

    let tables = address_space::build(
        memory,
        &segment_layout.segments,
        protection,
        allocator.free_pages(),
        &mut warnings,
    )
    .map_err(|_| {
        let most = address_space::most_tables(memory, &segment_layout.segments);
        allocator.no_room("the page tables", most * PAGE_SIZE)
    })?;
    let page_tables = allocator.allocate("the page tables", tables.size())?;
    tables.write(memory, page_tables)?;

    let registers = long_mode::registers(&EntryPoint {
        entry: segment_layout.entry,
        stack_pointer: stack_top - entry_return::STACK_USE,
        page_tables,
        gdt,
        idt: TableRegister { base: idt_at, limit: descriptors::IDT_SIZE as u16 - 1 },
        tss,
        start_info: info_at,
    });
    Ok(LoadedGuest {
        kind: BootKind::Elf64,
        choice: Choice::Chosen,
        registers,
        other_processors: Vec::new(),
        framebuffer: None,
        reset: Protocol::of(BootKind::Elf64).reset(),
        symbols: SymbolSource::GuestFile { bias: segment_layout.bias },
        layout: allocator.into_layout(&segment_layout.segments),
        warnings,
    })
}

#[cfg(test)]
#[path = "long_mode_elf_test.rs"]
mod tests;

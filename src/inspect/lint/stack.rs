//! The stack pointer.
//!
//! System V ABI for x86-64, "The Stack Frame".

use super::{Guest, LintKind, LintReport};
use crate::arch::Mode;
use crate::arch::paging::{Access, Paging};

pub(super) fn check(guest: &Guest<'_>, report: &mut LintReport) {
    let registers = guest.registers;
    if registers.mode() != Mode::SixtyFourBit {
        return;
    }
    let (rsp, rip) = (registers.general.rsp, registers.general.rip);
    let paging = Paging::new(registers, Paging::WIDEST);
    let write = Access { write: true, user: registers.ring() == 3, ..Access::default() };
    if paging.check(guest.memory, rsp.wrapping_sub(8), write).is_err()
        && paging.check(guest.memory, rsp, write).is_err()
    {
        report.add(
            LintKind::Stack,
            rsp,
            format!("RSP is {rsp:#x}, where nothing writable is mapped: set it to the top of a stack"),
        );
    } else if !rsp.is_multiple_of(8) {
        report.add(
            LintKind::Stack,
            rsp,
            format!("RSP is {rsp:#x}, no multiple of 8: every push and pop is split; align it to 16 bytes"),
        );
    } else if let Some(symbol) = guest.names.symbol_at(rip)
        && symbol.offset == 0
        && !symbol.name.starts_with("_start")
        && rsp.is_multiple_of(16)
        && is_called(guest, rsp)
    {
        report.add(
            LintKind::Stack,
            rsp,
            format!(
                "`{}` is entered with RSP {rsp:#x}: at a function RSP is 8 off a multiple of 16, or `movaps` faults; \
                 call it with RSP a multiple of 16",
                symbol.name
            ),
        );
    }
}

/// True if the word at RSP is an address in code of the guest file: a call has put it there.
fn is_called(guest: &Guest<'_>, rsp: u64) -> bool {
    let word = crate::inspect::values::load(guest.memory, guest.registers, rsp, 8);
    word.is_some_and(|word| {
        let sections = guest.names.sections();
        sections.iter().any(|section| section.executable && section.range.contains(&word))
    })
}

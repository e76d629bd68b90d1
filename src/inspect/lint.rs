//! What looks wrong with a stopped guest: pages, descriptor tables, stacks and code.
//!
//! A finding is a sentence with its place and the remedy. What the machine's own boot tables do unless they are told
//! otherwise is one note, not a finding for each page. Nothing is changed, and every search has a limit.
//!
//! | file | what it looks at |
//! |---|---|
//! | `pages` | rights of pages, guard pages below stacks |
//! | `gates` | IDT, GDT, task state segment |
//! | `stack` | RSP |
//! | `code` | the red zone in code that takes interrupts, and SSE in handlers that do not save it |

mod code;
mod gates;
mod pages;
mod stack;

use std::fmt;
use std::ops::Range;

use serde::Serialize;

use super::hex;
use super::maps::Maps;
use super::names::{Names, place};
use crate::arch::Registers;
use crate::boot::boot_stack;
use crate::memory::GuestMemory;

/// Most findings of a kind that are listed one by one.
const MOST_OF_A_KIND: usize = 10;

/// What a finding is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum LintKind {
    /// Pages that are writable and executable.
    WritableCode,
    /// Pages of the kernel that ring 3 may access.
    OpenToRing3,
    /// A stack without an unmapped page below it.
    NoGuard,
    /// An entry of the IDT.
    Gate,
    /// An entry of the GDT.
    Descriptor,
    /// The task state segment.
    TaskState,
    /// RSP.
    Stack,
    /// Memory below RSP.
    RedZone,
    /// Vector registers in a handler.
    VectorRegisters,
}

/// Something that looks wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LintFinding {
    /// What it is about.
    pub kind: LintKind,
    /// Where it is: a virtual address.
    #[serde(serialize_with = "hex::hex")]
    pub address: u64,
    /// A sentence with the place and the remedy, without a full stop.
    pub text: String,
}

/// All that looks wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LintReport {
    /// The findings, by what they are about.
    pub findings: Vec<LintFinding>,
    /// What the boot tables do by default, and what was not looked at because of a limit.
    pub notes: Vec<String>,
}

/// A stopped guest.
struct Guest<'a> {
    memory: &'a GuestMemory,
    registers: &'a Registers,
    names: &'a dyn Names,
    maps: Maps,
    /// The stacks whose lowest address is known, with their names.
    stacks: Vec<(String, Range<u64>)>,
}

impl Guest<'_> {
    fn place(&self, address: u64) -> String {
        place(self.names, address)
    }
}

/// Looks for what is wrong with the guest, as the CPU with these registers sees it.
pub fn lint(memory: &GuestMemory, registers: &Registers, names: &dyn Names) -> LintReport {
    lint_maps(memory, registers, names, Maps::capture(memory, registers, 0))
}

/// The same with maps that are known.
pub(super) fn lint_maps(
    memory: &GuestMemory,
    registers: &Registers,
    names: &dyn Names,
    maps: Maps,
) -> LintReport {
    let boot = boot_stack(memory, registers.general.rsp).map(|range| ("the boot stack".to_owned(), range));
    let named =
        names.stacks().into_iter().filter_map(|stack| Some((format!("`{}`", stack.name?), stack.range)));
    let stacks = boot.into_iter().chain(named).collect();
    let guest = Guest { memory, registers, names, maps, stacks };
    let mut report = LintReport::default();
    if let Some(at) = guest.maps.stopped_at {
        report.notes.push(format!("pages from {at:#x} on were not looked at: the page tables map too much"));
    }
    pages::check(&guest, &mut report);
    gates::check(&guest, &mut report);
    stack::check(&guest, &mut report);
    code::check(&guest, &mut report);
    report
}

impl LintReport {
    fn add(&mut self, kind: LintKind, address: u64, text: impl Into<String>) {
        self.findings.push(LintFinding { kind, address, text: text.into() });
    }

    fn note(&mut self, text: impl Into<String>) {
        self.notes.push(text.into());
    }
}

impl fmt::Display for LintReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut findings = self.findings.iter().peekable();
        while let Some(first) = findings.next() {
            writeln!(f, "{}", first.text)?;
            let mut of_a_kind = 1;
            while let Some(next) = findings.next_if(|next| next.kind == first.kind) {
                of_a_kind += 1;
                if of_a_kind <= MOST_OF_A_KIND {
                    writeln!(f, "{}", next.text)?;
                }
            }
            if of_a_kind > MOST_OF_A_KIND {
                writeln!(f, "... and {} more of this kind", of_a_kind - MOST_OF_A_KIND)?;
            }
        }
        if self.findings.is_empty() {
            writeln!(f, "nothing found")?;
        }
        self.notes.iter().try_for_each(|note| writeln!(f, "note: {note}"))
    }
}

#[cfg(test)]
#[path = "lint/lint_test.rs"]
mod tests;

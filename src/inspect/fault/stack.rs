//! RSP beside the stacks that are known: the boot stack, and those that the guest file names.
//!
//! A stack that has grown over other data is seen in two ways: RSP lies below its stack, or a descriptor table holds
//! what only a stack holds. Both are facts; only together with a third they are called a stack overflow.
//!
//! Manual: Intel SDM volume 3A, "64-Bit Mode Stack Frame".

use std::fmt::Write;
use std::ops::Range;

use serde::Serialize;

use crate::arch::descriptor::IN_LDT;
use crate::arch::{PAGE_SIZE, Registers};
use crate::boot::{Contents, Symbol};
use crate::inspect::interrupt_frame::{RFLAGS_ONE, RFLAGS_ZEROS};
use crate::inspect::values::load;
use crate::memory::GuestMemory;

/// Farthest distance of RSP below a stack at which the two have something to do with each other.
const FARTHEST: u64 = 1 << 20;
/// Most bytes of the IDT that are examined: 32 gates.
const TABLE: u64 = 512;
/// Most bytes that an instruction pushes.
const LARGEST_PUSH: u64 = 64;
/// Bytes at the lowest address of a stack that are not all zeros if it is full.
const LOWEST_PART: u64 = 128;
/// Bytes of an exception frame in long mode: RIP, CS, RFLAGS, RSP and SS.
const FRAME: u64 = 40;

/// A stack whose bounds are known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownStack {
    /// Its name in a sentence; `None` if the lowest address is not known.
    pub name: Option<String>,
    /// Its addresses, or those that may belong to it.
    pub range: Range<u64>,
}

/// What is known of the guest's memory besides its contents.
pub struct Surroundings<'a> {
    /// The stacks.
    pub stacks: &'a [KnownStack],
    /// The section that an address lies in.
    pub contents: &'a dyn Fn(u64) -> Option<Contents>,
    /// The symbol of an address.
    pub symbol: &'a dyn Fn(u64) -> Option<Symbol>,
}

/// What RSP and the descriptor tables show about the stack.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StackFinding {
    /// RSP, or below it the address at which the exception was raised by a push.
    pub address: u64,
    /// It is that of a push.
    pub is_push: bool,
    /// The nearest stack above the address, if it lies in none.
    pub below: Option<BelowStack>,
    /// The section of instructions that the address lies in; empty for a segment.
    pub code_section: Option<String>,
    /// RIP lies in the same section, above the address.
    pub reaches_code: bool,
    /// A descriptor table that a stack has overwritten.
    pub overwritten: Option<OverwrittenTable>,
}

/// A stack above RSP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BelowStack {
    /// Its name in a sentence.
    pub name: String,
    /// Bytes from there to its lowest address.
    pub distance: u64,
    /// The lowest part of the stack is in use, or a write between RSP and there has raised the exception.
    pub is_full: bool,
}

/// A descriptor table that holds what only a stack holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OverwrittenTable {
    /// The IDT, not the GDT.
    pub idt: bool,
    /// Where in it.
    pub address: u64,
    /// What is there.
    pub word: StackWord,
}

/// What only a stack holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum StackWord {
    /// An address of code: a return address. No gate or descriptor has such a value.
    CodeAddress {
        /// The address.
        address: u64,
        /// The function it belongs to.
        symbol: Option<Symbol>,
    },
    /// The frame of an exception or interrupt.
    ExceptionFrame,
}

/// Compares RSP with the stacks that are known, and searches the descriptor tables for what a stack holds. `None` if
/// nothing is wrong that this shows. `fault` is the address of a write that raised an exception.
pub fn examine(
    memory: &GuestMemory,
    registers: &Registers,
    fault: Option<u64>,
    surroundings: &Surroundings<'_>,
) -> Option<StackFinding> {
    // Elsewhere stacks lie in segments, and frames look different.
    if !registers.mode().is_long() {
        return None;
    }
    let rsp = registers.general.rsp;
    // A push with RSP 0 wraps around.
    let push = fault.filter(|fault| *fault < rsp && (1..=LARGEST_PUSH).contains(&rsp.wrapping_sub(*fault)));
    let address = push.unwrap_or(rsp);
    let system = &registers.system;
    // The limit may be larger than the table.
    let selectors = registers.segments().map(|(_, segment)| segment.selector);
    let used = selectors.into_iter().chain([system.tr.selector]).filter(|selector| selector & IN_LDT == 0);
    let used = used.map(|selector| u64::from(selector | 7) + 1).max().unwrap_or(0);
    let tables = [(true, system.idt, TABLE), (false, system.gdt, used)];
    let overwritten = tables.into_iter().find_map(|(idt, table, used)| {
        let size = u64::from(table.limit).saturating_add(1).min(used);
        let (address, word) = stack_word(memory, registers, table.base, size, surroundings)?;
        Some(OverwrittenTable { idt, address, word })
    });
    let stacks = surroundings.stacks;
    let is_in_stack = is_in(stacks, address, false) || (push.is_none() && is_in(stacks, address, true));
    let contents = if is_in_stack { None } else { (surroundings.contents)(address) };
    let contents = contents.filter(|contents| contents.executable);
    let rip = registers.next_instruction();
    let finding = StackFinding {
        address,
        reaches_code: contents.is_some() && address <= rip && (surroundings.contents)(rip) == contents,
        is_push: push.is_some(),
        below: if is_in_stack { None } else { below(memory, registers, address, fault, stacks) },
        code_section: contents.map(|contents| contents.section),
        overwritten,
    };
    finding.says_something().then_some(finding)
}

/// True if `address` may lie in one of the stacks; `empty`: it is RSP, which is the end of an empty stack.
fn is_in(stacks: &[KnownStack], address: u64, empty: bool) -> bool {
    stacks.iter().any(|stack| stack.range.contains(&address) || empty && stack.range.end == address)
}

/// The nearest stack above `address`, which lies in none.
fn below(
    memory: &GuestMemory,
    registers: &Registers,
    address: u64,
    fault: Option<u64>,
    stacks: &[KnownStack],
) -> Option<BelowStack> {
    let above = stacks.iter().filter(|stack| stack.range.start > address);
    let nearest = above.min_by_key(|stack| stack.range.start)?;
    let start = nearest.range.start;
    let distance = start - address;
    let name = nearest.name.clone().filter(|_| distance <= FARTHEST)?;
    // Another stack, without a name, may lie below one of which little is in use.
    let is_full = (start..start.saturating_add(LOWEST_PART))
        .step_by(8)
        .any(|address| load(memory, registers, address, 8).is_some_and(|word| word != 0));
    // What lies between RSP and the stack is a local variable of a function that has left the stack.
    let is_full = is_full || fault.is_some_and(|fault| (address..start).contains(&fault));
    Some(BelowStack { name, distance, is_full })
}

/// The first word of a descriptor table that only a stack holds.
fn stack_word(
    memory: &GuestMemory,
    registers: &Registers,
    base: u64,
    size: u64,
    surroundings: &Surroundings<'_>,
) -> Option<(u64, StackWord)> {
    // Everything that a stack holds is aligned to eight bytes.
    let first = base.checked_next_multiple_of(8)?;
    let words = (first..base.checked_add(size)?).step_by(8);
    let read = |address| load(memory, registers, address, 8);
    for address in words.filter(|address| !is_in(surroundings.stacks, *address, false)) {
        let Some(word) = read(address).filter(|word| *word != 0) else { continue };
        if is_frame(registers, address, &read) {
            return Some((address, StackWord::ExceptionFrame));
        }
        if (surroundings.contents)(word).is_some_and(|contents| contents.executable) {
            let symbol = (surroundings.symbol)(word.wrapping_sub(1));
            let symbol = symbol.map(|symbol| Symbol { offset: symbol.offset + 1, ..symbol });
            return Some((address, StackWord::CodeAddress { address: word, symbol }));
        }
    }
    None
}

/// True if the frame of an exception lies at `address`: it holds the address just above itself as RSP.
fn is_frame(registers: &Registers, address: u64, read: &dyn Fn(u64) -> Option<u64>) -> bool {
    let field = |index: u64| address.checked_add(8 * index).and_then(read);
    let (Some(cs), Some(flags), Some(rsp)) = (field(1), field(2), field(3)) else { return false };
    let end = address.wrapping_add(FRAME);
    // The frame is aligned to 16 bytes, after a push of up to 15 bytes.
    cs == u64::from(registers.system.cs.selector)
        && flags & RFLAGS_ZEROS == 0
        && flags & RFLAGS_ONE != 0
        && rsp.wrapping_sub(end) < 16
}

impl StackFinding {
    /// True if it adds to the report: RSP far below a stack alone may be in another one that has no name.
    fn says_something(&self) -> bool {
        self.is_overflow() || self.code_section.is_some() || self.overwritten.is_some()
    }

    /// True if the stack has overflowed: all of it is in use, and RSP has left it for the page below it, for code, or
    /// across a table that a stack has overwritten.
    fn is_overflow(&self) -> bool {
        self.below.as_ref().is_some_and(|below| {
            let start = self.address.saturating_add(below.distance);
            let table = self.overwritten.as_ref().map(|overwritten| overwritten.address);
            let has_left = below.distance <= PAGE_SIZE
                || self.code_section.is_some()
                || table.is_some_and(|table| (self.address..start).contains(&table));
            below.is_full && has_left
        })
    }

    /// One or two sentences, without the last full stop. With `named`, the report has called it a stack overflow.
    pub fn sentence(&self, named: bool) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let below = self.below.as_ref().filter(|_| self.is_overflow());
        if below.is_some() || self.code_section.is_some() {
            let subject = if self.is_push { "What is pushed goes to" } else { "RSP is" };
            let _ = write!(text, "{subject} {:#x}", self.address);
            if let Some(BelowStack { name, distance, .. }) = below {
                let _ = write!(text, ", {distance:#x} bytes below {name}");
            }
            match self.code_section.as_deref() {
                Some("") => text.push_str(", among the guest's instructions"),
                Some(section) => {
                    let _ = write!(text, ", in section `{section}`");
                }
                None => {}
            }
            if self.is_overflow() && !named {
                text.push_str(": a stack overflow");
            }
            if self.is_overflow() && self.reaches_code {
                text.push_str(", which has reached the code at RIP");
            }
        }
        if let Some(OverwrittenTable { idt, address, word }) = &self.overwritten {
            if !text.is_empty() {
                text.push_str(". ");
            }
            let table = if *idt { "IDT" } else { "GDT" };
            let _ = write!(text, "A stack has overwritten the {table}: at {address:#x} it holds ");
            let _ = match word {
                StackWord::ExceptionFrame => write!(text, "the frame of an exception"),
                StackWord::CodeAddress { address, symbol: None } => {
                    write!(text, "{address:#x}, an address of code")
                }
                StackWord::CodeAddress { address, symbol: Some(symbol) } => {
                    write!(text, "{address:#x} ({symbol}), an address of code")
                }
            };
        }
        text
    }
}

#[cfg(test)]
#[path = "stack_test.rs"]
mod tests;

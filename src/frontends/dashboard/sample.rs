//! What the dashboard shows of a machine, read at one moment: code, stack, memory, mapped ranges and exits as values.
//!
//! The functions here are pure: from memory, registers and symbols to a [`Sample`].

use crate::arch::Registers;
use crate::arch::paging::{Paging, Rights};
use crate::boot::Symbol;
use crate::inspect::disassembly::{self, LONGEST_INSTRUCTION};
use crate::inspect::mappings::each_page;
use crate::inspect::translate::read_virtual;
use crate::inspect::values::load;
use crate::machine::exit_counts::ExitCounts;
use crate::memory::GuestMemory;
use crate::supervisor::stopped_machine::{RunStatus, StoppedMachine};

/// Maximum distance to the start of a function whose instructions are listed before an address, in bytes.
const FARTHEST_START: u64 = 2048;
/// Distance at which decoding starts where there is no symbol, in bytes.
const BLIND_START: u64 = 64;
/// Maximum number of mapped pages that are looked at.
const MOST_PAGES: usize = 1 << 14;
/// Maximum number of mapped ranges.
const MOST_RANGES: usize = 512;

/// What a sample contains; addresses that are `None` follow the registers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Linear address of the instruction in the middle of the code.
    pub code: Option<u64>,
    /// Linear address in the middle of the stack.
    pub stack: Option<u64>,
    /// Linear address in the middle of the memory.
    pub memory: Option<u64>,
    /// Number of lines before and after the middle.
    pub lines: usize,
    /// The mapped ranges are read.
    pub maps: bool,
}

/// Lines around one of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing<T> {
    /// By ascending addresses.
    pub lines: Vec<T>,
    /// Index of the line that was asked for.
    pub middle: usize,
}

impl<T> Default for Listing<T> {
    fn default() -> Listing<T> {
        Listing { lines: Vec::new(), middle: 0 }
    }
}

/// An instruction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CodeLine {
    /// Its linear address.
    pub address: u64,
    /// The symbol that begins here.
    pub label: Option<String>,
    /// In Intel syntax.
    pub text: String,
    /// Linear address that a jump or call leads to.
    pub target: Option<u64>,
    /// The symbol there.
    pub target_symbol: Option<String>,
    /// A breakpoint is set here.
    pub breakpoint: bool,
}

/// A word of memory, as wide as an address of the mode the CPU is in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Word {
    /// Its linear address.
    pub address: u64,
    /// What it holds; `None` if no RAM is mapped there.
    pub value: Option<u64>,
    /// Its bytes.
    pub size: u8,
    /// The symbol that the value points to.
    pub symbol: Option<String>,
}

/// Neighbouring pages with the same rights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MappedRange {
    /// The first linear address.
    pub start: u64,
    /// The last one.
    pub last: u64,
    /// What all of it allows.
    pub rights: Rights,
}

/// The machine at one moment.
#[derive(Clone, Debug, Default)]
pub struct Sample {
    /// What the guest does; `None` once its run is over.
    pub status: Option<RunStatus>,
    /// A debugger is connected.
    pub is_debugged: bool,
    /// The CPU that registers and addresses belong to, from 0.
    pub cpu: u8,
    /// Number of CPUs.
    pub cpu_count: usize,
    /// Registers of the CPU; `None` if the host does not return them.
    pub registers: Option<Registers>,
    /// The symbol of the next instruction.
    pub place: Option<String>,
    /// Instructions around [`Wanted::code`].
    pub code: Listing<CodeLine>,
    /// Words around [`Wanted::stack`].
    pub stack: Listing<Word>,
    /// Words around [`Wanted::memory`].
    pub memory: Listing<Word>,
    /// The mapped ranges, if they were wanted; empty without paging.
    pub maps: Option<Vec<MappedRange>>,
    /// Exits since the start.
    pub exits: ExitCounts,
}

/// A guest whose registers have been read.
pub struct Guest<'a> {
    /// Its memory.
    pub memory: &'a GuestMemory,
    /// Registers of one CPU.
    pub registers: &'a Registers,
    /// The symbol that an address lies in.
    pub symbol: &'a dyn Fn(u64) -> Option<Symbol>,
    /// True if a breakpoint is set at an address.
    pub breakpoint: &'a dyn Fn(u64) -> bool,
}

impl Sample {
    /// Reads a stopped machine.
    pub fn take(machine: &dyn StoppedMachine, wanted: &Wanted) -> Sample {
        let mut sample = Sample {
            status: Some(machine.status()),
            is_debugged: machine.is_debugged(),
            cpu: machine.selected_cpu().number(),
            cpu_count: machine.cpu_count(),
            exits: machine.exit_counts(),
            ..Sample::default()
        };
        let Ok(registers) = machine.registers() else { return sample };
        let guest = Guest {
            memory: machine.memory(),
            registers: &registers,
            symbol: &|address| machine.symbol_at(address),
            breakpoint: &|address| machine.points().breakpoints().any(|(_, at)| at == address),
        };
        let here = registers.next_instruction();
        sample.place = guest.symbol_text(here);
        sample.code = guest.code(wanted.code.unwrap_or(here), wanted.lines);
        sample.stack = guest.words(wanted.stack.unwrap_or_else(|| registers.top_of_stack()), wanted.lines);
        if let Some(address) = wanted.memory {
            sample.memory = guest.words(address, wanted.lines);
        }
        sample.maps = wanted.maps.then(|| guest.maps());
        sample.registers = Some(registers);
        sample
    }
}

impl Guest<'_> {
    fn symbol_text(&self, address: u64) -> Option<String> {
        (self.symbol)(address).map(|symbol| symbol.to_string())
    }

    /// The instruction at `address` and at most `lines` before and after it.
    pub fn code(&self, address: u64, lines: usize) -> Listing<CodeLine> {
        let mut listing = Listing { lines: self.code_before(address, lines), middle: 0 };
        listing.middle = listing.lines.len();
        let mut next = address;
        for _ in 0..=lines {
            let Some((line, length)) = self.instruction(next) else { break };
            listing.lines.push(line);
            match next.checked_add(length) {
                Some(address) => next = address,
                None => break,
            }
        }
        listing
    }

    /// The instructions that end at `address`, decoded from the start of the function. Without a symbol, decoding
    /// starts a little before it, where that leads to `address`.
    fn code_before(&self, address: u64, lines: usize) -> Vec<CodeLine> {
        let Some(last) = address.checked_sub(1) else { return Vec::new() };
        let starts = match (self.symbol)(last) {
            Some(symbol) if symbol.offset < FARTHEST_START => {
                let start = last - symbol.offset.min(last);
                start..=start
            }
            _ => address.saturating_sub(BLIND_START)..=last,
        };
        starts.into_iter().find_map(|start| self.code_between(start, address)).map_or_else(
            Vec::new,
            |mut code| {
                code.drain(..code.len().saturating_sub(lines));
                code
            },
        )
    }

    /// The instructions from `start` to `end`; `None` if none of them ends there.
    fn code_between(&self, start: u64, end: u64) -> Option<Vec<CodeLine>> {
        let (mut code, mut next) = (Vec::new(), start);
        while next < end {
            let (line, length) = self.instruction(next)?;
            next = next.checked_add(length)?;
            code.push(line);
        }
        (next == end).then_some(code)
    }

    /// The instruction at `address` and its length; `None` if nothing is mapped there.
    fn instruction(&self, address: u64) -> Option<(CodeLine, u64)> {
        let mut bytes = [0; LONGEST_INSTRUCTION];
        let count = read_virtual(self.memory, self.registers, address, &mut bytes);
        let first = *bytes[..count].first()?;
        // Jumps are relative to the instruction pointer, which counts from the base of CS.
        let base = self.registers.next_instruction().wrapping_sub(self.registers.general.rip);
        let decoded =
            disassembly::decode(&bytes[..count], self.registers.bitness(), address.wrapping_sub(base));
        let mut line = CodeLine {
            address,
            label: (self.symbol)(address).filter(|symbol| symbol.offset == 0).map(|symbol| symbol.name),
            text: format!("(bad) {first:#04x}"),
            breakpoint: (self.breakpoint)(address),
            ..CodeLine::default()
        };
        let Some(decoded) = decoded else { return Some((line, 1)) };
        line.text = decoded.text;
        line.target = decoded.target.map(|target| target.wrapping_add(base));
        line.target_symbol = line.target.and_then(|target| self.symbol_text(target));
        Some((line, decoded.length as u64))
    }

    /// The word at `address` and at most `lines` before and after it.
    pub fn words(&self, address: u64, lines: usize) -> Listing<Word> {
        let size = (self.registers.bitness() / 8) as u8;
        let step = u64::from(size);
        let before = (address / step).min(lines as u64);
        let start = address - before * step;
        let addresses =
            (0..=before + lines as u64).map_while(|line| start.checked_add(line.checked_mul(step)?));
        let word = |address| {
            let value = load(self.memory, self.registers, address, size);
            let symbol = value.filter(|value| *value != 0).and_then(|value| self.symbol_text(value));
            Word { address, value, size, symbol }
        };
        Listing { lines: addresses.map(word).collect(), middle: before as usize }
    }

    /// The mapped ranges, as far as they are found among a limited number of pages.
    pub fn maps(&self) -> Vec<MappedRange> {
        let paging = Paging::new(self.registers, Paging::WIDEST);
        let (mut ranges, mut pages): (Vec<MappedRange>, _) = (Vec::new(), 0);
        if paging.levels() == 0 {
            return ranges;
        }
        each_page(&paging, self.memory, 0, &mut |page| {
            let (last, rights) = (page.address + (page.size - 1), page.mapping.rights);
            match ranges.last_mut() {
                Some(range) if range.last.checked_add(1) == Some(page.address) && range.rights == rights => {
                    range.last = last;
                }
                _ => ranges.push(MappedRange { start: page.address, last, rights }),
            }
            pages += 1;
            pages < MOST_PAGES && ranges.len() < MOST_RANGES
        });
        ranges
    }
}

#[cfg(test)]
#[path = "sample_test.rs"]
mod tests;

//! What the dashboard shows of a machine, read at one moment: code, stack, memory, mapped ranges, events and exits as
//! values.
//!
//! The functions here are pure: from memory, registers and symbols to a [`Sample`].

use std::time::{Duration, Instant};

use crate::arch::Registers;
use crate::boot::{SourcePlace, Symbol};
use crate::inspect::disassembly::{self, LONGEST_INSTRUCTION};
use crate::inspect::events::EventList;
use crate::inspect::maps::{DescribedMaps, Maps};
use crate::inspect::source_text::SourceFiles;
use crate::inspect::translate::read_virtual;
use crate::inspect::values::load;
use crate::machine::exit_counts::ExitCounts;
use crate::memory::GuestMemory;
use crate::supervisor::stopped_machine::{GuestNames, RunStatus, StoppedMachine};

/// Maximum distance to the start of a function whose instructions are listed before an address, in bytes.
const FARTHEST_START: u64 = 2048;
/// Distance at which decoding starts where there is no symbol, in bytes.
const BLIND_START: u64 = 64;
/// Maximum number of entries of page tables that are looked at.
pub const MOST_ENTRIES: usize = 1 << 15;
/// Maximum number of lines of events.
const MOST_EVENTS: usize = 256;
/// Time that a sample takes to look source lines up at most: the machine is stopped meanwhile.
const SOURCE_TIME: Duration = Duration::from_millis(20);

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
    /// The source line that begins here: that of this instruction, if the one before has another.
    pub source: Option<SourceLine>,
}

/// A source line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceLine {
    /// Where it is.
    pub place: SourcePlace,
    /// What is written there, if the source file is at hand; see [`Sample::add_source_texts`].
    pub text: Option<String>,
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
    /// The mapped ranges, if they were wanted.
    pub maps: Option<DescribedMaps>,
    /// The last events.
    pub events: EventList,
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
    /// The source line of the instruction at an address.
    pub source: &'a dyn Fn(u64) -> Option<SourcePlace>,
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
            events: machine.events(MOST_EVENTS),
            ..Sample::default()
        };
        let Ok(registers) = machine.registers() else { return sample };
        let guest = Guest {
            memory: machine.memory(),
            registers: &registers,
            symbol: &|address| machine.symbol_at(address),
            source: &|address| machine.source_at(address),
            breakpoint: &|address| machine.points().breakpoints().any(|(_, at)| at == address),
        };
        let here = registers.next_instruction();
        sample.place = guest.symbol_text(here);
        sample.code = guest.code(wanted.code.unwrap_or(here), wanted.lines);
        sample.stack = guest.words(wanted.stack.unwrap_or_else(|| registers.top_of_stack()), wanted.lines);
        if let Some(address) = wanted.memory {
            sample.memory = guest.words(address, wanted.lines);
        }
        sample.maps = wanted.maps.then(|| {
            let maps = Maps::capture_at_most(guest.memory, &registers, 0, MOST_ENTRIES);
            maps.describe(guest.memory, &GuestNames(machine))
        });
        sample.registers = Some(registers);
        sample
    }

    /// Adds the texts of source lines; not while the machine is stopped, because it reads files.
    pub fn add_source_texts(&mut self, files: &mut SourceFiles) {
        for source in self.code.lines.iter_mut().filter_map(|line| line.source.as_mut()) {
            source.text = files.line(&source.place);
        }
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
        self.add_sources(&mut listing.lines);
        listing
    }

    /// Adds the source lines, as far as they are found in time.
    fn add_sources(&self, lines: &mut [CodeLine]) {
        let (start, mut before) = (Instant::now(), None);
        for line in lines {
            if start.elapsed() > SOURCE_TIME {
                return;
            }
            let Some(place) = (self.source)(line.address) else { continue };
            if before.as_ref() != Some(&place) {
                line.source = Some(SourceLine { place: place.clone(), text: None });
                before = Some(place);
            }
        }
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
}

#[cfg(test)]
#[path = "sample_test.rs"]
mod tests;

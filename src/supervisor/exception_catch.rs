//! Exceptions that stop the guest, or are logged, at the first instruction of its own handler.
//!
//! The processor delivers an exception without an exit, so there are breakpoints at the handlers. They are found in the
//! IDT whenever the guest goes on (`Supervisor::find_handlers`): at the start, after each `lidt` that the guest file
//! has, which is a breakpoint, too, and at intervals (`periodic_attention.rs`). A gate that the guest sets behind
//! its `lidt` counts from the next of these on.
//!
//! Manual: Intel SDM volume 3A, "Exception- or Interrupt-Handler Procedures".

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use tracing::info;

use super::handlers;
use super::memory;
use super::run_control::Supervisor;
use crate::arch::error_code;
use crate::arch::exceptions::{has_error_code, names, short_name};
use crate::arch::{Mode, Registers};
use crate::boot::rescued_vector;
use crate::inspect::code_search::{self, Sought};
use crate::inspect::disassembly::LONGEST_INSTRUCTION;
use crate::inspect::translate::translate;
use crate::machine::CpuId;
use crate::machine::flight_recorder::Occurrence;
use crate::memory::GuestMemory;

/// Page fault: CR2 has the address.
const PAGE_FAULT: u8 = 14;
/// Non-maskable interrupt, the one vector of the first 32 with a name that is no exception.
const NMI: u8 = 2;
/// A bit of RFLAGS that is always 1.
const RFLAGS_RESERVED: u64 = 1 << 1;
/// Places in the guest file that load the IDT and get a breakpoint.
const MOST_LOADS: usize = 64;

/// A set of vectors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VectorSet([u64; 4]);

impl VectorSet {
    /// All exceptions that have a name.
    pub fn exceptions() -> VectorSet {
        let mut set = VectorSet::default();
        for vector in (0..=u8::MAX).filter(|vector| *vector != NMI && names(*vector).is_some()) {
            set.set(vector, true);
        }
        set
    }

    /// Adds a vector, or takes it out.
    pub fn set(&mut self, vector: u8, on: bool) {
        let (word, bit) = (usize::from(vector / 64), 1 << (vector % 64));
        self.0[word] = self.0[word] & !bit | if on { bit } else { 0 };
    }

    /// Adds all vectors of another set, or takes them out.
    pub fn set_all(&mut self, other: VectorSet, on: bool) {
        for vector in other.iter() {
            self.set(vector, on);
        }
    }

    /// True if the vector belongs to the set.
    pub fn has(&self, vector: u8) -> bool {
        self.0[usize::from(vector / 64)] >> (vector % 64) & 1 == 1
    }

    /// True if it is empty.
    pub fn is_empty(&self) -> bool {
        *self == VectorSet::default()
    }

    /// Its vectors, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u8> + '_ {
        (0..=u8::MAX).filter(|vector| self.has(*vector))
    }
}

/// Which exceptions are reported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExceptionCatches {
    /// They stop the guest.
    pub stops: VectorSet,
    /// They are written to the log.
    pub logged: VectorSet,
}

impl ExceptionCatches {
    /// True if there are any.
    pub fn any(&self) -> bool {
        *self != ExceptionCatches::default()
    }

    /// All of them.
    fn vectors(&self) -> impl Iterator<Item = u8> + '_ {
        (0..=u8::MAX).filter(|vector| self.stops.has(*vector) || self.logged.has(*vector))
    }
}

/// Where exceptions are noticed.
#[derive(Debug, Default)]
pub(crate) struct HandlerPoints {
    /// Linear addresses of first instructions, each with its vectors.
    handlers: BTreeMap<u64, Vec<u8>>,
    /// Linear addresses at which the guest file loads the IDT, once they were searched for.
    loads: Option<BTreeSet<u64>>,
}

impl HandlerPoints {
    /// All addresses.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = u64> + '_ {
        self.handlers.keys().copied().chain(self.loads.iter().flatten().copied())
    }

    /// True if there is one at `address`.
    pub(crate) fn is_at(&self, address: u64) -> bool {
        self.handlers.contains_key(&address) || self.is_load(address)
    }

    /// True if the guest loads the IDT at `address`.
    pub(crate) fn is_load(&self, address: u64) -> bool {
        self.loads.as_ref().is_some_and(|loads| loads.contains(&address))
    }

    /// Forgets what the guest file has: it was loaded again.
    pub(crate) fn forget(&mut self) {
        *self = HandlerPoints::default();
    }
}

/// What the handler of an exception finds on its stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct ExceptionFrame {
    /// `None` if the exception has none, or a software interrupt has the same vector.
    error_code: Option<u32>,
    rip: u64,
    cs: u16,
    /// RIP as a linear address.
    address: u64,
}

impl ExceptionFrame {
    /// The frame of `vector` at the top of the stack; `None` if it cannot be read.
    fn read(guest: &GuestMemory, registers: &Registers, vector: u8) -> Option<ExceptionFrame> {
        let word = match registers.mode() {
            Mode::Real => 2,
            mode if mode.is_long() => 8,
            _ if registers.bitness() == 16 => 2,
            _ => 4,
        };
        let top = registers.top_of_stack();
        let load = |index: u64| {
            let mut bytes = [0; 8];
            let place = &mut bytes[..word as usize];
            let whole =
                memory::read(guest, Some(registers), top.wrapping_add(index * word), place) == place.len();
            whole.then(|| u64::from_le_bytes(bytes))
        };
        let with_code = has_error_code(vector) && registers.mode() != Mode::Real;
        // A software interrupt of the same number has no error code: its flags are where CS would be.
        let looks_right = |first: u64| {
            let (cs, flags) = (load(first + 1), load(first + 2));
            cs.is_some_and(|cs| cs & 0xFFFF != 0) && flags.is_some_and(|flags| flags & RFLAGS_RESERVED != 0)
        };
        let with_code = with_code && (looks_right(1) || !looks_right(0));
        let first = u64::from(with_code);
        let (rip, cs) = (load(first)?, load(first + 1)? as u16);
        let base = if registers.mode() == Mode::Real { u64::from(cs) << 4 } else { 0 };
        Some(ExceptionFrame {
            error_code: if with_code { load(0).map(|code| code as u32) } else { None },
            rip,
            cs,
            address: base.wrapping_add(rip),
        })
    }

    /// Bits of the selector that name the ring it was raised in.
    fn ring(&self) -> u16 {
        self.cs & 3
    }
}

impl Supervisor<'_> {
    /// True if a breakpoint, a log point or a handler at `address` is to be looked at there.
    pub(crate) fn has_point(&self, address: u64) -> bool {
        self.session.points.is_at(address) || self.handler_points.is_at(address)
    }

    /// Finds the handlers of the exceptions that are reported, as the IDTs of these CPUs have them now.
    pub(super) fn find_handlers(&mut self, positions: &[(CpuId, Registers, u64)]) {
        if !self.session.catches.any() {
            self.handler_points.forget();
            return;
        }
        if self.handler_points.loads.is_none() {
            let (loads, _) = code_search::find(self.machine, Sought::IdtLoad, MOST_LOADS);
            self.handler_points.loads = Some(loads.into_iter().collect());
        }
        let mut found: BTreeMap<u64, Vec<u8>> = BTreeMap::new();
        let guest = self.machine.memory();
        for (_, registers, _) in positions {
            for vector in self.session.catches.vectors() {
                if let Some(address) = handlers::entry(guest, registers, vector)
                    && !is_first_idt(guest, registers, address)
                {
                    let vectors = found.entry(address).or_default();
                    if !vectors.contains(&vector) {
                        vectors.push(vector);
                    }
                }
            }
        }
        self.handler_points.handlers = found;
    }

    /// The addresses of handlers, and of instructions that load the IDT where memory still has one.
    pub(super) fn handler_addresses(&self, registers: &Registers) -> Vec<u64> {
        let guest = self.machine.memory();
        let is_load = |address: u64| {
            let mut code = [0; LONGEST_INSTRUCTION];
            let count = memory::read(guest, Some(registers), address, &mut code);
            Sought::IdtLoad.is_at(&code[..count], registers.bitness())
        };
        let points = &self.handler_points;
        points.addresses().filter(|address| !points.is_load(*address) || is_load(*address)).collect()
    }

    /// The guest is at the first instruction of a handler: records and logs the exception; the text for the user if it
    /// stops the guest.
    pub(super) fn catch_exception(&mut self, registers: &Registers, pc: u64) -> Option<String> {
        let vectors = self.handler_points.handlers.get(&pc)?.clone();
        // A CPU that is halted has not reached the instruction yet.
        if self.machine.cpu(self.cpu).is_halted() {
            return None;
        }
        let vector = *vectors.first()?;
        let frame = ExceptionFrame::read(self.machine.memory(), registers, vector);
        let text = self.exception_text(&vectors, frame, registers, pc);
        self.machine.record(
            self.cpu,
            Occurrence::Exception {
                vector,
                error_code: frame.and_then(|frame| frame.error_code),
                rip: frame.map_or(0, |frame| frame.rip),
            },
        );
        let catches = &self.session.catches;
        if vectors.iter().any(|vector| catches.logged.has(*vector)) {
            info!(target: "kvm::trace", "{text}");
        }
        vectors.iter().any(|vector| catches.stops.has(*vector)).then(|| format!("caught {text}\n"))
    }

    /// `#PF at 0x200010 (main+0x2): error code 0x2 (not present, write, supervisor), CR2 0x0; handler 0x200100
    /// (on_page_fault)`.
    fn exception_text(
        &self,
        vectors: &[u8],
        frame: Option<ExceptionFrame>,
        registers: &Registers,
        pc: u64,
    ) -> String {
        let place = |address: u64| match self.machine.symbol_at(address) {
            Some(symbol) => format!("{address:#x} ({symbol})"),
            None => format!("{address:#x}"),
        };
        let names: Vec<String> = vectors.iter().map(|vector| short_name(*vector)).collect();
        let mut text = names.join(" or ");
        let vector = vectors.first().copied().unwrap_or_default();
        // Writing to a String cannot fail.
        let _ = match frame {
            Some(frame) if frame.ring() > 0 => {
                write!(text, " in ring {} at {}", frame.ring(), place(frame.address))
            }
            Some(frame) => write!(text, " at {}", place(frame.address)),
            None => write!(text, ", whose frame cannot be read"),
        };
        text.push_str(&self.on_cpu());
        if let Some(code) = frame.and_then(|frame| frame.error_code) {
            let _ = write!(text, ": error code {code:#x}");
            if let Some(meaning) = error_code::decoded(vector, code) {
                let _ = write!(text, " ({meaning})");
            }
            if vector == PAGE_FAULT {
                let _ = write!(text, ", CR2 {:#x}", registers.system.cr2);
            }
        }
        let _ = write!(text, "; handler {}", place(pc));
        text
    }
}

/// True if `address` belongs to the IDT that the guest has started with: there is no handler of its own yet.
fn is_first_idt(guest: &GuestMemory, registers: &Registers, address: u64) -> bool {
    translate(guest, registers, address).is_some_and(|physical| rescued_vector(guest, physical).is_some())
}

#[cfg(test)]
#[path = "exception_catch_test.rs"]
mod tests;

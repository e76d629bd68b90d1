//! The interrupt descriptor table, and the interrupt vectors of real mode.
//!
//! Manual: Intel SDM volume 3A, "Interrupt Descriptor Table (IDT)" and "64-Bit Mode IDT".

use std::fmt;

use serde::Serialize;

use super::{is_writable, tss, write_notes};
use crate::arch::gate::{Gate, GateEntry, GateKind, MAX_GATE_SIZE};
use crate::arch::paging::{Access, Paging};
use crate::arch::{Mode, Registers};
use crate::boot::is_rescue_gate;
use crate::inspect::fault::delivery::handler_segment_problem;
use crate::inspect::fault::name;
use crate::inspect::hex;
use crate::inspect::names::{Names, place};
use crate::inspect::translate::read_virtual;
use crate::memory::GuestMemory;

/// Bytes that long mode pushes for an exception: SS, RSP, RFLAGS, CS, RIP and an error code.
const LONG_FRAME: u64 = 48;
/// Number of exception vectors.
const EXCEPTIONS: u8 = 32;

/// The entries of the IDT that are not empty.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct IdtView {
    /// Linear address of the table.
    #[serde(serialize_with = "hex::hex")]
    pub base: u64,
    /// Offset of its last byte.
    #[serde(serialize_with = "hex::hex")]
    pub limit: u16,
    /// Its entries, by their vectors.
    pub entries: Vec<IdtEntry>,
    /// Where the table is not mapped: the vector and the linear address of the first entry that cannot be read.
    #[serde(serialize_with = "hex::pair")]
    pub unmapped: Option<(u8, u64)>,
}

/// An entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct IdtEntry {
    /// Its vector.
    pub vector: u8,
    /// What it says, in a line.
    pub text: String,
    /// The linear address of the handler, in a gate that is present and leads to one.
    #[serde(serialize_with = "hex::optional")]
    pub handler: Option<u64>,
    /// Index of its stack in the interrupt stack table; 0 for none.
    pub ist: u8,
    /// It is one of those that a guest starts with, which end the run with a report of the exception.
    pub is_first: bool,
    /// What is wrong with it.
    pub notes: Vec<String>,
}

impl IdtView {
    /// Decodes the IDT of a CPU.
    pub fn of(memory: &GuestMemory, registers: &Registers, names: &dyn Names) -> IdtView {
        let table = registers.system.idt;
        let mut view = IdtView { base: table.base, limit: table.limit, entries: Vec::new(), unmapped: None };
        for vector in 0..=u8::MAX {
            let Some(entry) = GateEntry::of(registers, vector) else { break };
            let mut bytes = [0; MAX_GATE_SIZE];
            let size = entry.size();
            if read_virtual(memory, registers, entry.address, &mut bytes[..size]) < size {
                view.unmapped = Some((vector, entry.address));
                break;
            }
            if bytes.iter().any(|byte| *byte != 0) {
                view.entries.push(decode(memory, registers, names, vector, entry.decode(bytes)));
            }
        }
        view
    }
}

fn decode(
    memory: &GuestMemory,
    registers: &Registers,
    names: &dyn Names,
    vector: u8,
    gate: Option<Gate>,
) -> IdtEntry {
    let mut entry =
        IdtEntry { vector, text: String::new(), handler: None, ist: 0, is_first: false, notes: Vec::new() };
    let Some(gate) = gate else {
        entry.text = "no valid gate".to_owned();
        entry.notes.push("its type is none that the table may hold: use 0xE for interrupts".to_owned());
        return entry;
    };
    if registers.mode() == Mode::Real {
        let linear = (u64::from(gate.selector) << 4) + gate.offset;
        entry.text = format!("{:04x}:{:04x}, {}", gate.selector, gate.offset, place(names, linear));
        entry.handler = Some(linear);
        return entry;
    }
    let kind = match gate.kind {
        GateKind::Interrupt => "interrupt",
        GateKind::Trap => "trap",
        GateKind::Task => {
            entry.text = format!("task gate, selector {:#x}, ring {}", gate.selector, gate.dpl);
            return entry;
        }
    };
    let ist = if gate.ist == 0 { String::new() } else { format!(", IST {}", gate.ist) };
    let present = if gate.is_present { "" } else { ", not present" };
    entry.text = format!(
        "{kind} gate to {}, selector {:#x}, ring {}{ist}{present}",
        place(names, gate.offset),
        gate.selector,
        gate.dpl
    );
    if gate.is_present {
        (entry.handler, entry.ist) = (Some(gate.offset), gate.ist);
        entry.is_first = is_rescue_gate(memory, &gate);
        check(memory, registers, &gate, &mut entry.notes);
    } else if vector < EXCEPTIONS {
        entry.notes.push(format!("{} without it becomes #NP or a double fault; set bit 47", name(vector)));
    }
    entry
}

fn check(memory: &GuestMemory, registers: &Registers, gate: &Gate, notes: &mut Vec<String>) {
    if let Some(problem) = handler_segment_problem(memory, registers, gate.selector) {
        notes.push(format!("{problem}; name the code segment of the handler"));
        return;
    }
    let paging = Paging::new(registers, Paging::WIDEST);
    let fetch = Access { fetch: true, ..Access::default() };
    if !paging.is_canonical(gate.offset) {
        notes.push(format!("the handler's address {:#x} is not canonical", gate.offset));
    } else if let Err(fault) = paging.check(memory, gate.offset, fetch) {
        notes.push(match fault.code & 1 {
            0 => format!("nothing is mapped at the handler's address {:#x}", gate.offset),
            _ => format!("the handler's page at {:#x} is not executable", gate.offset),
        });
    }
    if registers.mode().is_long() && gate.ist != 0 {
        let stack = tss::stack_of_ist(memory, registers, gate.ist);
        notes.extend(match stack {
            None => {
                Some(format!("the task state segment has no IST {}; load TR with one of 104 bytes", gate.ist))
            }
            Some(0) => {
                Some(format!("IST {} is 0; write the top of a stack to the task state segment", gate.ist))
            }
            Some(rsp) => {
                let top = rsp & !0xF;
                let frame = [top.wrapping_sub(LONG_FRAME), top.wrapping_sub(1)];
                (!frame.iter().all(|address| is_writable(memory, registers, *address)))
                    .then(|| format!("IST {} is {rsp:#x}, below which nothing writable is mapped", gate.ist))
            }
        });
    }
}

impl fmt::Display for IdtView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "IDT at {:#x}, limit {:#x}", self.base, self.limit)?;
        let are_first = |one: &IdtEntry, next: &IdtEntry| one.is_first && next.is_first;
        for entries in self.entries.chunk_by(are_first) {
            match entries {
                [first, .., last] => writeln!(
                    f,
                    "{:#04x} to {:#04x}: as at the start, the exception ends the run with a report",
                    first.vector, last.vector
                )?,
                [entry] => {
                    writeln!(f, "{:#04x}: {}", entry.vector, entry.text)?;
                    write_notes(f, &entry.notes)?;
                }
                [] => {}
            }
        }
        if let Some((vector, address)) = self.unmapped {
            writeln!(f, "{vector:#04x}: nothing is mapped at {address:#x}")?;
        } else if self.entries.is_empty() {
            writeln!(f, "no gate is set")?;
        }
        Ok(())
    }
}

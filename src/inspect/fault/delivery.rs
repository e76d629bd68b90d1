//! Why an exception could not be delivered: the IDT, its gates, their code segments and stacks.
//!
//! Manual: Intel SDM volume 3A, "Interrupt Descriptor Table", "Exception- or Interrupt-Handler Procedures" and
//! "64-Bit Mode IDT".

use serde::Serialize;

use super::access::is_canonical;
use super::{SelectorProblem, selector, stack32};
use crate::arch::gate::{Gate, GateEntry, GateKind, MAX_GATE_SIZE};
use crate::arch::paging::{Access, Paging};
use crate::arch::{Mode, PAGE_SIZE, Registers};
use crate::boot::is_rescue_gate;
use crate::inspect::translate::read_virtual;
use crate::inspect::values::load;
use crate::memory::GuestMemory;

/// Exception vectors.
const EXCEPTIONS: u8 = 32;
/// Bytes that long mode pushes for an exception: SS, RSP, RFLAGS, CS, RIP and an error code.
const LONG_FRAME: u64 = 48;
/// Offsets in the task state segment of long mode (Intel SDM volume 3A, "Task Management in 64-bit Mode").
const TSS_RSP0: u64 = 4;
const TSS_IST1: u64 = 36;

/// Why an event could not be delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct DeliveryFailure {
    /// The vector.
    pub vector: u8,
    /// What is wrong with its gate, or with what that leads to.
    pub problem: DeliveryProblem,
}

/// What is wrong with a gate, or with what it leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum DeliveryProblem {
    /// There is no gate that is present: there is no usable IDT.
    NoTable,
    /// The gate lies beyond the limit of the IDT.
    BeyondLimit {
        /// Offset of the table's last byte.
        limit: u16,
    },
    /// The gate does not lie in mapped RAM.
    Unmapped {
        /// Its linear address.
        address: u64,
    },
    /// The gate is not present.
    NotPresent,
    /// It is no interrupt or trap gate.
    WrongType,
    /// The selector of the handler's code segment.
    Segment {
        /// The selector.
        selector: u16,
        /// What is wrong with it.
        problem: SelectorProblem,
    },
    /// The handler's address is not canonical.
    Handler {
        /// The address.
        address: u64,
    },
    /// The handler's stack is in the task state segment, which is not loaded or too short for it.
    NoTaskState,
    /// The selector of the handler's stack in a 32-bit or 16-bit task state segment.
    StackSegment {
        /// The selector.
        selector: u16,
        /// What is wrong with it.
        problem: SelectorProblem,
    },
    /// The exception frame does not fit into the stack segment.
    StackLimit {
        /// The stack pointer before the push.
        esp: u64,
        /// Offset of the segment's last byte; of one that grows downwards, of the last byte below it.
        limit: u32,
    },
    /// The stack of the handler: the exception frame cannot be pushed.
    Stack {
        /// The stack pointer before the push.
        rsp: u64,
        /// From the task state segment, not the guest's RSP.
        from_task_state: bool,
        /// Writable memory lies just above: the stack has overflowed.
        overflow: bool,
    },
}

/// Why the event `vector` could not be delivered; `None` if nothing is wrong that the tables show.
pub fn failure(memory: &GuestMemory, registers: &Registers, vector: u8) -> Option<DeliveryFailure> {
    let found = |problem| Some(DeliveryFailure { vector, problem });
    let is_loaded = has_gates(memory, registers) || is_gate(memory, registers, vector);
    let Some(entry) = GateEntry::of(registers, vector) else {
        return found(match is_loaded {
            true => DeliveryProblem::BeyondLimit { limit: registers.system.idt.limit },
            false => DeliveryProblem::NoTable,
        });
    };
    let mut bytes = [0; MAX_GATE_SIZE];
    if read_virtual(memory, registers, entry.address, &mut bytes[..entry.size()]) < entry.size() {
        return found(DeliveryProblem::Unmapped { address: entry.address });
    }
    if !is_loaded {
        return found(DeliveryProblem::NoTable);
    }
    // An empty entry has no valid type either; that it is empty says more.
    let Some(gate) = entry.decode(bytes) else {
        return found(match bytes == [0; MAX_GATE_SIZE] {
            true => DeliveryProblem::NotPresent,
            false => DeliveryProblem::WrongType,
        });
    };
    if !gate.is_present {
        return found(DeliveryProblem::NotPresent);
    }
    if registers.mode() == Mode::Real || gate.kind == GateKind::Task {
        return None;
    }
    if let Some(problem) = selector::handler_segment(memory, registers, gate.selector) {
        return found(DeliveryProblem::Segment { selector: gate.selector, problem });
    }
    if registers.mode().is_long() {
        if !is_canonical(registers, gate.offset) {
            return found(DeliveryProblem::Handler { address: gate.offset });
        }
        return stack(memory, registers, &gate).and_then(found);
    }
    stack32::problem(memory, registers, &gate, vector).and_then(found)
}

/// What is wrong with the selector of a handler's code segment, in words; `None` if nothing is.
pub fn handler_segment_problem(memory: &GuestMemory, registers: &Registers, selector: u16) -> Option<String> {
    selector::handler_segment(memory, registers, selector).map(|problem| problem.sentence(selector))
}

/// True if the IDT has a gate that is present for any of the exceptions, or one for another interrupt that leads to a
/// code segment: memory that is no table may look like a present gate, but hardly like that.
pub fn has_gates(memory: &GuestMemory, registers: &Registers) -> bool {
    (0..EXCEPTIONS).any(|vector| is_gate(memory, registers, vector))
        || (EXCEPTIONS..=u8::MAX).any(|vector| {
            present_gate(memory, registers, vector)
                .is_some_and(|gate| selector::handler_segment(memory, registers, gate.selector).is_none())
        })
}

fn is_gate(memory: &GuestMemory, registers: &Registers, vector: u8) -> bool {
    present_gate(memory, registers, vector).is_some()
}

fn present_gate(memory: &GuestMemory, registers: &Registers, vector: u8) -> Option<Gate> {
    let entry = GateEntry::of(registers, vector)?;
    let mut bytes = [0; MAX_GATE_SIZE];
    let read = read_virtual(memory, registers, entry.address, &mut bytes[..entry.size()]);
    // Those that the guest starts with are not the guest's.
    let is_the_guests = |gate: &Gate| gate.is_present && !is_rescue_gate(memory, gate);
    if read < entry.size() { None } else { entry.decode(bytes).filter(is_the_guests) }
}

/// What is wrong with the stack that the handler of `gate` gets in long mode.
fn stack(memory: &GuestMemory, registers: &Registers, gate: &Gate) -> Option<DeliveryProblem> {
    let selector::Found::Descriptor(code) = selector::find(memory, registers, gate.selector) else {
        return None;
    };
    let ring = if code.is_conforming() { registers.ring() } else { code.dpl() };
    let from_task_state = gate.ist != 0 || ring < registers.ring();
    let rsp = if from_task_state {
        let offset = match gate.ist {
            0 => TSS_RSP0 + 8 * u64::from(ring),
            ist => TSS_IST1 + 8 * (u64::from(ist) - 1),
        };
        let task = registers.system.tr;
        if task.unusable == 1 || u64::from(task.limit) < offset + 7 {
            return Some(DeliveryProblem::NoTaskState);
        }
        load(memory, registers, task.base.wrapping_add(offset), 8)?
    } else {
        registers.general.rsp
    };
    let paging = Paging::new(registers, Paging::WIDEST);
    let access = Access { write: true, implicit: true, ..Access::default() };
    let top = rsp & !0xF;
    let writable =
        |address: u64| paging.is_canonical(address) && paging.check(memory, address, access).is_ok();
    if writable(top.wrapping_sub(LONG_FRAME)) && writable(top.wrapping_sub(1)) {
        return None;
    }
    let page = rsp & !(PAGE_SIZE - 1);
    let overflow = !from_task_state && (0..2).any(|pages| writable(page.wrapping_add(pages * PAGE_SIZE)));
    Some(DeliveryProblem::Stack { rsp, from_task_state, overflow })
}

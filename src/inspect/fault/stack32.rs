//! The stack of an exception handler in protected mode, outside of long mode.
//!
//! Manual: Intel SDM volume 3A, "Exception- or Interrupt-Handler Procedures", "32-Bit Task-State Segment (TSS)" and
//! "16-Bit Task-State Segment (TSS)".

use super::delivery::DeliveryProblem;
use super::{SelectorProblem, selector};
use crate::arch::descriptor::{Descriptor, is_null, rpl};
use crate::arch::exceptions::has_error_code;
use crate::arch::gate::Gate;
use crate::arch::paging::{Access, Paging};
use crate::arch::{PAGE_SIZE, Registers};
use crate::inspect::values::load;
use crate::memory::GuestMemory;

/// Types of a 32-bit task state segment, with the busy bit clear.
const TSS_32: u8 = 9;
/// The busy bit.
const BUSY: u8 = 2;
/// Type of a data segment: grows downwards.
const GROWS_DOWN: u8 = 1 << 2;
/// Largest offset in a 16-bit stack.
const LARGEST_16: u64 = 0xFFFF;

/// The stack that a handler gets.
struct Stack {
    base: u64,
    limit: u32,
    grows_down: bool,
    is_big: bool,
    esp: u64,
}

/// What is wrong with the stack that the handler of `gate` gets.
pub(super) fn problem(
    memory: &GuestMemory,
    registers: &Registers,
    gate: &Gate,
    vector: u8,
) -> Option<DeliveryProblem> {
    let selector::Found::Descriptor(code) = selector::find(memory, registers, gate.selector) else {
        return None;
    };
    let ring = if code.is_conforming() { registers.ring() } else { code.dpl() };
    let inner = ring < registers.ring();
    let stack = match inner {
        true => match of_task(memory, registers, ring)? {
            Ok(stack) => stack,
            Err(problem) => return Some(problem),
        },
        false => own(registers),
    };
    let values = if inner { 5 } else { 3 } + u64::from(has_error_code(vector));
    let size = values * u64::from(gate.width);
    let last = if stack.is_big { u64::from(u32::MAX) } else { LARGEST_16 };
    let esp = stack.esp & last;
    let lowest = esp.wrapping_sub(size) & last;
    let highest = esp.wrapping_sub(1) & last;
    let limit = u64::from(stack.limit);
    let fits = lowest <= highest
        && match stack.grows_down {
            true => lowest > limit && highest <= last,
            false => highest <= limit,
        };
    if !fits {
        return Some(DeliveryProblem::StackLimit { esp, limit: stack.limit });
    }
    let paging = Paging::new(registers, Paging::WIDEST);
    let access = Access { write: true, implicit: true, ..Access::default() };
    let linear = |offset: u64| stack.base.wrapping_add(offset) & u64::from(u32::MAX);
    let writable = |address: u64| paging.check(memory, address, access).is_ok();
    if writable(linear(lowest)) && writable(linear(highest)) {
        return None;
    }
    let page = linear(esp) & !(PAGE_SIZE - 1);
    let overflow = !inner && (0..2).any(|pages| writable(page + pages * PAGE_SIZE));
    Some(DeliveryProblem::Stack { rsp: esp, from_task_state: inner, overflow })
}

/// The stack that is in use.
fn own(registers: &Registers) -> Stack {
    let segment = registers.system.ss;
    Stack {
        base: segment.base,
        limit: segment.limit,
        grows_down: segment.type_ & GROWS_DOWN != 0,
        is_big: segment.db == 1,
        esp: registers.general.rsp,
    }
}

/// The stack for `ring` in the task state segment; `None` if it cannot be read.
fn of_task(memory: &GuestMemory, registers: &Registers, ring: u8) -> Option<Result<Stack, DeliveryProblem>> {
    let task = registers.system.tr;
    let size = if task.type_ & !BUSY == TSS_32 { 4 } else { 2 };
    let offset = size + 2 * size * u64::from(ring);
    if task.unusable == 1 || u64::from(task.limit) < offset + size + 1 {
        return Some(Err(DeliveryProblem::NoTaskState));
    }
    let at = task.base.wrapping_add(offset);
    let esp = load(memory, registers, at, size as u8)?;
    let selector = load(memory, registers, at.wrapping_add(size), 2)? as u16;
    let bad = |problem| Some(Err(DeliveryProblem::StackSegment { selector, problem }));
    if is_null(selector) {
        return bad(SelectorProblem::Null);
    }
    let descriptor: Descriptor = match selector::find(memory, registers, selector) {
        selector::Found::Descriptor(descriptor) => descriptor,
        selector::Found::Beyond(problem) => return bad(problem),
        selector::Found::Unreadable => return None,
    };
    if rpl(selector) != ring || descriptor.dpl() != ring || !descriptor.is_writable() {
        return bad(SelectorProblem::WrongType);
    }
    if !descriptor.is_present() {
        return bad(SelectorProblem::NotPresent);
    }
    Some(Ok(Stack {
        base: descriptor.base(),
        limit: descriptor.limit(),
        grows_down: descriptor.kind() & GROWS_DOWN != 0,
        is_big: descriptor.is_big(),
        esp,
    }))
}

//! Delivery of software interrupts and exceptions, and return from their handlers.
//!
//! | file | what |
//! |---|---|
//! | `gate.rs` | what the interrupt descriptor table says about a vector |
//! | `delivery.rs` | entering a handler in protected and long mode |
//! | `real.rs` | entering a handler in real mode |
//! | `iret.rs` | leaving a handler |
//! | `loading.rs` | loading CS and SS on entry and return |
//! | `task_state.rs` | the stacks for inner rings in the task state segment |
//! | `stack.rs` | pushing and popping |
//!
//! Manual: Intel SDM volume 2, "INT n/INTO/INT3/INT1" and "IRET/IRETD/IRETQ", and volume 3A,
//! "Interrupt and Exception Handling"; AMD APM volume 2, "Exceptions and Interrupts".

mod delivery;
mod gate;
mod iret;
mod loading;
mod real;
mod stack;
mod task_state;
#[cfg(test)]
#[path = "events_test.rs"]
mod tests;

use iced_x86::{Code, Instruction, Mnemonic};

use super::Obstacle;
use super::cpu::{Cpu, Mode};
use super::exception::{EmulationError, Exception};
use crate::arch::flags::{CR4_VME, RFLAGS_RF};

pub(super) use iret::interrupt_return;

/// RFLAGS: the last addition overflowed.
const OVERFLOW_FLAG: u64 = 1 << 11;
/// RFLAGS: I/O privilege level.
const IOPL: u64 = 3 << 12;
/// RFLAGS: nested task.
const NESTED_TASK: u64 = 1 << 14;
/// Error code: raised during delivery of an event that the program did not request.
const EXTERNAL: u32 = 1;
/// The part of a selector that an error code contains.
const SELECTOR_IN_CODE: u16 = !3;

/// An event that is being delivered. Its handler returns to RIP.
#[derive(Clone, Copy, Debug)]
struct Event {
    vector: u8,
    /// The error code that is pushed.
    code: Option<u32>,
    /// The program requested it by `int n`, `int3` or `into`.
    software: bool,
}

impl Event {
    /// The lowest bit in the error code of an exception raised during delivery.
    fn external(&self) -> u32 {
        if self.software { 0 } else { EXTERNAL }
    }

    /// The error code of an exception raised during delivery because of `selector`.
    fn code(&self, selector: u16) -> u32 {
        u32::from(selector & SELECTOR_IN_CODE) | self.external()
    }
}

/// Executes `int n`, `int3`, `int1` or `into`.
pub(super) fn software_interrupt(cpu: &mut Cpu, instruction: &Instruction) -> Result<(), EmulationError> {
    let next = instruction.next_ip();
    let flags = cpu.registers.general.rflags;
    let vector = match instruction.mnemonic() {
        Mnemonic::Int3 => 3,
        Mnemonic::Int1 => 1,
        Mnemonic::Into if flags & OVERFLOW_FLAG == 0 => {
            cpu.pass(next);
            return Ok(());
        }
        Mnemonic::Into => 4,
        _ => instruction.immediate8(),
    };
    if cpu.mode() == Mode::Virtual8086 && instruction.code() == Code::Int_imm8 {
        if cpu.registers.system.cr4 & CR4_VME != 0 {
            return Err(Obstacle::Virtual8086Extensions.into());
        }
        if flags & IOPL != IOPL {
            return Err(Exception::protection(0).into());
        }
    }
    cpu.registers.general.rip = next;
    // `int1` is delivered as if the processor itself had raised it.
    let software = instruction.mnemonic() != Mnemonic::Int1;
    deliver(cpu, Event { vector, code: None, software })?;
    // The handler was entered with TF clear, before there could be a step.
    cpu.single_step = false;
    Ok(())
}

/// Delivers an exception that the instruction at RIP raised: the guest continues in its handler, or in that
/// of the double fault. [`EmulationError::Exception`] stands for a triple fault.
pub(super) fn raise(cpu: &mut Cpu, exception: Exception) -> Result<(), EmulationError> {
    // The instruction restarts after the handler: its breakpoint has already been reported.
    cpu.registers.general.rflags |= RFLAGS_RF;
    raise_here(cpu, exception)
}

/// Delivers the debug exception after an instruction that began with TF set. RIP is behind the instruction.
/// [`EmulationError::Exception`] stands for a triple fault.
pub(super) fn single_step(cpu: &mut Cpu) -> Result<(), EmulationError> {
    raise_here(cpu, Exception::DEBUG)
}

/// Delivers an exception, or the one that results if delivery raises further exceptions.
fn raise_here(cpu: &mut Cpu, mut exception: Exception) -> Result<(), EmulationError> {
    let mut start = cpu.registers;
    loop {
        if let Some(address) = exception.address {
            start.system.cr2 = address;
        }
        cpu.registers = start;
        let event = Event { vector: exception.vector, code: exception.code, software: false };
        match deliver(cpu, event) {
            Err(EmulationError::Exception(second)) => {
                if exception == Exception::DOUBLE_FAULT {
                    cpu.registers = start;
                    return Err(second.into());
                }
                if let Some(address) = second.address {
                    start.system.cr2 = address;
                }
                exception = together(exception, second);
            }
            done => return done,
        }
    }
}

/// The exception to deliver if `second` is raised during delivery of `first` (Intel SDM volume 3A,
/// "Conditions for Generating a Double Fault").
fn together(first: Exception, second: Exception) -> Exception {
    let double = matches!(
        (Class::of(first), Class::of(second)),
        (Class::Contributory | Class::PageFault, Class::Contributory) | (Class::PageFault, Class::PageFault)
    );
    if double { Exception::DOUBLE_FAULT } else { second }
}

/// How exceptions combine.
#[derive(PartialEq, Eq)]
enum Class {
    Benign,
    Contributory,
    PageFault,
}

impl Class {
    fn of(exception: Exception) -> Class {
        match exception.vector {
            0 | 10..=13 => Class::Contributory,
            14 => Class::PageFault,
            _ => Class::Benign,
        }
    }
}

/// Enters the handler of an event. The registers are undefined after an error.
fn deliver(cpu: &mut Cpu, event: Event) -> Result<(), EmulationError> {
    match cpu.mode() {
        Mode::Real => real::deliver(cpu, event),
        _ => delivery::deliver(cpu, event),
    }
}

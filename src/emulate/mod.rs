//! Emulation of instructions that KVM refuses.
//!
//! On a host without VT-x and AMD-V, KVM executes ring 0 with an emulator that knows only some instructions;
//! on every host KVM refuses some instructions that access device memory. The machine calls [`emulate()`] for
//! them. The result is what the manuals define: the instruction's effect, or the exception it raises.
//! Either all effects of an instruction reach the vCPU, or none.
//!
//! The emulator works on three traits: [`ProcessorState`], [`crate::arch::PhysicalMemory`] and [`Bus`].
//!
//! | file | what |
//! |---|---|
//! | `traits.rs` | what the emulator needs of a vCPU and of the devices |
//! | `vcpu.rs` | a KVM vCPU as a [`ProcessorState`] |
//! | `cpu.rs` | the registers an instruction works on, until it is complete |
//! | `access.rs` | memory as instructions access it: segments, paging, devices |
//! | `descriptors.rs` | segment descriptors in the guest's tables |
//! | `general.rs` | general registers by the names instructions give them |
//! | `events` | delivery of software interrupts and exceptions, and `iret` |
//! | `native` | instructions that only compute: the host's processor executes them on a copy |
//! | `system` | instructions that work on the processor's own state |
//! | `dry_run.rs` | the floating-point exception of an instruction, found without executing it for real |
//! | `exception.rs` | what an instruction can raise |
//! | `obstacle.rs` | why an instruction cannot be emulated |
//! | `counter.rs` | statistics |
//!
//! Manual: Intel SDM volume 2, and volume 3A, "Interrupt and Exception Handling".

mod access;
mod counter;
mod cpu;
mod descriptors;
mod dry_run;
mod events;
mod exception;
#[cfg(any(test, fuzzing))]
mod fuzzing;
mod general;
mod native;
mod obstacle;
#[cfg(test)]
mod opcode_map_test;
mod system;
#[cfg(any(test, fuzzing))]
#[cfg_attr(fuzzing, allow(dead_code))]
mod testing;
mod traits;
mod vcpu;

use iced_x86::{Decoder, DecoderError, DecoderOptions, Instruction, Mnemonic};

pub use counter::{EmulatedInstruction, EmulationCounter};
pub use dry_run::{FloatingPointException, floating_point_exception};
#[cfg(fuzzing)]
pub use fuzzing::emulate_anything;
pub use obstacle::Obstacle;
pub use traits::{Bus, ProcessorState, ProcessorStateError};

use crate::arch::PhysicalMemory;
use crate::arch::flags::{DR6_BS, DR6_MATCHES};
use cpu::Cpu;
use exception::{EmulationError, Exception};

/// Longest instruction, in bytes (Intel SDM volume 2A, "Instruction Format").
const LONGEST_INSTRUCTION: usize = 15;

/// The result of emulating an instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Emulated {
    /// It was executed, or its exception was delivered: the guest can continue.
    Done,
    /// Its exception could not be delivered, nor the double fault that followed.
    TripleFault,
    /// It cannot be emulated; the CPU state is unchanged.
    Unsupported(Obstacle),
}

/// Emulates the instruction at RIP, delivers the exception it raises, and counts it in `counter`.
///
/// `state` belongs to a vCPU between two instructions. All of RAM is in `memory`; `bus` receives the accesses
/// to other addresses.
///
/// # Errors
///
/// [`ProcessorStateError`] if the CPU state cannot be read or written.
pub fn emulate(
    state: &dyn ProcessorState,
    memory: &dyn PhysicalMemory,
    bus: &mut dyn Bus,
    counter: &mut EmulationCounter,
) -> Result<Emulated, ProcessorStateError> {
    let mut cpu = Cpu::new(state, memory, bus)?;
    let (emulated, raised) = emulate_on(&mut cpu)?;
    counter.note(&cpu.instruction, cpu.before().general.rip, raised);
    if emulated == Emulated::Done {
        counter.count(&cpu.instruction, cpu.before().general.rip);
    }
    Ok(emulated)
}

/// An exception that an instruction raises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RaisedHere {
    /// Its vector.
    pub vector: u8,
    /// The error code that it pushes.
    pub error_code: Option<u32>,
    /// What CR2 becomes: the linear address of a page fault.
    pub address: Option<u64>,
}

/// Delivers an exception that the instruction at RIP raises, in place of executing it: the guest continues in its handler.
///
/// `state` and `memory` are as for [`emulate()`].
///
/// # Errors
///
/// [`ProcessorStateError`] if the CPU state cannot be read or written.
pub fn deliver(
    raised: RaisedHere,
    state: &dyn ProcessorState,
    memory: &dyn PhysicalMemory,
    bus: &mut dyn Bus,
) -> Result<Emulated, ProcessorStateError> {
    let RaisedHere { vector, error_code: code, address } = raised;
    let mut cpu = Cpu::new(state, memory, bus)?;
    let emulated = match events::raise(&mut cpu, Exception { vector, code, address }) {
        Ok(()) => Emulated::Done,
        Err(EmulationError::Exception(_)) => Emulated::TripleFault,
        Err(EmulationError::Unsupported(obstacle)) => return Ok(Emulated::Unsupported(obstacle)),
        Err(EmulationError::Host(error)) => return Err(error),
    };
    cpu.commit()?;
    Ok(emulated)
}

/// Also returns the exception that the instruction itself has raised.
fn emulate_on(cpu: &mut Cpu) -> Result<(Emulated, Option<Exception>), ProcessorStateError> {
    let (mut done, mut stepped, mut raised) = (execute(cpu), false, None);
    if let Err(EmulationError::Exception(exception)) = done {
        raised = Some(exception);
        cpu.restart();
        done = events::raise(cpu, exception);
    } else if done.is_ok() && cpu.single_step {
        done = events::single_step(cpu);
        stepped = true;
    }
    let emulated = match done {
        Ok(()) => Emulated::Done,
        Err(EmulationError::Exception(_)) => Emulated::TripleFault,
        Err(EmulationError::Unsupported(obstacle)) => return Ok((Emulated::Unsupported(obstacle), raised)),
        Err(EmulationError::Host(error)) => return Err(error),
    };
    cpu.commit()?;
    if stepped {
        let dr6 = cpu.state.dr6()?;
        cpu.state.set_dr6(dr6 & !DR6_MATCHES | DR6_BS)?;
    }
    Ok((emulated, raised))
}

/// Fetches, decodes and executes one instruction.
fn execute(cpu: &mut Cpu) -> Result<(), EmulationError> {
    let mut bytes = [0; LONGEST_INSTRUCTION];
    let count = cpu.fetch(&mut bytes)?;
    let rip = cpu.registers.general.rip;
    let mut decoder = Decoder::with_ip(cpu.registers.bitness(), &bytes[..count], rip, DecoderOptions::NONE);
    let instruction = decoder.decode();
    if instruction.is_invalid() {
        return Err(not_an_instruction(cpu, &bytes[..count])?);
    }
    (cpu.instruction, cpu.code) = (instruction, bytes);
    dispatch(cpu, &instruction)
}

/// What `code`, which the decoder does not know as an instruction, raises, or why that is unknown.
fn not_an_instruction(cpu: &Cpu, code: &[u8]) -> Result<EmulationError, EmulationError> {
    let bitness = cpu.registers.bitness();
    // If this much has been fetched, the processor knows whether it needs more.
    let is_whole = code.len() >= LONGEST_INSTRUCTION;
    if !is_whole && is_incomplete(code, bitness) {
        return Ok(cpu.fetch_error(code.len()));
    }
    Ok(match native::undefined_exception(code, bitness)? {
        Some(exception) => exception.into(),
        // The decoder takes an instruction that is too long for an unknown one.
        None if is_whole && is_incomplete(&native::without_spare_prefix(code, bitness), bitness) => {
            cpu.fetch_error(code.len())
        }
        // In ring 3, the guest's kernel handles it.
        None if cpu.ring() == 3 => Exception::UNDEFINED.into(),
        None => Obstacle::Unknown.into(),
    })
}

/// True if `code`, which is no instruction, is the beginning of one that is longer.
fn is_incomplete(code: &[u8], bitness: u32) -> bool {
    let mut decoder = Decoder::new(bitness, code, DecoderOptions::NONE);
    let _ = decoder.decode();
    decoder.last_error() == DecoderError::NoMoreBytes
}

fn dispatch(cpu: &mut Cpu, instruction: &Instruction) -> Result<(), EmulationError> {
    match instruction.mnemonic() {
        Mnemonic::Int | Mnemonic::Int3 | Mnemonic::Int1 | Mnemonic::Into => {
            events::software_interrupt(cpu, instruction)
        }
        Mnemonic::Iret | Mnemonic::Iretd | Mnemonic::Iretq => events::interrupt_return(cpu, instruction),
        _ => match system::execute(cpu, instruction) {
            Err(EmulationError::Unsupported(Obstacle::NotAllowed)) => native::execute(cpu, instruction),
            done => done,
        },
    }
}

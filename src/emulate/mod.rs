//! Carrying on where KVM gives up: instructions it refuses are carried out here.
//!
//! A host without VT-x or AMD-V runs ring 0 by an emulator that knows only some instructions; and every
//! host gives up on some that reach for device memory. What comes out of it is what the manuals say
//! the processor does: the instruction's result, or the exception it raises.
//!
//! | file | what |
//! |---|---|
//! | `cpu.rs` | the registers an instruction works on, until all of it is done |
//! | `access.rs` | memory as instructions see it: segments, paging, devices |
//! | `descriptors.rs` | segment descriptors as they lie in the guest's tables |
//! | `general.rs` | general registers by the names instructions give them |
//! | `events` | software interrupts, exceptions on their way to a handler, and the way back |
//! | `native` | instructions that only compute: the host's processor does it on a copy |
//! | `system` | instructions that deal with the processor's own state |
//! | `exception.rs` | what an instruction can raise |
//! | `obstacle.rs` | why an instruction stays refused |
//! | `tally.rs` | how often it was done |
//! | `vcpu.rs` | what of a KVM vCPU the above needs |
//!
//! Manual: Intel SDM volume 2, and volume 3A, "Interrupt and Exception Handling".

mod access;
mod cpu;
mod descriptors;
mod events;
mod exception;
#[cfg(any(test, fuzzing))]
mod fuzzing;
mod general;
mod native;
mod obstacle;
mod system;
mod tally;
#[cfg(any(test, fuzzing))]
#[cfg_attr(fuzzing, allow(dead_code))]
mod testing;
mod vcpu;

use iced_x86::{Decoder, DecoderOptions, Instruction, Mnemonic};

#[cfg(fuzzing)]
pub use fuzzing::carry_out_anything;
pub use obstacle::Obstacle;
pub use tally::Tally;

use crate::arch::flags::{DR6_BS, DR6_MATCHES};
use crate::kvm::{HostError, Vcpu};
use cpu::Cpu;
use exception::{Exception, Trouble};

/// Longest instruction, in bytes (Intel SDM volume 2A, "Instruction Format").
const LONGEST_INSTRUCTION: usize = 15;

/// Memory that is not RAM, as an instruction reaches it.
pub trait Devices {
    /// Reads `size` bytes (1 to 8) at the guest-physical `address`, zero-extended.
    fn read(&mut self, address: u64, size: u8) -> u64;
    /// Writes the low `size` bytes (1 to 8) of `value` at the guest-physical `address`.
    fn write(&mut self, address: u64, size: u8, value: u64);
    /// RAM is accessed: `length` bytes at the guest-physical `address`, written if `write` says so and
    /// else read. What the processor does by itself, such as looking at page tables, is not told.
    fn ram_accessed(&mut self, address: u64, length: usize, write: bool) {
        let _ = (address, length, write);
    }
}

/// What came of carrying out an instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rescued {
    /// It was carried out, or its exception was delivered: the guest can run on.
    Done,
    /// Its exception could not be delivered, nor the double fault that followed.
    TripleFault,
    /// It cannot be carried out; the vCPU is as it was.
    Beyond(Obstacle),
}

/// Carries out the instruction at the RIP of `vcpu` in place of KVM, and counts it in `tally`. All of RAM must
/// be attached or in [`crate::memory`]; `devices` answers for the rest.
///
/// # Errors
///
/// [`HostError::Refused`] if the vCPU's registers cannot be read or written.
pub fn emulate(vcpu: &mut Vcpu, devices: &mut dyn Devices, tally: &mut Tally) -> Result<Rescued, HostError> {
    let memory = vcpu.memory().clone();
    let mut cpu = Cpu::new(vcpu, &memory, devices)?;
    let rescued = rescue(&mut cpu)?;
    if rescued == Rescued::Done {
        tally.count(&cpu.instruction, cpu.before().general.rip);
    }
    Ok(rescued)
}

fn rescue(cpu: &mut Cpu) -> Result<Rescued, HostError> {
    let (mut done, mut stepped) = (carry_out(cpu), false);
    if let Err(Trouble::Exception(exception)) = done {
        cpu.begin_again();
        done = events::raise(cpu, exception);
    } else if done.is_ok() && cpu.single_step {
        done = events::single_step(cpu);
        stepped = true;
    }
    let rescued = match done {
        Ok(()) => Rescued::Done,
        Err(Trouble::Exception(_)) => Rescued::TripleFault,
        Err(Trouble::Beyond(obstacle)) => return Ok(Rescued::Beyond(obstacle)),
        Err(Trouble::Host(error)) => return Err(error),
    };
    cpu.commit()?;
    if stepped {
        let dr6 = cpu.rest.dr6()?;
        cpu.rest.set_dr6(dr6 & !DR6_MATCHES | DR6_BS)?;
    }
    Ok(rescued)
}

/// Fetches, decodes and carries out one instruction.
fn carry_out(cpu: &mut Cpu) -> Result<(), Trouble> {
    let mut bytes = [0; LONGEST_INSTRUCTION];
    let count = cpu.fetch(&mut bytes)?;
    let rip = cpu.registers.general.rip;
    let mut decoder = Decoder::with_ip(cpu.registers.bitness(), &bytes[..count], rip, DecoderOptions::NONE);
    let instruction = decoder.decode();
    if instruction.is_invalid() {
        // Ring 3 may try anything: that is for the guest's kernel to see.
        return Err(if cpu.ring() == 3 { Exception::UNDEFINED.into() } else { Obstacle::Unknown.into() });
    }
    (cpu.instruction, cpu.code) = (instruction, bytes);
    dispatch(cpu, &instruction)
}

fn dispatch(cpu: &mut Cpu, instruction: &Instruction) -> Result<(), Trouble> {
    match instruction.mnemonic() {
        Mnemonic::Int | Mnemonic::Int3 | Mnemonic::Int1 | Mnemonic::Into => {
            events::software_interrupt(cpu, instruction)
        }
        Mnemonic::Iret | Mnemonic::Iretd | Mnemonic::Iretq => events::interrupt_return(cpu, instruction),
        _ => match system::carry_out(cpu, instruction) {
            Err(Trouble::Beyond(Obstacle::NotAllowed)) => native::carry_out(cpu, instruction),
            done => done,
        },
    }
}

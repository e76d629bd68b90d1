//! `rdtscp` and `rdpid`: the time-stamp counter and the number of the processor.
//!
//! Manual: Intel SDM volume 2, RDTSCP and RDPID.

use iced_x86::Instruction;

use super::feature::{RDPID, RDTSCP};
use super::set_edx_eax;
use crate::arch::flags::CR4_TSD;
use crate::emulate::Obstacle;
use crate::emulate::cpu::Cpu;
use crate::emulate::exception::{EmulationError, Exception};

/// MSR: time-stamp counter.
const IA32_TSC: u32 = 0x10;
/// MSR: the processor number that `rdtscp` and `rdpid` return.
const IA32_TSC_AUX: u32 = 0xC000_0103;

/// Executes `rdtscp`.
pub(super) fn rdtscp(cpu: &mut Cpu) -> Result<(), EmulationError> {
    cpu.needs(RDTSCP)?;
    if cpu.ring() != 0 && cpu.registers.system.cr4 & CR4_TSD != 0 {
        return Err(Exception::protection(0).into());
    }
    let time = cpu.state.msr(IA32_TSC)?.ok_or(Obstacle::NotOnThisProcessor)?;
    set_edx_eax(cpu, time);
    cpu.registers.general.rcx = processor(cpu)?;
    Ok(())
}

/// Executes `rdpid`.
pub(super) fn rdpid(cpu: &mut Cpu, instruction: &Instruction) -> Result<(), EmulationError> {
    cpu.needs(RDPID)?;
    let number = processor(cpu)?;
    cpu.set_general(instruction.op0_register(), number);
    Ok(())
}

fn processor(cpu: &Cpu) -> Result<u64, EmulationError> {
    Ok(cpu.state.msr(IA32_TSC_AUX)?.unwrap_or(0) & 0xFFFF_FFFF)
}

#[cfg(test)]
#[path = "clock_test.rs"]
mod tests;

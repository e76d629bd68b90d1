//! Instructions that deal with the processor's own state.
//!
//! | file | instructions |
//! |---|---|
//! | `xcr.rs` | `xgetbv`, `xsetbv` |
//! | `xsave` | `xsave`, `xrstor` and their variants |
//! | `clock.rs` | `rdtscp`, `rdpid` |
//! | `clac_stac.rs` | `clac`, `stac` |
//! | `selectors.rs` | `verr`, `verw`, `lar`, `lsl` |
//! | `cache.rs` | `clwb`, `clzero`, `cldemote`, `wbnoinvd`, `serialize` |
//! | `absent.rs` | those that a processor does not have unless CPUID says so |
//!
//! The guest's own CPUID determines whether the processor has an instruction.
//!
//! Manual: Intel SDM volume 2; AMD APM volume 3.

mod absent;
mod cache;
mod clac_stac;
mod clock;
mod feature;
mod selectors;
mod xcr;
mod xsave;

use iced_x86::{Instruction, Mnemonic};

use super::cpu::Cpu;
use super::exception::{EmulationError, Exception};

/// Executes `instruction`, or returns [`Obstacle::NotAllowed`] if it is not one of these.
pub(super) fn execute(cpu: &mut Cpu, instruction: &Instruction) -> Result<(), EmulationError> {
    match instruction.mnemonic() {
        Mnemonic::Xgetbv => xcr::get(cpu)?,
        Mnemonic::Xsetbv => xcr::set(cpu)?,
        Mnemonic::Xsave
        | Mnemonic::Xsave64
        | Mnemonic::Xsaveopt
        | Mnemonic::Xsaveopt64
        | Mnemonic::Xsavec
        | Mnemonic::Xsavec64
        | Mnemonic::Xsaves
        | Mnemonic::Xsaves64 => xsave::save(cpu, instruction)?,
        Mnemonic::Xrstor | Mnemonic::Xrstor64 | Mnemonic::Xrstors | Mnemonic::Xrstors64 => {
            xsave::restore(cpu, instruction)?;
        }
        Mnemonic::Rdtscp => clock::rdtscp(cpu)?,
        Mnemonic::Rdpid => clock::rdpid(cpu, instruction)?,
        Mnemonic::Clac => clac_stac::set(cpu, false)?,
        Mnemonic::Stac => clac_stac::set(cpu, true)?,
        Mnemonic::Verr | Mnemonic::Verw => selectors::verify(cpu, instruction)?,
        Mnemonic::Lar | Mnemonic::Lsl => selectors::load(cpu, instruction)?,
        Mnemonic::Clwb => cache::clwb(cpu, instruction)?,
        Mnemonic::Clzero => cache::clzero(cpu, instruction)?,
        Mnemonic::Wbnoinvd => supervisor(cpu)?,
        Mnemonic::Serialize => cpu.needs(feature::SERIALIZE)?,
        // A hint, and on processors that do not know it a `nop`.
        Mnemonic::Cldemote => {}
        _ => return absent::execute(cpu, instruction),
    }
    cpu.pass(instruction.next_ip());
    Ok(())
}

/// Permits only ring 0.
fn supervisor(cpu: &Cpu) -> Result<(), EmulationError> {
    if cpu.ring() == 0 { Ok(()) } else { Err(Exception::protection(0).into()) }
}

/// EDX:EAX.
fn edx_eax(cpu: &Cpu) -> u64 {
    let general = &cpu.registers.general;
    general.rdx << 32 | general.rax & 0xFFFF_FFFF
}

/// Writes EDX:EAX; the upper halves of RDX and RAX are cleared.
fn set_edx_eax(cpu: &mut Cpu, value: u64) {
    let general = &mut cpu.registers.general;
    (general.rax, general.rdx) = (value & 0xFFFF_FFFF, value >> 32);
}

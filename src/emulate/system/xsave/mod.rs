//! `xsave`, `xrstor` and their variants: register state on its way to memory and back.
//!
//! | file | what |
//! |---|---|
//! | `area.rs` | where each part of the state lies in memory |
//! | `save.rs` | `xsave`, `xsaveopt`, `xsavec`, `xsaves` |
//! | `restore.rs` | `xrstor`, `xrstors` |
//!
//! Segment selectors of the last x87 instruction are saved as 0, as processors do that have given
//! them up (CPUID.07H:EBX bit 13).
//!
//! Manual: Intel SDM volume 1, "Managing State Using the XSAVE Feature Set"; volume 2, the instructions.

mod area;
mod restore;
mod save;
#[cfg(test)]
#[allow(unsafe_code)]
#[path = "xsave_test.rs"]
mod tests;

use iced_x86::{Instruction, Mnemonic};

pub(super) use area::in_use;
pub(super) use restore::restore;
pub(super) use save::save;

use super::feature::XSAVES;
use super::{edx_eax, supervisor, xcr};
use crate::arch::flags::CR0_TS;
use crate::emulate::Obstacle;
use crate::emulate::cpu::Cpu;
use crate::emulate::exception::{EmulationError, Exception};

/// MSR: state that `xsaves` and `xrstors` manage besides that of XCR0.
const IA32_XSS: u32 = 0xDA0;
/// What the address of an area must be a multiple of.
const ALIGNMENT: u64 = 64;

/// The parameters of an instruction of this family.
struct Request {
    /// The requested-feature bitmap.
    parts: u64,
    /// XCR0.
    enabled: u64,
    /// The linear address of the area.
    address: u64,
    /// The x87 pointers have 64 bits and no selectors.
    wide_pointers: bool,
}

/// Performs all checks that precede memory accesses.
fn request(cpu: &mut Cpu, instruction: &Instruction) -> Result<Request, EmulationError> {
    let mnemonic = instruction.mnemonic();
    xcr::switched_on(cpu)?;
    if matches!(mnemonic, Mnemonic::Xsaves | Mnemonic::Xsaves64 | Mnemonic::Xrstors | Mnemonic::Xrstors64) {
        cpu.needs(XSAVES)?;
        supervisor(cpu)?;
        if cpu.state.msr(IA32_XSS)?.unwrap_or(0) & edx_eax(cpu) != 0 {
            return Err(Obstacle::NotAllowed.into());
        }
    }
    if cpu.registers.system.cr0 & CR0_TS != 0 {
        return Err(Exception::NO_DEVICE.into());
    }
    let (segment, offset) = cpu.effective_address(instruction)?;
    let address = cpu.linear(segment, offset, area::HEADER_END, false)?;
    if address % ALIGNMENT != 0 {
        return Err(Exception::protection(0).into());
    }
    let wide_pointers = matches!(
        mnemonic,
        Mnemonic::Xsave64
            | Mnemonic::Xsaveopt64
            | Mnemonic::Xsavec64
            | Mnemonic::Xsaves64
            | Mnemonic::Xrstor64
            | Mnemonic::Xrstors64
    );
    let enabled = cpu.state.xcr0()?;
    Ok(Request { parts: edx_eax(cpu) & enabled, enabled, address, wide_pointers })
}

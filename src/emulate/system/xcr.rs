//! `xgetbv` and `xsetbv`: which register state `xsave` manages.
//!
//! Manual: Intel SDM volume 2, XGETBV and XSETBV; volume 1, "Enabling the XSAVE Feature Set and
//! XSAVE-Enabled Features".

use super::feature::{XGETBV_1, XSAVE};
use super::xsave::in_use;
use super::{edx_eax, set_edx_eax, supervisor};
use crate::arch::flags::CR4_OSXSAVE;
use crate::emulate::Obstacle;
use crate::emulate::cpu::Cpu;
use crate::emulate::exception::{EmulationError, Exception};

/// XCR0: x87 state, which cannot be disabled.
const X87: u64 = 1;
/// XCR0: SSE state.
const SSE: u64 = 1 << 1;
/// XCR0: AVX state, which needs SSE.
const AVX: u64 = 1 << 2;
/// XCR0: both parts of MPX state.
const MPX: u64 = 3 << 3;
/// XCR0: the three parts of AVX-512 state, which need AVX.
const AVX512: u64 = 7 << 5;
/// XCR0: both parts of AMX state.
const AMX: u64 = 3 << 17;

/// # Errors
///
/// #UD unless the guest has enabled the XSAVE feature set.
pub(super) fn switched_on(cpu: &Cpu) -> Result<(), EmulationError> {
    cpu.needs(XSAVE)?;
    if cpu.registers.system.cr4 & CR4_OSXSAVE == 0 { Err(Exception::UNDEFINED.into()) } else { Ok(()) }
}

/// Executes `xgetbv`.
pub(super) fn get(cpu: &mut Cpu) -> Result<(), EmulationError> {
    switched_on(cpu)?;
    let value = match cpu.registers.general.rcx as u32 {
        0 => cpu.state.xcr0()?,
        1 if cpu.has(XGETBV_1) => in_use(cpu.extended()?) & cpu.state.xcr0()?,
        _ => return Err(Exception::protection(0).into()),
    };
    set_edx_eax(cpu, value);
    Ok(())
}

/// Executes `xsetbv`.
pub(super) fn set(cpu: &mut Cpu) -> Result<(), EmulationError> {
    switched_on(cpu)?;
    supervisor(cpu)?;
    let value = edx_eax(cpu);
    let [low, _, _, high] = cpu.state.cpuid(0xD, 0);
    let supported = u64::from(high) << 32 | u64::from(low);
    if cpu.registers.general.rcx as u32 != 0 || value & !supported != 0 || !is_consistent(value) {
        return Err(Exception::protection(0).into());
    }
    if cpu.state.set_xcr0(value)? { Ok(()) } else { Err(Obstacle::NotOnThisProcessor.into()) }
}

/// True if XCR0 enables no state without its prerequisites.
fn is_consistent(xcr0: u64) -> bool {
    let whole = |bits| xcr0 & bits == 0 || xcr0 & bits == bits;
    xcr0 & X87 != 0
        && (xcr0 & AVX == 0 || xcr0 & SSE != 0)
        && (xcr0 & AVX512 == 0 || xcr0 & AVX != 0)
        && whole(MPX)
        && whole(AVX512)
        && whole(AMX)
}

#[cfg(test)]
#[path = "xcr_test.rs"]
mod tests;

//! Whether the guest's processor would begin an instruction: the exceptions that depend on control
//! registers only, in the order of the manual.
//!
//! Manual: Intel SDM volume 2A, "Exception Conditions" of each class; volume 3A, "Priority Among
//! Simultaneous Exceptions and Interrupts".

use iced_x86::{EncodingKind, Instruction, Mnemonic};

use super::allowed::{Unit, uses_mmx_register};
use super::image;
use crate::arch::flags::{CR0_EM, CR0_MP, CR0_NE, CR0_TS, CR4_OSFXSR, CR4_OSXSAVE};
use crate::emulate::Obstacle;
use crate::emulate::cpu::{Cpu, Mode};
use crate::emulate::exception::{EmulationError, Exception};

/// FSW: an unmasked exception is pending.
pub const ERROR_SUMMARY: u16 = 1 << 7;

/// Checks whether `instruction` can begin.
///
/// # Errors
///
/// #UD, #NM and #MF; [`Obstacle::NotAllowed`] if the x87 error goes to an interrupt line.
pub fn check(cpu: &mut Cpu, instruction: &Instruction, unit: Unit) -> Result<(), EmulationError> {
    let system = &cpu.registers.system;
    let (cr0, cr4) = (system.cr0, system.cr4);
    let legacy = instruction.encoding() == EncodingKind::Legacy;
    if !legacy && matches!(cpu.mode(), Mode::Real | Mode::Virtual8086) {
        return Err(Exception::UNDEFINED.into());
    }
    match unit {
        Unit::General => return Ok(()),
        Unit::Fpu if instruction.mnemonic() == Mnemonic::Wait => {
            if cr0 & (CR0_MP | CR0_TS) == CR0_MP | CR0_TS {
                return Err(Exception::NO_DEVICE.into());
            }
        }
        Unit::Fpu => {
            if cr0 & (CR0_EM | CR0_TS) != 0 {
                return Err(Exception::NO_DEVICE.into());
            }
        }
        Unit::Mmx | Unit::Vector => {
            let enabled = if legacy {
                cr0 & CR0_EM == 0 && (unit == Unit::Mmx || cr4 & CR4_OSFXSR != 0)
            } else {
                let needed = components(instruction, unit);
                cr4 & CR4_OSXSAVE != 0 && cpu.state.xcr0()? & needed == needed
            };
            if !enabled {
                return Err(Exception::UNDEFINED.into());
            }
            if cr0 & CR0_TS != 0 {
                return Err(Exception::NO_DEVICE.into());
            }
        }
    }
    let waits = match unit {
        Unit::Fpu => !waits_for_nothing(instruction.mnemonic()),
        Unit::Mmx => true,
        _ => uses_mmx_register(instruction),
    };
    if waits && image::status(cpu.extended()?) & ERROR_SUMMARY != 0 {
        return Err(x87_error(cpu));
    }
    Ok(())
}

/// What a pending x87 error raises: #MF, or [`Obstacle::NotAllowed`] if it goes to an interrupt line.
pub fn x87_error(cpu: &Cpu) -> EmulationError {
    if cpu.registers.system.cr0 & CR0_NE == 0 { Obstacle::NotAllowed.into() } else { Exception::X87.into() }
}

/// The components of the extended registers that have to be switched on in XCR0 for `instruction`.
pub fn components(instruction: &Instruction, unit: Unit) -> u64 {
    let masks = (0..instruction.op_count()).any(|operand| instruction.op_register(operand).is_k());
    match instruction.encoding() {
        EncodingKind::Legacy => 0,
        EncodingKind::EVEX => image::SSE | image::AVX | image::AVX512,
        _ if masks => image::SSE | image::AVX | image::AVX512,
        _ if unit == Unit::General => 0,
        _ => image::SSE | image::AVX,
    }
}

/// x87 control instructions that do not check for a pending exception.
fn waits_for_nothing(mnemonic: Mnemonic) -> bool {
    matches!(
        mnemonic,
        Mnemonic::Fnclex
            | Mnemonic::Fninit
            | Mnemonic::Fnsave
            | Mnemonic::Fnstcw
            | Mnemonic::Fnstenv
            | Mnemonic::Fnstsw
            | Mnemonic::Fneni
            | Mnemonic::Fndisi
            | Mnemonic::Fnsetpm
    )
}

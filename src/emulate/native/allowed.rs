//! Which instructions may run: those of the extensions listed in `processor.rs` that compute from
//! registers and at most one memory operand.

use iced_x86::{CpuidFeature, FlowControl, Instruction, Mnemonic, OpKind, Register};

use super::processor;
use crate::emulate::Obstacle;

/// The unit of the processor that executes an instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// General registers and flags.
    General,
    /// The x87 unit.
    Fpu,
    /// MMX registers.
    Mmx,
    /// XMM, YMM, ZMM and mask registers, and whatever MXCSR controls: the conversions between floating-point
    /// numbers and MMX registers, too.
    Vector,
}

/// The unit `instruction` works in.
///
/// # Errors
///
/// [`Obstacle::NotAllowed`] if it is not one that may run.
pub fn unit(instruction: &Instruction) -> Result<Unit, Obstacle> {
    let mnemonic = instruction.mnemonic();
    if mnemonic == Mnemonic::Wait {
        return Ok(Unit::Fpu);
    }
    let known = instruction.cpuid_features().iter().all(|&feature| processor::is_known(feature));
    let plain = instruction.flow_control() == FlowControl::Next
        && !instruction.is_privileged()
        && !instruction.is_stack_instruction()
        && !instruction.is_vsib();
    if !known || !plain || is_for_kvm(mnemonic) {
        return Err(Obstacle::NotAllowed);
    }
    // A masked memory operand is accessed element by element, see `masked.rs`.
    if instruction.has_op_mask() && has_memory(instruction) {
        return Err(Obstacle::NotAllowed);
    }
    let (mut memory, mut mmx, mut vector) = (0, false, false);
    for operand in 0..instruction.op_count() {
        match instruction.op_kind(operand) {
            OpKind::Register => {
                let register = instruction.op_register(operand);
                mmx |= register.is_mm();
                vector |= register.is_vector_register() || register.is_k();
                if !is_ordinary(register) {
                    return Err(Obstacle::NotAllowed);
                }
            }
            OpKind::Memory => memory += 1,
            OpKind::Immediate8 | OpKind::Immediate8_2nd | OpKind::Immediate16 | OpKind::Immediate32 => {}
            // The implicit operand of maskmovq and maskmovdqu.
            OpKind::MemorySegDI | OpKind::MemorySegEDI | OpKind::MemorySegRDI => {}
            _ => return Err(Obstacle::NotAllowed),
        }
    }
    if memory > 1 {
        return Err(Obstacle::NotAllowed);
    }
    Ok(if is_x87(instruction) {
        Unit::Fpu
    } else if !vector && is_general(instruction) {
        Unit::General
    } else if (mmx && !vector && !converts_mmx(mnemonic)) || mnemonic == Mnemonic::Emms {
        Unit::Mmx
    } else {
        Unit::Vector
    })
}

/// True for extensions that work in general registers.
fn is_general(instruction: &Instruction) -> bool {
    let general = [
        CpuidFeature::ADX,
        CpuidFeature::BMI1,
        CpuidFeature::BMI2,
        CpuidFeature::CMOV,
        CpuidFeature::CMPXCHG16B,
        CpuidFeature::LZCNT,
        CpuidFeature::MOVBE,
        CpuidFeature::MOVDIRI,
        CpuidFeature::POPCNT,
    ];
    matches!(instruction.mnemonic(), Mnemonic::Crc32 | Mnemonic::Movnti)
        || instruction.cpuid_features().iter().all(|feature| general.contains(feature))
}

/// True if an operand is in memory.
pub fn has_memory(instruction: &Instruction) -> bool {
    (0..instruction.op_count()).any(|operand| instruction.op_kind(operand) == OpKind::Memory)
}

/// True if an MMX register is an operand.
pub fn uses_mmx_register(instruction: &Instruction) -> bool {
    (0..instruction.op_count()).any(|operand| instruction.op_register(operand).is_mm())
}

/// True for conversions between floating-point numbers and the integers of MMX: MXCSR controls them, also
/// where no XMM register is an operand.
fn converts_mmx(mnemonic: Mnemonic) -> bool {
    matches!(
        mnemonic,
        Mnemonic::Cvtpi2ps
            | Mnemonic::Cvtpi2pd
            | Mnemonic::Cvtps2pi
            | Mnemonic::Cvttps2pi
            | Mnemonic::Cvtpd2pi
            | Mnemonic::Cvttpd2pi
    )
}

/// True for what the x87 unit does.
pub fn is_x87(instruction: &Instruction) -> bool {
    let x87 = [CpuidFeature::FPU, CpuidFeature::FPU287, CpuidFeature::FPU387];
    instruction.cpuid_features().iter().any(|feature| x87.contains(feature))
}

/// True for registers that are computed with.
fn is_ordinary(register: Register) -> bool {
    register.is_gpr()
        || register.is_st()
        || register.is_mm()
        || register.is_vector_register()
        || register.is_k()
}

/// True for instructions of these extensions that order or prefetch memory: they have no result, and KVM
/// executes them.
fn is_for_kvm(mnemonic: Mnemonic) -> bool {
    matches!(
        mnemonic,
        Mnemonic::Sfence
            | Mnemonic::Lfence
            | Mnemonic::Mfence
            | Mnemonic::Prefetchnta
            | Mnemonic::Prefetcht0
            | Mnemonic::Prefetcht1
            | Mnemonic::Prefetcht2
    )
}

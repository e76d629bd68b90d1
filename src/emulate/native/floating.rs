//! Floating-point exceptions and pointers.
//!
//! An SSE or AVX instruction runs with its exceptions masked; the raised flags are examined afterwards. An
//! x87 exception is raised by the next instruction, so x87 instructions run unchanged.
//!
//! Manual: Intel SDM volume 1, "SSE and SSE2 Exceptions", "x87 FPU Exceptions in Detail".

use iced_x86::{Instruction, Mnemonic};

use super::allowed::{has_memory, is_x87};
use super::image;
use super::ready::ERROR_SUMMARY;
use super::stub::{Locked, StubInstruction};
use crate::arch::flags::CR4_OSXMMEXCPT;
use crate::emulate::Obstacle;
use crate::emulate::cpu::{Cpu, Extended, Mode};
use crate::emulate::exception::{EmulationError, Exception};

/// MXCSR: the exception flags.
const FLAGS: u32 = 0x3F;
/// MXCSR: exceptions detected before computation: invalid, denormal, divide by zero.
const BEFORE_COMPUTING: u32 = 0x07;
/// MXCSR: overflow and underflow.
const OUT_OF_RANGE: u32 = 0x18;
/// MXCSR: underflow.
const UNDERFLOW: u32 = 0x10;
/// MXCSR: from a flag to its mask.
const TO_MASKS: u32 = 7;
/// MXCSR: tiny results become zero.
const FLUSH_TO_ZERO: u32 = 1 << 15;
/// FSW and FCW: the exceptions.
const X87_FLAGS: u16 = 0x3F;
/// FSW and FCW: inexact result.
const X87_PRECISION: u16 = 0x20;

/// Runs an SSE or AVX instruction.
///
/// # Errors
///
/// #XM, or #UD where that is disabled, with the cause in MXCSR; [`Obstacle::NotAllowed`] for an unmasked
/// overflow or underflow: whether the result was inexact, too, cannot be determined.
pub fn run_vector(
    cpu: &mut Cpu,
    stub: &mut Locked,
    programmed: StubInstruction,
) -> Result<(), EmulationError> {
    let before = image::mxcsr(stub.extended());
    let unmasked = !(before >> TO_MASKS) & FLAGS;
    let mut masked = before & !FLAGS | FLAGS << TO_MASKS;
    if unmasked & UNDERFLOW != 0 {
        // A masked underflow is reported only if the result is inexact as well, an unmasked one always. With
        // flush-to-zero it is always reported, so that is tried first.
        image::set_mxcsr(stub.extended(), masked | FLUSH_TO_ZERO);
        stub.run(programmed);
        let raised = image::mxcsr(stub.extended());
        if raised & UNDERFLOW != 0 && raised & unmasked & BEFORE_COMPUTING == 0 {
            return Err(Obstacle::NotAllowed.into());
        }
        stub.set_general(&cpu.registers.general);
        stub.set_extended(cpu.extended()?);
        // Flush-to-zero applies to masked underflows only.
        masked &= !FLUSH_TO_ZERO;
    }
    image::set_mxcsr(stub.extended(), masked);
    stub.run(programmed);
    let raised = image::mxcsr(stub.extended()) & FLAGS;
    if raised & unmasked == 0 {
        image::set_mxcsr(stub.extended(), before | raised);
        return Ok(());
    }
    let flags = if raised & unmasked & BEFORE_COMPUTING != 0 {
        // Nothing was computed in any element.
        raised & BEFORE_COMPUTING
    } else if raised & unmasked & OUT_OF_RANGE != 0 {
        return Err(Obstacle::NotAllowed.into());
    } else {
        raised
    };
    let extended = cpu.extended_mut()?;
    image::bring_into_use(extended);
    image::set_mxcsr(extended, before | flags);
    cpu.keep_extended();
    let reports_simd = cpu.registers.system.cr4 & CR4_OSXMMEXCPT != 0;
    Err(if reports_simd { Exception::SIMD } else { Exception::UNDEFINED }.into())
}

/// Runs an x87 or MMX instruction; false if an exception of its own suppresses its write to memory.
///
/// The pointers to the last instruction and its operand are set to those of the guest if the processor has
/// changed them. Their selectors are 0, as on all recent processors.
///
/// # Errors
///
/// [`Obstacle::NotAllowed`] for `fnstenv` and the like in real mode, which has a format of its own.
pub fn run_x87(
    cpu: &Cpu,
    instruction: &Instruction,
    stub: &mut Locked,
    programmed: StubInstruction,
) -> Result<bool, EmulationError> {
    let mnemonic = instruction.mnemonic();
    let whole =
        matches!(mnemonic, Mnemonic::Fnstenv | Mnemonic::Fldenv | Mnemonic::Fnsave | Mnemonic::Frstor);
    if whole && matches!(cpu.mode(), Mode::Real | Mode::Virtual8086) {
        return Err(Obstacle::NotAllowed.into());
    }
    let before = Pointers::of(stub.extended());
    if !is_x87(instruction) || whole || is_control(mnemonic) {
        stub.run(programmed);
        if matches!(mnemonic, Mnemonic::Fnstenv | Mnemonic::Fnsave) {
            before.store(instruction.memory_size().size(), stub.buffer());
        }
        return Ok(true);
    }
    Pointers::default().set(stub.extended());
    stub.run(programmed);
    let extended = stub.extended();
    let after = Pointers::of(extended);
    let mut pointers = before;
    if after.instruction != 0 {
        pointers.instruction = instruction.ip();
        if has_memory(instruction) {
            pointers.operand = cpu.effective_address(instruction)?.1;
        }
    }
    if after.opcode != 0 {
        pointers.opcode = opcode(&cpu.code);
    }
    pointers.set(extended);
    let raised = image::status(extended);
    let failed = raised & !image::control(extended) & X87_FLAGS & !X87_PRECISION != 0;
    Ok(raised & ERROR_SUMMARY == 0 || !failed)
}

/// The last x87 instruction that was not a control instruction.
#[derive(Clone, Copy, Default)]
struct Pointers {
    opcode: u16,
    instruction: u64,
    operand: u64,
}

impl Pointers {
    fn of(extended: &Extended) -> Pointers {
        Pointers {
            opcode: image::word(extended, image::FOP),
            instruction: image::quad(extended, image::FIP),
            operand: image::quad(extended, image::FDP),
        }
    }

    fn set(self, extended: &mut Extended) {
        extended[image::FOP..image::FOP + 2].copy_from_slice(&self.opcode.to_le_bytes());
        image::set_quad(extended, image::FIP, self.instruction);
        image::set_quad(extended, image::FDP, self.operand);
    }

    /// Writes them where `fnstenv` and `fnsave` store them in protected mode (Intel SDM volume 1,
    /// "Saving the x87 FPU's State"): some processors store those of this process.
    fn store(self, size: usize, environment: &mut [u8]) {
        let (instruction, operand) = (self.instruction.to_le_bytes(), self.operand.to_le_bytes());
        match size {
            14 | 94 => {
                environment[6..8].copy_from_slice(&instruction[..2]);
                environment[8..10].fill(0);
                environment[10..12].copy_from_slice(&operand[..2]);
                environment[12..14].fill(0);
            }
            _ => {
                environment[12..16].copy_from_slice(&instruction[..4]);
                environment[16..18].fill(0);
                environment[18..20].copy_from_slice(&(self.opcode & 0x7FF).to_le_bytes());
                environment[20..24].copy_from_slice(&operand[..4]);
                environment[24..26].fill(0);
            }
        }
    }
}

/// FOP: the low three bits of the first byte, and the second.
fn opcode(code: &[u8]) -> u16 {
    let Some(escape) = code.iter().position(|byte| (0xD8..=0xDF).contains(byte)) else { return 0 };
    let modrm = code.get(escape + 1).copied().unwrap_or(0);
    u16::from(code[escape] & 7) << 8 | u16::from(modrm)
}

/// x87 control instructions, which do not change the pointers.
fn is_control(mnemonic: Mnemonic) -> bool {
    matches!(
        mnemonic,
        Mnemonic::Fldcw | Mnemonic::Fnstcw | Mnemonic::Fnstsw | Mnemonic::Fnclex | Mnemonic::Fninit
    )
}

//! Floating-point exceptions and pointers.
//!
//! An SSE or AVX instruction runs with the guest's MXCSR. The processor raises #XM for what is unmasked there,
//! and reports the cause in MXCSR: nothing else can tell whether a result that is out of range would have been
//! exact. An x87 exception is raised by the next instruction, so x87 instructions run unchanged; they and MMX
//! do not use MXCSR, and run with its exceptions masked.
//!
//! Manual: Intel SDM volume 1, "SSE and SSE2 Exceptions", "x87 FPU Exceptions in Detail".

use iced_x86::{Instruction, Mnemonic};

use super::allowed::{has_memory, is_x87};
use super::image;
use super::ready::ERROR_SUMMARY;
use super::signals::HostException;
use super::stub::{Locked, StubInstruction};
use crate::arch::flags::CR4_OSXMMEXCPT;
use crate::emulate::Obstacle;
use crate::emulate::cpu::{Cpu, Extended, Mode};
use crate::emulate::exception::{EmulationError, Exception};

/// MXCSR: the exception masks.
const MASKS: u32 = 0x3F << 7;
/// FSW and FCW: the exceptions.
const X87_FLAGS: u16 = 0x3F;
/// FSW and FCW: inexact result.
const X87_PRECISION: u16 = 0x20;

/// Runs an SSE or AVX instruction.
///
/// # Errors
///
/// #XM, or #UD where that is disabled, with the cause in MXCSR; what [`unexpected`] returns.
pub fn run_vector(
    cpu: &mut Cpu,
    stub: &mut Locked,
    programmed: StubInstruction,
) -> Result<(), EmulationError> {
    let Err(raised) = stub.run(programmed) else { return Ok(()) };
    if raised.vector != Exception::SIMD.vector {
        return Err(unexpected(cpu, raised));
    }
    // MXCSR, and what else the processor has changed: some begin to use MMX before the exception.
    stub.extended_to(cpu.extended_mut()?);
    cpu.keep_extended();
    let is_enabled = cpu.registers.system.cr4 & CR4_OSXMMEXCPT != 0;
    Err(if is_enabled { Exception::SIMD } else { Exception::UNDEFINED }.into())
}

/// What the guest's processor does where the host's has raised an exception.
///
/// #UD and #MF are the guest's own: nothing but the instruction and its registers leads to them. Everything
/// else is an [`Obstacle`], as its cause is in this process.
pub fn unexpected(cpu: &Cpu, raised: HostException) -> EmulationError {
    match Exception::plain(raised.vector) {
        Exception::UNDEFINED => Exception::UNDEFINED.into(),
        Exception::X87 => super::ready::x87_error(cpu),
        _ => Obstacle::HostException(raised.vector).into(),
    }
}

/// Runs an x87 or MMX instruction; false if an exception of its own suppresses its write to memory.
///
/// The pointers to the last instruction and its operand are set to those of the guest if the processor has
/// changed them. Their selectors are 0, as on all recent processors.
///
/// # Errors
///
/// [`Obstacle::NotAllowed`] for `fnstenv` and the like in real mode, which has a format of its own; what
/// [`unexpected`] returns.
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
    let mxcsr = image::mxcsr(stub.extended());
    image::set_mxcsr(stub.extended(), mxcsr | MASKS);
    if !is_x87(instruction) || whole || is_control(mnemonic) {
        stub.run(programmed).map_err(|raised| unexpected(cpu, raised))?;
        image::set_mxcsr(stub.extended(), mxcsr);
        if matches!(mnemonic, Mnemonic::Fnstenv | Mnemonic::Fnsave) {
            before.store(instruction.memory_size().size(), stub.buffer());
        }
        return Ok(true);
    }
    Pointers::default().set(stub.extended());
    stub.run(programmed).map_err(|raised| unexpected(cpu, raised))?;
    let extended = stub.extended();
    image::set_mxcsr(extended, mxcsr);
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

//! Instructions that only compute: the host's processor executes them on a copy of the guest's registers.
//!
//! The instruction itself runs, with its memory operand replaced by a buffer, so every result, flag and
//! rounding is that of a real processor. This module handles the rest: whether the guest may use the
//! instruction now, its memory accesses with their faults, and its floating-point exceptions.
//!
//! | file | what |
//! |---|---|
//! | `allowed.rs` | which instructions: a list of what may run |
//! | `processor.rs` | what the processor of this host has |
//! | `ready.rs` | whether the guest's processor would begin the instruction |
//! | `operand.rs` | the memory operand: where it is, how long, how aligned |
//! | `encoding.rs` | the instruction's bytes, with another memory operand |
//! | `stub.rs` | the page it runs in |
//! | `signals.rs` | exceptions that it raises there |
//! | `probe.rs` | what the host's processor does with unknown bytes |
//! | `undefined.rs` | bytes that are no instruction |
//! | `floating.rs` | floating-point exceptions and pointers |
//! | `image.rs` | fields of the extended registers |
//! | `masked.rs` | stores and loads of chosen elements |
//!
//! Manual: Intel SDM volume 1, the parts on x87, MMX, SSE and AVX; volume 2.

mod allowed;
mod encoding;
mod floating;
mod image;
mod masked;
mod operand;
mod probe;
mod processor;
mod ready;
// This and `stub` are the only files of the emulator with unsafe code.
#[allow(unsafe_code)]
mod signals;
#[allow(unsafe_code)]
mod stub;
#[cfg(test)]
#[allow(unsafe_code)]
#[path = "native_test.rs"]
mod tests;
mod undefined;

use iced_x86::{EncodingKind, Instruction, Mnemonic};

use super::Obstacle;
use super::cpu::{Cpu, Mode};
use super::exception::{EmulationError, Exception};
use allowed::Unit;
pub(super) use encoding::without_spare_prefix;
use operand::Operand;
#[cfg(test)]
pub(super) use processor::{components as components_for_tests, has_evex as has_evex_for_tests};
use stub::Stub;
pub(super) use undefined::exception as undefined_exception;

/// Executes `instruction`, or returns [`Obstacle::NotAllowed`] if it is not one of these.
pub(super) fn execute(cpu: &mut Cpu, instruction: &Instruction) -> Result<(), EmulationError> {
    let unit = match allowed::unit(instruction) {
        Ok(unit) if instruction.mnemonic() == Mnemonic::Wait || processor::has(instruction, unit) => unit,
        Ok(_) => return Err(refused(cpu, instruction, Obstacle::NotOnThisProcessor)?),
        Err(obstacle) => return Err(refused(cpu, instruction, obstacle)?),
    };
    ready::check(cpu, instruction, unit)?;
    match instruction.mnemonic() {
        Mnemonic::Wait => {}
        Mnemonic::Ldmxcsr | Mnemonic::Vldmxcsr => load_mxcsr(cpu, instruction)?,
        Mnemonic::Stmxcsr | Mnemonic::Vstmxcsr => store_mxcsr(cpu, instruction)?,
        _ if masked::is_masked(instruction) => masked::execute(cpu, instruction)?,
        _ => run(cpu, instruction, unit)?,
    }
    cpu.pass(instruction.next_ip());
    Ok(())
}

/// What an instruction raises that is not executed here: #UD if the guest's processor cannot have it, because the
/// host's has not; otherwise the obstacle. `system` knows those without a VEX, EVEX or XOP prefix that never run here.
fn refused(
    cpu: &Cpu,
    instruction: &Instruction,
    obstacle: Obstacle,
) -> Result<EmulationError, EmulationError> {
    match (instruction.encoding(), obstacle, instruction.mnemonic()) {
        // On other processors, these are `bsr` and `bsf` with a prefix that is ignored.
        (EncodingKind::Legacy, _, Mnemonic::Lzcnt | Mnemonic::Tzcnt) => return Ok(obstacle.into()),
        (EncodingKind::Legacy, Obstacle::NotOnThisProcessor, _) => return Ok(Exception::UNDEFINED.into()),
        (EncodingKind::Legacy | EncodingKind::D3NOW, ..) => return Ok(obstacle.into()),
        _ => {}
    }
    if matches!(cpu.mode(), Mode::Real | Mode::Virtual8086) {
        return Ok(Exception::UNDEFINED.into());
    }
    let exception = undefined::exception(&cpu.code[..instruction.len()], cpu.registers.bitness())?;
    Ok(exception.map_or(obstacle.into(), EmulationError::from))
}

/// Executes `instruction` on the host's processor.
fn run(cpu: &mut Cpu, instruction: &Instruction, unit: Unit) -> Result<(), EmulationError> {
    let operand = Operand::locate(cpu, instruction)?;
    let mut stub = Stub::lock()?;
    let program = stub.program(cpu, instruction)?;
    stub.set_general(&cpu.registers.general);
    if let Some(operand) = &operand {
        stub.buffer().fill(0);
        if operand.reads {
            cpu.read(operand.span, &mut stub.buffer()[..operand.length]);
        }
    }
    let mut stored = true;
    match unit {
        Unit::General => stub.run(program).map_err(|raised| floating::unexpected(cpu, raised))?,
        Unit::Fpu | Unit::Mmx => {
            stub.set_extended(cpu.extended()?);
            stored = floating::run_x87(cpu, instruction, &mut stub, program)?;
            stub.extended_to(cpu.extended_mut()?);
        }
        Unit::Vector => {
            stub.set_extended(cpu.extended()?);
            floating::run_vector(cpu, &mut stub, program)?;
            stub.extended_to(cpu.extended_mut()?);
        }
    }
    stub.general_to(&mut cpu.registers.general);
    if let Some(operand) = &operand
        && operand.writes
        && stored
    {
        cpu.write(operand.span, &stub.buffer()[..operand.length]);
    }
    Ok(())
}

/// `ldmxcsr`: bits that the processor does not support raise #GP(0).
fn load_mxcsr(cpu: &mut Cpu, instruction: &Instruction) -> Result<(), EmulationError> {
    let span = cpu.operand(instruction, 4, false)?;
    let mut bytes = [0; 4];
    cpu.read(span, &mut bytes);
    let value = u32::from_le_bytes(bytes);
    if value & !processor::mxcsr_mask() != 0 {
        return Err(Exception::protection(0).into());
    }
    let extended = cpu.extended_mut()?;
    image::bring_into_use(extended);
    image::set_mxcsr(extended, value);
    Ok(())
}

fn store_mxcsr(cpu: &mut Cpu, instruction: &Instruction) -> Result<(), EmulationError> {
    let span = cpu.operand(instruction, 4, true)?;
    let value = image::mxcsr(cpu.extended()?);
    cpu.write(span, &value.to_le_bytes());
    Ok(())
}

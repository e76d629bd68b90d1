//! Masked stores and loads: only the elements that the mask selects are accessed.
//!
//! Manual: Intel SDM volume 2, "MASKMOVQ", "MASKMOVDQU", "VMASKMOV", "VPMASKMOV".

use iced_x86::{Instruction, Mnemonic, OpKind, Register};

use super::image;
use crate::emulate::Obstacle;
use crate::emulate::access::Span;
use crate::emulate::cpu::{Cpu, Extended};
use crate::emulate::exception::EmulationError;

/// Bytes of the longest vector here.
const LONGEST: usize = 32;

/// True if `instruction` is a masked store or load.
pub fn is_masked(instruction: &Instruction) -> bool {
    element(instruction.mnemonic()).is_some()
}

/// Size of an element in bytes.
fn element(mnemonic: Mnemonic) -> Option<usize> {
    match mnemonic {
        Mnemonic::Maskmovq | Mnemonic::Maskmovdqu | Mnemonic::Vmaskmovdqu => Some(1),
        Mnemonic::Vmaskmovps | Mnemonic::Vpmaskmovd => Some(4),
        Mnemonic::Vmaskmovpd | Mnemonic::Vpmaskmovq => Some(8),
        _ => None,
    }
}

/// Executes a masked store or load.
///
/// # Errors
///
/// The exception that the access to a selected element raises.
pub fn execute(cpu: &mut Cpu, instruction: &Instruction) -> Result<(), EmulationError> {
    let size = element(instruction.mnemonic()).ok_or(Obstacle::NotAllowed)?;
    let (first, second) = (instruction.op1_register(), instruction.op2_register());
    let extended = cpu.extended()?;
    let (mask, source) = match (instruction.op0_kind(), instruction.op2_kind()) {
        // A load: what is in memory is the source.
        (OpKind::Register, OpKind::Memory) => (register(extended, first)?, None),
        (OpKind::Memory, OpKind::Register) => (register(extended, first)?, Some(register(extended, second)?)),
        (_, OpKind::Register) => (register(extended, second)?, Some(register(extended, first)?)),
        _ => return Err(Obstacle::NotAllowed.into()),
    };
    let (segment, offset) = match instruction.op0_kind() {
        OpKind::MemorySegDI => (instruction.memory_segment(), cpu.general(Register::DI)),
        OpKind::MemorySegEDI => (instruction.memory_segment(), cpu.general(Register::EDI)),
        OpKind::MemorySegRDI => (instruction.memory_segment(), cpu.general(Register::RDI)),
        _ => cpu.effective_address(instruction).map(|(segment, offset)| (segment, Some(offset)))?,
    };
    let offset = offset.ok_or(Obstacle::NotAllowed)?;
    let mut spans: [Option<Span>; LONGEST] = [None; LONGEST];
    for at in (0..first.size()).step_by(size) {
        if mask[at + size - 1] & 0x80 != 0 {
            let element = offset.wrapping_add(at as u64);
            spans[at] = Some(cpu.locate(segment, element, size, source.is_some())?);
        }
    }
    let mut loaded = [0; LONGEST];
    for (at, span) in spans.into_iter().enumerate() {
        match (span, &source) {
            (Some(span), Some(source)) => cpu.write(span, &source[at..at + size]),
            (Some(span), None) => cpu.read(span, &mut loaded[at..at + size]),
            (None, _) => {}
        }
    }
    if source.is_none() {
        set_register(cpu.extended_mut()?, instruction.op0_register(), &loaded);
    } else if first.is_mm() {
        image::enter_mmx(cpu.extended_mut()?);
    }
    Ok(())
}

/// The value of an MMX, XMM or YMM register, followed by zeros.
fn register(extended: &Extended, register: Register) -> Result<[u8; LONGEST], Obstacle> {
    let mut value = [0; LONGEST];
    let in_use = image::quad(extended, image::IN_USE);
    let number = register.number();
    let mut copy = |component: u64, from: usize, to: usize, length: usize| {
        if in_use & component != 0 {
            value[to..to + length].copy_from_slice(&extended[from..from + length]);
        }
    };
    if register.is_mm() {
        // An MMX register is the lower part of a physical x87 register; the image begins at the top
        // of the stack.
        let top = usize::from(image::status(extended) >> 11 & 7);
        copy(image::X87, image::STACK + 16 * (number.wrapping_sub(top) & 7), 0, 8);
    } else if (register.is_xmm() || register.is_ymm()) && number < 16 {
        copy(image::SSE, image::XMM + 16 * number, 0, 16);
        if register.is_ymm() {
            copy(image::AVX, image::YMM_HIGH + 16 * number, 16, 16);
        }
    } else {
        return Err(Obstacle::NotAllowed);
    }
    Ok(value)
}

/// Writes an XMM or YMM register; what is above an XMM register becomes 0, as after every AVX
/// instruction.
fn set_register(extended: &mut Extended, register: Register, value: &[u8; LONGEST]) {
    let number = register.number() & 15;
    image::bring_into_use(extended);
    let in_use = image::quad(extended, image::IN_USE);
    if in_use & image::AVX == 0 {
        extended[image::YMM_HIGH..image::YMM_HIGH + 256].fill(0);
        image::set_quad(extended, image::IN_USE, in_use | image::AVX);
    }
    extended[image::XMM + 16 * number..][..16].copy_from_slice(&value[..16]);
    extended[image::YMM_HIGH + 16 * number..][..16].copy_from_slice(&value[16..]);
}

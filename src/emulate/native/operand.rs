//! The memory operand of an instruction.

use iced_x86::{
    EncodingKind, Instruction, InstructionInfoFactory, InstructionInfoOptions, Mnemonic, OpAccess,
};

use super::allowed::has_memory;
use super::{image, probe, stub};
use crate::arch::flags::{CR0_AM, RFLAGS_AC};
use crate::arch::paging::Access;
use crate::emulate::Obstacle;
use crate::emulate::access::Span;
use crate::emulate::cpu::Cpu;
use crate::emulate::exception::{EmulationError, Exception};

/// MXCSR of AMD's processors: SSE operands need not be aligned.
const MISALIGNED_MASK: u32 = 1 << 17;

/// Location and access of a memory operand.
pub struct Operand {
    pub span: Span,
    pub length: usize,
    pub reads: bool,
    pub writes: bool,
}

impl Operand {
    /// The memory operand of `instruction`, if it has one.
    ///
    /// # Errors
    ///
    /// The exception that its access raises, and [`Obstacle::NotAllowed`] if it is not known how it
    /// is accessed.
    pub fn locate(cpu: &mut Cpu, instruction: &Instruction) -> Result<Option<Operand>, EmulationError> {
        let (reads, writes) = accesses(instruction)?;
        if !has_memory(instruction) {
            return Ok(None);
        }
        let length = instruction.memory_size().size();
        if length == 0 || length > stub::BUFFER {
            return Err(Obstacle::NotAllowed.into());
        }
        let (segment, offset) = cpu.effective_address(instruction)?;
        let linear = cpu.linear(segment, offset, length, writes)?;
        let alignment = required_alignment(cpu, instruction, length)?;
        if linear % alignment != 0 {
            return Err(Exception::protection(0).into());
        }
        let user = cpu.ring() == 3;
        let checked =
            user && cpu.registers.system.cr0 & CR0_AM != 0 && cpu.registers.general.rflags & RFLAGS_AC != 0;
        if checked && linear % natural_alignment(length) != 0 {
            return Err(Exception::alignment().into());
        }
        let span = cpu.span(linear, length, Access { write: writes, user, ..Access::default() })?;
        Ok(Some(Operand { span, length, reads, writes }))
    }
}

/// Whether memory is read and written: by the operand that is written out, and by no other.
fn accesses(instruction: &Instruction) -> Result<(bool, bool), Obstacle> {
    let mut factory = InstructionInfoFactory::new();
    let used = factory.info_options(instruction, InstructionInfoOptions::NO_REGISTER_USAGE).used_memory();
    match (has_memory(instruction), used) {
        (false, []) => Ok((false, false)),
        (true, [memory]) => match memory.access() {
            OpAccess::Read => Ok((true, false)),
            OpAccess::Write => Ok((false, true)),
            OpAccess::ReadWrite | OpAccess::ReadCondWrite => Ok((true, true)),
            _ => Err(Obstacle::NotAllowed),
        },
        _ => Err(Obstacle::NotAllowed),
    }
}

/// Required alignment of the address; a misaligned one raises #GP(0) (Intel SDM volume 2A, "Exception
/// Conditions", classes 1, 2 and 4).
fn required_alignment(
    cpu: &mut Cpu,
    instruction: &Instruction,
    length: usize,
) -> Result<u64, EmulationError> {
    let mnemonic = instruction.mnemonic();
    if mnemonic == Mnemonic::Cmpxchg16b {
        return Ok(16);
    }
    if instruction.encoding() != EncodingKind::Legacy {
        return Ok(if is_aligned_move(mnemonic) { length as u64 } else { 1 });
    }
    let aligned =
        length == 16 && !may_be_unaligned(mnemonic) && !(is_sha(mnemonic) && probe::sha_is_unaligned()?);
    if aligned && image::mxcsr(cpu.extended()?) & MISALIGNED_MASK == 0 { Ok(16) } else { Ok(1) }
}

fn is_aligned_move(mnemonic: Mnemonic) -> bool {
    matches!(
        mnemonic,
        Mnemonic::Vmovaps
            | Mnemonic::Vmovapd
            | Mnemonic::Vmovdqa
            | Mnemonic::Vmovdqa32
            | Mnemonic::Vmovdqa64
            | Mnemonic::Vmovntps
            | Mnemonic::Vmovntpd
            | Mnemonic::Vmovntdq
            | Mnemonic::Vmovntdqa
    )
}

/// The instructions of SHA: the manuals require alignment, but not all of AMD's processors do.
fn is_sha(mnemonic: Mnemonic) -> bool {
    matches!(
        mnemonic,
        Mnemonic::Sha1msg1
            | Mnemonic::Sha1msg2
            | Mnemonic::Sha1nexte
            | Mnemonic::Sha1rnds4
            | Mnemonic::Sha256msg1
            | Mnemonic::Sha256msg2
            | Mnemonic::Sha256rnds2
    )
}

fn may_be_unaligned(mnemonic: Mnemonic) -> bool {
    matches!(
        mnemonic,
        Mnemonic::Movups
            | Mnemonic::Movupd
            | Mnemonic::Movdqu
            | Mnemonic::Lddqu
            | Mnemonic::Pcmpestri
            | Mnemonic::Pcmpestri64
            | Mnemonic::Pcmpestrm
            | Mnemonic::Pcmpestrm64
            | Mnemonic::Pcmpistri
            | Mnemonic::Pcmpistrm
    )
}

/// Alignment that alignment checking requires (Intel SDM volume 3A, "Alignment Check Exception"). Moves of
/// whole vector registers are exempt.
fn natural_alignment(length: usize) -> u64 {
    match length {
        2 | 4 | 8 => length as u64,
        10 => 8,
        14 | 94 => 2,
        28 | 108 => 4,
        _ => 1,
    }
}

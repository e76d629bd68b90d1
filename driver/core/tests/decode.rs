// SPDX-License-Identifier: MIT OR GPL-2.0
//! The decoder agrees with iced-x86 about millions of random instructions: how many bytes they access, and how.

mod random;

use iced_x86::{
    Code, CpuidFeature, Decoder, DecoderError, DecoderOptions, EncodingKind, Instruction,
    InstructionInfoFactory, Mnemonic, OpAccess, OpKind, Register,
};
use random::Random;
use yakvm_core::EINVAL;
use yakvm_core::decode::{COMPARES, Insn, MODIFIES, POPS_FLAGS, PUSHES_FLAGS, REPEATS, decode, yakvm_decode};

/// What an instruction does to memory: the number of bytes and the kind of each access.
fn accesses(instruction: &Instruction) -> Vec<(usize, OpAccess)> {
    InstructionInfoFactory::new()
        .info(instruction)
        .used_memory()
        .iter()
        .filter(|memory| memory.access() != OpAccess::NoMemAccess)
        // Of a repeated string instruction iced only knows that it accesses memory.
        .map(|memory| match memory.memory_size().size() {
            0 => (instruction.memory_size().size(), memory.access()),
            size => (size, memory.access()),
        })
        .collect()
}

/// Whether the decoder may refuse an instruction that accesses memory.
fn may_be_refused(instruction: &Instruction) -> bool {
    use Mnemonic::*;
    let plain = instruction.cpuid_features().iter().all(|feature| {
        matches!(
            feature,
            CpuidFeature::INTEL8086
                | CpuidFeature::INTEL186
                | CpuidFeature::INTEL286
                | CpuidFeature::INTEL386
                | CpuidFeature::INTEL486
                | CpuidFeature::X64
                | CpuidFeature::CMOV
                | CpuidFeature::CX8
                | CpuidFeature::CMPXCHG16B
                | CpuidFeature::POPCNT
                | CpuidFeature::MOVBE
        )
    });
    let call = matches!(
        instruction.code(),
        Code::Call_m1616
            | Code::Call_m1632
            | Code::Call_m1664
            | Code::Jmp_m1616
            | Code::Jmp_m1632
            | Code::Jmp_m1664
    ) || matches!(instruction.op0_kind(), OpKind::FarBranch16 | OpKind::FarBranch32);
    let stack_segment =
        instruction.op0_register() == Register::SS && matches!(instruction.mnemonic(), Mov | Pop);
    !plain
        || call
        || stack_segment
        || instruction.encoding() != EncodingKind::Legacy
        || matches!(
            instruction.mnemonic(),
            Pusha
                | Pushad
                | Popa
                | Popad
                | Enter
                | Iret
                | Iretd
                | Iretq
                | Retf
                | Bound
                | Int
                | Int1
                | Int3
                | Into
        )
        || matches!(instruction.mnemonic(), Loadall | Umov | Xbts | Ibts | Rsm | Syscall | Sysenter | Sysret)
}

fn is_string(instruction: &Instruction) -> bool {
    use OpKind::*;
    instruction.op_kinds().any(|kind| {
        matches!(kind, MemorySegSI | MemorySegESI | MemorySegRSI | MemoryESDI | MemoryESEDI | MemoryESRDI)
    })
}

fn compare(ours: &Insn, theirs: &Instruction, bits: u32) {
    let accesses = accesses(theirs);
    for (size, _) in &accesses {
        assert_eq!(usize::from(ours.size), *size, "of {accesses:?}");
    }
    let modifies =
        accesses.iter().any(|(_, access)| matches!(access, OpAccess::ReadWrite | OpAccess::ReadCondWrite));
    assert_eq!(ours.flags & MODIFIES != 0, modifies, "{accesses:?}");
    let string = is_string(theirs);
    let compares = string
        && matches!(theirs.mnemonic(), Mnemonic::Cmpsb | Mnemonic::Cmpsw | Mnemonic::Cmpsd | Mnemonic::Cmpsq);
    assert_eq!(ours.flags & COMPARES != 0, compares);
    let pushes = matches!(theirs.mnemonic(), Mnemonic::Pushf | Mnemonic::Pushfd | Mnemonic::Pushfq);
    assert_eq!(ours.flags & PUSHES_FLAGS != 0, pushes);
    let pops = matches!(theirs.mnemonic(), Mnemonic::Popf | Mnemonic::Popfd | Mnemonic::Popfq);
    assert_eq!(ours.flags & POPS_FLAGS != 0, pops);
    if string {
        let repeats = theirs.has_rep_prefix() || theirs.has_repe_prefix() || theirs.has_repne_prefix();
        assert_eq!(ours.flags & REPEATS != 0, repeats);
        let addresses: Vec<u8> = theirs.op_kinds().filter_map(address_size).collect();
        assert!(addresses.iter().all(|size| *size == ours.address_size), "{addresses:?}");
        let segment = match theirs.segment_prefix() {
            Register::None => Register::DS,
            segment if bits == 64 && !matches!(segment, Register::FS | Register::GS) => Register::DS,
            segment => segment,
        };
        assert_eq!(u32::from(ours.segment), segment as u32 - Register::ES as u32);
    }
}

fn address_size(kind: OpKind) -> Option<u8> {
    use OpKind::*;
    match kind {
        MemorySegSI | MemoryESDI => Some(2),
        MemorySegESI | MemoryESEDI => Some(4),
        MemorySegRSI | MemoryESRDI => Some(8),
        _ => None,
    }
}

/// Decodes `bytes` with both; whether the decoder knew an instruction that accesses memory.
fn check(bytes: &[u8; 15], bits: u32) -> bool {
    let mut decoder = Decoder::new(bits, bytes, DecoderOptions::AMD);
    let theirs = decoder.decode();
    // The processor executes no other, so the answer does not matter.
    if decoder.last_error() != DecoderError::None || accesses(&theirs).is_empty() {
        let _ = decode(bytes, bits);
        return false;
    }
    let result = std::panic::catch_unwind(|| match decode(&bytes[..theirs.len()], bits) {
        Some(ours) => {
            compare(&ours, &theirs, bits);
            true
        }
        None => {
            assert!(may_be_refused(&theirs), "refused");
            false
        }
    });
    result.unwrap_or_else(|_| panic!("{bits}-bit code {bytes:02x?}: {theirs:?} ({:?})", theirs.code()))
}

#[test]
fn every_opcode_with_every_modrm_byte_and_prefix_accesses_what_iced_says() {
    let mut random = Random::new(3);
    const PREFIXES: [&[u8]; 7] = [&[], &[0x66], &[0xf2], &[0xf3], &[0x67], &[0x48], &[0x66, 0xf3]];
    const ESCAPES: [&[u8]; 3] = [&[], &[0x0f], &[0x0f, 0x38]];
    for bits in [16, 32, 64] {
        let mut known = 0;
        for (prefix, escape) in PREFIXES.iter().flat_map(|prefix| ESCAPES.map(|escape| (*prefix, escape))) {
            for opcode in 0..=255 {
                for modrm in 0..=255 {
                    let mut bytes = random.bytes();
                    let start = [prefix, escape, &[opcode, modrm]].concat();
                    bytes[..start.len()].copy_from_slice(&start);
                    known += u32::from(check(&bytes, bits));
                }
            }
        }
        assert!(known > 150_000, "only {known} were known in {bits}-bit code");
    }
}

#[test]
fn random_prefixes_are_read_as_iced_reads_them() {
    const PREFIXES: [u8; 12] = [0x66, 0x67, 0xf0, 0xf2, 0xf3, 0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x48];
    let mut random = Random::new(1);
    for bits in [16, 32, 64] {
        let mut known = 0;
        for _ in 0..700_000 {
            let mut bytes = random.bytes();
            let count = random.below(5);
            bytes[..count].fill_with(|| PREFIXES[random.below(12)]);
            if random.below(2) == 0 {
                bytes[count] = 0x40 | random.below(16) as u8;
            }
            known += u32::from(check(&bytes, bits));
        }
        assert!(known > 75_000, "only {known} were known in {bits}-bit code");
    }
}

#[test]
fn random_bytes_are_decoded_as_iced_decodes_them() {
    let mut random = Random::new(2);
    for bits in [16, 32, 64] {
        for _ in 0..700_000 {
            check(&random.bytes(), bits);
        }
    }
}

#[test]
fn bytes_that_end_too_early_are_refused() {
    let mut insn = Insn::default();
    assert_eq!(yakvm_decode(&[0x66; 15], 15, 64, &mut insn), EINVAL);
    assert_eq!(yakvm_decode(&[0x0f; 15], 1, 64, &mut insn), EINVAL);
    assert_eq!(yakvm_decode(&[0x89; 15], 0, 64, &mut insn), EINVAL);
    assert_eq!(yakvm_decode(&[0x89; 15], 16, 64, &mut insn), EINVAL);
    assert_eq!(yakvm_decode(&[0x89; 15], 2, 64, &mut insn), 0);
    assert_eq!(insn, Insn { size: 4, flags: 0, segment: 3, address_size: 8 });
}

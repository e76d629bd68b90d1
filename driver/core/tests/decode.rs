// SPDX-License-Identifier: MIT OR GPL-2.0
//! The decoder agrees with iced-x86 about millions of random instructions: which it knows, their lengths,
//! operands and sizes.

mod random;

use iced_x86::{Decoder, DecoderError, DecoderOptions, Instruction, Mnemonic, OpKind, Register};
use random::Random;
use yakvm_core::decode::decode;
use yakvm_core::insn::{self, Insn, NONE, Operation, RIP};
use yakvm_core::{EINVAL, ENODATA};

fn iced(bytes: &[u8], bits: u32) -> (Instruction, DecoderError) {
    let mut decoder = Decoder::new(bits, bytes, DecoderOptions::NONE);
    let instruction = decoder.decode();
    (instruction, decoder.last_error())
}

/// What the decoder has to make of a mnemonic with a memory operand: the operation, and whether it writes there.
fn operation(mnemonic: Mnemonic) -> Option<(Operation, bool)> {
    use Operation::*;
    Some(match mnemonic {
        Mnemonic::Add => (Add, true),
        Mnemonic::Or => (Or, true),
        Mnemonic::Adc => (Adc, true),
        Mnemonic::Sbb => (Sbb, true),
        Mnemonic::And => (And, true),
        Mnemonic::Sub => (Sub, true),
        Mnemonic::Xor => (Xor, true),
        Mnemonic::Cmp => (Cmp, false),
        Mnemonic::Mov => (Mov, true),
        Mnemonic::Movzx => (Mov, false),
        Mnemonic::Movsx | Mnemonic::Movsxd => (MovSigned, false),
        Mnemonic::Test => (Test, false),
        Mnemonic::Not => (Not, true),
        Mnemonic::Neg => (Neg, true),
        Mnemonic::Inc => (Inc, true),
        Mnemonic::Dec => (Dec, true),
        Mnemonic::Xchg => (Xchg, true),
        Mnemonic::Cmpxchg => (Cmpxchg, true),
        Mnemonic::Xadd => (Xadd, true),
        Mnemonic::Bt => (Bt, false),
        Mnemonic::Bts => (Bts, true),
        Mnemonic::Btr => (Btr, true),
        Mnemonic::Btc => (Btc, true),
        Mnemonic::Imul => (Imul, false),
        Mnemonic::Mul => (Mul, false),
        Mnemonic::Div => (Div, false),
        Mnemonic::Idiv => (DivSigned, false),
        Mnemonic::Push => (Push, true),
        Mnemonic::Pop => (Pop, true),
        Mnemonic::Cmpxchg8b => (Cmpxchg8b, true),
        Mnemonic::Rol => (Rol, true),
        Mnemonic::Ror => (Ror, true),
        Mnemonic::Rcl => (Rcl, true),
        Mnemonic::Rcr => (Rcr, true),
        Mnemonic::Shl | Mnemonic::Sal => (Shl, true),
        Mnemonic::Shr => (Shr, true),
        Mnemonic::Sar => (Sar, true),
        Mnemonic::Cmovo
        | Mnemonic::Cmovno
        | Mnemonic::Cmovb
        | Mnemonic::Cmovae
        | Mnemonic::Cmove
        | Mnemonic::Cmovne
        | Mnemonic::Cmovbe
        | Mnemonic::Cmova
        | Mnemonic::Cmovs
        | Mnemonic::Cmovns
        | Mnemonic::Cmovp
        | Mnemonic::Cmovnp
        | Mnemonic::Cmovl
        | Mnemonic::Cmovge
        | Mnemonic::Cmovle
        | Mnemonic::Cmovg => (Cmov, false),
        Mnemonic::Seto
        | Mnemonic::Setno
        | Mnemonic::Setb
        | Mnemonic::Setae
        | Mnemonic::Sete
        | Mnemonic::Setne
        | Mnemonic::Setbe
        | Mnemonic::Seta
        | Mnemonic::Sets
        | Mnemonic::Setns
        | Mnemonic::Setp
        | Mnemonic::Setnp
        | Mnemonic::Setl
        | Mnemonic::Setge
        | Mnemonic::Setle
        | Mnemonic::Setg => (Set, true),
        Mnemonic::Movsb | Mnemonic::Movsw | Mnemonic::Movsd | Mnemonic::Movsq => (Mov, true),
        Mnemonic::Stosb | Mnemonic::Stosw | Mnemonic::Stosd | Mnemonic::Stosq => (Mov, true),
        Mnemonic::Lodsb | Mnemonic::Lodsw | Mnemonic::Lodsd | Mnemonic::Lodsq => (Mov, false),
        Mnemonic::Scasb | Mnemonic::Scasw | Mnemonic::Scasd | Mnemonic::Scasq => (Cmp, false),
        Mnemonic::Insb | Mnemonic::Insw | Mnemonic::Insd => (Mov, false),
        Mnemonic::Outsb | Mnemonic::Outsw | Mnemonic::Outsd => (Mov, false),
        _ => return None,
    })
}

fn is_string(kind: OpKind) -> bool {
    use OpKind::*;
    matches!(kind, MemorySegSI | MemorySegESI | MemorySegRSI | MemoryESDI | MemoryESEDI | MemoryESRDI)
}

fn is_memory(kind: OpKind) -> bool {
    kind == OpKind::Memory || is_string(kind)
}

/// Forms of known mnemonics that the decoder refuses: moves of segment, control and debug registers, SSE's MOVSD,
/// MOVSXD with 16 bits (it differs between vendors), and the second encodings of group 1 and of TEST.
fn is_left_out(instruction: &Instruction, opcode: &[u8]) -> bool {
    let system = (0..instruction.op_count()).any(|operand| {
        let register = instruction.op_register(operand);
        instruction.op_kind(operand) == OpKind::Register && !register.is_gpr()
    });
    system
        || opcode[0] == 0x82
        || (matches!(opcode[0], 0xf6 | 0xf7) && opcode[1] >> 3 & 7 == 1)
        || (opcode[0] == 0x63 && instruction.op0_register().size() == 2)
}

/// Bytes from the opcode on.
fn opcode(bytes: &[u8], bits: u32) -> &[u8] {
    let prefix = |byte: &u8| {
        matches!(byte, 0x26 | 0x2e | 0x36 | 0x3e | 0x64..=0x67 | 0xf0 | 0xf2 | 0xf3)
            || (bits == 64 && (0x40..=0x4f).contains(byte))
    };
    let first = bytes.iter().position(|byte| !prefix(byte)).unwrap_or(bytes.len());
    &bytes[first..]
}

fn number(register: Register) -> u8 {
    match register {
        Register::None => NONE,
        Register::RIP | Register::EIP => RIP,
        register => register.full_register().number() as u8,
    }
}

fn compare(ours: &Insn, theirs: &Instruction, bits: u32) {
    assert_eq!(usize::from(ours.length), theirs.len());
    let (operation, may_write) = operation(theirs.mnemonic()).expect("a mnemonic that is known");
    let operation = if theirs.mnemonic() == Mnemonic::Imul && theirs.op_count() == 1 {
        Operation::MulSigned
    } else {
        operation
    };
    assert_eq!(ours.operation, operation);
    let kinds: Vec<OpKind> = theirs.op_kinds().collect();
    let memory = kinds.iter().position(|kind| is_memory(*kind)).expect("a memory operand") as u32;
    let ports = matches!(opcode_of(theirs), 'i' | 'o');
    let stack = matches!(operation, Operation::Push | Operation::Pop);
    let copies = kinds.iter().filter(|kind| is_memory(**kind)).count() == 2 || stack;
    let access = ours.access;
    assert_eq!(access & insn::STRING != 0, kinds.iter().any(|kind| is_string(*kind)));
    assert_eq!(access & insn::COPIES != 0, copies);
    assert_eq!(access & (insn::PORT_IN | insn::PORT_OUT) != 0, ports);
    if !ports {
        let writes = may_write && memory == 0 || operation == Operation::Xchg;
        let moves = matches!(operation, Operation::Mov | Operation::Set) && memory == 0 && !copies;
        assert_eq!(access & insn::WRITES != 0, writes);
        assert_eq!(access & insn::READS != 0, !moves);
    }
    assert_eq!(usize::from(ours.memory_size), theirs.memory_size().size());
    address(ours, theirs, &kinds, memory);
    for (operand, kind) in kinds.iter().enumerate() {
        let register = theirs.op_register(operand as u32);
        if *kind == OpKind::Register && register != Register::DX {
            let high = matches!(register, Register::AH | Register::CH | Register::DH | Register::BH);
            assert_eq!(ours.high != 0, high);
            assert_eq!(ours.reg, number(register));
            assert_eq!(usize::from(ours.register_size), register.size());
            assert_eq!(ours.immediate_source != 0, kinds.len() == 3);
        }
    }
    let immediate =
        kinds.iter().position(|kind| !matches!(kind, OpKind::Register | OpKind::Memory) && !is_string(*kind));
    assert_eq!(ours.immediate_source != 0, immediate.is_some());
    if let Some(operand) = immediate {
        // Compared as far as the operand goes.
        let short = matches!(kinds[operand], OpKind::Immediate8);
        let bits = if short { 8 } else { u32::from(ours.memory_size) * 8 };
        let mask = u64::MAX >> (64 - bits);
        assert_eq!(ours.immediate & mask, theirs.immediate(operand as u32) & mask);
    }
    if access & insn::STRING != 0 {
        let repeats = theirs.has_rep_prefix() || theirs.has_repe_prefix() || theirs.has_repne_prefix();
        assert_eq!(ours.repeat != insn::ONCE, repeats);
        if operation == Operation::Cmp {
            assert_eq!(ours.repeat == insn::REPNE, theirs.has_repne_prefix());
        }
    }
    assert_eq!(u32::from(ours.code_size) * 8, bits);
}

/// 'i' for INS, 'o' for OUTS.
fn opcode_of(instruction: &Instruction) -> char {
    match instruction.mnemonic() {
        Mnemonic::Insb | Mnemonic::Insw | Mnemonic::Insd => 'i',
        Mnemonic::Outsb | Mnemonic::Outsw | Mnemonic::Outsd => 'o',
        _ => ' ',
    }
}

fn address(ours: &Insn, theirs: &Instruction, kinds: &[OpKind], memory: u32) {
    use OpKind::{MemoryESDI, MemoryESEDI, MemorySegESI, MemorySegRSI, MemorySegSI};
    const RSI: u8 = 6;
    const RDI: u8 = 7;
    let source = kinds.iter().find(|kind| matches!(kind, MemorySegSI | MemorySegESI | MemorySegRSI));
    let segment = match theirs.memory_segment() {
        _ if source.is_none() && is_string(kinds[memory as usize]) => Register::ES,
        segment @ (Register::FS | Register::GS) => segment,
        // Overrides by the others have no effect in 64-bit mode, which iced does not say.
        _ if ours.code_size == 8 && matches!(ours.base, 4 | 5) => Register::SS,
        _ if ours.code_size == 8 => Register::DS,
        segment => segment,
    };
    let (used, other) = match ours.operation {
        Operation::Pop => (ours.destination_segment, ours.segment),
        _ => (ours.segment, ours.destination_segment),
    };
    assert_eq!(used, (segment as u32 - Register::ES as u32) as u8, "the segment");
    let stack = matches!(ours.operation, Operation::Push | Operation::Pop);
    assert_eq!(other, if stack { 2 } else { 0 });
    let size = |kind: &OpKind| match kind {
        MemorySegSI | MemoryESDI => 2,
        MemorySegESI | MemoryESEDI => 4,
        _ => 8,
    };
    if is_string(kinds[memory as usize]) {
        assert_eq!(ours.base, if source.is_some() { RSI } else { RDI });
        assert_eq!(ours.address_size, size(source.unwrap_or(&kinds[memory as usize])));
        assert_eq!((ours.index, ours.displacement), (NONE, 0));
        return;
    }
    assert_eq!(ours.base, number(theirs.memory_base()), "the base");
    assert_eq!(ours.index, number(theirs.memory_index()), "the index");
    if ours.index != NONE {
        assert_eq!(u32::from(ours.scale), theirs.memory_index_scale());
    }
    let mask = u64::MAX >> (64 - 8 * u32::from(ours.address_size));
    let mut displacement = ours.displacement as u64;
    if ours.base == RIP {
        // iced adds the address of the next instruction.
        displacement = displacement.wrapping_add(u64::from(ours.length));
    }
    assert_eq!(displacement & mask, theirs.memory_displacement64() & mask, "the displacement");
}

/// Decodes `bytes` with both; whether the decoder knew the instruction.
fn check(bytes: &[u8], bits: u32) -> bool {
    let (theirs, error) = iced(bytes, bits);
    let result = std::panic::catch_unwind(|| match decode(bytes, bits) {
        Ok(ours) => {
            assert_eq!(error, DecoderError::None);
            compare(&ours, &theirs, bits);
            for shorter in 0..theirs.len() {
                assert_eq!(decode(&bytes[..shorter], bits), Err(ENODATA), "{shorter} bytes of it");
            }
            true
        }
        Err(ENODATA) => {
            // Whether a byte that is missing matters is not always known.
            assert_ne!(error, DecoderError::None);
            false
        }
        Err(error) => {
            assert_eq!(error, EINVAL);
            let has_memory = theirs.op_kinds().any(is_memory);
            let known = !theirs.is_invalid() && has_memory && operation(theirs.mnemonic()).is_some();
            assert!(!known || is_left_out(&theirs, opcode(bytes, bits)), "refused");
            false
        }
    });
    result.unwrap_or_else(|_| panic!("{bits}-bit code {bytes:02x?}: {theirs:?}"))
}

/// An instruction that is likely to be one of ours: prefixes, an opcode, and random bytes.
fn likely(random: &mut Random) -> [u8; 15] {
    const PREFIXES: [u8; 12] = [0x66, 0x67, 0xf0, 0xf2, 0xf3, 0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x48];
    const ONE: [u8; 40] = [
        0x00, 0x09, 0x12, 0x1b, 0x20, 0x29, 0x32, 0x3b, 0x63, 0x6c, 0x6d, 0x6e, 0x6f, 0x80, 0x81, 0x83, 0x84,
        0x85, 0x86, 0x87, 0x88, 0x89, 0x8a, 0x8b, 0xa0, 0xa1, 0xa2, 0xa3, 0xa4, 0xa5, 0xaa, 0xab, 0xac, 0xad,
        0xae, 0xaf, 0xc6, 0xc7, 0xf6, 0xf7,
    ];
    const TWO: [u8; 16] =
        [0xa3, 0xab, 0xb0, 0xb1, 0xb3, 0xb6, 0xb7, 0xba, 0xbb, 0xbe, 0xbf, 0xc0, 0xc1, 0xba, 0xb6, 0xbe];
    let mut bytes = random.bytes();
    let mut next = 0;
    let mut put = |byte| {
        bytes[next] = byte;
        next += 1;
    };
    for _ in 0..random.below(4) {
        put(PREFIXES[random.below(12)]);
    }
    if random.below(2) == 0 {
        put(0x40 | random.below(16) as u8);
    }
    match random.below(4) {
        0 => {
            put(0x0f);
            put(TWO[random.below(16)]);
        }
        1 => put(0xfe | random.below(2) as u8),
        _ => put(ONE[random.below(40)]),
    }
    bytes
}

#[test]
fn likely_instructions_decode_as_iced_decodes_them() {
    let mut random = Random::new(1);
    for bits in [16, 32, 64] {
        let mut known = 0;
        for _ in 0..700_000 {
            known += u32::from(check(&likely(&mut random), bits));
        }
        assert!(known > 150_000, "only {known} were known in {bits}-bit code");
    }
}

#[test]
fn random_bytes_decode_as_iced_decodes_them() {
    let mut random = Random::new(2);
    for bits in [16, 32, 64] {
        for _ in 0..700_000 {
            check(&random.bytes(), bits);
        }
    }
}

#[test]
fn every_opcode_with_every_modrm_byte_decodes_as_iced_decodes_it() {
    let mut random = Random::new(3);
    for bits in [16, 32, 64] {
        for escape in [false, true] {
            for opcode in 0..=255 {
                for modrm in 0..=255 {
                    let mut bytes = random.bytes();
                    let start = if escape { &[0x0f, opcode, modrm][..] } else { &[opcode, modrm][..] };
                    bytes[..start.len()].copy_from_slice(start);
                    check(&bytes, bits);
                }
            }
        }
    }
}

#[test]
fn an_instruction_of_more_than_15_bytes_is_refused() {
    let mut bytes = [0x66; 20];
    bytes[13..16].copy_from_slice(&[0x89, 0x04, 0x24]);
    assert_eq!(decode(&bytes, 64), Err(EINVAL));
    assert_eq!(decode(&bytes[1..], 64).map(|insn| insn.length), Ok(15));
    assert_eq!(decode(&[0x66; 15], 64), Err(EINVAL));
    assert_eq!(decode(&[0x66; 14], 64), Err(ENODATA));
}

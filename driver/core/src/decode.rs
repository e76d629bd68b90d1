// SPDX-License-Identifier: MIT OR GPL-2.0
//! The instructions that touch MMIO, and string I/O: AMD APM volume 3, chapter 1 (encoding) and
//! appendix A (opcode maps).
//!
//! A nested page fault on memory that no slot backs is an access to a device. The processor does not say
//! what the instruction wanted, so its bytes are decoded. What a compiler or a careful assembly programmer
//! uses for devices is known; PUSH, POP, CALL, shifts, SSE and AVX through device memory are refused.

use crate::{EINVAL, ENODATA};

/// Memory is read at the operand.
pub const READS: u8 = 1;
/// Memory is written.
pub const WRITES: u8 = 2;
/// MOVS: what is read at the operand is written at ES:rDI.
pub const COPIES: u8 = 4;
/// INS.
pub const PORT_IN: u8 = 8;
/// OUTS.
pub const PORT_OUT: u8 = 16;
/// A string instruction: registers advance with each element, and a repeat prefix applies.
pub const STRING: u8 = 32;

/// No register, as a base or an index.
pub const NONE: u8 = 0xff;
/// The address of the next instruction, as a base.
pub const RIP: u8 = 16;

/// No repeat prefix.
pub const ONCE: u8 = 0;
/// F3: REP, or REPE with SCAS.
pub const REP: u8 = 1;
/// F2: REPNE with SCAS, otherwise as REP.
pub const REPNE: u8 = 2;

/// What an instruction computes. The first eight have the numbers that the encoding gives them.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum Operation {
    Add,
    Or,
    Adc,
    Sbb,
    And,
    Sub,
    Xor,
    Cmp,
    /// Also MOVZX, STOS, LODS and MOVS.
    Mov,
    /// MOVSX and MOVSXD.
    MovSigned,
    Test,
    Not,
    Neg,
    Inc,
    Dec,
    Xchg,
    Cmpxchg,
    Xadd,
    Bt,
    Bts,
    Btr,
    Btc,
}
use Operation::*;

/// `struct yakvm_insn`: a decoded instruction with one operand in memory.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Insn {
    /// Bytes, 1-15.
    pub length: u8,
    /// A set of [`READS`], [`WRITES`], [`COPIES`], [`PORT_IN`], [`PORT_OUT`], [`STRING`].
    pub access: u8,
    /// Bytes of one access: 1, 2, 4 or 8.
    pub memory_size: u8,
    /// The operand's segment: ES, CS, SS, DS, FS, GS.
    pub segment: u8,
    /// What is computed.
    pub operation: Operation,
    /// A register number, [`RIP`] or [`NONE`].
    pub base: u8,
    /// A register number or [`NONE`].
    pub index: u8,
    /// Factor of the index: 1, 2, 4 or 8.
    pub scale: u8,
    /// Bytes of an address: 2, 4 or 8.
    pub address_size: u8,
    /// Bytes of RIP in this mode: 2, 4 or 8.
    pub code_size: u8,
    /// The register operand, 0-15.
    pub reg: u8,
    /// 1: the register operand is AH, CH, DH or BH (of register 0-3).
    pub high: u8,
    /// Bytes of the register operand, which differ from those of the memory for MOVZX and MOVSX.
    pub register_size: u8,
    /// 1: the second operand is [`Insn::immediate`], not the register.
    pub immediate_source: u8,
    /// 1: memory is the second operand, the register (with MOVS the other memory) the first.
    pub memory_source: u8,
    /// [`ONCE`], [`REP`] or [`REPNE`].
    pub repeat: u8,
    /// 1: the bit number in the register selects memory beside the operand, as BT does.
    pub bit_string: u8,
    /// Zero.
    pub reserved: [u8; 7],
    /// Part of the address, sign-extended.
    pub displacement: i64,
    /// Sign-extended.
    pub immediate: u64,
}
const _: () = assert!(size_of::<Insn>() == 40);

/// The bytes of an instruction, and how many of them have been decoded.
struct Bytes<'a> {
    bytes: &'a [u8],
    next: usize,
}

impl Bytes<'_> {
    fn byte(&mut self) -> Result<u8, i32> {
        let byte = self.bytes.get(self.next).copied();
        self.next += 1;
        byte.ok_or(if self.next > 15 { EINVAL } else { ENODATA })
    }

    /// A little-endian number of 1, 2, 4 or 8 bytes, sign-extended.
    fn number(&mut self, size: u8) -> Result<i64, i32> {
        let mut value = 0;
        for position in 0..size {
            value |= u64::from(self.byte()?) << (8 * position);
        }
        Ok(crate::execute::sign_extend(value, size) as i64)
    }

    /// An immediate operand: never more than four bytes.
    fn immediate(&mut self, size: u8) -> Result<u64, i32> {
        Ok(self.number(size.min(4))? as u64)
    }
}

/// The prefixes that matter.
#[derive(Default)]
struct Prefixes {
    operand_size: bool,
    address_size: bool,
    lock: bool,
    repeat: u8,
    segment: Option<u8>,
    rex: u8,
}

impl Prefixes {
    /// Reads all prefixes and the first byte of the opcode.
    fn read(bytes: &mut Bytes, bits: u32) -> Result<(Self, u8), i32> {
        let mut prefixes = Self::default();
        loop {
            let byte = bytes.byte()?;
            let rex = core::mem::take(&mut prefixes.rex);
            match byte {
                0x66 => prefixes.operand_size = true,
                0x67 => prefixes.address_size = true,
                0xf0 => prefixes.lock = true,
                0xf2 => prefixes.repeat = REPNE,
                0xf3 => prefixes.repeat = REP,
                // ES, CS, SS, DS: without effect in 64-bit mode.
                0x26 | 0x2e | 0x36 | 0x3e if bits == 64 => {}
                0x26 | 0x2e | 0x36 | 0x3e => prefixes.segment = Some((byte >> 3) & 3),
                0x64 | 0x65 => prefixes.segment = Some(byte & 7),
                // Only a REX prefix directly in front of the opcode counts.
                0x40..=0x4f if bits == 64 => prefixes.rex = byte,
                _ => {
                    prefixes.rex = rex;
                    return Ok((prefixes, byte));
                }
            }
        }
    }

    /// Bit 3, the register's highest bit, from one of REX.R (2), REX.X (1) and REX.B (0).
    fn extension(&self, bit: u8) -> u8 {
        ((self.rex >> bit) & 1) << 3
    }
}

const RBX: u8 = 3;
const RSP: u8 = 4;
const RBP: u8 = 5;
const RSI: u8 = 6;
const RDI: u8 = 7;
const ES: u8 = 0;
const SS: u8 = 2;
const DS: u8 = 3;

impl Insn {
    /// An instruction that uses no memory yet.
    fn new(prefixes: &Prefixes, bits: u32, opcode: u8) -> Self {
        // The lowest bit of most opcodes selects between bytes and the operand size.
        let operand_size = match (bits, prefixes.operand_size) {
            _ if opcode & 1 == 0 => 1,
            (64, _) if prefixes.rex & 8 != 0 => 8,
            (16, true) | (32 | 64, false) => 4,
            _ => 2,
        };
        Self {
            length: 0,
            access: 0,
            memory_size: operand_size,
            segment: prefixes.segment.unwrap_or(DS),
            operation: Mov,
            base: NONE,
            index: NONE,
            scale: 1,
            address_size: match (bits, prefixes.address_size) {
                (64, false) => 8,
                (16, true) | (32, false) | (64, true) => 4,
                _ => 2,
            },
            code_size: match bits {
                64 => 8,
                32 => 4,
                _ => 2,
            },
            reg: 0,
            high: 0,
            register_size: operand_size,
            immediate_source: 0,
            memory_source: 0,
            repeat: ONCE,
            bit_string: 0,
            reserved: [0; 7],
            displacement: 0,
            immediate: 0,
        }
    }

    fn operate(&mut self, operation: Operation, access: u8) {
        self.operation = operation;
        self.access = access;
    }

    /// Decodes the ModRM byte with what belongs to it. The result is its middle field.
    fn modrm(&mut self, bytes: &mut Bytes, prefixes: &Prefixes) -> Result<u8, i32> {
        let modrm = bytes.byte()?;
        let (mode, reg, rm) = (modrm >> 6, (modrm >> 3) & 7, modrm & 7);
        if mode == 3 {
            // Two registers.
            return Err(EINVAL);
        }
        self.set_register(reg, prefixes);
        if self.address_size == 2 {
            self.address_16(bytes, mode, rm)?;
        } else {
            self.address_32(bytes, prefixes, mode, rm)?;
        }
        if prefixes.segment.is_none() && matches!(self.base, RSP | RBP) {
            self.segment = SS;
        }
        Ok(reg)
    }

    fn set_register(&mut self, reg: u8, prefixes: &Prefixes) {
        let high = self.register_size == 1 && prefixes.rex == 0 && reg >= 4;
        self.high = u8::from(high);
        self.reg = if high { reg - 4 } else { reg | prefixes.extension(2) };
    }

    /// The eight address forms of 16-bit code.
    fn address_16(&mut self, bytes: &mut Bytes, mode: u8, rm: u8) -> Result<(), i32> {
        (self.base, self.index) = match rm {
            0 => (RBX, RSI),
            1 => (RBX, RDI),
            2 => (RBP, RSI),
            3 => (RBP, RDI),
            4 => (RSI, NONE),
            5 => (RDI, NONE),
            6 if mode == 0 => (NONE, NONE),
            6 => (RBP, NONE),
            _ => (RBX, NONE),
        };
        self.displacement = match mode {
            0 if rm != 6 => 0,
            1 => bytes.number(1)?,
            _ => bytes.number(2)?,
        };
        Ok(())
    }

    /// The address forms of 32-bit and 64-bit code.
    fn address_32(&mut self, bytes: &mut Bytes, prefixes: &Prefixes, mode: u8, rm: u8) -> Result<(), i32> {
        let mut base = rm;
        if rm == RSP {
            let sib = bytes.byte()?;
            base = sib & 7;
            self.scale = 1 << (sib >> 6);
            let index = ((sib >> 3) & 7) | prefixes.extension(1);
            if index != RSP {
                self.index = index;
            }
        }
        self.base = base | prefixes.extension(0);
        if mode == 0 && base == RBP {
            // No base but four bytes; without a SIB byte in 64-bit mode, relative to RIP.
            self.base = if rm == RBP && self.code_size == 8 { RIP } else { NONE };
        }
        self.displacement = match mode {
            1 => bytes.number(1)?,
            0 if base != RBP => 0,
            _ => bytes.number(4)?,
        };
        Ok(())
    }

    /// A string instruction: `register` addresses the operand and advances.
    fn string(&mut self, prefixes: &Prefixes, register: u8, access: u8) {
        self.base = register;
        if register == RDI {
            self.segment = ES;
        }
        self.access = access | STRING;
        self.repeat = prefixes.repeat;
    }

    /// The opcodes of one byte.
    fn one_byte(&mut self, bytes: &mut Bytes, prefixes: &Prefixes, opcode: u8) -> Result<(), i32> {
        let arithmetic = |number: u8| match number & 7 {
            0 => Add,
            1 => Or,
            2 => Adc,
            3 => Sbb,
            4 => And,
            5 => Sub,
            6 => Xor,
            _ => Cmp,
        };
        let size = self.memory_size;
        match opcode {
            // ADD, OR, ADC, SBB, AND, SUB, XOR, CMP with a register.
            0x00..=0x3f if opcode & 7 < 4 => {
                self.modrm(bytes, prefixes)?;
                self.memory_source = (opcode >> 1) & 1;
                let operation = arithmetic(opcode >> 3);
                let writes = operation != Cmp && self.memory_source == 0;
                self.operate(operation, if writes { READS | WRITES } else { READS });
            }
            // MOVSXD.
            0x63 if self.code_size == 8 && size != 2 => {
                self.memory_size = 4;
                self.modrm(bytes, prefixes)?;
                self.memory_source = 1;
                self.operate(MovSigned, READS);
            }
            0x6c | 0x6d => {
                self.memory_size = size.min(4);
                self.string(prefixes, RDI, PORT_IN);
            }
            0x6e | 0x6f => {
                self.memory_size = size.min(4);
                self.string(prefixes, RSI, PORT_OUT);
            }
            // The eight operations with an immediate operand.
            0x80 | 0x81 | 0x83 => {
                let operation = arithmetic(self.modrm(bytes, prefixes)?);
                self.immediate = bytes.immediate(if opcode == 0x83 { 1 } else { size })?;
                self.immediate_source = 1;
                self.operate(operation, if operation == Cmp { READS } else { READS | WRITES });
            }
            0x84 | 0x85 => {
                self.modrm(bytes, prefixes)?;
                self.operate(Test, READS);
            }
            0x86 | 0x87 => {
                self.modrm(bytes, prefixes)?;
                self.operate(Xchg, READS | WRITES);
            }
            0x88..=0x8b => {
                self.modrm(bytes, prefixes)?;
                self.memory_source = (opcode >> 1) & 1;
                self.operate(Mov, if self.memory_source == 1 { READS } else { WRITES });
            }
            // MOV between the accumulator and an absolute address.
            0xa0..=0xa3 => {
                self.displacement = bytes.number(self.address_size)?;
                self.memory_source = u8::from(opcode < 0xa2);
                self.operate(Mov, if self.memory_source == 1 { READS } else { WRITES });
            }
            0xa4 | 0xa5 => {
                self.memory_source = 1;
                self.string(prefixes, RSI, READS | WRITES | COPIES);
            }
            0xaa | 0xab => self.string(prefixes, RDI, WRITES),
            0xac | 0xad => {
                self.memory_source = 1;
                self.string(prefixes, RSI, READS);
            }
            0xae | 0xaf => {
                self.memory_source = 1;
                self.string(prefixes, RDI, READS);
                self.operation = Cmp;
            }
            0xc6 | 0xc7 => {
                if self.modrm(bytes, prefixes)? != 0 {
                    return Err(EINVAL);
                }
                self.immediate = bytes.immediate(size)?;
                self.immediate_source = 1;
                self.operate(Mov, WRITES);
            }
            0xf6 | 0xf7 => match self.modrm(bytes, prefixes)? {
                0 => {
                    self.immediate = bytes.immediate(size)?;
                    self.immediate_source = 1;
                    self.operate(Test, READS);
                }
                2 => self.operate(Not, READS | WRITES),
                3 => self.operate(Neg, READS | WRITES),
                _ => return Err(EINVAL),
            },
            0xfe | 0xff => match self.modrm(bytes, prefixes)? {
                0 => self.operate(Inc, READS | WRITES),
                1 => self.operate(Dec, READS | WRITES),
                _ => return Err(EINVAL),
            },
            _ => return Err(EINVAL),
        }
        Ok(())
    }

    /// The opcodes that follow 0F.
    fn two_bytes(&mut self, bytes: &mut Bytes, prefixes: &Prefixes, opcode: u8) -> Result<(), i32> {
        let bit_operation = |number: u8| match number & 3 {
            0 => (Bt, READS),
            1 => (Bts, READS | WRITES),
            2 => (Btr, READS | WRITES),
            _ => (Btc, READS | WRITES),
        };
        match opcode {
            0xb0 | 0xb1 => {
                self.modrm(bytes, prefixes)?;
                self.operate(Cmpxchg, READS | WRITES);
            }
            0xc0 | 0xc1 => {
                self.modrm(bytes, prefixes)?;
                self.operate(Xadd, READS | WRITES);
            }
            // BT, BTS, BTR, BTC with a bit number in a register.
            0xa3 | 0xab | 0xb3 | 0xbb => {
                self.modrm(bytes, prefixes)?;
                self.bit_string = 1;
                let (operation, access) = bit_operation(opcode >> 3);
                self.operate(operation, access);
            }
            // The same with an immediate one.
            0xba => {
                let number = self.modrm(bytes, prefixes)?;
                if number < 4 {
                    return Err(EINVAL);
                }
                self.immediate = bytes.immediate(1)?;
                self.immediate_source = 1;
                let (operation, access) = bit_operation(number);
                self.operate(operation, access);
            }
            // MOVZX, MOVSX: the lowest bit is the size of the memory.
            0xb6 | 0xb7 | 0xbe | 0xbf => {
                self.memory_size = 1 << (opcode & 1);
                self.modrm(bytes, prefixes)?;
                self.memory_source = 1;
                self.operate(if opcode < 0xb8 { Mov } else { MovSigned }, READS);
            }
            _ => return Err(EINVAL),
        }
        Ok(())
    }
}

/// Decodes the instruction that `bytes` start with, in code of 16, 32 or 64 `bits`.
///
/// Errors: [`ENODATA`] if it does not end within `bytes`, [`EINVAL`] if it is not known here.
pub fn decode(bytes: &[u8], bits: u32) -> Result<Insn, i32> {
    let mut bytes = Bytes { bytes, next: 0 };
    let (prefixes, opcode) = Prefixes::read(&mut bytes, bits)?;
    let mut insn;
    if opcode == 0x0f {
        let opcode = bytes.byte()?;
        // Of these opcodes 0 means a byte register only in CMPXCHG and XADD.
        let sized = if matches!(opcode, 0xb0 | 0xc0) { 0 } else { 1 };
        insn = Insn::new(&prefixes, bits, sized);
        insn.two_bytes(&mut bytes, &prefixes, opcode)?;
    } else {
        insn = Insn::new(&prefixes, bits, opcode);
        insn.one_byte(&mut bytes, &prefixes, opcode)?;
    }
    // LOCK is for read-modify-write of memory; anything else is #UD.
    let lockable = insn.access & (READS | WRITES | STRING) == READS | WRITES;
    if bytes.next > 15 || (prefixes.lock && !lockable) {
        return Err(EINVAL);
    }
    insn.length = bytes.next as u8;
    Ok(insn)
}

/// See `core.h`.
#[unsafe(no_mangle)]
pub extern "C" fn yakvm_decode(bytes: &[u8; 15], count: u32, bits: u32, insn: &mut Insn) -> i32 {
    match decode(bytes.get(..count as usize).unwrap_or(bytes), bits) {
        Ok(decoded) => {
            *insn = decoded;
            0
        }
        Err(error) => error,
    }
}

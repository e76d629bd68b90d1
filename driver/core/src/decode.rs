// SPDX-License-Identifier: MIT OR GPL-2.0
//! The instructions that touch MMIO, and string I/O: AMD APM volume 3, chapter 1 (encoding) and
//! appendix A (opcode maps).
//!
//! A nested page fault on memory that no slot backs is an access to a device. The processor does not say
//! what the instruction wanted, so its bytes are decoded. What a compiler or a careful assembly programmer
//! uses for devices is known; CALL, JMP, CMPS, SSE and AVX through device memory are refused.

use crate::execute::sign_extend;
use crate::insn::{Operation::*, *};
use crate::{EINVAL, ENODATA};

const RCX: u8 = 1;
const RBX: u8 = 3;
const RSP: u8 = 4;
const RBP: u8 = 5;
const RSI: u8 = 6;
const RDI: u8 = 7;
const ES: u8 = 0;
const SS: u8 = 2;
const DS: u8 = 3;

/// The instruction as far as it is decoded.
struct Decoder<'a> {
    bytes: &'a [u8],
    next: usize,
    /// Prefixes: operand size, address size, LOCK, and the last of 40-4F.
    narrow: bool,
    other_addresses: bool,
    lock: bool,
    rex: u8,
    /// No override of the segment so far.
    default_segment: bool,
    insn: Insn,
}

impl Decoder<'_> {
    fn byte(&mut self) -> Result<u8, i32> {
        let byte = self.bytes.get(self.next).copied();
        self.next += 1;
        if self.next > 15 { Err(EINVAL) } else { byte.ok_or(ENODATA) }
    }

    /// A little-endian number of 1, 2, 4 or 8 bytes, sign-extended.
    fn number(&mut self, size: u8) -> Result<u64, i32> {
        let mut value = 0;
        for position in 0..size {
            value |= u64::from(self.byte()?) << (8 * position);
        }
        Ok(sign_extend(value, size))
    }

    /// An immediate operand as the second one: never more than four bytes.
    fn immediate(&mut self, size: u8) -> Result<(), i32> {
        self.insn.immediate = self.number(size.min(4))?;
        self.insn.immediate_source = 1;
        Ok(())
    }

    /// Reads all prefixes and the first byte of the opcode.
    fn prefixes(&mut self) -> Result<u8, i32> {
        let long = self.insn.code_size == 8;
        loop {
            let byte = self.byte()?;
            match byte {
                0x66 => self.narrow = true,
                0x67 => self.other_addresses = true,
                0xf0 => self.lock = true,
                0xf2 => self.insn.repeat = REPNE,
                0xf3 => self.insn.repeat = REP,
                // ES, CS, SS, DS have no effect in 64-bit mode.
                0x26 | 0x2e | 0x36 | 0x3e | 0x64 | 0x65 => {
                    if !long || byte >= 0x64 {
                        self.insn.segment = if byte >= 0x64 { byte & 7 } else { (byte >> 3) & 3 };
                        self.default_segment = false;
                    }
                }
                0x40..=0x4f if long => {}
                _ => return Ok(byte),
            }
            // Only a REX prefix directly in front of the opcode counts.
            self.rex = if long && byte & 0xf0 == 0x40 { byte } else { 0 };
        }
    }

    /// Bit 3, the register's highest bit, from one of REX.R (2), REX.X (1) and REX.B (0).
    fn extension(&self, bit: u8) -> u8 {
        ((self.rex >> bit) & 1) << 3
    }

    /// Sizes of operands and addresses; the lowest bit of most opcodes is 0 for bytes.
    fn sizes(&mut self, bytes: bool) {
        let insn = &mut self.insn;
        insn.memory_size = match insn.code_size {
            _ if bytes => 1,
            8 if self.rex & 8 != 0 => 8,
            2 => 2 << u8::from(self.narrow),
            _ => 4 >> u8::from(self.narrow),
        };
        insn.register_size = insn.memory_size;
        insn.address_size = match insn.code_size {
            2 => 2 << u8::from(self.other_addresses),
            size => size >> u8::from(self.other_addresses),
        };
    }

    /// Decodes the ModRM byte with what belongs to it. The result is its middle field.
    fn modrm(&mut self) -> Result<u8, i32> {
        let modrm = self.byte()?;
        let (mode, reg, rm) = (modrm >> 6, (modrm >> 3) & 7, modrm & 7);
        if mode == 3 {
            // Two registers.
            return Err(EINVAL);
        }
        let high = self.insn.register_size == 1 && self.rex == 0 && reg >= 4;
        self.insn.high = u8::from(high);
        self.insn.reg = if high { reg - 4 } else { reg | self.extension(2) };
        let size =
            if self.insn.address_size == 2 { self.address_16(mode, rm) } else { self.address_32(mode, rm)? };
        self.insn.displacement = self.number(size)? as i64;
        if self.default_segment && matches!(self.insn.base, RSP | RBP) {
            self.insn.segment = SS;
        }
        Ok(reg)
    }

    /// The eight address forms of 16-bit code. The result is the size of the displacement.
    fn address_16(&mut self, mode: u8, rm: u8) -> u8 {
        (self.insn.base, self.insn.index) = match rm {
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
        if mode == 0 && rm == 6 { 2 } else { mode }
    }

    /// The address forms of 32-bit and 64-bit code.
    fn address_32(&mut self, mode: u8, rm: u8) -> Result<u8, i32> {
        let mut base = rm;
        if rm == RSP {
            let sib = self.byte()?;
            base = sib & 7;
            self.insn.scale = 1 << (sib >> 6);
            let index = ((sib >> 3) & 7) | self.extension(1);
            if index != RSP {
                self.insn.index = index;
            }
        }
        self.insn.base = base | self.extension(0);
        if mode == 0 && base == RBP {
            // No base but four bytes; without a SIB byte in 64-bit mode, relative to RIP.
            self.insn.base = if rm == RBP && self.insn.code_size == 8 { RIP } else { NONE };
            return Ok(4);
        }
        Ok([0, 1, 4, 0][usize::from(mode & 3)])
    }

    /// The operation, and what it does with memory.
    fn set(&mut self, operation: Operation, access: u8) -> Result<(), i32> {
        self.insn.operation = operation;
        self.insn.access = access;
        Ok(())
    }

    /// Memory is the first operand, a register the second.
    fn store(&mut self, operation: Operation, access: u8) -> Result<(), i32> {
        self.modrm()?;
        self.set(operation, access)
    }

    /// A register is the first operand, memory the second.
    fn load(&mut self, operation: Operation) -> Result<(), i32> {
        self.modrm()?;
        self.insn.memory_source = 1;
        self.set(operation, READS)
    }

    /// A string instruction: `register` addresses the operand and advances.
    fn string(&mut self, register: u8, operation: Operation, access: u8) -> Result<(), i32> {
        self.insn.base = register;
        if register == RDI {
            self.insn.segment = ES;
        }
        self.insn.memory_source = u8::from(access & READS != 0);
        self.set(operation, access | STRING)
    }

    /// PUSH or POP: in 64-bit mode there are none of four bytes.
    fn stack(&mut self, operation: Operation) -> Result<(), i32> {
        if self.insn.code_size == 8 && !(self.narrow && self.insn.memory_size == 2) {
            self.insn.memory_size = 8;
        }
        self.set(operation, READS | WRITES | COPIES)
    }

    /// The opcodes of one byte.
    fn one_byte(&mut self, opcode: u8) -> Result<(), i32> {
        let size = self.insn.memory_size;
        match opcode {
            // ADD, OR, ADC, SBB, AND, SUB, XOR, CMP: with a register, and with an immediate operand.
            0x00..=0x3f if opcode & 7 < 2 => self.store(arithmetic(opcode >> 3).0, arithmetic(opcode >> 3).1),
            0x00..=0x3f if opcode & 7 < 4 => self.load(arithmetic(opcode >> 3).0),
            0x80 | 0x81 | 0x83 => {
                let (operation, access) = arithmetic(self.modrm()?);
                self.immediate(if opcode == 0x83 { 1 } else { size })?;
                self.set(operation, access)
            }
            // POP: from the stack to the operand.
            0x8f if self.modrm()? == 0 => {
                self.insn.destination_segment = self.insn.segment;
                self.insn.segment = SS;
                self.stack(Pop)
            }
            // MOVSXD.
            0x63 if self.insn.code_size == 8 && size != 2 => {
                self.insn.memory_size = 4;
                self.load(MovSigned)
            }
            // IMUL with three operands.
            0x69 | 0x6b => {
                self.load(Imul)?;
                self.immediate(if opcode == 0x6b { 1 } else { size })
            }
            // INS, OUTS.
            0x6c..=0x6f => {
                self.insn.memory_size = size.min(4);
                if opcode < 0x6e { self.string(RDI, Mov, PORT_IN) } else { self.string(RSI, Mov, PORT_OUT) }
            }
            0x84 | 0x85 => self.store(Test, READS),
            0x86 | 0x87 => self.store(Xchg, READS | WRITES),
            0x88 | 0x89 => self.store(Mov, WRITES),
            0x8a | 0x8b => self.load(Mov),
            // MOV between the accumulator and an absolute address.
            0xa0..=0xa3 => {
                self.insn.displacement = self.number(self.insn.address_size)? as i64;
                self.insn.memory_source = u8::from(opcode < 0xa2);
                self.set(Mov, if opcode < 0xa2 { READS } else { WRITES })
            }
            // MOVS, STOS, LODS, SCAS.
            0xa4 | 0xa5 => self.string(RSI, Mov, READS | WRITES | COPIES),
            0xaa | 0xab => self.string(RDI, Mov, WRITES),
            0xac | 0xad => self.string(RSI, Mov, READS),
            0xae | 0xaf => self.string(RDI, Cmp, READS),
            // Rotations and shifts by an immediate number, by one, and by CL.
            0xc0 | 0xc1 | 0xd0..=0xd3 => {
                let kinds = [Rol, Ror, Rcl, Rcr, Shl, Shr, Shl, Sar];
                let operation = kinds[usize::from(self.modrm()? & 7)];
                match opcode {
                    0xc0 | 0xc1 => self.immediate(1)?,
                    0xd0 | 0xd1 => (self.insn.immediate, self.insn.immediate_source) = (1, 1),
                    _ => (self.insn.reg, self.insn.high, self.insn.register_size) = (RCX, 0, 1),
                }
                self.set(operation, READS | WRITES)
            }
            // MOV, TEST, NOT, NEG, INC, DEC.
            0xc6 | 0xc7 | 0xf6 | 0xf7 | 0xfe | 0xff => match (opcode & 0xfe, self.modrm()?) {
                (0xc6, 0) => self.immediate(size).and(self.set(Mov, WRITES)),
                (0xf6, 0) => self.immediate(size).and(self.set(Test, READS)),
                (0xf6, 2) => self.set(Not, READS | WRITES),
                (0xf6, 3) => self.set(Neg, READS | WRITES),
                (0xfe, 0) => self.set(Inc, READS | WRITES),
                (0xf6, 4) => self.set(Mul, READS),
                (0xf6, 5) => self.set(MulSigned, READS),
                (0xf6, 6) => self.set(Div, READS),
                (0xf6, 7) => self.set(DivSigned, READS),
                (0xfe, 1) => self.set(Dec, READS | WRITES),
                (0xfe, 6) if opcode == 0xff => {
                    self.insn.destination_segment = SS;
                    self.stack(Push)
                }
                _ => Err(EINVAL),
            },
            _ => Err(EINVAL),
        }
    }

    /// The opcodes that follow 0F.
    fn two_bytes(&mut self, opcode: u8) -> Result<(), i32> {
        // Of CMOVcc and SETcc.
        let condition = u64::from(opcode & 0xf);
        match opcode {
            0x40..=0x4f => {
                self.insn.immediate = condition;
                self.load(Cmov)
            }
            0x90..=0x9f => {
                self.insn.immediate = condition;
                self.insn.memory_size = 1;
                self.store(Set, WRITES)
            }
            0xaf => self.load(Imul),
            0xb0 | 0xb1 => self.store(Cmpxchg, READS | WRITES),
            0xc0 | 0xc1 => self.store(Xadd, READS | WRITES),
            // CMPXCHG8B, not CMPXCHG16B.
            0xc7 if self.insn.memory_size != 8 && self.modrm()? == 1 => {
                self.insn.memory_size = 8;
                self.set(Cmpxchg8b, READS | WRITES)
            }
            // BT, BTS, BTR, BTC with a bit number in a register, and with an immediate one.
            0xa3 | 0xab | 0xb3 | 0xbb => {
                self.insn.bit_string = 1;
                let (operation, access) = bit_operation(opcode >> 3);
                self.store(operation, access)
            }
            0xba => match self.modrm()? {
                number @ 4.. => {
                    let (operation, access) = bit_operation(number);
                    self.immediate(1)?;
                    self.set(operation, access)
                }
                _ => Err(EINVAL),
            },
            // MOVZX, MOVSX: the lowest bit is the size of the memory.
            0xb6 | 0xb7 | 0xbe | 0xbf => {
                self.insn.memory_size = 1 << (opcode & 1);
                self.load(if opcode < 0xb8 { Mov } else { MovSigned })
            }
            _ => Err(EINVAL),
        }
    }
}

/// The eight operations that opcodes number, and what they do with memory as their first operand.
fn arithmetic(number: u8) -> (Operation, u8) {
    let operation = [Add, Or, Adc, Sbb, And, Sub, Xor, Cmp][usize::from(number & 7)];
    (operation, if operation == Cmp { READS } else { READS | WRITES })
}

/// The four bit operations.
fn bit_operation(number: u8) -> (Operation, u8) {
    let operation = [Bt, Bts, Btr, Btc][usize::from(number & 3)];
    (operation, if operation == Bt { READS } else { READS | WRITES })
}

/// Decodes the instruction that `bytes` start with, in code of 16, 32 or 64 `bits`.
///
/// Errors: [`ENODATA`] if it does not end within `bytes`, [`EINVAL`] if it is not known here.
pub fn decode(bytes: &[u8], bits: u32) -> Result<Insn, i32> {
    let code_size = match bits {
        64 => 8,
        32 => 4,
        _ => 2,
    };
    let insn = Insn { segment: DS, base: NONE, index: NONE, scale: 1, code_size, ..Insn::default() };
    let mut decoder = Decoder {
        bytes,
        next: 0,
        narrow: false,
        other_addresses: false,
        lock: false,
        rex: 0,
        default_segment: true,
        insn,
    };
    let opcode = decoder.prefixes()?;
    if opcode == 0x0f {
        let opcode = decoder.byte()?;
        decoder.sizes(matches!(opcode, 0xb0 | 0xc0));
        decoder.two_bytes(opcode)?;
    } else {
        decoder.sizes(opcode & 1 == 0);
        decoder.one_byte(opcode)?;
    }
    let mut insn = decoder.insn;
    insn.length = decoder.next as u8;
    if insn.access & STRING == 0 {
        insn.repeat = ONCE;
    }
    // LOCK is for read-modify-write of memory, but no shift; anything else is #UD.
    let shift = matches!(insn.operation, Rol | Ror | Rcl | Rcr | Shl | Shr | Sar);
    let lockable = insn.access & (READS | WRITES | COPIES) == READS | WRITES && !shift;
    if decoder.lock && !lockable { Err(EINVAL) } else { Ok(insn) }
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

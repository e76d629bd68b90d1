// SPDX-License-Identifier: MIT OR GPL-2.0
//! What a decoded instruction does: AMD APM volume 3, chapter 3, and volume 1, section 3.1.4 (flags).
//!
//! The C files read and write memory, these functions everything else. Flags that an instruction leaves
//! undefined are cleared.

use crate::insn::{COPIES, Insn, NONE, ONCE, Operation, REP, RIP, STRING, WRITES};

const CF: u64 = 1 << 0;
const PF: u64 = 1 << 2;
const AF: u64 = 1 << 4;
const ZF: u64 = 1 << 6;
const SF: u64 = 1 << 7;
const DF: u64 = 1 << 10;
const OF: u64 = 1 << 11;
const RF: u64 = 1 << 16;
const STATUS: u64 = CF | PF | AF | ZF | SF | OF;

const RAX: u8 = 0;
const RCX: u8 = 1;
const RDX: u8 = 2;
const RBX: u8 = 3;
const RSP: u8 = 4;
const RDI: u8 = 7;
/// Of the pages that string I/O must not cross in one go.
const PAGE: u64 = 4096;

/// `struct yakvm_registers`.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Registers {
    /// RAX RCX RDX RBX RSP RBP RSI RDI R8-R15.
    pub gpr: [u64; 16],
    /// The instruction's address in its segment.
    pub rip: u64,
    /// RFLAGS.
    pub rflags: u64,
}
const _: () = assert!(size_of::<Registers>() == 144);

/// All bits of a number of 1, 2, 4 or 8 bytes.
pub(crate) fn mask(size: u8) -> u64 {
    match size {
        1 => 0xff,
        2 => 0xffff,
        4 => 0xffff_ffff,
        _ => u64::MAX,
    }
}

/// The number of `size` bytes at the low end of `value`, with its sign in all higher bits.
pub(crate) fn sign_extend(value: u64, size: u8) -> u64 {
    match size {
        1 => value as i8 as u64,
        2 => value as i16 as u64,
        4 => value as i32 as u64,
        _ => value,
    }
}

impl Registers {
    /// The low `size` bytes of a register.
    fn get(&self, number: u8, size: u8) -> u64 {
        self.gpr.get(usize::from(number)).copied().unwrap_or(0) & mask(size)
    }

    /// Writes the low `size` bytes: four clear the upper half, fewer leave the rest.
    fn set(&mut self, number: u8, size: u8, value: u64) {
        if let Some(register) = self.gpr.get_mut(usize::from(number)) {
            let kept = if size < 4 { !mask(size) } else { 0 };
            *register = *register & kept | value & mask(size);
        }
    }

    /// Writes an address register: in 64-bit mode addresses of four bytes clear the upper half.
    fn add(&mut self, insn: &Insn, number: u8, amount: u64) {
        let value = self.get(number, insn.address_size).wrapping_add(amount);
        self.set(number, insn.address_size, value);
    }

    /// The distance to the next element of a string.
    fn step(&self, insn: &Insn) -> u64 {
        let size = u64::from(insn.memory_size);
        if self.rflags & DF == 0 { size } else { size.wrapping_neg() }
    }

    fn operand(&self, insn: &Insn) -> u64 {
        if insn.high != 0 { self.get(insn.reg, 2) >> 8 } else { self.get(insn.reg, insn.register_size) }
    }

    fn set_operand(&mut self, insn: &Insn, value: u64) {
        if insn.high != 0 {
            let low = self.get(insn.reg, 1);
            self.set(insn.reg, 2, (value & 0xff) << 8 | low);
        } else {
            self.set(insn.reg, insn.register_size, value);
        }
    }

    fn set_status(&mut self, changed: u64, flags: u64) {
        self.rflags = self.rflags & !changed | flags & changed;
    }

    /// A number of twice the size: AX, or the two halves in rDX and rAX.
    fn wide(&self, size: u8) -> u128 {
        if size == 1 {
            return self.get(RAX, 2).into();
        }
        u128::from(self.get(RDX, size)) << (size * 8) | u128::from(self.get(RAX, size))
    }

    /// Writes AX, or rDX and rAX.
    fn set_halves(&mut self, size: u8, high: u64, low: u64) {
        if size == 1 {
            self.set(RAX, 2, (high & 0xff) << 8 | low & 0xff);
        } else {
            self.set(RAX, size, low);
            self.set(RDX, size, high);
        }
    }

    /// Where the stack is after PUSH and POP.
    fn stack(&self, insn: &Insn) -> u64 {
        let size = u64::from(insn.memory_size);
        let change = if insn.operation == Operation::Push { size.wrapping_neg() } else { size };
        self.get(RSP, insn.code_size).wrapping_add(change) & mask(insn.code_size)
    }

    /// Steps over the instruction.
    fn next(&mut self, insn: &Insn) {
        self.rip = self.rip.wrapping_add(u64::from(insn.length)) & mask(insn.code_size);
        self.rflags &= !RF;
    }

    /// Counts `elements` of a string instruction; none if rCX was 0 from the start.
    fn advance(&mut self, insn: &Insn, elements: u32) {
        if elements == 0 {
            return self.next(insn);
        }
        let distance = self.step(insn).wrapping_mul(u64::from(elements));
        self.add(insn, insn.base, distance);
        if insn.access & COPIES != 0 {
            self.add(insn, RDI, distance);
        }
        if insn.repeat != ONCE {
            self.add(insn, RCX, u64::from(elements).wrapping_neg());
            let wanted = if insn.repeat == REP { ZF } else { 0 };
            let found = insn.operation == Operation::Cmp && self.rflags & ZF != wanted;
            if self.get(RCX, insn.address_size) != 0 && !found {
                return;
            }
        }
        self.next(insn);
    }
}

/// The sign, zero and parity flags of a result.
fn result_flags(result: u64, size: u8) -> u64 {
    let result = result & mask(size);
    let parity = if (result as u8).count_ones() & 1 == 0 { PF } else { 0 };
    let zero = if result == 0 { ZF } else { 0 };
    let sign = if sign_extend(result, size) >> 63 != 0 { SF } else { 0 };
    parity | zero | sign
}

/// CF, AF and OF from the carries out of every bit and the sign changes.
fn carry_flags(carries: u64, overflow: u64, size: u8) -> u64 {
    let top = |bits: u64| (bits >> (size * 8 - 1)) & 1;
    (top(carries) * CF) | (((carries >> 3) & 1) * AF) | (top(overflow) * OF)
}

fn add(left: u64, right: u64, carry: u64, size: u8) -> (u64, u64) {
    let sum = left.wrapping_add(right).wrapping_add(carry);
    let carries = left & right | (left | right) & !sum;
    let overflow = (left ^ sum) & (right ^ sum);
    (sum, result_flags(sum, size) | carry_flags(carries, overflow, size))
}

fn subtract(left: u64, right: u64, borrow: u64, size: u8) -> (u64, u64) {
    let difference = left.wrapping_sub(right).wrapping_sub(borrow);
    let borrows = !left & right | !(left ^ right) & difference;
    let overflow = (left ^ right) & (left ^ difference);
    (difference, result_flags(difference, size) | carry_flags(borrows, overflow, size))
}

/// Rotates or shifts, one bit at a time. The result, the flags that change, and their values.
fn shift(operation: Operation, value: u64, count: u64, carry: u64, size: u8) -> (u64, u64, u64) {
    use Operation::*;
    let top = u32::from(size) * 8 - 1;
    let (mut value, mut carry, mut changed, mut overflow) = (value, carry, 0, 0);
    for _ in 0..count {
        let (low, high) = (value & 1, (value >> top) & 1);
        let (out, next) = match operation {
            Rol => (high, value << 1 | high),
            Rcl => (high, value << 1 | carry),
            Shl => (high, value << 1),
            Ror => (low, value >> 1 | low << top),
            Rcr => (low, value >> 1 | carry << top),
            Shr => (low, value >> 1),
            _ => (low, value >> 1 | high << top),
        };
        value = next & mask(size);
        carry = out;
        // The sign has changed in the last step.
        overflow = ((value >> top) & 1) ^ high;
        changed = if matches!(operation, Shl | Shr | Sar) { STATUS } else { CF | OF };
    }
    (value, changed, result_flags(value, size) | (carry * CF) | (overflow * OF))
}

/// Quotient and remainder, or None for #DE.
fn divide(dividend: u128, divisor: u64, size: u8) -> Option<(u64, u64)> {
    let (mut quotient, mut remainder) = (0, 0u128);
    // A division of 128 bits is a function that the kernel does not have.
    for bit in (0..128).rev() {
        remainder = remainder << 1 | dividend >> bit & 1;
        quotient <<= 1;
        if remainder >= u128::from(divisor) {
            remainder -= u128::from(divisor);
            quotient |= 1;
        }
    }
    (divisor != 0 && quotient <= u128::from(mask(size))).then_some((quotient as u64, remainder as u64))
}

/// The same for numbers with signs: the remainder has the dividend's.
fn divide_signed(dividend: i128, divisor: i64, size: u8) -> Option<(u64, u64)> {
    let (quotient, remainder) = divide(dividend.unsigned_abs(), divisor.unsigned_abs(), 8)?;
    let sign = |value: u64, negative| if negative { value.wrapping_neg() } else { value };
    let negative = (dividend < 0) != (divisor < 0);
    let result = sign(quotient, negative);
    let fits = sign_extend(result, size) == result && (result == 0 || negative == (result >> 63 != 0));
    fits.then_some((result, sign(remainder, dividend < 0)))
}

/// Whether the condition of this number holds, as in Jcc.
fn condition(flags: u64, number: u64) -> bool {
    let less = (flags & SF != 0) != (flags & OF != 0);
    let holds = match (number >> 1) & 7 {
        0 => flags & OF != 0,
        1 => flags & CF != 0,
        2 => flags & ZF != 0,
        3 => flags & (CF | ZF) != 0,
        4 => flags & SF != 0,
        5 => flags & PF != 0,
        6 => less,
        _ => less || flags & ZF != 0,
    };
    holds != (number & 1 != 0)
}

/// Carries the instruction out, except for memory: `memory` was read there, the result is to be written.
#[unsafe(no_mangle)]
pub extern "C" fn yakvm_execute(insn: &Insn, registers: &mut Registers, memory: u64) -> u64 {
    use Operation::*;
    let size = insn.memory_size.clamp(1, 8);
    let memory = memory & mask(size);
    let register = registers.operand(insn);
    let source = if insn.immediate_source != 0 { insn.immediate & mask(size) } else { register };
    let (left, right) = if insn.memory_source != 0 { (source, memory) } else { (memory, source) };
    let carry = registers.rflags & CF;
    // Bit operations take the number within the operand.
    let bit = 1 << (right & (u64::from(size) * 8 - 1));
    let tested = if left & bit != 0 { CF } else { 0 };
    let logic = |result| (result, STATUS, result_flags(result, size));
    let arithmetic = |(result, flags)| (result, STATUS, flags);
    let (result, changed, flags) = match insn.operation {
        Add => arithmetic(add(left, right, 0, size)),
        Adc => arithmetic(add(left, right, carry, size)),
        Sub => arithmetic(subtract(left, right, 0, size)),
        Sbb => arithmetic(subtract(left, right, carry, size)),
        Cmp => (left, STATUS, subtract(left, right, 0, size).1),
        Or => logic(left | right),
        And => logic(left & right),
        Xor => logic(left ^ right),
        Test => (left, STATUS, result_flags(left & right, size)),
        Mov => (right, 0, 0),
        MovSigned => (sign_extend(right, size), 0, 0),
        Not => (!left, 0, 0),
        Neg => arithmetic(subtract(0, left, 0, size)),
        Inc => (left.wrapping_add(1), STATUS & !CF, add(left, 1, 0, size).1),
        Dec => (left.wrapping_sub(1), STATUS & !CF, subtract(left, 1, 0, size).1),
        Xchg => {
            registers.set_operand(insn, memory);
            (right, 0, 0)
        }
        Xadd => {
            registers.set_operand(insn, memory);
            arithmetic(add(left, right, 0, size))
        }
        Cmpxchg => {
            let (_, flags) = subtract(registers.get(RAX, size), memory, 0, size);
            if flags & ZF == 0 {
                registers.set(RAX, size, memory);
            }
            (if flags & ZF != 0 { right } else { memory }, STATUS, flags)
        }
        Bt => (left, CF, tested),
        Bts => (left | bit, CF, tested),
        Btr => (left & !bit, CF, tested),
        Btc => (left ^ bit, CF, tested),
        Imul => {
            let product =
                i128::from(sign_extend(left, size) as i64) * i128::from(sign_extend(right, size) as i64);
            let fits = sign_extend(product as u64, size) as i64;
            (product as u64, STATUS, if i128::from(fits) == product { 0 } else { CF | OF })
        }
        Cmov => (if condition(registers.rflags, insn.immediate) { right } else { left }, 0, 0),
        Set => (u64::from(condition(registers.rflags, insn.immediate)), 0, 0),
        Rol | Ror | Rcl | Rcr | Shl | Shr | Sar => {
            let count = right & if size == 8 { 63 } else { 31 };
            shift(insn.operation, left, count, carry, size)
        }
        Mul | MulSigned => {
            let (factor, signed) = (registers.get(RAX, size), insn.operation == MulSigned);
            let number = |value: u64| {
                if signed { i128::from(sign_extend(value, size) as i64) } else { i128::from(value) }
            };
            let product = number(factor).wrapping_mul(number(memory)) as u128;
            let (low, high) = (product as u64, (product >> (size * 8)) as u64);
            let empty = if signed && sign_extend(low, size) >> 63 != 0 { mask(size) } else { 0 };
            registers.set_halves(size, high, low);
            (0, STATUS, if high & mask(size) == empty { 0 } else { CF | OF })
        }
        Div | DivSigned => {
            let wide = registers.wide(size);
            let unused = 128 - u32::from(size) * 16;
            let divided = if insn.operation == Div {
                divide(wide, memory, size)
            } else {
                divide_signed((wide << unused) as i128 >> unused, sign_extend(memory, size) as i64, size)
            };
            // #DE.
            let Some((quotient, remainder)) = divided else { return 0 };
            registers.set_halves(size, remainder, quotient);
            (0, 0, 0)
        }
        Push | Pop => {
            registers.set(RSP, insn.code_size, registers.stack(insn));
            (memory, 0, 0)
        }
        Cmpxchg8b => {
            let half = |number| registers.get(number, 4);
            let equal = half(RDX) << 32 | half(RAX) == memory;
            let new = half(RCX) << 32 | half(RBX);
            if !equal {
                registers.set_halves(4, memory >> 32, memory);
            }
            (if equal { new } else { memory }, ZF, if equal { ZF } else { 0 })
        }
    };
    registers.set_status(changed, flags);
    // Memory into a register; with MOVS into memory, with CMP nowhere.
    if insn.memory_source != 0 && insn.access & WRITES == 0 && insn.operation != Cmp {
        registers.set_operand(insn, result);
    }
    if insn.access & STRING != 0 {
        registers.advance(insn, 1);
    } else {
        registers.next(insn);
    }
    result & mask(size)
}

/// The operand's offset in its segment; with `destination`, that of ES:rDI.
#[unsafe(no_mangle)]
pub extern "C" fn yakvm_offset(insn: &Insn, registers: &Registers, destination: bool) -> u64 {
    match (insn.operation, destination) {
        (Operation::Push, true) => return registers.stack(insn),
        (Operation::Pop, false) => return registers.get(RSP, insn.code_size),
        (_, true) if insn.access & STRING != 0 => return registers.get(RDI, insn.address_size),
        _ => {}
    }
    let base = match insn.base {
        NONE => 0,
        RIP => registers.rip.wrapping_add(u64::from(insn.length)),
        // POP has changed it before.
        RSP if insn.operation == Operation::Pop => registers.stack(insn),
        number => registers.get(number, 8),
    };
    let index = if insn.index == NONE { 0 } else { registers.get(insn.index, 8) };
    let mut offset =
        base.wrapping_add(index.wrapping_mul(u64::from(insn.scale))).wrapping_add(insn.displacement as u64);
    if insn.bit_string != 0 {
        // The bit number counts from the operand in both directions, in units of the operand.
        let number = sign_extend(registers.operand(insn), insn.register_size) as i64;
        let size = i64::from(insn.memory_size);
        offset = offset.wrapping_add(((number >> 3) & -size) as u64);
    }
    offset & mask(insn.address_size)
}

/// How many elements string I/O can move at once, at most `limit`.
#[unsafe(no_mangle)]
pub extern "C" fn yakvm_elements(insn: &Insn, registers: &Registers, linear: u64, limit: u32) -> u32 {
    let count = if insn.repeat == ONCE { 1 } else { registers.get(RCX, insn.address_size) };
    if registers.rflags & DF != 0 {
        return count.min(1) as u32;
    }
    let size = u64::from(insn.memory_size.max(1)).trailing_zeros();
    let in_page = (PAGE - linear % PAGE) >> size;
    count.min(in_page.clamp(1, PAGE)).min(u64::from(limit.max(1))) as u32
}

/// Counts `elements` of string I/O; none if rCX was 0 from the start.
#[unsafe(no_mangle)]
pub extern "C" fn yakvm_advance(insn: &Insn, registers: &mut Registers, elements: u32) {
    registers.advance(insn, elements);
}

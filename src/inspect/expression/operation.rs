//! What an expression is made of once it has been read: operations on a small stack of numbers.

use super::{EvaluationError, Register, STACK, Values};

/// One operation. Operands are taken from the top of the stack, the right one first, and the result
/// is put there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    /// A number.
    Number(u64),
    /// A register.
    Register(Register),
    /// How often the point has been reached.
    Hits,
    /// What lies in memory at the address on the stack.
    Load(Scalar),
    /// Cut to a type.
    Cast(Scalar),
    /// `-`
    Negate,
    /// `~`
    Complement,
    /// `!`
    Not,
    /// 1 for anything but 0.
    Truth,
    /// An operation with two operands.
    Binary(Binary),
    /// The left side of `&&`: if it is 0, that is the result, and evaluation continues at this operation.
    AndThen(usize),
    /// The left side of `||`: if it is not 0, the result is 1, and evaluation continues at this operation.
    OrElse(usize),
}

/// Operations with two operands. `Signed` and `Unsigned` say how the operands are understood where
/// that makes a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub(super) enum Binary {
    Add,
    Subtract,
    Multiply,
    Divide { signed: bool },
    Remainder { signed: bool },
    ShiftLeft,
    ShiftRight { signed: bool },
    And,
    Or,
    Xor,
    Equal,
    NotEqual,
    Less { signed: bool },
    LessOrEqual { signed: bool },
}

/// A type of number in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Scalar {
    /// Bytes: 1, 2, 4 or 8.
    pub(super) size: u8,
    /// Its highest bit is a sign.
    pub(super) signed: bool,
}

impl Scalar {
    /// Numbers of 64 bits without a sign.
    pub(super) const U64: Scalar = Scalar { size: 8, signed: false };
    /// Numbers of 64 bits with a sign.
    pub(super) const I64: Scalar = Scalar { size: 8, signed: true };

    /// The lowest bytes of `value`, extended to 64 bits.
    pub(super) fn cut(self, value: u64) -> u64 {
        let unused = 64 - 8 * u32::from(self.size.clamp(1, 8));
        if self.signed { ((value << unused) as i64 >> unused) as u64 } else { value << unused >> unused }
    }
}

/// Carries out `operations`. The parser has seen to it that they end, and how many values they hold.
pub(super) fn evaluate(
    operations: &[Operation],
    values: &mut dyn Values,
    hits: u64,
) -> Result<u64, EvaluationError> {
    let mut stack = Stack { values: [0; STACK], height: 0 };
    let mut at = 0;
    while let Some(operation) = operations.get(at) {
        at += 1;
        match *operation {
            Operation::Number(number) => stack.push(number),
            Operation::Register(register) => stack.push(values.register(register)),
            Operation::Hits => stack.push(hits),
            Operation::Load(scalar) => {
                let address = stack.pop();
                let found = values.load(address, scalar.size);
                let value = found.ok_or(EvaluationError::Unreadable { address, size: scalar.size })?;
                stack.push(scalar.cut(value));
            }
            Operation::Cast(scalar) => stack.change(|value| scalar.cut(value)),
            Operation::Negate => stack.change(u64::wrapping_neg),
            Operation::Complement => stack.change(|value| !value),
            Operation::Not => stack.change(|value| u64::from(value == 0)),
            Operation::Truth => stack.change(|value| u64::from(value != 0)),
            Operation::Binary(binary) => {
                let right = stack.pop();
                let left = stack.pop();
                stack.push(binary.of(left, right)?);
            }
            Operation::AndThen(end) => {
                if stack.pop() == 0 {
                    stack.push(0);
                    at = end.max(at);
                }
            }
            Operation::OrElse(end) => {
                if stack.pop() != 0 {
                    stack.push(1);
                    at = end.max(at);
                }
            }
        }
    }
    Ok(stack.pop())
}

impl Binary {
    fn of(self, left: u64, right: u64) -> Result<u64, EvaluationError> {
        let (left_signed, right_signed) = (left as i64, right as i64);
        Ok(match self {
            Binary::Add => left.wrapping_add(right),
            Binary::Subtract => left.wrapping_sub(right),
            Binary::Multiply => left.wrapping_mul(right),
            Binary::Divide { .. } | Binary::Remainder { .. } if right == 0 => {
                return Err(EvaluationError::DivisionByZero);
            }
            Binary::Divide { signed: true } => left_signed.wrapping_div(right_signed) as u64,
            Binary::Divide { signed: false } => left / right,
            Binary::Remainder { signed: true } => left_signed.wrapping_rem(right_signed) as u64,
            Binary::Remainder { signed: false } => left % right,
            // Bits that are shifted out are gone, however far.
            Binary::ShiftLeft => left.checked_shl(shift(right)).unwrap_or(0),
            Binary::ShiftRight { signed: true } => (left_signed >> shift(right).min(63)) as u64,
            Binary::ShiftRight { signed: false } => left.checked_shr(shift(right)).unwrap_or(0),
            Binary::And => left & right,
            Binary::Or => left | right,
            Binary::Xor => left ^ right,
            Binary::Equal => u64::from(left == right),
            Binary::NotEqual => u64::from(left != right),
            Binary::Less { signed: true } => u64::from(left_signed < right_signed),
            Binary::Less { signed: false } => u64::from(left < right),
            Binary::LessOrEqual { signed: true } => u64::from(left_signed <= right_signed),
            Binary::LessOrEqual { signed: false } => u64::from(left <= right),
        })
    }
}

fn shift(count: u64) -> u32 {
    count.min(64) as u32
}

/// The parser lets no expression through that needs more room or takes more than there is.
struct Stack {
    values: [u64; STACK],
    height: usize,
}

impl Stack {
    fn push(&mut self, value: u64) {
        if let Some(slot) = self.values.get_mut(self.height) {
            *slot = value;
            self.height += 1;
        }
    }

    fn pop(&mut self) -> u64 {
        self.height = self.height.saturating_sub(1);
        self.values.get(self.height).copied().unwrap_or(0)
    }

    fn change(&mut self, how: impl FnOnce(u64) -> u64) {
        let value = self.pop();
        self.push(how(value));
    }
}

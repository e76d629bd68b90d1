//! Expressions over a stopped guest: conditions, addresses, values to print.
//!
//! An expression is parsed once into a short list of operations ([`Expression`]) and can then be
//! evaluated as often as a breakpoint is reached, without allocating and asking only for the
//! registers and the memory it uses. docs/debugging.md describes the syntax; numbers,
//! casts, pointers and the names of registers mean what they mean in gdb, but all arithmetic has 64
//! bits and wraps around.

mod operation;
mod parser;
mod register;
#[cfg(test)]
mod tests;
mod text;

use operation::Operation;
pub use parser::{ExpressionError, SymbolLookup};
pub use register::{Register, RegisterPart, named as register_named};
pub(crate) use text::character_at;

/// Values an expression may hold at the same time.
const STACK: usize = 32;

/// Where an expression gets its values from.
pub trait Values {
    /// The value of a register now, zero-extended.
    fn register(&mut self, register: Register) -> u64;

    /// `size` (1, 2, 4 or 8) bytes at the virtual address `address`, lowest first and zero-extended;
    /// `None` if not all of them are mapped RAM.
    fn load(&mut self, address: u64, size: u8) -> Option<u64>;
}

/// Why an expression that can be read has no value now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EvaluationError {
    /// The divisor is 0.
    #[error("it divides by 0")]
    DivisionByZero,
    /// There is no memory where it looks.
    #[error("{size} bytes at {address:#x} cannot be read: no RAM is mapped there")]
    Unreadable {
        /// The virtual address.
        address: u64,
        /// Bytes wanted there.
        size: u8,
    },
}

/// A parsed expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expression {
    operations: Vec<Operation>,
    /// Bytes of the type of its value.
    size: u8,
    /// Its value is printed with a sign.
    signed: bool,
}

impl Expression {
    /// Reads all of `text` as one expression.
    ///
    /// # Errors
    ///
    /// [`ExpressionError`]: what is wrong, and where.
    pub fn parse(text: &str, symbols: SymbolLookup<'_>) -> Result<Expression, ExpressionError> {
        let (expression, rest) = Expression::parse_start(text, symbols)?;
        if rest.is_empty() {
            return Ok(expression);
        }
        Err(ExpressionError::new(rest, "this is more than one expression; an operator is missing before it"))
    }

    /// Reads the expression that `text` begins with; also what follows it, without blanks in front.
    ///
    /// # Errors
    ///
    /// [`ExpressionError`]: what is wrong, and where.
    pub fn parse_start<'t>(
        text: &'t str,
        symbols: SymbolLookup<'_>,
    ) -> Result<(Expression, &'t str), ExpressionError> {
        parser::parse(text, symbols)
    }

    /// Its value now. `hits` is what `$hits` stands for.
    ///
    /// # Errors
    ///
    /// [`EvaluationError`].
    pub fn evaluate(&self, values: &mut dyn Values, hits: u64) -> Result<u64, EvaluationError> {
        operation::evaluate(&self.operations, values, hits)
    }

    /// Size of the value's type in bytes: 8, unless the expression ends with a cast, a narrow
    /// register or a load from memory.
    pub fn size(&self) -> u8 {
        self.size
    }

    /// True if the value is signed.
    pub fn is_signed(&self) -> bool {
        self.signed
    }
}

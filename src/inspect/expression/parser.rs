//! From text to operations, by recursive descent.
//!
//! Types are known when the text is read: each value has one, and the operation that is written down
//! depends on it, as in C. Whatever is read, the work, the depth and the memory are bounded.

use super::operation::{Binary, Operation, Scalar};
use super::text::{character_at, name_at, number_at};
use super::{Expression, STACK, register};

/// Operations an expression may have.
const MOST_OPERATIONS: usize = 256;
/// How deep parentheses and operators before a value may be nested.
const DEEPEST: usize = 64;
/// Letters of the text an error shows.
const SHOWN: usize = 24;

/// Finds the address of a symbol.
pub type SymbolLookup<'s> = &'s dyn Fn(&str) -> Option<u64>;

/// What is wrong with the text of an expression.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {what}")]
pub struct ExpressionError {
    place: String,
    what: String,
}

impl ExpressionError {
    /// `what` is wrong where `rest` begins.
    pub(crate) fn new(rest: &str, what: impl Into<String>) -> ExpressionError {
        let place = match rest.char_indices().nth(SHOWN) {
            _ if rest.is_empty() => "at the end".to_owned(),
            None => format!("at `{rest}`"),
            Some((end, _)) => format!("at `{}...`", &rest[..end]),
        };
        ExpressionError { place, what: what.into() }
    }
}

/// Type of a value.
#[derive(Clone, Copy)]
struct Type {
    /// The number it is, or the one it points to.
    scalar: Scalar,
    /// How many loads lead to `scalar`.
    pointers: u8,
}

impl Type {
    const U64: Type = Type { scalar: Scalar::U64, pointers: 0 };
    const I64: Type = Type { scalar: Scalar::I64, pointers: 0 };

    /// The number that the value itself is.
    fn own(self) -> Scalar {
        if self.pointers > 0 { Scalar::U64 } else { self.scalar }
    }

    /// Bytes of what it points to; 1 for what is no pointer.
    fn step(self) -> u64 {
        match self.pointers {
            0 => 1,
            1 => u64::from(self.scalar.size),
            _ => 8,
        }
    }

    /// False if arithmetic with it has no sign: narrower types fit into a signed 64-bit number.
    fn signed(self) -> bool {
        let own = self.own();
        own.signed || own.size < 8
    }
}

/// Operators with two operands: text, how strongly it binds. Longer ones come before their beginnings.
const OPERATORS: [(&str, u8); 18] = [
    ("||", 1),
    ("&&", 2),
    ("|", 3),
    ("^", 4),
    ("&", 5),
    ("==", 6),
    ("!=", 6),
    ("<<", 8),
    (">>", 8),
    ("<=", 7),
    (">=", 7),
    ("<", 7),
    (">", 7),
    ("+", 9),
    ("-", 9),
    ("*", 10),
    ("/", 10),
    ("%", 10),
];

/// Names of types: the short ones also read memory when an address in parentheses follows.
const TYPES: [(&str, u8, bool); 25] = [
    ("u8", 1, false),
    ("u16", 2, false),
    ("u32", 4, false),
    ("u64", 8, false),
    ("i8", 1, true),
    ("i16", 2, true),
    ("i32", 4, true),
    ("i64", 8, true),
    ("uint8_t", 1, false),
    ("uint16_t", 2, false),
    ("uint32_t", 4, false),
    ("uint64_t", 8, false),
    ("uintptr_t", 8, false),
    ("size_t", 8, false),
    ("usize", 8, false),
    ("int8_t", 1, true),
    ("int16_t", 2, true),
    ("int32_t", 4, true),
    ("int64_t", 8, true),
    ("char", 1, true),
    ("short", 2, true),
    ("int", 4, true),
    ("long", 8, true),
    ("bool", 1, false),
    ("void", 1, false),
];

/// How many of [`TYPES`] also read memory.
const READERS: usize = 8;

struct Parser<'t, 's> {
    rest: &'t str,
    symbols: SymbolLookup<'s>,
    operations: Vec<Operation>,
    /// Values on the stack after what has been written down so far.
    height: usize,
    nesting: usize,
}

/// The expression that `text` begins with, and what follows it.
pub(super) fn parse<'t>(
    text: &'t str,
    symbols: SymbolLookup<'_>,
) -> Result<(Expression, &'t str), ExpressionError> {
    let mut parser =
        Parser { rest: text.trim_start(), symbols, operations: Vec::new(), height: 0, nesting: 0 };
    let kind = parser.binary(0)?;
    let own = kind.own();
    let expression = Expression { operations: parser.operations, size: own.size, signed: own.signed };
    Ok((expression, parser.rest))
}

impl<'t> Parser<'t, '_> {
    fn fail<T>(&self, what: impl Into<String>) -> Result<T, ExpressionError> {
        Err(ExpressionError::new(self.rest, what))
    }

    fn write(&mut self, operation: Operation) -> Result<(), ExpressionError> {
        match operation {
            Operation::Number(_) | Operation::Register(_) | Operation::Hits => self.height += 1,
            Operation::Binary(_) | Operation::AndThen(_) | Operation::OrElse(_) => self.height -= 1,
            _ => {}
        }
        if self.operations.len() == MOST_OPERATIONS || self.height > STACK {
            return self.fail("the expression is too long; use a shorter one");
        }
        self.operations.push(operation);
        Ok(())
    }

    fn skip(&mut self, count: usize) {
        self.rest = self.rest.get(count..).unwrap_or("").trim_start();
    }

    /// Takes `word` if it is next.
    fn take(&mut self, word: &str) -> bool {
        let there = self.rest.starts_with(word);
        if there {
            self.skip(word.len());
        }
        there
    }

    fn want(&mut self, word: &str) -> Result<(), ExpressionError> {
        if self.take(word) { Ok(()) } else { self.fail(format!("`{word}` is missing here")) }
    }

    /// Operators that bind more strongly than `limit`, and their operands.
    fn binary(&mut self, limit: u8) -> Result<Type, ExpressionError> {
        self.nesting += 1;
        if self.nesting > DEEPEST {
            return self.fail("too much is nested here; use fewer parentheses");
        }
        let mut left = self.unary()?;
        while let Some((operator, strength)) =
            OPERATORS.into_iter().find(|(operator, _)| self.rest.starts_with(operator))
        {
            if strength <= limit {
                break;
            }
            self.skip(operator.len());
            left = match operator {
                "&&" | "||" => self.logic(operator, strength)?,
                _ => {
                    let right = self.binary(strength)?;
                    self.arithmetic(operator, left, right)?
                }
            };
        }
        self.nesting -= 1;
        Ok(left)
    }

    fn logic(&mut self, operator: &str, strength: u8) -> Result<Type, ExpressionError> {
        let jump = if operator == "&&" { Operation::AndThen } else { Operation::OrElse };
        let at = self.operations.len();
        self.write(jump(0))?;
        self.binary(strength)?;
        self.write(Operation::Truth)?;
        let end = self.operations.len();
        if let Some(place) = self.operations.get_mut(at) {
            *place = jump(end);
        }
        Ok(Type::I64)
    }

    /// Both operands have been written down.
    fn arithmetic(&mut self, operator: &str, left: Type, right: Type) -> Result<Type, ExpressionError> {
        let signed = left.signed() && right.signed();
        let mut result = if signed { Type::I64 } else { Type::U64 };
        if matches!(operator, "+" | "-") && (left.pointers > 0 || right.pointers > 0) {
            result = self.move_pointer(operator, left, right)?;
        }
        let (binary, swapped) = match operator {
            "+" => (Binary::Add, false),
            "-" => (Binary::Subtract, false),
            "*" => (Binary::Multiply, false),
            "/" => (Binary::Divide { signed }, false),
            "%" => (Binary::Remainder { signed }, false),
            "<<" => (Binary::ShiftLeft, false),
            // What the shift count is makes no difference.
            ">>" => (Binary::ShiftRight { signed: left.signed() }, false),
            "&" => (Binary::And, false),
            "|" => (Binary::Or, false),
            "^" => (Binary::Xor, false),
            "==" => (Binary::Equal, false),
            "!=" => (Binary::NotEqual, false),
            "<" => (Binary::Less { signed }, false),
            "<=" => (Binary::LessOrEqual { signed }, false),
            // Greater is not less or equal, and the other way round.
            ">" => (Binary::LessOrEqual { signed }, true),
            _ => (Binary::Less { signed }, true),
        };
        self.write(Operation::Binary(binary))?;
        if swapped {
            self.write(Operation::Not)?;
        }
        Ok(match operator {
            "==" | "!=" | "<" | "<=" | ">" | ">=" => Type::I64,
            "<<" | ">>" if left.signed() => Type::I64,
            "<<" | ">>" => Type::U64,
            _ => result,
        })
    }

    /// A number beside a pointer counts in what it points to.
    fn move_pointer(&mut self, operator: &str, left: Type, right: Type) -> Result<Type, ExpressionError> {
        match (operator, left.pointers > 0, right.pointers > 0) {
            (_, true, false) => {
                self.scale(left.step())?;
                Ok(left)
            }
            ("+", false, true) if right.step() == 1 => Ok(right),
            ("-", true, true) if left.step() == 1 => Ok(Type::I64),
            _ => self.fail("pointers are not added to or taken from each other like this; cast them to u64"),
        }
    }

    fn scale(&mut self, step: u64) -> Result<(), ExpressionError> {
        if step == 1 {
            return Ok(());
        }
        self.write(Operation::Number(step))?;
        self.write(Operation::Binary(Binary::Multiply))
    }

    /// Operators before a value, and the value.
    fn unary(&mut self) -> Result<Type, ExpressionError> {
        self.nesting += 1;
        if self.nesting > DEEPEST {
            return self.fail("too much is nested here; use fewer operators");
        }
        let kind = self.unary_inner()?;
        self.nesting -= 1;
        Ok(kind)
    }

    fn unary_inner(&mut self) -> Result<Type, ExpressionError> {
        if self.take("*") {
            let pointer = self.unary()?;
            return self.load(pointer);
        }
        if self.rest.starts_with('&') && !self.rest.starts_with("&&") {
            self.skip(1);
            return self.symbol();
        }
        if let Some(operation) =
            [('-', Operation::Negate), ('~', Operation::Complement), ('!', Operation::Not)]
                .into_iter()
                .find_map(|(sign, operation)| self.rest.starts_with(sign).then_some(operation))
        {
            self.skip(1);
            let kind = self.unary()?;
            self.write(operation)?;
            let signed = operation == Operation::Not || kind.signed();
            return Ok(if signed { Type::I64 } else { Type::U64 });
        }
        if self.take("+") {
            return self.unary();
        }
        if let Some((kind, length)) = self.cast() {
            self.skip(length);
            self.unary()?;
            self.write(Operation::Cast(kind.own()))?;
            return Ok(kind);
        }
        self.postfix()
    }

    /// What `pointer` points to.
    fn load(&mut self, pointer: Type) -> Result<Type, ExpressionError> {
        let kind = match pointer.pointers {
            0 => Type::U64,
            more => Type { pointers: more - 1, ..pointer },
        };
        self.write(Operation::Load(kind.own()))?;
        Ok(kind)
    }

    /// A value, and indices behind it.
    fn postfix(&mut self) -> Result<Type, ExpressionError> {
        let mut kind = self.primary()?;
        while self.take("[") {
            if kind.pointers == 0 {
                return self.fail("an index needs a pointer before it, such as ((int*)0x1000)[2]");
            }
            self.binary(0)?;
            self.want("]")?;
            self.scale(kind.step())?;
            self.write(Operation::Binary(Binary::Add))?;
            kind = self.load(kind)?;
        }
        Ok(kind)
    }

    fn primary(&mut self) -> Result<Type, ExpressionError> {
        if self.take("(") {
            let kind = self.binary(0)?;
            self.want(")")?;
            return Ok(kind);
        }
        if self.rest.starts_with('\'') {
            return self.character();
        }
        if self.rest.starts_with(|first: char| first.is_ascii_digit()) {
            let Some((number, rest)) = number_at(self.rest) else {
                return self.fail("this is no number of up to 64 bits; write it as 12, 0x1f, 0b101 or 'c'");
            };
            self.rest = rest.trim_start();
            self.write(Operation::Number(number))?;
            return Ok(if number > i64::MAX as u64 { Type::U64 } else { Type::I64 });
        }
        if self.rest.starts_with('$') {
            let name = name_at(&self.rest[1..]);
            if name == "hits" {
                self.skip(1 + name.len());
                self.write(Operation::Hits)?;
                return Ok(Type::I64);
            }
            let Some(part) = register::named(name) else {
                return self.fail("there is no such register; see docs/debugging.md for their names");
            };
            self.skip(1 + name.len());
            return self.register(part);
        }
        self.word()
    }

    fn character(&mut self) -> Result<Type, ExpressionError> {
        let read = character_at(&self.rest[1..]);
        let Some((letter, rest)) = read.and_then(|(letter, rest)| Some((letter, rest.strip_prefix('\'')?)))
        else {
            return self.fail("this is no character; write it as 'c', '\\n' or '\\x1b'");
        };
        self.rest = rest.trim_start();
        self.write(Operation::Number(u64::from(u32::from(letter))))?;
        Ok(Type::I64)
    }

    fn register(&mut self, part: register::RegisterPart) -> Result<Type, ExpressionError> {
        self.write(Operation::Register(part.register))?;
        if part.shift > 0 {
            self.write(Operation::Number(part.shift.into()))?;
            self.write(Operation::Binary(Binary::ShiftRight { signed: false }))?;
        }
        if part.scalar.size < 8 {
            self.write(Operation::Cast(part.scalar))?;
        }
        Ok(Type { scalar: part.scalar, pointers: 0 })
    }

    /// A bare name: something that reads memory, a register, or else a symbol.
    fn word(&mut self) -> Result<Type, ExpressionError> {
        let name = name_at(self.rest);
        if name.is_empty() {
            return self.fail("a value is missing here: a number, a register or a symbol");
        }
        let behind = self.rest[name.len()..].trim_start();
        if let Some((_, size, signed)) = TYPES[..READERS].iter().find(|(reader, ..)| *reader == name)
            && behind.starts_with('(')
        {
            self.skip(name.len());
            self.want("(")?;
            self.binary(0)?;
            self.want(")")?;
            return self.load(Type { scalar: Scalar { size: *size, signed: *signed }, pointers: 1 });
        }
        if let Some(part) = register::named(name) {
            self.skip(name.len());
            return self.register(part);
        }
        self.symbol()
    }

    fn symbol(&mut self) -> Result<Type, ExpressionError> {
        let name = name_at(self.rest);
        let Some(address) = (self.symbols)(name) else {
            return self.fail(format!(
                "`{name}` is neither a register nor a symbol of the guest file; `nm` lists its symbols"
            ));
        };
        self.skip(name.len());
        self.write(Operation::Number(address))?;
        Ok(Type::U64)
    }

    /// The type in parentheses that is next, and how long it is.
    fn cast(&self) -> Option<(Type, usize)> {
        let mut rest = self.rest.strip_prefix('(')?.trim_start();
        let (mut found, mut signed) = (None, None);
        loop {
            let word = name_at(rest);
            match word {
                "" => break,
                "const" | "volatile" => {}
                "unsigned" => signed = Some(false),
                "signed" => signed = Some(true),
                _ => {
                    let (_, size, usual) = TYPES.iter().find(|(name, ..)| *name == word)?;
                    // `long int` and `short int` are `long` and `short`.
                    if !(word == "int" && found.is_some()) {
                        found = Some((*size, *usual));
                    }
                }
            }
            rest = rest[word.len()..].trim_start();
        }
        if found.is_none() {
            signed?;
        }
        let (size, usual) = found.unwrap_or((4, true));
        let mut pointers = 0_u8;
        while let Some(more) = rest.strip_prefix('*') {
            pointers = pointers.checked_add(1)?;
            rest = more.trim_start();
        }
        rest = rest.strip_prefix(')')?;
        let kind = Type { scalar: Scalar { size, signed: signed.unwrap_or(usual) }, pointers };
        Some((kind, self.rest.len() - rest.len()))
    }
}

//! Values in commands: addresses, symbols, and expressions that users write.

use super::super::command::{invalid, no_more};
use super::super::error::CommandError;
use crate::boot::Symbol;
use crate::inspect::expression::{Expression, Values};
use crate::inspect::values::Known;
use crate::supervisor::stopped_machine::StoppedMachine;

/// The symbol that contains `address`.
pub(super) fn symbol(guest: &dyn StoppedMachine, address: u64) -> Option<Symbol> {
    guest.symbol_at(address)
}

/// `address` as text, with the symbol that contains it.
pub(super) fn place(guest: &dyn StoppedMachine, address: u64) -> String {
    match symbol(guest, address) {
        Some(symbol) => format!("{address:#x} ({symbol})"),
        None => format!("{address:#x}"),
    }
}

/// The address of a symbol.
pub(super) fn address_of(guest: &dyn StoppedMachine, name: &str) -> Option<u64> {
    guest.address_of(name)
}

/// Parses the expression at the start of `text`; returns it with the remaining text.
pub(super) fn expression<'t>(
    guest: &dyn StoppedMachine,
    text: &'t str,
) -> Result<(Expression, &'t str), CommandError> {
    Ok(Expression::parse_start(text, &|name| address_of(guest, name))?)
}

/// Evaluates the expression at the start of `text`; returns its value with the remaining text.
pub(super) fn number<'t>(guest: &dyn StoppedMachine, text: &'t str) -> Result<(u64, &'t str), CommandError> {
    let (expression, rest) = expression(guest, text)?;
    let registers = guest.registers()?;
    let mut known = Known { registers: &registers, memory: guest.memory() };
    let value = value(&expression, text, &mut known)?;
    Ok((value, rest))
}

fn value(expression: &Expression, text: &str, values: &mut dyn Values) -> Result<u64, CommandError> {
    expression
        .evaluate(values, 0)
        .map_err(|error| CommandError::Evaluation { text: text.trim().to_owned(), error })
}

/// Evaluates all of `text` as a count from 1 to `most`.
pub(super) fn count(guest: &dyn StoppedMachine, text: &str, most: u64) -> Result<u64, CommandError> {
    let (count, rest) = number(guest, text)?;
    no_more(rest)?;
    if (1..=most).contains(&count) {
        return Ok(count);
    }
    Err(invalid(format!("the count is {count}; it must be from 1 to {most}")))
}

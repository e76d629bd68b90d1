//! What the commands do.

pub(super) mod machine;
pub(super) mod memory;
pub(super) mod moving;
pub(super) mod people;
pub(super) mod points;
pub(super) mod running;
pub(super) mod snapshots;
pub(super) mod state;

use super::CommandError;
use crate::boot::Symbol;
use crate::inspect::expression::{Expression, Values};
use crate::inspect::values::Known;
use crate::supervisor::stopped_machine::StoppedMachine;

/// The symbol an address lies in.
fn symbol(guest: &dyn StoppedMachine, address: u64) -> Option<Symbol> {
    guest.symbol_at(address)
}

/// Where something is: its address and the symbol it lies in.
fn place(guest: &dyn StoppedMachine, address: u64) -> String {
    match symbol(guest, address) {
        Some(symbol) => format!("{address:#x} ({symbol})"),
        None => format!("{address:#x}"),
    }
}

/// The address of a symbol.
fn address_of(guest: &dyn StoppedMachine, name: &str) -> Option<u64> {
    guest.address_of(name)
}

/// The expression that `text` begins with, and what follows it.
fn expression<'t>(guest: &dyn StoppedMachine, text: &'t str) -> Result<(Expression, &'t str), CommandError> {
    Ok(Expression::parse_start(text, &|name| address_of(guest, name))?)
}

/// The value of the expression that `text` begins with, and what follows it.
fn number<'t>(guest: &dyn StoppedMachine, text: &'t str) -> Result<(u64, &'t str), CommandError> {
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

/// The value of all of `text`, from 1 to `most`.
fn count(guest: &dyn StoppedMachine, name: &str, text: &str, most: u64) -> Result<u64, CommandError> {
    let (count, rest) = number(guest, text)?;
    if !rest.is_empty() {
        return Err(super::table::wrong(name, format!("`{rest}` is too much")));
    }
    if (1..=most).contains(&count) {
        return Ok(count);
    }
    Err(super::table::wrong(name, format!("the count is {count}, and may be from 1 to {most}")))
}

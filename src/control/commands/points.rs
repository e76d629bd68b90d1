//! Commands for breakpoints and log points.

use super::super::command::{invalid, no_more};
use super::super::error::CommandError;
use super::values::{address_of, expression, number, place};
use crate::arch::paging::is_canonical;
use crate::inspect::expression::Expression;
use crate::inspect::format::Format;
use crate::inspect::translate::translate;
use crate::supervisor::points::{Kind, NewPoint};
use crate::supervisor::stopped_machine::StoppedMachine;

pub(in crate::control) fn set_break(
    guest: &mut dyn StoppedMachine,
    arguments: &str,
) -> Result<String, CommandError> {
    let (address, behind) = address(guest, arguments)?;
    let (condition, rest) = condition(guest, behind)?;
    no_more(rest)?;
    add(guest, address, behind, condition, Kind::Break)
}

pub(in crate::control) fn set_trace(
    guest: &mut dyn StoppedMachine,
    arguments: &str,
) -> Result<String, CommandError> {
    let (address, behind) = address(guest, arguments)?;
    let (condition, rest) = condition(guest, behind)?;
    // gdb's `dprintf` has a comma here.
    let rest = rest.strip_prefix(',').unwrap_or(rest);
    let format = Format::parse(rest, &|name| address_of(guest, name))?;
    add(guest, address, behind, condition, Kind::Trace(format))
}

/// Parses the address at the start of `text`; returns it with the remaining text.
fn address<'t>(guest: &dyn StoppedMachine, text: &'t str) -> Result<(u64, &'t str), CommandError> {
    if text.is_empty() {
        return Err(invalid("an address is missing"));
    }
    // As in gdb, an address may begin with a star.
    number(guest, text.strip_prefix('*').unwrap_or(text))
}

/// Parses the condition at the start of `text`, if there is one; returns it with the remaining text.
fn condition<'t>(
    guest: &dyn StoppedMachine,
    text: &'t str,
) -> Result<(Option<Expression>, &'t str), CommandError> {
    match text.strip_prefix("if").filter(|rest| !rest.starts_with(char::is_alphanumeric)) {
        Some(rest) => {
            let (condition, rest) = expression(guest, rest)?;
            Ok((Some(condition), rest))
        }
        None => Ok((None, text)),
    }
}

fn add(
    guest: &mut dyn StoppedMachine,
    address: u64,
    words: &str,
    condition: Option<Expression>,
    kind: Kind,
) -> Result<String, CommandError> {
    let registers = guest.registers()?;
    if !is_canonical(registers.system.cr4, address) {
        return Err(CommandError::NoAddress { address });
    }
    let place = place(guest, address);
    let mapped = translate(guest.memory(), &registers, address)
        .is_some_and(|physical| guest.memory().is_ram(physical, 1));
    let what = if kind == Kind::Break { "breakpoint" } else { "log point" };
    let new = NewPoint { address, place: place.clone(), words: words.to_owned(), condition, kind };
    let number = guest.session().points.add(new).ok_or(CommandError::TooManyPoints)?;
    guest.take_console_control();
    let note = if mapped {
        ""
    } else {
        "; no RAM is mapped there yet: it takes effect at the first stop after that"
    };
    Ok(format!("{what} {number} at {place}{note}\n"))
}

pub(in crate::control) fn list(guest: &mut dyn StoppedMachine, _: &str) -> Result<String, CommandError> {
    let list = guest.session().points.list();
    Ok(if list.is_empty() {
        "there are none; `break` and `trace` set breakpoints and log points\n".to_owned()
    } else {
        list
    })
}

pub(in crate::control) fn ignore(
    guest: &mut dyn StoppedMachine,
    arguments: &str,
) -> Result<String, CommandError> {
    let Some((first, second)) = arguments.split_once(char::is_whitespace) else {
        return Err(invalid("a number and a count are needed"));
    };
    let point = number_of(guest, first)?;
    let (count, rest) = number(guest, second)?;
    no_more(rest)?;
    let known = u32::try_from(point).is_ok_and(|number| guest.session().points.ignore(number, count));
    match known {
        true => Ok(match count {
            0 => format!("no hit of {point} is ignored\n"),
            1 => format!("the next hit of {point} is ignored\n"),
            _ => format!("the next {count} hits of {point} are ignored\n"),
        }),
        false => Err(CommandError::NoPoint { number: point }),
    }
}

pub(in crate::control) fn delete(
    guest: &mut dyn StoppedMachine,
    arguments: &str,
) -> Result<String, CommandError> {
    if arguments.is_empty() {
        return Ok(format!("deleted: {}\n", guest.session().points.clear()));
    }
    let point = number_of(guest, arguments)?;
    let known = u32::try_from(point).is_ok_and(|number| guest.session().points.remove(number));
    match known {
        true => Ok(format!("deleted: number {point}\n")),
        false => Err(CommandError::NoPoint { number: point }),
    }
}

fn number_of(guest: &dyn StoppedMachine, text: &str) -> Result<u64, CommandError> {
    let (number, rest) = number(guest, text)?;
    no_more(rest)?;
    Ok(number)
}

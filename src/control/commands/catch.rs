//! Exceptions that stop the guest in its own handlers.

use super::super::command::invalid;
use super::super::error::CommandError;
use crate::arch::exceptions::{short_name, vector_of};
use crate::supervisor::exception_catch::VectorSet;
use crate::supervisor::stopped_machine::StoppedMachine;

/// Sets which exceptions stop the guest, or lists them.
pub(in crate::control) fn exceptions(
    guest: &mut dyn StoppedMachine,
    arguments: &str,
) -> Result<String, CommandError> {
    if arguments.is_empty() {
        return Ok(list(&guest.session().catches.stops));
    }
    let (what, switch) = arguments.split_once(char::is_whitespace).unwrap_or((arguments, ""));
    let vectors = vectors(what)?;
    let on = match switch.trim() {
        "on" => true,
        "off" => false,
        "" => return Err(invalid("`on` or `off` is missing")),
        other => return Err(invalid(format!("`{other}` is neither on nor off"))),
    };
    guest.session().catches.stops.set_all(vectors, on);
    if on {
        guest.take_console_control();
    }
    Ok(list(&guest.session().catches.stops))
}

/// The vectors that `what` names.
fn vectors(what: &str) -> Result<VectorSet, CommandError> {
    if what == "all" {
        return Ok(VectorSet::exceptions());
    }
    let number = match what.strip_prefix("0x") {
        Some(digits) => u8::from_str_radix(digits, 16).ok(),
        None => what.parse().ok(),
    };
    let vector = vector_of(what).or(number).ok_or_else(|| {
        let what: String = what.chars().take(20).flat_map(char::escape_debug).collect();
        invalid(format!("`{what}` is no exception: there are pf, gp, ud, df, de and others, all, and vectors from 0 to 255"))
    })?;
    let mut set = VectorSet::default();
    set.set(vector, true);
    Ok(set)
}

/// What stops the guest, in a line.
fn list(stops: &VectorSet) -> String {
    let names: Vec<String> = stops.iter().map(short_name).collect();
    match names.as_slice() {
        [] => "no exception stops the guest\n".to_owned(),
        _ => format!("stop the guest at the first instruction of its handlers: {}\n", names.join(", ")),
    }
}

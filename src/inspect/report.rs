//! The message that ends a run: what happened, where, and what the user can do about it.

use super::crash::{Cause, CrashReport, Place};
use super::refused;
use crate::devices::debug_exit;
use crate::machine::{Machine, Outcome};

/// Addresses below this are what following a null pointer gives.
const FIRST_PAGE: u64 = 4096;
/// Where the rest of a crash report is.
const SEE_LOG: &str = " The log has all registers.";

/// The message for `machine`, whose run has ended with `outcome`.
pub fn end_message(machine: &Machine, outcome: &Outcome) -> String {
    message(outcome, CrashReport::capture(machine, outcome).as_ref())
}

/// The message for `outcome`; `crash` is what [`CrashReport::capture`] gave for it.
pub fn message(outcome: &Outcome, crash: Option<&CrashReport>) -> String {
    if let Some(crash) = crash {
        return crash.message();
    }
    match outcome {
        Outcome::Halted { result } => format!("the guest halted; result (RAX) {result} ({result:#x})."),
        Outcome::DebugExit { value } => format!(
            "the guest ended the run with {value:#x} at the debug exit port; exit status {}.",
            debug_exit::status(*value)
        ),
        Outcome::Quit => "ended by the user.".to_owned(),
        Outcome::Terminated(signal) => format!("ended by signal {signal}."),
        Outcome::Moved { to } => format!("the guest has moved to {to} and runs on there."),
        Outcome::HostFailed(error) => format!("the host failed the machine: {error}."),
        Outcome::Reload(error) => format!("the guest cannot be loaded again after its reset: {error}"),
        // All of these have a crash report.
        Outcome::TripleFault
        | Outcome::Refused(..)
        | Outcome::EntryFailed(_)
        | Outcome::Unexpected(_)
        | Outcome::TimedOut
        | Outcome::Reset => format!("the run ended: {outcome:?}."),
    }
}

impl CrashReport {
    /// One short paragraph for the user.
    pub fn message(&self) -> String {
        let place = self.place.as_ref().map(at).unwrap_or_default();
        let mut text = match &self.cause {
            Cause::TripleFault => self.triple_fault(&place),
            Cause::Refused { suberror, obstacle } => match &self.place {
                Some(Place { code, bitness, .. }) => format!(
                    "this host's KVM cannot execute what the guest wants (internal error {suberror}){place}. \
                     {}{SEE_LOG}",
                    refused::explanation(*obstacle, code, *bitness)
                ),
                None => "the host cannot continue the guest and returns no registers.".to_owned(),
            },
            Cause::EntryFailed { reason } => format!(
                "the processor did not accept the state the guest put it in (hardware reason \
                 {reason:#x}){place}.{SEE_LOG}"
            ),
            Cause::Unexpected { reason } => {
                format!("KVM stopped the guest for a reason this program does not know ({reason}){place}.")
            }
            Cause::TimedOut => format!("the run took longer than --timeout allows{place}."),
            Cause::Reset => format!("the guest reset the machine (--no-reboot){place}."),
        };
        if !matches!(self.cause, Cause::TimedOut | Cause::Reset)
            && let Some(code) = self.post_code
        {
            text.push_str(&format!(" Last POST code: {code:#04x}."));
        }
        text
    }

    fn triple_fault(&self, place: &str) -> String {
        let Some(registers) = &self.registers else {
            return "triple fault; the host gives no registers.".to_owned();
        };
        if self.registers_are_reset() {
            return "triple fault; this host has already reset the registers, so where it happened is not \
                    known."
                .to_owned();
        }
        let mut text = format!("triple fault{place}.");
        let cr2 = registers.system.cr2;
        if cr2 != 0 {
            let mapped = self.walk.as_ref().is_some_and(|walk| walk.physical.is_some());
            let what = match (mapped, cr2 < FIRST_PAGE) {
                (true, _) => "whose page forbids the access, or which faulted earlier",
                (false, true) => "where nothing is mapped: a null pointer, by the looks of it",
                (false, false) => "where nothing is mapped",
            };
            text.push_str(&format!(" CR2 is {cr2:#x}, {what}."));
        }
        if !self.has_idt {
            text.push_str(" No usable IDT is loaded, so the first exception ends the machine.");
        }
        text.push_str(SEE_LOG);
        text
    }
}

/// Where the guest is, as the tail of a sentence.
fn at(place: &Place) -> String {
    let mut text = format!(" at {:#x}", place.address);
    if let Some(symbol) = &place.symbol {
        text.push_str(&format!(" ({symbol})"));
    }
    match &place.instruction {
        Some(instruction) => text.push_str(&format!(", instruction `{instruction}`")),
        None if place.code.is_empty() => text.push_str(", where no code is mapped"),
        None => {}
    }
    text
}

//! The message that ends a run: what happened, where, and what the user can do about it.

use std::path::Path;

use super::crash::{Cause, CrashReport, Frame, Place};
use super::fault::RaisedException;
use super::fault::delivery::{DeliveryFailure, DeliveryProblem};
use super::{refused, waking};
use crate::devices::debug_exit;
use crate::machine::{Machine, Outcome};

/// Addresses below this are what following a null pointer gives.
const FIRST_PAGE: u64 = 4096;
/// Most functions that follow a message.
const MOST_CALLERS: usize = 12;
/// Events in the message.
const MOST_EVENTS: usize = 4;

/// The message for `machine`, whose run has ended with `outcome`, for a debugger, which has the registers.
pub fn end_message(machine: &Machine, outcome: &Outcome) -> String {
    message(outcome, CrashReport::capture(machine, outcome).as_ref(), None)
}

/// The message for `outcome`; `crash` is what [`CrashReport::capture`] gave for it. It names `log`, the file with
/// the rest of the report.
pub fn message(outcome: &Outcome, crash: Option<&CrashReport>, log: Option<&Path>) -> String {
    if let Some(crash) = crash {
        let mut text = crash.message();
        if let Some(log) = log.filter(|_| outcome.is_crash() && crash.place.is_some()) {
            text.push_str(&format!(" The log {} has all registers.", log.display()));
        }
        return text;
    }
    match outcome {
        Outcome::Halted { result, returned: true } => {
            format!("the guest's entry function has returned; RAX is {result} ({result:#x}).")
        }
        Outcome::Halted { result, returned: false } => {
            format!("the guest halted; result (RAX) {result} ({result:#x}).")
        }
        Outcome::DebugExit { value } => format!(
            "the guest ended the run with {value:#x} at the debug exit port; exit status {}.",
            debug_exit::status(*value)
        ),
        Outcome::BiosStopped(reason) => format!("the BIOS stopped: {reason}."),
        Outcome::PoweredOff => "the guest switched the machine off.".to_owned(),
        Outcome::Quit => "ended by the user.".to_owned(),
        Outcome::Terminated(signal) => format!("ended by signal {signal}."),
        Outcome::Moved { to } => format!("the guest has moved to {to} and runs on there."),
        Outcome::HostFailed(error) => format!("the host failed the machine: {error}."),
        Outcome::Reload(error) => format!("the guest cannot be loaded again after its reset: {error}"),
        // All of these have a crash report.
        Outcome::TripleFault(_)
        | Outcome::Refused(..)
        | Outcome::EntryFailed(_)
        | Outcome::Unexpected(_)
        | Outcome::TimedOut
        | Outcome::Reset => format!("the run ended: {outcome:?}."),
    }
}

/// The functions that the guest was in, a line each, to follow the message, with the text of the source line that it was
/// at; `None` if neither a caller nor a source line is known.
pub fn callers(crash: &CrashReport) -> Option<String> {
    let frames = &crash.frames;
    let is_known = frames.len() > 1 || frames.first().is_some_and(|frame| frame.source.is_some());
    let text = crash.place.as_ref().and_then(|place| place.source_text.as_ref());
    let line = |(number, frame): (usize, &Frame)| match text.filter(|_| number == 0) {
        Some(text) => format!("  #{number:<3} {frame}: {text}"),
        None => format!("  #{number:<3} {frame}"),
    };
    let mut lines: Vec<String> = frames.iter().enumerate().take(MOST_CALLERS).map(line).collect();
    if frames.len() > MOST_CALLERS {
        lines.push(format!("  ({} more)", frames.len() - MOST_CALLERS));
    }
    is_known.then(|| lines.join("\n"))
}

impl CrashReport {
    /// One short paragraph for the user.
    pub fn message(&self) -> String {
        let on = match self.cpu_count {
            ..=1 => String::new(),
            _ => format!(" on CPU {}", self.cpu),
        };
        let place = self.place.as_ref().map(at).unwrap_or_default();
        let waits_or_runs = &place;
        let place = format!("{on}{place}");
        let mut text = match &self.cause {
            Cause::TripleFault => self.triple_fault(&on, &place),
            Cause::Refused { suberror, obstacle } => match &self.place {
                Some(Place { code, bitness, .. }) => format!(
                    "this host's KVM cannot execute what the guest wants (internal error {suberror}){place}. \
                     {}",
                    refused::explanation(*obstacle, code, *bitness)
                ),
                None => "the host cannot continue the guest and returns no registers.".to_owned(),
            },
            Cause::EntryFailed { reason } => format!(
                "the processor did not accept the state the guest put it in (hardware reason \
                 {reason:#x}){place}."
            ),
            Cause::Unexpected { reason } => {
                format!("KVM stopped the guest for a reason this program does not know ({reason}){place}.")
            }
            Cause::TimedOut => match &self.waits_for {
                Some(sources) => format!(
                    "the run took longer than --timeout allows: the guest waits in `hlt`{on} for an interrupt; the next \
                     instruction is{}. {}",
                    waits_or_runs.strip_prefix(" at").unwrap_or(" unknown"),
                    waking::sentence(sources)
                ),
                None if on.is_empty() => format!("the run took longer than --timeout allows{place}."),
                None => {
                    format!("the run took longer than --timeout allows; CPU {} was{waits_or_runs}.", self.cpu)
                }
            },
            Cause::Reset => format!("the guest reset the machine (--no-reboot){place}."),
            Cause::Stopped => format!("the guest is stopped{place}."),
        };
        if let (Some(fault_loop), Some(registers)) = (&self.fault_loop, &self.registers) {
            text.push_str(&format!(" {}.", fault_loop.sentence(registers.ring())));
        }
        if !matches!(self.cause, Cause::TimedOut | Cause::Reset | Cause::Stopped)
            && let Some(code) = self.post_code
        {
            text.push_str(&format!(" Last POST code: {code:#04x}."));
        }
        text
    }

    fn triple_fault(&self, on: &str, place: &str) -> String {
        let Some(registers) = &self.registers else {
            return format!("triple fault{on}; the host gives no registers.");
        };
        if self.registers_are_reset() {
            return format!(
                "triple fault{on}; this host has already reset the registers, so where it happened is not known.{}",
                self.last_events()
            );
        }
        let mut text = format!("triple fault{place}");
        let ring = registers.ring();
        match &self.exception {
            Some(exception) => text.push_str(&format!(": {}.", exception.sentence(ring))),
            None if ring > 0 => text.push_str(&format!(" in ring {ring}.")),
            None => text.push('.'),
        }
        // Without an exception that explains it, CR2 may be that of an earlier one.
        if self.exception.is_none() && registers.system.cr2 != 0 {
            text.push_str(&self.page_fault_address(registers.system.cr2));
        }
        if let Some(code) = &self.code {
            text.push_str(&format!(" {}.", code.sentence()));
        }
        if let Some(caller) = &self.caller {
            text.push_str(&format!(" The return address on the stack is {caller}."));
        }
        if let Some(stack) = &self.stack {
            let named = self.exception.as_ref().is_some_and(RaisedException::is_stack_overflow);
            text.push_str(&format!(" {}.", stack.sentence(named)));
        }
        if self.syscall_stays_in_ring_3 {
            text.push_str(
                " `syscall` stays in ring 3 on this host (`kvm check`, calls.syscall): run the guest on a host with \
                 VT-x or AMD-V.",
            );
        }
        let table_is_overwritten = self
            .stack
            .as_ref()
            .and_then(|stack| stack.overwritten.as_ref())
            .is_some_and(|overwritten| overwritten.idt);
        if let Some(DeliveryFailure { problem: DeliveryProblem::NoTable, .. }) = &self.delivery
            && table_is_overwritten
        {
            text.push_str(" The IDT has no usable gate.");
        } else if let Some(delivery) = &self.delivery {
            text.push_str(&format!(" {}.", delivery.sentence(self.double_fault.as_ref())));
        }
        text
    }

    /// What happened last, as a sentence; empty if nothing is known.
    fn last_events(&self) -> String {
        let first = self.events.lines.len().saturating_sub(MOST_EVENTS);
        let last: Vec<&str> = self.events.lines[first..].iter().map(|line| line.text.as_str()).collect();
        match last.is_empty() {
            true => String::new(),
            false => format!(" The last events: {}.", last.join("; ")),
        }
    }

    /// What CR2 means if the last page fault is the one that counts.
    fn page_fault_address(&self, cr2: u64) -> String {
        let mapped = self.walk.as_ref().is_some_and(|walk| walk.physical.is_some());
        let what = match (mapped, cr2 < FIRST_PAGE) {
            (true, _) => "whose page forbids the access, or which faulted earlier",
            (false, true) => "where nothing is mapped: a null pointer, by the looks of it",
            (false, false) => "where nothing is mapped",
        };
        format!(" The last page fault was at {cr2:#x} (CR2), {what}.")
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

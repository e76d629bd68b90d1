//! What happened last in a machine, from its flight recorder, as lines for the user.
//!
//! Accesses of one device that follow each other share a line: a guest that prints a text by a serial port asks for
//! the state of the port before each character.

use std::fmt;

use serde::Serialize;

use crate::boot::Symbol;
use crate::devices::table::TABLE;
use crate::machine::Machine;
use crate::machine::flight_recorder::{FlightRecorder, Occurrence, RecordedEvent};
use crate::settings::IrqchipMode;

/// Occurrences that are looked at.
const MOST: usize = 256;
/// Ports of one device that share a line.
const MOST_PORTS: usize = 4;
/// Characters of a text that is written to a port.
const LONGEST_TEXT: usize = 48;
/// A window of a device in memory: accesses of the same one share a line.
const WINDOW: u64 = 4096;

/// One line: an occurrence, or successive accesses of one device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EventLine {
    /// The number of its first occurrence, from 1 on.
    pub number: u64,
    /// Events of the journal before that.
    pub event: u64,
    /// The CPU, from 0.
    pub cpu: u8,
    /// How many occurrences share the line.
    pub times: usize,
    /// What happened.
    pub text: String,
}

/// The last events of a machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct EventList {
    /// The lines, the latest last.
    pub lines: Vec<EventLine>,
    /// How many CPUs the machine has.
    pub cpus: usize,
    /// What is not among the lines, a sentence each.
    pub notes: Vec<&'static str>,
}

/// Why [`crate::settings::IrqchipMode::Kernel`] leaves interrupts out of events, exits and `--trace`.
pub const INTERRUPTS_OF_KVM: &str =
    "interrupts are not shown: with --irqchip kernel KVM delivers them, and reports none";

/// What is not recorded of `machine`.
pub fn unrecorded(machine: &Machine) -> Vec<&'static str> {
    match machine.irqchip() {
        IrqchipMode::User => Vec::new(),
        IrqchipMode::Kernel => vec![INTERRUPTS_OF_KVM],
    }
}

impl EventList {
    /// The last `most` lines of `machine`.
    pub fn of(machine: &Machine, most: usize) -> EventList {
        let symbol = |address| machine.symbol_at(address);
        let list = EventList::read(
            machine.recorder(),
            machine.position().event,
            most,
            machine.cpu_ids().count(),
            &symbol,
        );
        EventList { notes: unrecorded(machine), ..list }
    }

    /// The last `most` lines of `recorder`, in a machine with `cpus` CPUs whose journal has had `event` events.
    pub fn read(
        recorder: &FlightRecorder,
        event: u64,
        most: usize,
        cpus: usize,
        symbol: &dyn Fn(u64) -> Option<Symbol>,
    ) -> EventList {
        let events = recorder.last(MOST, event);
        let mut lines: Vec<EventLine> = groups(&events).map(|group| line(group, symbol)).collect();
        lines.drain(..lines.len().saturating_sub(most));
        EventList { lines, cpus, notes: Vec::new() }
    }

    /// The same without the triple fault that the machine has ended with, which a report names itself; at most the
    /// last `most` lines.
    pub fn before_the_end(mut self, most: usize) -> EventList {
        let end = Occurrence::TripleFault.to_string();
        self.lines.pop_if(|line| line.text == end);
        self.lines.drain(..self.lines.len().saturating_sub(most));
        self
    }

    /// What a line says has happened, with the CPU where there are several.
    pub fn text_of(&self, line: &EventLine) -> String {
        match self.cpus {
            ..=1 => line.text.clone(),
            _ => format!("CPU {}: {}", line.cpu, line.text),
        }
    }
}

impl EventLine {
    /// Its number, and its place in the journal: `12 @3`.
    pub fn position(&self) -> String {
        format!("{} @{}", self.number, self.event)
    }
}

impl fmt::Display for EventList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lines
            .iter()
            .try_for_each(|line| writeln!(f, "{:>12}  {}", line.position(), self.text_of(line)))?;
        self.notes.iter().try_for_each(|note| writeln!(f, "{note}"))
    }
}

/// What successive accesses must have in common to share a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Device {
    /// The entry of the table of devices, or a port that is none's.
    Ports(Result<usize, u16>),
    /// The number of a window in memory.
    Window(u64),
}

fn device(what: &Occurrence) -> Option<Device> {
    match *what {
        Occurrence::PortWrite { port, .. } | Occurrence::PortRead { port, .. } => {
            Some(Device::Ports(device_at(port).ok_or(port)))
        }
        Occurrence::MemoryWrite { address, .. } | Occurrence::MemoryRead { address, .. } => {
            Some(Device::Window(address / WINDOW))
        }
        _ => None,
    }
}

/// The entry of the device that has a port.
fn device_at(port: u16) -> Option<usize> {
    TABLE.iter().position(|device| device.ports.iter().any(|ports| ports.contains(&port)))
}

/// The name of the device that has a port: `serial 0`, as `info qtree` shows it; `None` if there is none.
pub fn device_name(port: u16) -> Option<String> {
    device_at(port).map(|entry| format!("{} {}", TABLE[entry].kind, TABLE[entry].number))
}

/// Splits `events` before each that does not share a line with the one before it.
fn groups(events: &[RecordedEvent]) -> impl Iterator<Item = &[RecordedEvent]> {
    events.chunk_by(|one, next| {
        one.cpu == next.cpu && device(&one.what).is_some() && device(&one.what) == device(&next.what)
    })
}

fn line(group: &[RecordedEvent], symbol: &dyn Fn(u64) -> Option<Symbol>) -> EventLine {
    let first = group[0];
    let text = match group {
        [one] => single(&one.what, symbol),
        several => accesses(several),
    };
    EventLine { number: first.number, event: first.event, cpu: first.cpu, times: group.len(), text }
}

fn single(what: &Occurrence, symbol: &dyn Fn(u64) -> Option<Symbol>) -> String {
    let note = match *what {
        Occurrence::PortWrite { port, .. } | Occurrence::PortRead { port, .. } => device_name(port),
        Occurrence::Emulated { rip, .. }
        | Occurrence::Exception { rip, .. }
        | Occurrence::WithoutIdt { rip, .. } => symbol(rip).map(|symbol| symbol.to_string()),
        _ => None,
    };
    match note {
        Some(note) => format!("{what} ({note})"),
        None => what.to_string(),
    }
}

/// An address that is accessed, in one direction.
struct Accessed {
    address: u64,
    is_write: bool,
    times: usize,
    last: u64,
    /// The bytes written, as long as there is room and all are characters.
    text: Option<String>,
}

fn accesses(group: &[RecordedEvent]) -> String {
    let mut all: Vec<Accessed> = Vec::new();
    for event in group {
        let (address, is_write, last, byte) = match event.what {
            Occurrence::PortWrite { port, size, value } => {
                (port.into(), true, value.into(), (size == 1).then_some(value as u8))
            }
            Occurrence::PortRead { port, value, .. } => (port.into(), false, value.into(), None),
            Occurrence::MemoryWrite { address, value, .. } => (address, true, value, None),
            Occurrence::MemoryRead { address, value, .. } => (address, false, value, None),
            _ => continue,
        };
        let known = all.iter().position(|known| (known.address, known.is_write) == (address, is_write));
        let at = known.unwrap_or(all.len());
        if known.is_none() {
            all.push(Accessed { address, is_write, times: 0, last, text: Some(String::new()) });
        }
        let one = &mut all[at];
        (one.times, one.last) = (one.times + 1, last);
        one.text = one.text.take().filter(|text| text.len() < LONGEST_TEXT).zip(byte).and_then(push);
    }
    let mut parts: Vec<String> = all.iter().take(MOST_PORTS).map(Accessed::describe).collect();
    if all.len() > MOST_PORTS {
        parts.push(format!("{} more", all.len() - MOST_PORTS));
    }
    let name = match group[0].what {
        Occurrence::PortWrite { port, .. } | Occurrence::PortRead { port, .. } => {
            device_name(port).unwrap_or_else(|| "unassigned port".to_owned())
        }
        _ => "memory".to_owned(),
    };
    format!("{name}: {}", parts.join("; "))
}

/// Adds a character to a text; `None` if it is none.
fn push((mut text, byte): (String, u8)) -> Option<String> {
    let is_text = byte.is_ascii_graphic() || matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
    is_text.then(|| {
        text.push(byte.into());
        text
    })
}

impl Accessed {
    fn describe(&self) -> String {
        let Accessed { address, times, last, .. } = self;
        let direction = if self.is_write { "written" } else { "read" };
        let text = self.text.as_ref().filter(|text| text.len() > 1);
        match (text, times) {
            (Some(text), _) => format!("{address:#06x} {direction}: {text:?}"),
            (None, 1) => format!("{address:#06x} {direction}: {last:#x}"),
            (None, _) => format!("{address:#06x} {direction} {times} times, the last {last:#x}"),
        }
    }
}

#[cfg(test)]
#[path = "events_test.rs"]
mod tests;

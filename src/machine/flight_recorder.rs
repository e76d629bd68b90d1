//! The flight recorder: what the guest and the machine did last, for the report of a crash.
//!
//! A ring of fixed size that is allocated with the machine. Recording is one store of 32 bytes: no clock, no register,
//! no lock. Commands and crash reports read it while the machine is stopped ([`crate::inspect::events`]). It is no part
//! of a saved machine: restoring one empties it.

use std::time::Instant;

use serde::Serialize;
use tracing::info;

use super::CpuId;
pub use super::occurrence::{InterruptController, Occurrence};
use crate::settings::TraceSpec;

/// Occurrences that are kept.
const CAPACITY: usize = 256;

/// Ports that are counted: all of them.
const PORTS: usize = 1 << 16;

/// An occurrence with its place in the history of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct RecordedEvent {
    /// Its number, from 1 on.
    pub number: u64,
    /// Events of the journal before it ([`super::journal::Position::event`]).
    pub event: u64,
    /// The CPU, from 0.
    pub cpu: u8,
    /// What happened.
    pub what: Occurrence,
}

/// An entry of the ring. Of the number of the journal's event it has the low half, which is enough while fewer than
/// 2^32 events lie between the first entry and the last.
#[derive(Clone, Copy, Debug)]
struct Entry {
    event: u32,
    cpu: u8,
    what: Occurrence,
}

const _: () = assert!(size_of::<Entry>() <= 32, "recording is one store of at most 32 bytes");

/// The last occurrences, and how often each port was accessed.
#[derive(Clone, Debug)]
pub struct FlightRecorder {
    /// At most [`CAPACITY`], for which there is room from the start. Memory is touched as they come.
    entries: Vec<Entry>,
    /// How many there have been.
    count: u64,
    /// Accesses of each port. Pages without an accessed port cost no memory.
    ports: Box<[u64]>,
    logs: bool,
    logged: TraceSpec,
    created: Instant,
}

impl Default for FlightRecorder {
    fn default() -> FlightRecorder {
        FlightRecorder {
            entries: Vec::with_capacity(CAPACITY),
            count: 0,
            ports: vec![0; PORTS].into_boxed_slice(),
            logs: false,
            logged: TraceSpec::default(),
            created: Instant::now(),
        }
    }
}

impl FlightRecorder {
    /// Records what has happened after `event` events of the journal.
    #[inline]
    pub fn record(&mut self, event: u64, cpu: CpuId, what: Occurrence) {
        let entry = Entry { event: event as u32, cpu: cpu.number(), what };
        match self.entries.get_mut(self.count as usize % CAPACITY) {
            Some(oldest) => *oldest = entry,
            None => self.entries.push(entry),
        }
        self.count += 1;
        if self.logs {
            self.log(what);
        }
    }

    /// Records what has happened in place of the `hlt` of this CPU, if that was the last occurrence.
    #[cold]
    pub fn record_in_place_of_halt(&mut self, event: u64, cpu: CpuId, what: Occurrence) {
        let last = self.count.checked_sub(1);
        let last = last.and_then(|last| self.entries.get_mut(last as usize % CAPACITY));
        match last {
            Some(last) if last.cpu == cpu.number() && matches!(last.what, Occurrence::Halt { .. }) => {
                last.what = what;
            }
            _ => self.record(event, cpu, what),
        }
    }

    /// As [`Self::record`], for an access of a port, which is counted.
    #[inline]
    pub fn record_port(&mut self, event: u64, cpu: CpuId, port: u16, what: Occurrence) {
        self.ports[usize::from(port)] += 1;
        self.record(event, cpu, what);
    }

    /// Counts accesses of a port that are not recorded one by one.
    pub fn count_port(&mut self, port: u16, accesses: usize) {
        self.ports[usize::from(port)] += accesses as u64;
    }

    /// Sets what is written to the log from now on.
    pub fn set_logged(&mut self, logged: TraceSpec) {
        (self.logs, self.logged) = (logged != TraceSpec::default(), logged);
    }

    #[cold]
    fn log(&self, what: Occurrence) {
        use Occurrence::*;
        let wanted = match what {
            Interrupt { .. } | Nmi => self.logged.interrupts,
            PortWrite { .. } | PortRead { .. } | MemoryWrite { .. } | MemoryRead { .. } => self.logged.io,
            MsrRead { .. } | MsrWrite { .. } => self.logged.io,
            Init | StartUp { .. } | Reset | Restored => self.logged.mode,
            Halt { .. }
            | Emulated { .. }
            | Exception { .. }
            | WithoutIdt { .. }
            | BiosCall { .. }
            | TripleFault => false,
        };
        if wanted {
            info!(target: "kvm::trace", "{what}");
        }
    }

    /// Forgets all occurrences: the machine has another history. The counts of ports continue.
    pub fn clear(&mut self) {
        self.count = 0;
    }

    /// The last `most` occurrences, oldest first; `now` is how many events the journal has had.
    pub fn last(&self, most: usize, now: u64) -> Vec<RecordedEvent> {
        let kept = self.count.min(CAPACITY as u64).min(most as u64);
        (self.count - kept..self.count)
            .map(|at| {
                let Entry { event, cpu, what } = self.entries[at as usize % CAPACITY];
                let since = (now as u32).wrapping_sub(event);
                RecordedEvent { number: at + 1, event: now.saturating_sub(since.into()), cpu, what }
            })
            .collect()
    }

    /// When the machine was created, on the host's clock.
    pub fn created(&self) -> Instant {
        self.created
    }

    /// How many occurrences there have been since the machine was created or restored.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The `most` ports with most accesses, and how many those are; the busiest first.
    pub fn busiest_ports(&self, most: usize) -> Vec<(u16, u64)> {
        let accessed = (0..=u16::MAX).zip(self.ports.iter().copied()).filter(|(_, count)| *count > 0);
        let mut ports: Vec<(u16, u64)> = accessed.collect();
        ports.sort_by_key(|(port, count)| (std::cmp::Reverse(*count), *port));
        ports.truncate(most);
        ports
    }
}

#[cfg(test)]
#[path = "flight_recorder_test.rs"]
mod tests;

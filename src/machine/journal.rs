//! The journal: all nondeterministic changes of the machine, with their positions.
//!
//! [`Machine::note`](super::Machine::note) is called where such an event takes effect: where the run loop takes
//! inputs, where a debugger writes registers or memory, where the machine is reset and where a saved state is
//! restored. Events are always counted; they are stored only while a recording is active. Two runs that start
//! from the same state and get the same entries at the same positions are identical.

use serde::{Deserialize, Serialize};

use super::inputs::Input;
use crate::arch::{GeneralRegisters, SystemRegisters};

/// A position in the history of a machine: between two of the guest's accesses to devices.
///
/// It depends only on the guest and its inputs, not on time or instruction counts, which differ between hosts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Position {
    /// Events before this position, since power-on.
    pub event: u64,
    /// Accesses of the guest to devices before this position, since power-on: port and MMIO accesses, each counted
    /// once whatever its width.
    pub accesses: u64,
}

/// A nondeterministic change of the machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum JournalEvent {
    /// An input was taken from the queue.
    Input(Input),
    /// A debugger wrote the general registers of a vCPU.
    GeneralRegisters {
        /// Index of the vCPU.
        cpu: u8,
        /// All of them, as they are now.
        registers: GeneralRegisters,
    },
    /// A debugger wrote the system registers of a vCPU.
    SystemRegisters {
        /// Index of the vCPU.
        cpu: u8,
        /// All of them, as they are now.
        registers: Box<SystemRegisters>,
    },
    /// A debugger wrote the x87, SSE and AVX registers of a vCPU.
    ExtendedRegisters {
        /// Index of the vCPU.
        cpu: u8,
        /// Its XSAVE area, as it is now.
        area: Vec<u8>,
    },
    /// A debugger wrote a model-specific register of a vCPU.
    Msr {
        /// Index of the vCPU.
        cpu: u8,
        /// Number of the register.
        index: u32,
        /// The value.
        value: u64,
    },
    /// A debug exception that belongs to the guest was injected.
    DebugException {
        /// Index of the vCPU.
        cpu: u8,
        /// Bits of DR6 that the guest finds set.
        bits: u64,
    },
    /// A processor has taken an interrupt.
    Interrupt {
        /// Index of the vCPU.
        cpu: u8,
        /// The vector.
        vector: u8,
    },
    /// A non-maskable interrupt was injected into a processor.
    Nmi {
        /// Index of the vCPU.
        cpu: u8,
    },
    /// A processor has got its initial state, and waits for a start-up.
    Init {
        /// Index of the vCPU.
        cpu: u8,
    },
    /// A processor has started.
    StartUp {
        /// Index of the vCPU.
        cpu: u8,
        /// The page of 4 KiB at which it starts.
        page: u8,
    },
    /// Another processor runs from here on, of several that take turns.
    Turn {
        /// Index of the vCPU.
        cpu: u8,
    },
    /// A debugger wrote guest memory.
    Memory {
        /// Guest-physical address of the first byte.
        address: u64,
        /// The bytes.
        bytes: Vec<u8>,
    },
    /// The machine was reset and the guest file was loaded again.
    Reset,
    /// A saved state was restored. The following positions continue from the state's.
    Restored {
        /// The position at which the state was saved.
        position: Position,
    },
}

/// An event and the position at which it took effect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalEntry {
    /// The position, not counting the event itself.
    pub position: Position,
    /// The event.
    pub event: JournalEvent,
}

/// The entries of a recording, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recording {
    entries: Vec<JournalEntry>,
    limit: usize,
    dropped: u64,
}

impl Recording {
    /// The entries.
    pub fn entries(&self) -> &[JournalEntry] {
        &self.entries
    }

    /// Number of later entries that were dropped.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }
}

/// Counts events and, on request, records them.
#[derive(Clone, Debug, Default)]
pub struct Journal {
    events: u64,
    recording: Option<Recording>,
}

impl Journal {
    /// Counts an event that takes effect after `accesses` accesses, and records it while a recording is active.
    #[inline]
    pub fn note(&mut self, accesses: u64, event: impl FnOnce() -> JournalEvent) {
        let position = self.position(accesses);
        self.events += 1;
        if let Some(recording) = &mut self.recording {
            if recording.entries.len() < recording.limit {
                recording.entries.push(JournalEntry { position, event: event() });
            } else {
                recording.dropped += 1;
            }
        }
    }

    /// Events so far.
    #[inline]
    pub fn events(&self) -> u64 {
        self.events
    }

    /// The position after `accesses` accesses and all events so far.
    pub fn position(&self, accesses: u64) -> Position {
        Position { event: self.events, accesses }
    }

    /// Continues from the count of events of a restored state.
    pub fn continue_from(&mut self, position: Position) {
        self.events = position.event;
    }

    /// Starts a recording of at most `limit` entries, replacing an active one.
    pub fn start(&mut self, limit: usize) {
        self.recording = Some(Recording { limit, ..Recording::default() });
    }

    /// Ends the recording; `None` if none is active.
    pub fn stop(&mut self) -> Option<Recording> {
        self.recording.take()
    }
}

#[cfg(test)]
#[path = "journal_test.rs"]
mod tests;

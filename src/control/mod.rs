//! Commands for a stopped guest: one table for everybody who can give them.
//!
//! gdb's `monitor` hands a line to [`answer`], and so does a console ([`Front`]). What a command looks at
//! and changes it reaches through a [`StoppedGuest`], and its answer is text.
//!
//! | file | what it knows |
//! |---|---|
//! | `table` | all commands, and how one is found |
//! | `commands` | what they do |
//! | `moving` | what moves a guest to another host |

mod commands;
mod error;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod moving;
mod table;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::Receiver;

use crate::arch::Registers;
use crate::boot::Image;
use crate::inspect::screen::Shot;
use crate::kvm::HostError;
use crate::machine::inputs::Inputs;
use crate::machine::snapshots::{KeepError, Kept};
use crate::memory::GuestMemory;
use crate::settings::LayoutName;
use crate::state::{SaveReport, SnapshotError};
use crate::supervisor::points::Points;
use moving::Mover;

pub use error::CommandError;
pub use table::{answer, names, reference};

/// Who gives a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Front {
    /// A debugger, by its `monitor`.
    Debugger,
    /// Somebody at a console.
    Console,
}

/// What lasts from one command to the next.
#[derive(Debug, Default)]
pub struct Session {
    /// Breakpoints and log points.
    pub points: Points,
    /// What is switched on and off.
    pub switches: Switches,
    /// What moves the guest to another host, if anything does.
    pub mover: Option<Arc<dyn Mover>>,
    /// What the last command has begun is told here, line by line, until it is done.
    pub story: Option<Receiver<String>>,
}

/// What is switched on and off by commands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Switches {
    /// A client's addresses are guest-physical ones.
    pub physical: bool,
    /// Interrupts are let in while the guest is stepped.
    pub step_interrupts: bool,
    /// The guest's own `int3` stops it, instead of going to its handler.
    pub catch_int3: bool,
}

/// How one of a debugger's facilities works on this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facility {
    /// What it is for.
    pub name: &'static str,
    /// How it is done.
    pub technique: String,
    /// Why in this way.
    pub reason: String,
}

/// What a guest that can be asked about does while nobody asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doing {
    /// It runs, under a debugger or without one.
    Runs,
    /// It stands still because somebody has paused it.
    Paused,
    /// It has not begun: it waits for a debugger to connect.
    Waits,
    /// A debugger has stopped it.
    Stopped,
}

/// A guest that is stopped, as commands reach it.
pub trait StoppedGuest {
    /// General, control and segment registers.
    ///
    /// # Errors
    ///
    /// [`HostError::Refused`] with the host's reason.
    fn registers(&self) -> Result<Registers, HostError>;

    /// Guest memory.
    fn memory(&self) -> &GuestMemory;

    /// The guest file.
    fn image(&self) -> &dyn Image;

    /// What was added to every address in the guest file.
    fn bias(&self) -> u64;

    /// What lasts from one command to the next.
    fn session(&mut self) -> &mut Session;

    /// How the debugger's facilities work on this host, which is measured now if it is not known yet.
    fn facilities(&self) -> Vec<Facility>;

    /// Resets the machine: the guest is at its first instruction again. False if its run is over
    /// instead.
    fn reset(&mut self) -> bool;

    /// Keeps the machine in memory as it is now, under `name`.
    ///
    /// # Errors
    ///
    /// [`KeepError`].
    fn take_snapshot(&mut self, name: &str) -> Result<Kept, KeepError>;

    /// Has the machine be what it was when the snapshot `name` was taken.
    ///
    /// # Errors
    ///
    /// [`KeepError`].
    fn go_back(&mut self, name: &str) -> Result<Kept, KeepError>;

    /// Forgets a snapshot, or all.
    ///
    /// # Errors
    ///
    /// [`KeepError`].
    fn forget_snapshots(&mut self, name: Option<&str>) -> Result<(), KeepError>;

    /// All snapshots, oldest first, and how many bytes of guest memory are kept for them.
    fn snapshots(&self) -> (Vec<Kept>, u64);

    /// Saves the machine in a file.
    ///
    /// # Errors
    ///
    /// [`SnapshotError`]; a file that was there is there still.
    fn snapshot(&mut self, file: &Path) -> Result<SaveReport, SnapshotError>;

    /// Has the machine go on from a file; breakpoints stay.
    ///
    /// # Errors
    ///
    /// [`SnapshotError`]; the guest is as it was, unless [`SnapshotError::is_fatal`], which ends the run.
    fn restore(&mut self, file: &Path) -> Result<(), SnapshotError>;

    /// Ends the run, as soon as the answer has been given.
    fn quit(&mut self);

    /// What the screen shows.
    fn screen(&self) -> Shot;

    /// The door through which keys enter the machine.
    fn inputs(&self) -> &Inputs;

    /// The keyboard layout the guest expects.
    fn layout(&self) -> LayoutName;

    /// What the guest does while nobody asks.
    fn doing(&self) -> Doing;

    /// True if a debugger is connected.
    fn is_debugged(&self) -> bool;

    /// Has the guest stand still while nobody asks, or go on. One that waits for a debugger goes on
    /// without it.
    fn set_paused(&mut self, paused: bool);
}

//! A machine stopped between two instructions, as commands, requests and migrations see it.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::Receiver;

use super::facilities::Facility;
use super::migrator::Migrator;
use super::notice::Notice;
use super::points::Points;
use super::session::CommandSession;
use crate::arch::{DebugRegisters, ExtendedRegisters, Registers};
use crate::boot::{FileSection, Image, NamedStack, SourcePlace, Symbol};
use crate::inspect::backtrace::Frame;
use crate::inspect::core_file::{CoreFileError, WrittenCore};
use crate::inspect::events::EventList;
use crate::inspect::exits::ExitStatistics;
use crate::inspect::names::Names;
use crate::inspect::screen::Shot;
use crate::kvm::HostError;
use crate::machine::board::Board;
use crate::machine::exit_counts::ExitCounts;
use crate::machine::inputs::Inputs;
use crate::machine::snapshots::{InMemorySnapshotError, SnapshotInfo};
use crate::machine::{CpuId, Machine, Outcome, PendingAction};
use crate::memory::GuestMemory;
use crate::settings::LayoutName;
use crate::state::{SaveReport, SnapshotError};

/// What a supervised guest does while no request is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunStatus {
    /// It runs, under a debugger or without one.
    Running,
    /// It is paused by a command or a migration.
    Paused,
    /// It has not begun: it waits for a debugger to connect.
    WaitingForDebugger,
    /// A debugger has stopped it, or its run is over.
    Stopped,
}

/// A stopped guest, as commands see it.
pub trait StoppedMachine {
    /// General, control and segment registers of the selected CPU.
    ///
    /// # Errors
    ///
    /// [`HostError::Refused`] with the host's reason.
    fn registers(&self) -> Result<Registers, HostError>;

    /// Writes the registers that differ from [`Self::registers`].
    ///
    /// # Errors
    ///
    /// [`HostError::Refused`] if they are a state the processor cannot be in.
    fn set_registers(&mut self, registers: &Registers) -> Result<(), HostError>;

    /// The x87, SSE and AVX registers of the selected CPU.
    ///
    /// # Errors
    ///
    /// [`HostError::Refused`] with the host's reason.
    fn extended_registers(&self) -> Result<ExtendedRegisters, HostError>;

    /// The debug registers of the selected CPU; `None` if the host does not report them.
    ///
    /// # Errors
    ///
    /// [`HostError::Refused`] with the host's reason.
    fn debug_registers(&self) -> Result<Option<DebugRegisters>, HostError> {
        Ok(None)
    }

    /// A model-specific register of the selected CPU; `None` if the host does not report it.
    ///
    /// # Errors
    ///
    /// [`HostError::Refused`] with the host's reason.
    fn msr(&self, _index: u32) -> Result<Option<u64>, HostError> {
        Ok(None)
    }

    /// Guest memory.
    fn memory(&self) -> &GuestMemory;

    /// Adds a file with symbols: `offset` is added to the addresses in it.
    fn add_symbols(&mut self, image: Box<dyn Image>, offset: u64);

    /// The files that were added, each with what is added to the addresses in it.
    fn symbol_files(&self) -> Vec<(String, u64)>;

    /// The symbol of the guest file that a guest-virtual address lies in.
    fn symbol_at(&self, address: u64) -> Option<Symbol>;

    /// The source line of the instruction at a guest-virtual address.
    fn source_at(&self, address: u64) -> Option<SourcePlace>;

    /// The functions that the selected CPU is in, the innermost first.
    ///
    /// # Errors
    ///
    /// [`HostError::Refused`] with the host's reason.
    fn backtrace(&self) -> Result<Vec<Frame>, HostError>;

    /// The guest-virtual address of the first symbol of the guest file called `name`.
    fn address_of(&self, name: &str) -> Option<u64>;

    /// The sections of the guest file that are loaded, at guest-virtual addresses, ascending.
    fn file_sections(&self) -> Vec<FileSection> {
        Vec::new()
    }

    /// The stacks that the guest file names, at guest-virtual addresses.
    fn named_stacks(&self) -> Vec<NamedStack> {
        Vec::new()
    }

    /// What lasts from one command to the next.
    fn session(&mut self) -> &mut CommandSession;

    /// Breakpoints and log points.
    fn points(&self) -> &Points;

    /// How often the guest has exited, by reason.
    fn exit_counts(&self) -> ExitCounts;

    /// What starts migrations; `None` if this run cannot migrate its guest.
    fn migrator(&self) -> Option<Arc<dyn Migrator>>;

    /// How the debugger's facilities work on this host, which is measured now if it is not known yet.
    fn facilities(&self) -> Vec<Facility>;

    /// Resets the machine: the guest is at its first instruction again. False if its run is over
    /// instead.
    fn reset(&mut self) -> bool;

    /// Takes a snapshot in memory called `name`.
    ///
    /// # Errors
    ///
    /// [`InMemorySnapshotError`].
    fn take_snapshot(&mut self, name: &str) -> Result<SnapshotInfo, InMemorySnapshotError>;

    /// Restores the machine to the snapshot `name`.
    ///
    /// # Errors
    ///
    /// [`InMemorySnapshotError`].
    fn restore_snapshot(&mut self, name: &str) -> Result<SnapshotInfo, InMemorySnapshotError>;

    /// Forgets a snapshot, or all.
    ///
    /// # Errors
    ///
    /// [`InMemorySnapshotError`].
    fn delete_snapshots(&mut self, name: Option<&str>) -> Result<(), InMemorySnapshotError>;

    /// All snapshots, oldest first, and how many bytes of guest memory are kept for them.
    fn snapshots(&self) -> (Vec<SnapshotInfo>, u64);

    /// Saves the machine in a file.
    ///
    /// # Errors
    ///
    /// [`SnapshotError`]; an existing file is left as it is.
    fn snapshot(&mut self, file: &Path) -> Result<SaveReport, SnapshotError>;

    /// Restores the machine from a file; breakpoints stay. Returns what the user has to know about its disks.
    ///
    /// # Errors
    ///
    /// [`SnapshotError`]; the guest is as it was, unless [`SnapshotError::is_fatal`], which ends the run.
    fn restore(&mut self, file: &Path) -> Result<Vec<String>, SnapshotError>;

    /// The report about the guest as the selected CPU sees it, as JSON; about the crash, if it has crashed.
    fn report(&self) -> String;

    /// Writes the guest to a core file as the selected CPU sees it.
    ///
    /// # Errors
    ///
    /// [`CoreFileError`]; an existing file is left as it is.
    fn write_core(&self, file: &Path) -> Result<WrittenCore, CoreFileError>;

    /// Ends the run, as soon as the answer has been given.
    fn quit(&mut self);

    /// What the screen shows.
    fn screen(&self) -> Shot;

    /// The devices.
    fn board(&self) -> &Board;

    /// The last events, at most `most` lines.
    fn events(&self, most: usize) -> EventList;

    /// Begins to measure how long exits take, or ends it. A machine with several CPUs measures nothing.
    fn measure_exits(&mut self, on: bool);

    /// The exits so far, with rates since the last call.
    fn exits(&mut self) -> ExitStatistics;

    /// A copy of the devices to be looked at, if [`Self::board`] does not show the interrupt controllers.
    ///
    /// # Errors
    ///
    /// [`HostError::Refused`] if the host does not report them.
    fn board_with_copies(&self) -> Result<Option<Board>, HostError> {
        Ok(None)
    }

    /// The input queue of the machine.
    fn inputs(&self) -> &Inputs;

    /// The keyboard layout the guest expects.
    fn layout(&self) -> LayoutName;

    /// What the guest does while no request is served.
    fn status(&self) -> RunStatus;

    /// True if a debugger is connected.
    fn is_debugged(&self) -> bool;

    /// Pauses the guest, or resumes it. One that waits for a debugger starts
    /// without it.
    fn set_paused(&mut self, paused: bool);

    /// Puts breakpoints, log points and steps of the console into effect; without effect while a debugger is
    /// connected.
    fn take_console_control(&mut self);

    /// Has the selected CPU of a guest without a debugger execute at most `count` instructions while the others stay
    /// stopped, and pauses it there; returns where it has stopped, or that it waits for an interrupt first.
    fn step(&mut self, count: u64) -> String;

    /// Receives the reason of the next stop of a guest under console control. The channel closes without one
    /// when the run ends.
    fn next_stop(&mut self) -> Receiver<Notice>;

    /// The number of the stop that a guest without a debugger is at ([`Notice::stop`]); `None` if it runs, was paused
    /// by a command, or has been moved since.
    fn current_stop(&self) -> Option<Notice>;

    /// One line for each CPU: its number, run state and position.
    fn cpus(&self) -> Vec<String>;

    /// How many CPUs the machine has.
    fn cpu_count(&self) -> usize;

    /// The CPU that the registers and addresses of commands belong to: the one that has stopped the guest, or that was
    /// selected since.
    fn selected_cpu(&self) -> CpuId;

    /// Selects a CPU; false, and nothing changes, if the machine does not have it.
    fn select_cpu(&mut self, cpu: CpuId) -> bool;

    /// The same as [`Self::registers`] for any CPU; `None` if the machine does not have it.
    ///
    /// # Errors
    ///
    /// [`HostError::Refused`] with the host's reason.
    fn registers_of(&self, cpu: CpuId) -> Result<Option<Registers>, HostError>;
}

/// The names in the guest's files, for views.
#[derive(Clone, Copy)]
pub struct GuestNames<'g>(pub &'g dyn StoppedMachine);

impl Names for GuestNames<'_> {
    fn symbol_at(&self, address: u64) -> Option<Symbol> {
        self.0.symbol_at(address)
    }

    fn sections(&self) -> Vec<FileSection> {
        self.0.file_sections()
    }

    fn stacks(&self) -> Vec<NamedStack> {
        self.0.named_stacks()
    }
}

/// A guest that is paused between two instructions, with the machine it runs on.
///
/// Device accesses that had begun are completed, and no breakpoint is in its memory.
pub trait PausedMachine: StoppedMachine {
    /// The machine.
    fn machine(&mut self) -> &mut Machine;

    /// What happens to the guest before it goes on, unless the machine knows of it itself.
    fn pending_action(&self) -> Option<PendingAction>;

    /// The run ends with `outcome`; the guest does not carry out another instruction.
    fn end(&mut self, outcome: Outcome);
}

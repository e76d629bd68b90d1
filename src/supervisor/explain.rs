//! `--explain`: runs a guest again, instruction by instruction, after a triple fault that has left nothing to look at.
//!
//! Some processors are reset by a triple fault (AMD APM volume 2, "Shutdown"), and with the registers everything is gone
//! that tells the exception. So the machine goes back to its first instruction, and the registers in front of each
//! instruction are kept until one ends in a triple fault. They are put back then, and the guest is examined as on a host
//! that keeps them.
//!
//! The second run sends nothing: its output has been sent by the first one. Keys and other input do not come again, and
//! interrupts at other instructions, so a guest that depends on them may end in another way.

use std::time::{Duration, Instant};

use super::run_control::Supervisor;
use super::session::Services;
use crate::arch::Registers;
use crate::machine::snapshots::{InMemorySnapshotError, Snapshots};
use crate::machine::{CpuId, Event, Machine, Outcome};

/// Name of the snapshot at the first instruction.
const START: &str = "start";
/// Longest time for the second run.
const LONGEST: Duration = Duration::from_secs(10);
/// Time after which the user is told how far it is, each time.
const PROGRESS: Duration = Duration::from_secs(1);
/// Instructions between two looks at the clock.
const CHUNK: u64 = 256;

/// A machine's state at its first instruction.
#[derive(Debug)]
pub(crate) struct FirstInstruction {
    snapshots: Snapshots,
    /// Disks whose contents would be written a second time.
    disks: Vec<u8>,
}

/// How a second run has ended.
#[derive(Debug)]
pub(crate) enum Rerun {
    /// With a triple fault after this many instructions; the registers in front of the last one are those of the machine.
    TripleFault {
        /// Instructions executed before.
        instructions: u64,
    },
    /// In another way, so it explains nothing.
    Differs {
        /// Instructions executed before.
        instructions: u64,
    },
    /// The time was up.
    TimeUp {
        /// Instructions executed.
        instructions: u64,
    },
}

impl FirstInstruction {
    /// Keeps the state of `machine`, which has not run yet.
    ///
    /// # Errors
    ///
    /// [`InMemorySnapshotError`] if it cannot be kept.
    pub(crate) fn of(machine: &mut Machine) -> Result<FirstInstruction, InMemorySnapshotError> {
        let mut snapshots = Snapshots::default();
        let taken = snapshots.take(machine, START, None)?;
        Ok(FirstInstruction { snapshots, disks: taken.disks })
    }

    /// Why `machine` cannot be run again; `None` if it can.
    pub(crate) fn obstacle(&self, machine: &Machine) -> Option<&'static str> {
        if machine.cpu_ids().count() > 1 {
            return Some("a guest with several CPUs does not do the same a second time");
        }
        (!self.disks.is_empty()).then_some(
            "the guest would write to its disks a second time (`--disk FILE,snapshot` keeps what it writes in memory)",
        )
    }

    /// Runs `machine` from there to the next triple fault. `progress` is told every second how many instructions have been
    /// executed.
    ///
    /// # Errors
    ///
    /// [`InMemorySnapshotError`]; the machine is not what it was before then.
    #[cold]
    pub(crate) fn run_again(
        self,
        machine: &mut Machine,
        services: Services,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Rerun, InMemorySnapshotError> {
        machine.mute()?;
        let mut supervisor = Supervisor::new(machine, true, services);
        supervisor.snapshots = self.snapshots;
        supervisor.snapshots.restore(supervisor.machine, START)?;
        supervisor.session.switches.step_interrupts = true;
        let (end, before) = supervisor.step_to_end(progress)?;
        let rescued = matches!(&end, (_, Some(Outcome::TripleFault(Some(_)))));
        Ok(match end {
            (instructions, None) => Rerun::TimeUp { instructions },
            (instructions, Some(Outcome::TripleFault(_))) => {
                if !rescued {
                    machine.put_back(CpuId::BOOT, &before)?;
                }
                Rerun::TripleFault { instructions }
            }
            (instructions, Some(_)) => Rerun::Differs { instructions },
        })
    }
}

impl Supervisor<'_> {
    /// Steps until the run ends or the time is up: the number of instructions, the end, and the registers in front of the
    /// last instruction. The console's loop evaluates breakpoints and stops, too, which would cost each instruction time.
    fn step_to_end(
        &mut self,
        progress: &mut dyn FnMut(u64),
    ) -> Result<((u64, Option<Outcome>), Registers), InMemorySnapshotError> {
        let began = Instant::now();
        let mut told = began;
        let mut instructions = 0;
        loop {
            let (registers, pc) = self.position()?;
            match self.step_instruction(&registers, pc, [None; 4])? {
                Some(Event::End(outcome)) => return Ok(((instructions, Some(outcome)), registers)),
                Some(Event::ResetRequested) => return Ok(((instructions, Some(Outcome::Reset)), registers)),
                Some(_) | None => {}
            }
            instructions += 1;
            if instructions % CHUNK == 0 {
                if began.elapsed() >= LONGEST {
                    return Ok(((instructions, None), registers));
                }
                if told.elapsed() >= PROGRESS {
                    told = Instant::now();
                    progress(instructions);
                }
            }
        }
    }
}

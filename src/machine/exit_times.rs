//! How long exits take, measured while the user wants it.
//!
//! A look at the clock for each exit costs more than many exits do. So the path of an exit knows nothing of it: a machine
//! that measures is run by a step of its own, which [`Machine::run_to_event`] chooses before the guest goes on.

use std::time::{Duration, Instant};

use super::Machine;
use super::cpu::CpuId;
use super::exit_counts::{NAMES, REASONS, reason};
use super::run::Next;
use crate::kvm::HostError;

/// Where the time has gone since measuring began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExitTimes {
    /// Exits that were measured, and how long the machine has handled them, by reason.
    by_reason: [(u64, Duration); REASONS],
    /// In the guest, and in KVM on its behalf.
    guest: Duration,
}

impl ExitTimes {
    /// All reasons, in words, with the number of exits and the time in which they were handled. That of `hlt` includes the
    /// wait for an interrupt.
    pub fn by_reason(&self) -> [(&'static str, u64, Duration); REASONS] {
        std::array::from_fn(|reason| {
            let (count, time) = self.by_reason[reason];
            (NAMES[reason], count, time)
        })
    }

    /// The time in the guest, and in KVM on its behalf.
    pub fn guest(&self) -> Duration {
        self.guest
    }
}

impl Machine {
    /// Begins to measure the time of exits anew, or ends it. It is measured while [`Self::run_to_event`] runs a machine with
    /// one processor.
    pub fn measure_exits(&mut self, on: bool) {
        self.exit_times = on.then(Box::default);
    }

    /// What was measured; `None` if nothing is.
    pub fn exit_times(&self) -> Option<&ExitTimes> {
        self.exit_times.as_deref()
    }

    /// As [`Self::advance`], with a look at the clock at each exit.
    pub(super) fn advance_measured(&mut self) -> Result<Next, HostError> {
        if self.cpus.len() > 1 || self.cpus[CpuId::BOOT].is_halted() {
            return self.advance();
        }
        let cpu = CpuId::BOOT;
        if let Some(next) = self.prepare_entry(cpu)? {
            return Ok(next);
        }
        let entered = Instant::now();
        let exit = self.cpus[cpu].run().map_err(|error| self.reason(error))?;
        let left = Instant::now();
        let reason = reason(&exit);
        let next = self.handle_exit(cpu, exit);
        if let Some(times) = &mut self.exit_times {
            times.guest += left - entered;
            let (count, time) = &mut times.by_reason[reason];
            (*count, *time) = (*count + 1, *time + left.elapsed());
        }
        next
    }
}

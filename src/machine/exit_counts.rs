//! How often the guest has exited, by reason.

use crate::kvm::VmExit;

/// Number of reasons.
pub(super) const REASONS: usize = 10;

/// Exits of all CPUs since the machine was created, across resets. Writes to a port that KVM coalesces count each,
/// although many of them share one exit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExitCounts([u64; REASONS]);

/// The reasons in words, in the order of their indices.
pub(super) const NAMES: [&str; REASONS] = [
    "port writes",
    "port reads",
    "memory and MSR writes",
    "memory and MSR reads",
    "hlt",
    "kicks and signals",
    "debug stops",
    "refused instructions",
    "interrupt windows",
    "triple faults and failures",
];

/// Index of the reason for an exit.
#[inline]
pub(super) fn reason(exit: &VmExit) -> usize {
    match exit {
        VmExit::PortOut { .. } => 0,
        VmExit::PortIn { .. } => 1,
        VmExit::MmioWrite { .. } => 2,
        VmExit::MmioRead { .. } => 3,
        VmExit::Halt { .. } => 4,
        VmExit::Interrupted => 5,
        VmExit::Debug(_) => 6,
        VmExit::Refused(_) => 7,
        VmExit::InterruptWindow | VmExit::TaskPriority => 8,
        VmExit::MsrRead { .. } => 3,
        VmExit::MsrWrite { .. } => 2,
        VmExit::Shutdown | VmExit::EntryFailed(_) | VmExit::Unexpected(_) => 9,
    }
}

impl ExitCounts {
    /// Counts an exit: one increment, without a look at a clock.
    #[inline]
    pub(crate) fn count(&mut self, exit: &VmExit) {
        self.0[reason(exit)] += 1;
    }

    /// Counts reads of a port that share an exit with one that has been counted.
    pub(crate) fn count_port_reads(&mut self, reads: usize) {
        self.0[1] += reads as u64;
    }

    /// All reasons, in words, with their counts.
    pub fn by_reason(&self) -> [(&'static str, u64); REASONS] {
        std::array::from_fn(|reason| (NAMES[reason], self.0[reason]))
    }

    /// All exits.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// Writes to ports.
    pub fn port_writes(&self) -> u64 {
        self.0[0]
    }

    /// Reads from ports.
    pub fn port_reads(&self) -> u64 {
        self.0[1]
    }

    /// Writes to memory that is not mapped RAM, and to model-specific registers that are not KVM's.
    pub fn mmio_writes(&self) -> u64 {
        self.0[2]
    }

    /// Reads of memory that is not mapped RAM, and of model-specific registers that are not KVM's.
    pub fn mmio_reads(&self) -> u64 {
        self.0[3]
    }

    /// `hlt`.
    pub fn halts(&self) -> u64 {
        self.0[4]
    }

    /// Kicks by another thread, and signals.
    pub fn kicks(&self) -> u64 {
        self.0[5]
    }

    /// Breakpoints, watchpoints and single steps.
    pub fn debug_stops(&self) -> u64 {
        self.0[6]
    }

    /// Instructions that KVM has refused to execute.
    pub fn refusals(&self) -> u64 {
        self.0[7]
    }

    /// The guest has become able to take an interrupt that waited.
    pub fn interrupt_windows(&self) -> u64 {
        self.0[8]
    }

    /// Triple faults and failures.
    pub fn others(&self) -> u64 {
        self.0[9]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kvm::{DebugStop, Refusal};

    #[test]
    fn exits_are_counted_by_reason() {
        let mut counts = ExitCounts::default();
        let all = [
            VmExit::PortOut { port: 0, size: 1, value: 0 },
            VmExit::PortIn { port: 0, size: 1 },
            VmExit::MmioWrite { address: 0, size: 1, value: 0 },
            VmExit::MmioRead { address: 0, size: 1 },
            VmExit::Halt { interruptible: true },
            VmExit::Interrupted,
            VmExit::Debug(DebugStop { exception: 1, pc: 0, dr6: 0, dr7: 0 }),
            VmExit::Refused(Refusal::new(1, &[])),
            VmExit::InterruptWindow,
            VmExit::Shutdown,
        ];
        for (times, exit) in (1..).zip(&all) {
            (0..times).for_each(|_| counts.count(exit));
        }
        counts.count(&VmExit::EntryFailed(0));
        counts.count(&VmExit::Unexpected(0));
        let by_reason = [
            counts.port_writes(),
            counts.port_reads(),
            counts.mmio_writes(),
            counts.mmio_reads(),
            counts.halts(),
            counts.kicks(),
            counts.debug_stops(),
            counts.refusals(),
            counts.interrupt_windows(),
            counts.others(),
        ];
        assert_eq!(by_reason, [1, 2, 3, 4, 5, 6, 7, 8, 9, 12]);
        assert_eq!(counts.total(), 57);
    }
}

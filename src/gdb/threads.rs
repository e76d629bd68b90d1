//! The machine's vCPUs as gdb's threads: their numbers, which of them gdb means, and what each is to do.
//!
//! gdb's threads are numbered from 1, vCPUs from 0. [`Threads::vcpu`] is the one place where the first
//! becomes the second: a [`VcpuNumber`] that anybody has is one of the machine's.
//!
//! Manual: "Packets", `H`, and "Debugging Multiple Inferiors", `vCont`, in "Appendix E: gdb Remote Serial
//! Protocol" of *Debugging with gdb*.

use std::fmt;
use std::num::NonZeroUsize;

use gdbstub::common::Tid;

use super::extensions::request::ThreadSelector;
use crate::machine::CpuId;

/// The one process there is: the guest.
pub(crate) const PROCESS: u64 = 1;

/// One of the machine's vCPUs, counted from 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct VcpuNumber(usize);

impl VcpuNumber {
    /// The vCPU that begins, and every machine has.
    pub(crate) const FIRST: VcpuNumber = VcpuNumber(0);

    /// Its CPU in the machine.
    pub(crate) fn cpu(self) -> CpuId {
        CpuId::new(self.0.try_into().unwrap_or(u8::MAX))
    }

    /// Its thread.
    pub(crate) fn thread(self) -> Tid {
        NonZeroUsize::MIN.saturating_add(self.0)
    }
}

impl fmt::Display for VcpuNumber {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "vCPU {}", self.0)
    }
}

/// All vCPUs, as one client after the other sees them.
#[derive(Debug)]
pub(crate) struct Threads {
    /// How many vCPUs the machine has.
    vcpus: usize,
    /// Whose registers and memory are asked for: the vCPU that stopped, or that of the last `Hg`.
    looked_at: VcpuNumber,
    /// The vCPU that `c` and `s` are for (`Hc`); `None` for all.
    selected_to_resume: Option<VcpuNumber>,
    /// The client wants the process in thread ids, too.
    multiprocess: bool,
}

impl Threads {
    /// The threads of a machine with so many vCPUs, which is at least one.
    pub(crate) fn new(vcpus: NonZeroUsize) -> Threads {
        Threads {
            vcpus: vcpus.get(),
            looked_at: VcpuNumber::FIRST,
            selected_to_resume: None,
            multiprocess: false,
        }
    }

    /// A new client has come, and has not said anything yet.
    pub(crate) fn begin(&mut self) {
        (self.looked_at, self.selected_to_resume, self.multiprocess) = (VcpuNumber::FIRST, None, false);
    }

    /// The vCPU that is this thread, if there is one.
    pub(crate) fn vcpu(&self, thread: Tid) -> Option<VcpuNumber> {
        let number = thread.get() - 1;
        (number < self.vcpus).then_some(VcpuNumber(number))
    }

    /// All vCPUs, the one that is looked at first: the library takes the first for any (`Hg0`, `?`).
    pub(crate) fn looked_at_first(&self) -> impl Iterator<Item = VcpuNumber> + use<> {
        let looked_at = self.looked_at;
        std::iter::once(looked_at).chain(self.all().filter(move |vcpu| *vcpu != looked_at))
    }

    /// All vCPUs.
    pub(crate) fn all(&self) -> impl Iterator<Item = VcpuNumber> + use<> {
        (0..self.vcpus).map(VcpuNumber)
    }

    /// The vCPU whose registers and memory are asked for.
    pub(crate) fn looked_at(&self) -> VcpuNumber {
        self.looked_at
    }

    /// This vCPU has stopped the guest: it is the one that is looked at, as the client takes it.
    pub(crate) fn stopped(&mut self, vcpu: VcpuNumber) {
        self.looked_at = vcpu;
    }

    /// The one vCPU that is selected; `None` if there is no such vCPU, or if all are selected.
    pub(crate) fn one(&self, selector: ThreadSelector) -> Option<VcpuNumber> {
        match selector {
            ThreadSelector::One(thread) => self.vcpu(thread),
            ThreadSelector::Any => Some(self.looked_at),
            ThreadSelector::All | ThreadSelector::Selected | ThreadSelector::Invalid => None,
        }
    }

    /// Registers and memory are those of this vCPU from now on. Returns false, and changes nothing, if there is no
    /// such vCPU.
    pub(crate) fn select(&mut self, selector: ThreadSelector) -> bool {
        let found = self.one(selector);
        self.looked_at = found.unwrap_or(self.looked_at);
        found.is_some()
    }

    /// `c` and `s` are for this vCPU from now on, or for all. Returns false, and changes nothing, if there is no such
    /// vCPU.
    pub(crate) fn select_resumed(&mut self, selector: ThreadSelector) -> bool {
        self.selected_to_resume = match selector {
            ThreadSelector::All | ThreadSelector::Any => None,
            _ => match self.one(selector) {
                None => return false,
                found => found,
            },
        };
        true
    }

    /// The vCPU that `c` and `s` are for; `None` for all.
    pub(crate) fn selected_to_resume(&self) -> Option<VcpuNumber> {
        self.selected_to_resume
    }

    /// The client wants the process in thread ids, too.
    pub(crate) fn name_process(&mut self) {
        self.multiprocess = true;
    }

    /// A vCPU's thread as the protocol writes it.
    pub(crate) fn id(&self, vcpu: VcpuNumber) -> String {
        let thread = vcpu.thread();
        if self.multiprocess { format!("p{PROCESS:x}.{thread:x}") } else { format!("{thread:x}") }
    }
}

#[cfg(test)]
#[path = "threads_test.rs"]
mod tests;

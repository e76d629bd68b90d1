//! The machine's vCPUs as gdb's threads: their numbers, and which of them the client has selected.
//!
//! gdb's threads are numbered from 1, vCPUs from 0. Only [`Threads::vcpu`] converts the first into the second, so every
//! [`VcpuNumber`] is one of the machine's vCPUs.
//!
//! Manual: "Packets", `H`, and "Debugging Multiple Inferiors", `vCont`, in "Appendix E: gdb Remote Serial
//! Protocol" of *Debugging with gdb*.

use std::fmt;
use std::num::NonZeroUsize;

use gdbstub::common::Tid;

use super::extensions::request::ThreadSelector;
use crate::machine::CpuId;

/// The only process: the guest.
pub(crate) const PROCESS: u64 = 1;

/// One of the machine's vCPUs, counted from 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct VcpuNumber(usize);

impl VcpuNumber {
    /// The boot CPU, which every machine has.
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

/// All vCPUs, and the selection of the current client.
#[derive(Debug)]
pub(crate) struct Threads {
    /// Number of vCPUs of the machine.
    vcpus: usize,
    /// The vCPU whose registers and memory are accessed: the one that stopped, or that of the last `Hg`.
    selected: VcpuNumber,
    /// The vCPU that `c` and `s` are for (`Hc`); `None` for all.
    selected_to_resume: Option<VcpuNumber>,
    /// Thread ids contain the process, too.
    multiprocess: bool,
}

impl Threads {
    /// The threads of a machine with this number of vCPUs.
    pub(crate) fn new(vcpus: NonZeroUsize) -> Threads {
        Threads {
            vcpus: vcpus.get(),
            selected: VcpuNumber::FIRST,
            selected_to_resume: None,
            multiprocess: false,
        }
    }

    /// Resets the selection for a new client.
    pub(crate) fn begin(&mut self) {
        (self.selected, self.selected_to_resume, self.multiprocess) = (VcpuNumber::FIRST, None, false);
    }

    /// The vCPU of this thread, if it exists.
    pub(crate) fn vcpu(&self, thread: Tid) -> Option<VcpuNumber> {
        let number = thread.get() - 1;
        (number < self.vcpus).then_some(VcpuNumber(number))
    }

    /// All vCPUs, the selected one first: the library takes the first for any (`Hg0`, `?`).
    pub(crate) fn selected_first(&self) -> impl Iterator<Item = VcpuNumber> + use<> {
        let selected = self.selected;
        std::iter::once(selected).chain(self.all().filter(move |vcpu| *vcpu != selected))
    }

    /// All vCPUs.
    pub(crate) fn all(&self) -> impl Iterator<Item = VcpuNumber> + use<> {
        (0..self.vcpus).map(VcpuNumber)
    }

    /// The vCPU whose registers and memory are accessed.
    pub(crate) fn selected(&self) -> VcpuNumber {
        self.selected
    }

    /// This vCPU has stopped the guest, which selects it, as gdb assumes.
    pub(crate) fn stopped(&mut self, vcpu: VcpuNumber) {
        self.selected = vcpu;
    }

    /// The one vCPU that is selected; `None` if there is no such vCPU, or if all are selected.
    pub(crate) fn one(&self, selector: ThreadSelector) -> Option<VcpuNumber> {
        match selector {
            ThreadSelector::One(thread) => self.vcpu(thread),
            ThreadSelector::Any => Some(self.selected),
            ThreadSelector::All | ThreadSelector::Selected | ThreadSelector::Invalid => None,
        }
    }

    /// Selects the vCPU for registers and memory. Returns false, and changes nothing, if there is no such vCPU.
    pub(crate) fn select(&mut self, selector: ThreadSelector) -> bool {
        let found = self.one(selector);
        self.selected = found.unwrap_or(self.selected);
        found.is_some()
    }

    /// Selects the vCPU for `c` and `s`, or all. Returns false, and changes nothing, if there is no such vCPU.
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

    /// Thread ids contain the process, too.
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

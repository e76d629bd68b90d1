//! The machine's vCPUs as gdb's threads: their numbers, and which of them the client has selected.
//!
//! gdb's threads are numbered from 1, CPUs from 0. Only [`Threads::vcpu`] converts the first into the second, and
//! refuses a thread that does not exist.
//!
//! Manual: "Packets", `H`, and "Debugging Multiple Inferiors", `vCont`, in "Appendix E: gdb Remote Serial
//! Protocol" of *Debugging with gdb*.

use std::num::NonZeroUsize;

use gdbstub::common::Tid;

use super::extensions::request::ThreadSelector;
use crate::machine::CpuId;

/// The only process: the guest.
pub(crate) const PROCESS: u64 = 1;

/// The thread of a CPU.
pub(crate) fn thread_of(cpu: CpuId) -> Tid {
    NonZeroUsize::MIN.saturating_add(cpu.index())
}

/// The name of a CPU's thread.
pub(crate) fn name_of(cpu: CpuId) -> String {
    cpu.to_string()
}

/// All vCPUs, and the selection of the current client.
#[derive(Debug)]
pub(crate) struct Threads {
    /// Number of vCPUs of the machine.
    cpus: usize,
    /// The vCPU whose registers and memory are accessed: the one that stopped, or that of the last `Hg`.
    selected: CpuId,
    /// The vCPU that `c` and `s` are for (`Hc`); `None` for all.
    selected_to_resume: Option<CpuId>,
    /// [`Self::selected`] was set since the last `monitor` command.
    is_new: bool,
    /// Thread ids contain the process, too.
    multiprocess: bool,
}

impl Threads {
    /// The threads of a machine with this number of vCPUs.
    pub(crate) fn new(cpus: usize) -> Threads {
        Threads { cpus, selected: CpuId::BOOT, selected_to_resume: None, is_new: true, multiprocess: false }
    }

    /// Resets the selection for a new client.
    pub(crate) fn begin(&mut self) {
        *self = Threads::new(self.cpus);
    }

    /// The machine has this many vCPUs now: another state may have been restored.
    pub(crate) fn resize(&mut self, cpus: usize) {
        if cpus != self.cpus {
            *self = Threads { multiprocess: self.multiprocess, ..Threads::new(cpus) };
        }
    }

    /// The vCPU of this thread, if it exists.
    pub(crate) fn vcpu(&self, thread: Tid) -> Option<CpuId> {
        let number = thread.get() - 1;
        (number < self.cpus).then(|| CpuId::new(number.try_into().unwrap_or(u8::MAX)))
    }

    /// All vCPUs, the selected one first: the library takes the first for any (`Hg0`, `?`).
    pub(crate) fn selected_first(&self) -> impl Iterator<Item = CpuId> + use<> {
        let selected = self.selected;
        std::iter::once(selected).chain(self.all().filter(move |vcpu| *vcpu != selected))
    }

    /// All vCPUs.
    pub(crate) fn all(&self) -> impl Iterator<Item = CpuId> + use<> {
        (0..self.cpus).map(|number| CpuId::new(number.try_into().unwrap_or(u8::MAX)))
    }

    /// The vCPU whose registers and memory are accessed.
    pub(crate) fn selected(&self) -> CpuId {
        self.selected
    }

    /// This vCPU has stopped the guest, which selects it, as gdb assumes.
    pub(crate) fn stopped(&mut self, vcpu: CpuId) {
        (self.selected, self.is_new) = (vcpu, true);
    }

    /// The vCPU whose registers and memory are accessed, if it was selected since the last call.
    pub(crate) fn take_new_selection(&mut self) -> Option<CpuId> {
        std::mem::take(&mut self.is_new).then_some(self.selected)
    }

    /// The one vCPU that is selected; `None` if there is no such vCPU, or if all are selected.
    pub(crate) fn one(&self, selector: ThreadSelector) -> Option<CpuId> {
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
        self.is_new |= found.is_some();
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
    pub(crate) fn selected_to_resume(&self) -> Option<CpuId> {
        self.selected_to_resume
    }

    /// Thread ids contain the process, too.
    pub(crate) fn name_process(&mut self) {
        self.multiprocess = true;
    }

    /// A vCPU's thread as the protocol writes it.
    pub(crate) fn id(&self, vcpu: CpuId) -> String {
        let thread = thread_of(vcpu);
        if self.multiprocess { format!("p{PROCESS:x}.{thread:x}") } else { format!("{thread:x}") }
    }
}

#[cfg(test)]
#[path = "threads_test.rs"]
mod tests;

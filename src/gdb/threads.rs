//! The machine's vCPUs as gdb's threads: their numbers, which of them gdb means, and what each is to do.
//!
//! gdb's threads are numbered from 1, vCPUs from 0. [`Threads::vcpu`] is the one place where the first
//! becomes the second: a [`VcpuNumber`] that anybody has is one of the machine's.
//!
//! Manual: "Packets", `H`, and "Debugging Multiple Inferiors", `vCont`, in "Appendix E: gdb Remote Serial
//! Protocol" of *Debugging with gdb*.

use std::fmt;
use std::io::Write;
use std::num::NonZeroUsize;
use std::ops::Range;

use gdbstub::common::Tid;

use super::packets::{Asked, Meant, write_packet};

/// The one process there is: the guest.
pub(crate) const PROCESS: u64 = 1;

/// One of the machine's vCPUs, counted from 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct VcpuNumber(usize);

impl VcpuNumber {
    /// The vCPU that begins, and every machine has.
    pub(crate) const FIRST: VcpuNumber = VcpuNumber(0);

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

/// What the client wants a vCPU to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Run.
    Continue,
    /// Carry out one instruction.
    Step,
    /// Carry out instructions until the next one is not in this range of addresses.
    StepOutOf(Range<u64>),
    /// Stand still while others run.
    Stay,
}

/// All vCPUs, as one client after the other sees them.
#[derive(Debug)]
pub(crate) struct Threads {
    /// What each vCPU is to do, if the client has said that of it; one for each vCPU of the machine.
    actions: Vec<Option<Action>>,
    /// What those are to do of which it has said nothing.
    others: Action,
    /// Whose registers and memory are asked for: the vCPU that stopped, or that of the last `Hg`.
    looked_at: VcpuNumber,
    /// Which one `c` and `s` are for (`Hc`); `None` for all.
    chosen: Option<VcpuNumber>,
    /// The client wants to hear of the process, too.
    multiprocess: bool,
}

impl Threads {
    /// The threads of a machine with so many vCPUs, which is at least one.
    pub(crate) fn new(vcpus: NonZeroUsize) -> Threads {
        Threads {
            actions: vec![None; vcpus.get()],
            others: Action::Continue,
            looked_at: VcpuNumber::FIRST,
            chosen: None,
            multiprocess: false,
        }
    }

    /// A new client has come, and has not said anything yet.
    pub(crate) fn begin(&mut self) {
        self.clear();
        (self.looked_at, self.chosen, self.multiprocess) = (VcpuNumber::FIRST, None, false);
    }

    /// The vCPU that is this thread, if there is one.
    pub(crate) fn vcpu(&self, thread: Tid) -> Option<VcpuNumber> {
        let number = thread.get() - 1;
        (number < self.actions.len()).then_some(VcpuNumber(number))
    }

    /// All vCPUs.
    pub(crate) fn all(&self) -> impl Iterator<Item = VcpuNumber> + use<> {
        (0..self.actions.len()).map(VcpuNumber)
    }

    /// The vCPU whose registers and memory are asked for.
    pub(crate) fn looked_at(&self) -> VcpuNumber {
        self.looked_at
    }

    /// This vCPU has stopped the guest: it is the one that is looked at, as the client takes it.
    pub(crate) fn stopped(&mut self, vcpu: VcpuNumber) {
        self.looked_at = vcpu;
    }

    /// The vCPU that a question means which is about one vCPU; `None` if it is none of the machine's, or
    /// the question means all.
    pub(crate) fn one(&self, meant: Meant) -> Option<VcpuNumber> {
        match meant {
            Meant::One(thread) => self.vcpu(thread),
            Meant::Any => Some(self.looked_at),
            Meant::All | Meant::Chosen | Meant::Nobody => None,
        }
    }

    /// Registers and memory are asked for of this vCPU from now on; false, and nothing has changed, if
    /// there is none.
    pub(crate) fn look_at(&mut self, meant: Meant) -> bool {
        let found = self.one(meant);
        self.looked_at = found.unwrap_or(self.looked_at);
        found.is_some()
    }

    /// `c` and `s` are for this vCPU from now on, or for all; false, and nothing has changed, if there is
    /// none.
    pub(crate) fn choose(&mut self, meant: Meant) -> bool {
        self.chosen = match meant {
            Meant::All | Meant::Any => None,
            _ => match self.one(meant) {
                None => return false,
                found => found,
            },
        };
        true
    }

    /// The client wants to hear of the process, too.
    pub(crate) fn name_process(&mut self) {
        self.multiprocess = true;
    }

    /// A vCPU's thread as the protocol writes it.
    pub(crate) fn id(&self, vcpu: VcpuNumber) -> String {
        let thread = vcpu.thread();
        if self.multiprocess { format!("p{PROCESS:x}.{thread:x}") } else { format!("{thread:x}") }
    }

    /// What a vCPU is to do now.
    pub(crate) fn action(&self, vcpu: VcpuNumber) -> &Action {
        self.actions.get(vcpu.0).and_then(Option::as_ref).unwrap_or(&self.others)
    }

    /// All are to run, unless something else is said.
    pub(crate) fn clear(&mut self) {
        self.actions.fill(None);
        self.others = Action::Continue;
    }

    /// A thread is to do this. [`Self::packet`] has seen to it that there is one.
    pub(crate) fn set(&mut self, thread: Tid, action: Action) {
        if let Some(vcpu) = self.vcpu(thread)
            && let Some(slot) = self.actions.get_mut(vcpu.0)
        {
            *slot = Some(action);
        }
    }

    /// All those of which nothing is said stand still.
    pub(crate) fn lock(&mut self) {
        self.others = Action::Stay;
    }

    /// The packet by which the library is told what the client has `asked` for; `None` if that cannot be,
    /// for example because there is no such thread.
    ///
    /// The library ends the connection for a thread that there is not and for a step of all threads, and
    /// has `c` continue one thread only. So it gets each step with its thread, and each thread once.
    pub(crate) fn packet(&self, asked: &[Asked<'_>]) -> Option<Vec<u8>> {
        let known = |meant| match meant {
            Meant::One(thread) => self.vcpu(thread).is_some(),
            Meant::Nobody => false,
            Meant::All | Meant::Any | Meant::Chosen => true,
        };
        if !asked.iter().all(|asked| known(asked.meant)) {
            return None;
        }
        let (mut packet, mut others) = (Vec::new(), false);
        write_packet(&mut packet, |out| {
            out.extend_from_slice(b"vCont");
            for vcpu in self.all() {
                let Some((action, named)) = asked.iter().find_map(|asked| self.asked_of(vcpu, asked)) else {
                    continue;
                };
                if action == b"c" && !named {
                    others = true;
                    continue;
                }
                out.push(b';');
                out.extend_from_slice(action);
                // Memory takes all that is written.
                let _ = write!(out, ":{:x}", vcpu.thread());
            }
            if others {
                out.extend_from_slice(b";c");
            }
        });
        Some(packet)
    }

    /// What is asked of a vCPU, and whether of it alone.
    fn asked_of<'a>(&self, vcpu: VcpuNumber, asked: &Asked<'a>) -> Option<(&'a [u8], bool)> {
        match asked.meant {
            Meant::One(thread) => (thread == vcpu.thread()).then_some((asked.action, true)),
            Meant::All | Meant::Any => Some((asked.action, false)),
            Meant::Chosen => match self.chosen {
                Some(chosen) => (chosen == vcpu).then_some((asked.action, true)),
                None if vcpu == self.looked_at => Some((asked.action, false)),
                None => Some((b"c", false)),
            },
            Meant::Nobody => None,
        }
    }
}

#[cfg(test)]
#[path = "threads_test.rs"]
mod tests;

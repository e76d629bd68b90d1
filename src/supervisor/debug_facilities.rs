//! What stops the guest for a debugger or a command: breakpoints and watchpoints, and what steps know of the
//! guest's code.

use std::cell::OnceCell;

use super::breakpoint_bytes::InsertedBreakpoints;
use super::breakpoints::Breakpoints;
use super::handlers::Handlers;
use super::lookahead::Lookahead;
use super::run_control::Stop;
use super::technique::Technique;
use super::watchpoints::Watchpoints;
use crate::arch::Registers;
use crate::kvm::Kvm;
use crate::memory::GuestMemory;

/// The debugging facilities of one machine.
#[derive(Debug, Default)]
pub(crate) struct DebugFacilities {
    /// Breakpoints of the debugger.
    pub(crate) breakpoints: Breakpoints,
    /// Its watchpoints.
    pub(crate) watchpoints: Watchpoints,
    /// Breakpoint bytes that are in guest memory now.
    pub(crate) inserted: InsertedBreakpoints,
    /// The code page the guest executes.
    pub(crate) lookahead: Lookahead,
    /// The guest's exception handlers, once a step has needed them.
    handlers: Option<Handlers>,
    technique: OnceCell<Technique>,
}

impl DebugFacilities {
    /// Removes the breakpoints and watchpoints of a debugger.
    pub(crate) fn clear(&mut self) {
        self.breakpoints.clear();
        self.watchpoints.clear();
    }

    /// Forgets what was read of the guest's code and tables: the guest has run, or the debugger may have
    /// written to it.
    pub(crate) fn forget_code(&mut self) {
        self.lookahead.forget();
        self.handlers = None;
    }

    /// What breakpoints are made of on this host. It is measured at the first call.
    pub(crate) fn technique(&self, kvm: &Kvm) -> Technique {
        *self.technique.get_or_init(|| Technique::of_host(kvm))
    }

    /// The debugger's breakpoint at the linear address `pc`, as a reason to stop.
    pub(crate) fn breakpoint_at(&self, pc: u64) -> Option<Stop> {
        if self.breakpoints.is_software(pc) {
            return Some(Stop::Software);
        }
        self.breakpoints.is_hardware(pc).then_some(Stop::Hardware)
    }

    /// Linear addresses of the guest's exception handlers. They are read again when the guest has loaded
    /// another IDT, and after [`Self::forget_code`].
    pub(crate) fn handlers(&mut self, memory: &GuestMemory, registers: &Registers) -> [Option<u64>; 4] {
        match &self.handlers {
            Some(known) if known.are_of(registers) => known.entries,
            _ => self.handlers.insert(Handlers::read(memory, registers)).entries,
        }
    }
}

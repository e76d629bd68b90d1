//! `break`, `hbreak`, `watch`, `rwatch` and `awatch`, and their removal.
//!
//! gdb inserts its breakpoints when the guest continues and removes them when it stops. The supervisor decides how
//! each is implemented: by inserted bytes, debug registers, or pages that the guest cannot access.
//!
//! Manual: `z` and `Z` in "Packets" of *Debugging with gdb*.

use gdbstub::target::ext::breakpoints::{
    Breakpoints, HwBreakpoint, HwBreakpointOps, HwWatchpoint, HwWatchpointOps, SwBreakpoint, SwBreakpointOps,
    WatchKind,
};
use gdbstub::target::{TargetError, TargetResult};
use tracing::warn;

use super::target::GdbTarget;
use super::target::{FULL, INVALID, host_failure};
use crate::arch::paging::is_canonical;
use crate::supervisor::watchpoints;

impl Breakpoints for GdbTarget<'_, '_> {
    fn support_sw_breakpoint(&mut self) -> Option<SwBreakpointOps<'_, Self>> {
        Some(self)
    }

    fn support_hw_breakpoint(&mut self) -> Option<HwBreakpointOps<'_, Self>> {
        Some(self)
    }

    fn support_hw_watchpoint(&mut self) -> Option<HwWatchpointOps<'_, Self>> {
        Some(self)
    }
}

impl GdbTarget<'_, '_> {
    /// A breakpoint can be at any linear address, whether something is mapped there or not.
    fn check_breakpoint(&mut self, address: u64) -> TargetResult<(), Self> {
        let system = self.selected_registers().map_err(host_failure)?.system;
        match is_canonical(system.cr4, address) {
            true => Ok(()),
            false => Err(TargetError::Errno(INVALID)),
        }
    }
}

impl SwBreakpoint for GdbTarget<'_, '_> {
    fn add_sw_breakpoint(&mut self, address: u64, _kind: usize) -> TargetResult<bool, Self> {
        self.check_breakpoint(address)?;
        match self.supervisor.facilities.breakpoints.add_software(address) {
            true => Ok(true),
            false => Err(TargetError::Errno(FULL)),
        }
    }

    fn remove_sw_breakpoint(&mut self, address: u64, _kind: usize) -> TargetResult<bool, Self> {
        Ok(self.supervisor.facilities.breakpoints.remove_software(address))
    }
}

impl HwBreakpoint for GdbTarget<'_, '_> {
    fn add_hw_breakpoint(&mut self, address: u64, _kind: usize) -> TargetResult<bool, Self> {
        self.check_breakpoint(address)?;
        match self.supervisor.facilities.breakpoints.add_hardware(address) {
            true => Ok(true),
            false => Err(TargetError::Errno(FULL)),
        }
    }

    fn remove_hw_breakpoint(&mut self, address: u64, _kind: usize) -> TargetResult<bool, Self> {
        Ok(self.supervisor.facilities.breakpoints.remove_hardware(address))
    }
}

/// The kind of a watchpoint for the supervisor.
fn own_kind(kind: WatchKind) -> watchpoints::WatchKind {
    match kind {
        WatchKind::Write => watchpoints::WatchKind::Write,
        WatchKind::Read => watchpoints::WatchKind::Read,
        WatchKind::ReadWrite => watchpoints::WatchKind::ReadWrite,
    }
}

impl HwWatchpoint for GdbTarget<'_, '_> {
    fn add_hw_watchpoint(&mut self, address: u64, length: u64, kind: WatchKind) -> TargetResult<bool, Self> {
        let set = self.selected_registers().map_err(|error| error.to_string()).and_then(|registers| {
            self.supervisor.add_watchpoint(address, length, own_kind(kind), registers.system.cr4)
        });
        match set {
            Ok(()) => Ok(true),
            Err(reason) => {
                warn!("gdb's watchpoint is not set: {reason}");
                Err(TargetError::Errno(FULL))
            }
        }
    }

    fn remove_hw_watchpoint(
        &mut self,
        address: u64,
        length: u64,
        kind: WatchKind,
    ) -> TargetResult<bool, Self> {
        Ok(self.supervisor.facilities.watchpoints.remove(address, length, own_kind(kind)))
    }
}

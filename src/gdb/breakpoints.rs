//! `break`, `hbreak`, `watch`, `rwatch` and `awatch`, and their removal.
//!
//! gdb sets its breakpoints when the guest goes on and removes them when it stops. The supervisor decides what they
//! are made of: inserted bytes, debug registers, or pages that the guest cannot access.
//!
//! Manual: `z` and `Z` in "Packets" of *Debugging with gdb*.

use gdbstub::target::ext::breakpoints::{
    Breakpoints, HwBreakpoint, HwBreakpointOps, HwWatchpoint, HwWatchpointOps, SwBreakpoint, SwBreakpointOps,
    WatchKind,
};
use gdbstub::target::{TargetError, TargetResult};
use tracing::warn;

use super::target::{FULL, INVALID, host_failure};
use crate::arch::paging::is_canonical;
use crate::supervisor::debuggee::Debuggee;

impl Breakpoints for Debuggee<'_> {
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

impl Debuggee<'_> {
    /// A breakpoint can be at any linear address, whether something is mapped there or not.
    fn check_breakpoint(&mut self, address: u64) -> TargetResult<(), Self> {
        let system = self.looked_at().map_err(host_failure)?.system;
        match is_canonical(system.cr4, address) {
            true => Ok(()),
            false => Err(TargetError::Errno(INVALID)),
        }
    }
}

impl SwBreakpoint for Debuggee<'_> {
    fn add_sw_breakpoint(&mut self, address: u64, _kind: usize) -> TargetResult<bool, Self> {
        self.check_breakpoint(address)?;
        match self.breakpoints.add_software(address) {
            true => Ok(true),
            false => Err(TargetError::Errno(FULL)),
        }
    }

    fn remove_sw_breakpoint(&mut self, address: u64, _kind: usize) -> TargetResult<bool, Self> {
        Ok(self.breakpoints.remove_software(address))
    }
}

impl HwBreakpoint for Debuggee<'_> {
    fn add_hw_breakpoint(&mut self, address: u64, _kind: usize) -> TargetResult<bool, Self> {
        self.check_breakpoint(address)?;
        match self.breakpoints.add_hardware(address) {
            true => Ok(true),
            false => Err(TargetError::Errno(FULL)),
        }
    }

    fn remove_hw_breakpoint(&mut self, address: u64, _kind: usize) -> TargetResult<bool, Self> {
        Ok(self.breakpoints.remove_hardware(address))
    }
}

impl HwWatchpoint for Debuggee<'_> {
    fn add_hw_watchpoint(&mut self, address: u64, length: u64, kind: WatchKind) -> TargetResult<bool, Self> {
        match self.add_watchpoint(address, length, kind) {
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
        Ok(self.watchpoints.remove(address, length, kind))
    }
}

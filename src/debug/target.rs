//! The protocol library's questions, answered for a [`Debuggee`].

use std::convert::Infallible;
use std::ops::Range;

use gdbstub::common::Signal;
use gdbstub::target::ext::base::BaseOps;
use gdbstub::target::ext::base::singlethread::{
    SingleThreadBase, SingleThreadRangeStepping, SingleThreadRangeSteppingOps, SingleThreadResume,
    SingleThreadResumeOps, SingleThreadSingleStep, SingleThreadSingleStepOps,
};
use gdbstub::target::ext::breakpoints::{
    Breakpoints, BreakpointsOps, HwBreakpoint, HwBreakpointOps, SwBreakpoint, SwBreakpointOps,
};
use gdbstub::target::ext::monitor_cmd::MonitorCmdOps;
use gdbstub::target::{Target, TargetError, TargetResult};
use gdbstub_arch::x86::X86_64_SSE;
use gdbstub_arch::x86::reg::X86_64CoreRegs;

use super::debuggee::Debuggee;
use super::memory::Addressing;
use super::{memory, registers};
use crate::host::HostError;

/// Size of the largest packet, in bytes.
pub(super) const PACKET: usize = 16 << 10;

/// `errno` values gdb shows: bad address, invalid argument, no space left.
const BAD_ADDRESS: u8 = 14;
const INVALID: u8 = 22;
const FULL: u8 = 28;

/// What a client wants the guest to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Run.
    Continue,
    /// Carry out one instruction.
    Step,
    /// Carry out instructions until the next one is not in this range of addresses.
    StepOutOf(Range<u64>),
}

fn host_failure(_: HostError) -> TargetError<Infallible> {
    TargetError::NonFatal
}

impl Target for Debuggee<'_> {
    type Arch = X86_64_SSE;
    type Error = Infallible;

    fn base_ops(&mut self) -> BaseOps<'_, Self::Arch, Self::Error> {
        BaseOps::SingleThread(self)
    }

    fn support_breakpoints(&mut self) -> Option<BreakpointsOps<'_, Self>> {
        Some(self)
    }

    fn support_monitor_cmd(&mut self) -> Option<MonitorCmdOps<'_, Self>> {
        Some(self)
    }
}

impl SingleThreadBase for Debuggee<'_> {
    fn read_registers(&mut self, shown: &mut X86_64CoreRegs) -> TargetResult<(), Self> {
        let now = self.machine.registers().map_err(host_failure)?;
        let float = self.machine.vcpu().float_registers().map_err(host_failure)?;
        *shown = registers::to_gdb(&now, &float);
        Ok(())
    }

    fn write_registers(&mut self, wanted: &X86_64CoreRegs) -> TargetResult<(), Self> {
        let now = self.machine.registers().map_err(host_failure)?;
        let float = self.machine.vcpu().float_registers().map_err(host_failure)?;
        // A selector alone does not say what the segment would be.
        if wanted.segments != registers::to_gdb(&now, &float).segments {
            return Err(TargetError::Errno(INVALID));
        }
        let wanted_general = registers::general_from_gdb(wanted, &now.general);
        if wanted_general != now.general {
            self.machine.set_general_registers(&wanted_general).map_err(host_failure)?;
        }
        let wanted_float = registers::float_from_gdb(wanted, &float);
        if wanted_float != float {
            self.machine.vcpu().set_float_registers(&wanted_float).map_err(host_failure)?;
        }
        if wanted.rip != now.general.rip {
            self.moved();
        }
        Ok(())
    }

    fn read_addrs(&mut self, address: u64, bytes: &mut [u8]) -> TargetResult<usize, Self> {
        // No answer to that fits in a packet.
        if bytes.len() > PACKET / 2 {
            return Err(TargetError::Errno(INVALID));
        }
        let now = self.machine.registers().map_err(host_failure)?;
        match memory::read(self.machine.memory(), &now, self.addressing(), address, bytes) {
            0 if !bytes.is_empty() => Err(TargetError::Errno(BAD_ADDRESS)),
            count => Ok(count),
        }
    }

    fn write_addrs(&mut self, address: u64, bytes: &[u8]) -> TargetResult<(), Self> {
        let now = self.machine.registers().map_err(host_failure)?;
        if memory::write(self.machine.memory(), &now, self.addressing(), address, bytes) {
            return Ok(());
        }
        Err(TargetError::Errno(BAD_ADDRESS))
    }

    fn support_resume(&mut self) -> Option<SingleThreadResumeOps<'_, Self>> {
        Some(self)
    }
}

impl SingleThreadResume for Debuggee<'_> {
    /// A signal to go on with means nothing to a bare machine.
    fn resume(&mut self, _signal: Option<Signal>) -> Result<(), Infallible> {
        self.action = Action::Continue;
        Ok(())
    }

    fn support_single_step(&mut self) -> Option<SingleThreadSingleStepOps<'_, Self>> {
        Some(self)
    }

    fn support_range_step(&mut self) -> Option<SingleThreadRangeSteppingOps<'_, Self>> {
        Some(self)
    }
}

impl SingleThreadSingleStep for Debuggee<'_> {
    fn step(&mut self, _signal: Option<Signal>) -> Result<(), Infallible> {
        self.action = Action::Step;
        Ok(())
    }
}

impl SingleThreadRangeStepping for Debuggee<'_> {
    fn resume_range_step(&mut self, start: u64, end: u64) -> Result<(), Infallible> {
        self.action = Action::StepOutOf(start..end);
        Ok(())
    }
}

impl Breakpoints for Debuggee<'_> {
    fn support_sw_breakpoint(&mut self) -> Option<SwBreakpointOps<'_, Self>> {
        Some(self)
    }

    fn support_hw_breakpoint(&mut self) -> Option<HwBreakpointOps<'_, Self>> {
        Some(self)
    }
}

impl SwBreakpoint for Debuggee<'_> {
    fn add_sw_breakpoint(&mut self, address: u64, _kind: usize) -> TargetResult<bool, Self> {
        let now = self.machine.registers().map_err(host_failure)?;
        if memory::read(self.machine.memory(), &now, Addressing::Virtual, address, &mut [0]) == 0 {
            return Err(TargetError::Errno(BAD_ADDRESS));
        }
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
        if !self.breakpoints.add_hardware(address) {
            return Err(TargetError::Errno(FULL));
        }
        // Tried at once: an address the host does not take is the client's mistake, not the guest's end.
        let wanted = self.guest_debug();
        if self.machine.set_guest_debug(wanted).is_err() {
            self.breakpoints.remove_hardware(address);
            return Err(TargetError::Errno(INVALID));
        }
        Ok(true)
    }

    fn remove_hw_breakpoint(&mut self, address: u64, _kind: usize) -> TargetResult<bool, Self> {
        Ok(self.breakpoints.remove_hardware(address))
    }
}

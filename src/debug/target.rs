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
    Breakpoints, BreakpointsOps, HwBreakpoint, HwBreakpointOps, HwWatchpoint, HwWatchpointOps, SwBreakpoint,
    SwBreakpointOps, WatchKind,
};
use gdbstub::target::ext::exec_file::ExecFileOps;
use gdbstub::target::ext::host_info::HostInfoOps;
use gdbstub::target::ext::host_io::HostIoOps;
use gdbstub::target::ext::monitor_cmd::MonitorCmdOps;
use gdbstub::target::ext::process_info::ProcessInfoOps;
use gdbstub::target::ext::section_offsets::SectionOffsetsOps;
use gdbstub::target::ext::target_description_xml_override::{
    TargetDescriptionXmlOverride, TargetDescriptionXmlOverrideOps,
};
use gdbstub::target::{Target, TargetError, TargetResult};

use tracing::warn;

use super::arch::{NoRegisters, Register, X86};
use super::debuggee::Debuggee;
use super::memory;
use crate::host::paging::is_canonical;
use crate::host::{HostError, Registers};

/// Size of the largest packet, in bytes. Large ones make reading much memory quick.
pub(super) const PACKET: usize = 128 << 10;

/// `errno` values gdb shows: bad address, invalid argument, no space left.
pub(super) const BAD_ADDRESS: u8 = 14;
pub(super) const INVALID: u8 = 22;
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

/// Copies what lies from `offset` on, at most `length` bytes; how many that were.
pub(super) fn copy_part(all: &[u8], offset: u64, length: usize, part: &mut [u8]) -> usize {
    let start = usize::try_from(offset).unwrap_or(usize::MAX).min(all.len());
    let count = length.min(part.len()).min(all.len() - start);
    part[..count].copy_from_slice(&all[start..start + count]);
    count
}

impl Debuggee<'_> {
    /// Fills `bytes` from an address of the client's; how many there were.
    pub(super) fn read_memory(&mut self, address: u64, bytes: &mut [u8]) -> Result<usize, HostError> {
        let registers = self.addressing()?;
        Ok(memory::read(self.machine.memory(), registers.as_ref(), address, bytes))
    }

    /// Copies `bytes` to an address of the client's; false, and nothing is written, if not all of it is
    /// mapped RAM.
    pub(super) fn write_memory(&mut self, address: u64, bytes: &[u8]) -> Result<bool, HostError> {
        let registers = self.addressing()?;
        Ok(memory::write(self.machine.memory(), registers.as_ref(), address, bytes))
    }

    /// What translates the client's addresses; none if they are physical.
    fn addressing(&mut self) -> Result<Option<Registers>, HostError> {
        if self.session.switches.physical {
            return Ok(None);
        }
        self.view.registers.both(self.machine).map(Some)
    }

    /// Gives registers new values.
    ///
    /// # Errors
    ///
    /// Why that cannot be, in words.
    pub(super) fn write_register_values(&mut self, values: &[(Register, u128)]) -> Result<(), String> {
        let registers = &mut self.view.registers;
        let mut noted = Ok(());
        for (register, value) in values {
            noted = noted.and_then(|()| registers.set(self.machine, *register, *value));
        }
        if noted.is_err() {
            registers.forget();
            return noted;
        }
        registers.store(self.machine)?;
        if values.iter().any(|(register, _)| *register == Register::Ip) {
            self.moved();
        }
        Ok(())
    }
}

impl Target for Debuggee<'_> {
    type Arch = X86;
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

    fn support_target_description_xml_override(
        &mut self,
    ) -> Option<TargetDescriptionXmlOverrideOps<'_, Self>> {
        Some(self)
    }

    fn support_exec_file(&mut self) -> Option<ExecFileOps<'_, Self>> {
        Some(self)
    }

    fn support_host_io(&mut self) -> Option<HostIoOps<'_, Self>> {
        Some(self)
    }

    fn support_section_offsets(&mut self) -> Option<SectionOffsetsOps<'_, Self>> {
        if self.machine.bias() == 0 { None } else { Some(self) }
    }

    fn support_host_info(&mut self) -> Option<HostInfoOps<'_, Self>> {
        Some(self)
    }

    fn support_process_info(&mut self) -> Option<ProcessInfoOps<'_, Self>> {
        Some(self)
    }
}

impl TargetDescriptionXmlOverride for Debuggee<'_> {
    fn target_description_xml(
        &self,
        annex: &[u8],
        offset: u64,
        length: usize,
        buf: &mut [u8],
    ) -> TargetResult<usize, Self> {
        match annex {
            b"target.xml" => Ok(copy_part(self.view.description.as_bytes(), offset, length, buf)),
            _ => Err(TargetError::Errno(INVALID)),
        }
    }
}

/// The library is never asked for registers or memory: see [`super::answers`].
impl SingleThreadBase for Debuggee<'_> {
    fn read_registers(&mut self, _: &mut NoRegisters) -> TargetResult<(), Self> {
        Err(TargetError::NonFatal)
    }

    fn write_registers(&mut self, _: &NoRegisters) -> TargetResult<(), Self> {
        Err(TargetError::NonFatal)
    }

    fn read_addrs(&mut self, _: u64, _: &mut [u8]) -> TargetResult<usize, Self> {
        Err(TargetError::NonFatal)
    }

    fn write_addrs(&mut self, _: u64, _: &[u8]) -> TargetResult<(), Self> {
        Err(TargetError::NonFatal)
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

    fn support_hw_watchpoint(&mut self) -> Option<HwWatchpointOps<'_, Self>> {
        Some(self)
    }
}

impl Debuggee<'_> {
    /// A breakpoint can be at any linear address, whether something is mapped there or not.
    fn check_breakpoint(&mut self, address: u64) -> TargetResult<(), Self> {
        let system = self.view.registers.both(self.machine).map_err(host_failure)?.system;
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

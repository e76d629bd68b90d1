//! The protocol library's questions, answered for a [`Debuggee`].

use gdbstub::common::{Signal, Tid};
use gdbstub::target::ext::base::BaseOps;
use gdbstub::target::ext::base::multithread::{
    MultiThreadBase, MultiThreadRangeStepping, MultiThreadRangeSteppingOps, MultiThreadResume,
    MultiThreadResumeOps, MultiThreadSchedulerLocking, MultiThreadSchedulerLockingOps, MultiThreadSingleStep,
    MultiThreadSingleStepOps,
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
use std::convert::Infallible;

use tracing::warn;

use super::arch::{NoRegisters, Register, X86};
use super::threads::Action;
use crate::arch::Registers;
use crate::arch::paging::is_canonical;
use crate::kvm::HostError;
use crate::supervisor::debuggee::Debuggee;
use crate::supervisor::memory;

/// Size of the largest packet, in bytes. Large ones make reading much memory quick.
pub(crate) const PACKET: usize = 128 << 10;
/// Size of the largest packet of those the library handles, in bytes. For each, however short, it may look
/// through so much.
pub(crate) const LIBRARY_PACKET: usize = 8 << 10;

/// `errno` values gdb shows: bad address, invalid argument, no space left.
pub(crate) const BAD_ADDRESS: u8 = 14;
pub(crate) const INVALID: u8 = 22;
const FULL: u8 = 28;

fn host_failure(_: HostError) -> TargetError<Infallible> {
    TargetError::NonFatal
}

/// Copies what lies from `offset` on, at most `length` bytes; how many that were.
pub(crate) fn copy_part(all: &[u8], offset: u64, length: usize, part: &mut [u8]) -> usize {
    let start = usize::try_from(offset).unwrap_or(usize::MAX).min(all.len());
    let count = length.min(part.len()).min(all.len() - start);
    part[..count].copy_from_slice(&all[start..start + count]);
    count
}

impl Debuggee<'_> {
    /// Fills `bytes` from an address of the client's; how many there were.
    pub(crate) fn read_memory(&mut self, address: u64, bytes: &mut [u8]) -> Result<usize, HostError> {
        let registers = self.addressing()?;
        Ok(memory::read(self.machine.memory(), registers.as_ref(), address, bytes))
    }

    /// Copies `bytes` to an address of the client's; false, and nothing is written, if not all of it is
    /// mapped RAM.
    pub(crate) fn write_memory(&mut self, address: u64, bytes: &[u8]) -> Result<bool, HostError> {
        let registers = self.addressing()?;
        Ok(memory::write(self.machine.memory(), registers.as_ref(), address, bytes))
    }

    /// What translates the client's addresses; none if they are physical.
    fn addressing(&mut self) -> Result<Option<Registers>, HostError> {
        if self.session.switches.physical {
            return Ok(None);
        }
        self.looked_at().map(Some)
    }

    /// The registers of the vCPU that the client looks at.
    fn looked_at(&mut self) -> Result<Registers, HostError> {
        self.view.registers.of(self.threads.looked_at()).both(self.machine)
    }

    /// Gives registers new values.
    ///
    /// # Errors
    ///
    /// Why that cannot be, in words.
    pub(crate) fn write_register_values(&mut self, values: &[(Register, u128)]) -> Result<(), String> {
        let registers = self.view.registers.of(self.threads.looked_at());
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
        BaseOps::MultiThread(self)
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
impl MultiThreadBase for Debuggee<'_> {
    fn read_registers(&mut self, _: &mut NoRegisters, _: Tid) -> TargetResult<(), Self> {
        Err(TargetError::NonFatal)
    }

    fn write_registers(&mut self, _: &NoRegisters, _: Tid) -> TargetResult<(), Self> {
        Err(TargetError::NonFatal)
    }

    fn read_addrs(&mut self, _: u64, _: &mut [u8], _: Tid) -> TargetResult<usize, Self> {
        Err(TargetError::NonFatal)
    }

    fn write_addrs(&mut self, _: u64, _: &[u8], _: Tid) -> TargetResult<(), Self> {
        Err(TargetError::NonFatal)
    }

    fn list_active_threads(&mut self, thread_is_active: &mut dyn FnMut(Tid)) -> Result<(), Infallible> {
        self.threads.all().for_each(|vcpu| thread_is_active(vcpu.thread()));
        Ok(())
    }

    fn support_resume(&mut self) -> Option<MultiThreadResumeOps<'_, Self>> {
        Some(self)
    }
}

/// A signal to go on with means nothing to a bare machine.
impl MultiThreadResume for Debuggee<'_> {
    fn resume(&mut self) -> Result<(), Infallible> {
        Ok(())
    }

    fn clear_resume_actions(&mut self) -> Result<(), Infallible> {
        self.threads.clear();
        Ok(())
    }

    fn set_resume_action_continue(&mut self, thread: Tid, _: Option<Signal>) -> Result<(), Infallible> {
        self.threads.set(thread, Action::Continue);
        Ok(())
    }

    fn support_single_step(&mut self) -> Option<MultiThreadSingleStepOps<'_, Self>> {
        Some(self)
    }

    fn support_range_step(&mut self) -> Option<MultiThreadRangeSteppingOps<'_, Self>> {
        Some(self)
    }

    fn support_scheduler_locking(&mut self) -> Option<MultiThreadSchedulerLockingOps<'_, Self>> {
        Some(self)
    }
}

impl MultiThreadSingleStep for Debuggee<'_> {
    fn set_resume_action_step(&mut self, thread: Tid, _: Option<Signal>) -> Result<(), Infallible> {
        self.threads.set(thread, Action::Step);
        Ok(())
    }
}

impl MultiThreadRangeStepping for Debuggee<'_> {
    fn set_resume_action_range_step(&mut self, thread: Tid, start: u64, end: u64) -> Result<(), Infallible> {
        self.threads.set(thread, Action::StepOutOf(start..end));
        Ok(())
    }
}

impl MultiThreadSchedulerLocking for Debuggee<'_> {
    fn set_resume_action_scheduler_lock(&mut self) -> Result<(), Infallible> {
        self.threads.lock();
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

//! The target of the protocol library: registers, memory, threads and resumption.
//!
//! gdbstub decodes the packets of gdb and calls the traits that are implemented here and in `breakpoints`, `files` and
//! `monitor`. The packets that it does not support are handled by `extensions`.

use gdbstub::common::{Signal, Tid};
use gdbstub::target::ext::base::BaseOps;
use gdbstub::target::ext::base::multithread::{
    MultiThreadBase, MultiThreadRangeStepping, MultiThreadRangeSteppingOps, MultiThreadResume,
    MultiThreadResumeOps, MultiThreadSchedulerLocking, MultiThreadSchedulerLockingOps, MultiThreadSingleStep,
    MultiThreadSingleStepOps,
};
use gdbstub::target::ext::base::single_register_access::{SingleRegisterAccess, SingleRegisterAccessOps};
use gdbstub::target::ext::breakpoints::BreakpointsOps;
use gdbstub::target::ext::exec_file::ExecFileOps;
use gdbstub::target::ext::host_info::HostInfoOps;
use gdbstub::target::ext::host_io::HostIoOps;
use gdbstub::target::ext::monitor_cmd::MonitorCmdOps;
use gdbstub::target::ext::process_info::ProcessInfoOps;
use gdbstub::target::ext::section_offsets::SectionOffsetsOps;
use gdbstub::target::ext::target_description_xml_override::{
    TargetDescriptionXmlOverride, TargetDescriptionXmlOverrideOps,
};
use gdbstub::target::ext::thread_extra_info::{ThreadExtraInfo, ThreadExtraInfoOps};
use gdbstub::target::{Target, TargetError, TargetResult};
use std::convert::Infallible;

use super::layout::Register;
use super::register_set::{GdbRegisters, KvmX86, RegisterNumber};
use super::threads::{Threads, name_of, thread_of};
use super::view::View;
use crate::arch::Registers;
use crate::kvm::HostError;
use crate::machine::CpuId;
use crate::supervisor::memory;
use crate::supervisor::resume_actions::ResumeAction;
use crate::supervisor::run_control::Supervisor;

/// Size of the largest packet, in bytes. Large packets make large memory reads fast.
pub(crate) const PACKET: usize = 128 << 10;
/// Size of the largest packet that the library handles, in bytes. For each packet, however short, it scans a buffer
/// of this size.
pub(crate) const LIBRARY_PACKET: usize = 8 << 10;

/// `errno` values that gdb shows: bad address, invalid argument, no space left.
pub(crate) const BAD_ADDRESS: u8 = 14;
pub(crate) const INVALID: u8 = 22;
pub(crate) const FULL: u8 = 28;

pub(crate) fn host_failure(_: HostError) -> TargetError<Infallible> {
    TargetError::NonFatal
}

/// Copies at most `length` bytes from `offset` on, and returns their number.
pub(crate) fn copy_part(all: &[u8], offset: u64, length: usize, part: &mut [u8]) -> usize {
    let start = usize::try_from(offset).unwrap_or(usize::MAX).min(all.len());
    let count = length.min(part.len()).min(all.len() - start);
    part[..count].copy_from_slice(&all[start..start + count]);
    count
}

/// A guest as gdb debugs it.
pub(crate) struct GdbTarget<'t, 'm> {
    /// The guest, and what its CPUs do next.
    pub(crate) supervisor: &'t mut Supervisor<'m>,
    /// The CPUs as gdb's threads.
    pub(crate) threads: &'t mut Threads,
    /// How the client sees registers and memory.
    pub(crate) view: &'t mut View,
}

impl GdbTarget<'_, '_> {
    /// A client has connected: resets its view of registers, threads and addresses.
    pub(crate) fn attach(&mut self) {
        self.supervisor.attach();
        self.view.begin();
        self.threads.begin();
    }

    /// Sets the next action of a thread's CPU; without effect if the thread does not exist.
    fn set_action(&mut self, thread: Tid, action: ResumeAction) {
        if let Some(vcpu) = self.threads.vcpu(thread) {
            self.supervisor.actions.set(vcpu, action);
        }
    }

    /// Fills `bytes` from an address of the client, and returns the number of bytes read.
    pub(crate) fn read_memory(&mut self, address: u64, bytes: &mut [u8]) -> Result<usize, HostError> {
        let registers = self.addressing(address, bytes.len())?;
        Ok(memory::read(self.supervisor.machine.memory(), registers.as_ref(), address, bytes))
    }

    /// Copies `bytes` to an address of the client; false, and nothing is written, if not all of the range is mapped
    /// RAM.
    pub(crate) fn write_memory(&mut self, address: u64, bytes: &[u8]) -> Result<bool, HostError> {
        let registers = self.addressing(address, bytes.len())?;
        Ok(memory::write_for_client(self.supervisor.machine, registers.as_ref(), address, bytes))
    }

    /// The registers that translate the client's addresses in a range; `None` if the addresses are physical, as they
    /// are in the client's own memory.
    fn addressing(&mut self, address: u64, length: usize) -> Result<Option<Registers>, HostError> {
        let end = address.saturating_add(length as u64);
        let is_own = |&(start, size): &(u64, u64)| start <= address && end <= start + size;
        if self.supervisor.session.switches.physical || self.view.allocations.iter().any(is_own) {
            return Ok(None);
        }
        self.selected_registers().map(Some)
    }

    /// The registers of the vCPU that the client has selected.
    pub(crate) fn selected_registers(&mut self) -> Result<Registers, HostError> {
        self.view.registers.of(self.threads.selected()).both(self.supervisor.machine)
    }

    /// The vCPU that is this thread.
    fn vcpu(&self, thread: Tid) -> TargetResult<CpuId, Self> {
        self.threads.vcpu(thread).ok_or(TargetError::Errno(INVALID))
    }

    /// Writes new values to registers of a vCPU. If one is refused, the reason is stored in
    /// [`View::refusal`](super::view::View) for the client.
    fn write_values(&mut self, vcpu: CpuId, values: &[(Register, u128)]) -> TargetResult<(), Self> {
        let registers = self.view.registers.of(vcpu);
        let mut noted = Ok(());
        for (register, value) in values {
            noted = noted.and_then(|()| registers.set(self.supervisor.machine, *register, *value));
        }
        if noted.is_err() {
            registers.forget();
        }
        if let Err(reason) = noted.and_then(|()| registers.store(self.supervisor.machine)) {
            self.view.refusal = Some(reason);
            return Err(TargetError::Errno(INVALID));
        }
        if values.iter().any(|(register, _)| register.is_instruction_pointer()) {
            self.supervisor.moved(vcpu);
        }
        Ok(())
    }
}

/// A register's value from its bytes, the lowest first.
fn value(bytes: &[u8]) -> u128 {
    bytes.iter().rev().fold(0, |value, byte| value << 8 | u128::from(*byte))
}

impl Target for GdbTarget<'_, '_> {
    type Arch = KvmX86;
    type Error = Infallible;

    fn base_ops(&mut self) -> BaseOps<'_, Self::Arch, Self::Error> {
        BaseOps::MultiThread(self)
    }

    /// The sockets are local: an encoded zero costs more than it saves, and scripts need no decoder.
    fn use_rle(&self) -> bool {
        false
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
        // gdb refuses 0 for a file that was linked elsewhere.
        let relocated = self.supervisor.machine.symbols().bias() != 0;
        if relocated || self.view.is_lldb { Some(self) } else { None }
    }

    fn support_host_info(&mut self) -> Option<HostInfoOps<'_, Self>> {
        Some(self)
    }

    fn support_process_info(&mut self) -> Option<ProcessInfoOps<'_, Self>> {
        Some(self)
    }
}

impl TargetDescriptionXmlOverride for GdbTarget<'_, '_> {
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

impl MultiThreadBase for GdbTarget<'_, '_> {
    fn read_registers(&mut self, registers: &mut GdbRegisters, thread: Tid) -> TargetResult<(), Self> {
        let (vcpu, layout) = (self.vcpu(thread)?, self.view.layout);
        *registers =
            self.view.registers.of(vcpu).all(self.supervisor.machine, layout).map_err(host_failure)?;
        Ok(())
    }

    /// Writes only what differs: gdb sends all registers back to change one.
    fn write_registers(&mut self, registers: &GdbRegisters, thread: Tid) -> TargetResult<(), Self> {
        let (vcpu, layout) = (self.vcpu(thread)?, self.view.layout);
        let now = self
            .view
            .registers
            .of(vcpu)
            .all(self.supervisor.machine, layout)
            .map_err(host_failure)?
            .to_bytes();
        let new = registers.to_bytes();
        if new.len() != now.len() {
            return Err(TargetError::Errno(INVALID));
        }
        let (mut start, mut changed) = (0, Vec::new());
        for (register, size) in layout.registers() {
            let range = start..start + size;
            if new[range.clone()] != now[range.clone()] {
                changed.push((register, value(&new[range])));
            }
            start += size;
        }
        self.write_values(vcpu, &changed)
    }

    fn support_single_register_access(&mut self) -> Option<SingleRegisterAccessOps<'_, Tid, Self>> {
        Some(self)
    }

    fn read_addrs(&mut self, address: u64, bytes: &mut [u8], _: Tid) -> TargetResult<usize, Self> {
        match self.read_memory(address, bytes).map_err(host_failure)? {
            0 if !bytes.is_empty() => Err(TargetError::Errno(BAD_ADDRESS)),
            count => Ok(count),
        }
    }

    fn write_addrs(&mut self, address: u64, bytes: &[u8], _: Tid) -> TargetResult<(), Self> {
        match self.write_memory(address, bytes).map_err(host_failure)? {
            true => Ok(()),
            false => Err(TargetError::Errno(BAD_ADDRESS)),
        }
    }

    fn list_active_threads(&mut self, thread_is_active: &mut dyn FnMut(Tid)) -> Result<(), Infallible> {
        self.threads.selected_first().for_each(|vcpu| thread_is_active(thread_of(vcpu)));
        Ok(())
    }

    fn is_thread_alive(&mut self, thread: Tid) -> Result<bool, Infallible> {
        Ok(self.threads.vcpu(thread).is_some())
    }

    fn support_thread_extra_info(&mut self) -> Option<ThreadExtraInfoOps<'_, Self>> {
        Some(self)
    }

    fn support_resume(&mut self) -> Option<MultiThreadResumeOps<'_, Self>> {
        Some(self)
    }
}

impl SingleRegisterAccess<Tid> for GdbTarget<'_, '_> {
    fn read_register(
        &mut self,
        thread: Tid,
        number: RegisterNumber,
        bytes: &mut [u8],
    ) -> TargetResult<usize, Self> {
        let vcpu = self.vcpu(thread)?;
        let (register, size) = self.view.layout.register(number.0).ok_or(TargetError::Errno(INVALID))?;
        let value =
            self.view.registers.of(vcpu).get(self.supervisor.machine, register).map_err(host_failure)?;
        let bytes = bytes.get_mut(..size).ok_or(TargetError::Errno(INVALID))?;
        bytes.copy_from_slice(&value.to_le_bytes()[..size]);
        Ok(size)
    }

    fn write_register(
        &mut self,
        thread: Tid,
        number: RegisterNumber,
        bytes: &[u8],
    ) -> TargetResult<(), Self> {
        let vcpu = self.vcpu(thread)?;
        let (register, _) = self.view.layout.register(number.0).ok_or(TargetError::Errno(INVALID))?;
        self.write_values(vcpu, &[(register, value(bytes))])
    }
}

/// `info threads`, for a gdb without support of thread lists.
impl ThreadExtraInfo for GdbTarget<'_, '_> {
    fn thread_extra_info(&self, thread: Tid, bytes: &mut [u8]) -> Result<usize, Infallible> {
        let Some(vcpu) = self.threads.vcpu(thread) else { return Ok(0) };
        let text = match self.state(vcpu) {
            Ok(state) => format!("{}: {state}", name_of(vcpu)),
            Err(error) => format!("{}: {error}", name_of(vcpu)),
        };
        Ok(copy_part(text.as_bytes(), 0, bytes.len(), bytes))
    }
}

/// A signal to continue with has no meaning for a bare machine.
impl MultiThreadResume for GdbTarget<'_, '_> {
    fn resume(&mut self) -> Result<(), Infallible> {
        Ok(())
    }

    fn clear_resume_actions(&mut self) -> Result<(), Infallible> {
        self.supervisor.actions.clear();
        Ok(())
    }

    fn set_resume_action_continue(&mut self, thread: Tid, _: Option<Signal>) -> Result<(), Infallible> {
        self.set_action(thread, ResumeAction::Continue);
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

impl MultiThreadSingleStep for GdbTarget<'_, '_> {
    fn set_resume_action_step(&mut self, thread: Tid, _: Option<Signal>) -> Result<(), Infallible> {
        self.set_action(thread, ResumeAction::Step);
        Ok(())
    }
}

impl MultiThreadRangeStepping for GdbTarget<'_, '_> {
    fn set_resume_action_range_step(&mut self, thread: Tid, start: u64, end: u64) -> Result<(), Infallible> {
        self.set_action(thread, ResumeAction::StepRange(start..end));
        Ok(())
    }
}

impl MultiThreadSchedulerLocking for GdbTarget<'_, '_> {
    fn set_resume_action_scheduler_lock(&mut self) -> Result<(), Infallible> {
        self.supervisor.actions.stay_by_default();
        Ok(())
    }
}

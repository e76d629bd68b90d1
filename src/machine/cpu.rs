//! A CPU of the machine: its vCPU in KVM, its run state, debug state and pending exit completion.
//!
//! [`Machine`](super::Machine) owns all CPUs and numbers them by [`CpuId`]. A reset, and restoring a saved
//! state, replace all of them; their [`Kicker`]s are reused.

use std::fmt;
use std::ops::{Index, IndexMut};

use serde::{Deserialize, Serialize};

use super::kernel_irqchip::HaltWatch;
use crate::arch::{GeneralRegisters, Registers, SystemRegisters};
use crate::emulate::EmulationCounter;
use crate::kvm::{GuestDebug, HostError, Kicker, Kvm, Vcpu, VcpuState, VmEntry, VmExit};

/// One of a machine's CPUs, counted from 0. The number is also that of its vCPU in KVM.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CpuId(u8);

impl CpuId {
    /// The bootstrap processor: the one that starts the guest, and that every machine has.
    pub const BOOT: CpuId = CpuId(0);

    /// The CPU with this number.
    pub const fn new(number: u8) -> CpuId {
        CpuId(number)
    }

    /// The number.
    pub const fn number(self) -> u8 {
        self.0
    }

    /// Its index among the CPUs of the machine.
    #[inline]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for CpuId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "CPU {}", self.0)
    }
}

impl Index<CpuId> for Vec<Cpu> {
    type Output = Cpu;

    #[inline]
    fn index(&self, id: CpuId) -> &Cpu {
        &self[id.index()]
    }
}

impl IndexMut<CpuId> for Vec<Cpu> {
    #[inline]
    fn index_mut(&mut self, id: CpuId) -> &mut Cpu {
        &mut self[id.index()]
    }
}

/// The run state of a CPU. Snapshots of several CPUs hold it: new ones go to the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum RunState {
    /// It executes instructions.
    #[default]
    Running,
    /// It has executed `hlt` with interrupts on, and waits for one.
    Halted,
    /// It waits for a start-up IPI (Intel SDM volume 3A, "MP Initialization Protocol").
    WaitForSipi,
    /// It has executed `hlt` with interrupts off while other CPUs go on: an NMI or INIT can wake it.
    HaltedForGood,
    /// It has called the machine's own BIOS, which waits for a disk.
    WaitForDisk,
}

/// The state of a CPU at an instruction boundary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CpuState {
    /// Registers and pending events.
    pub vcpu: VcpuState,
    /// The run state.
    pub run_state: RunState,
}

/// A CPU of a machine.
#[derive(Debug)]
pub struct Cpu {
    pub(super) vcpu: Vcpu,
    pub(super) run_state: RunState,
    /// A debugger keeps it stopped while other CPUs run.
    pub(super) held: bool,
    /// The enabled debug facilities.
    debug: GuestDebug,
    /// How the next entry completes the last exit: with the value of a read, if it was one.
    completion: VmEntry,
    /// An interrupt that was taken from the controllers and is injected when the CPU runs freely again.
    pub(super) withdrawn_interrupt: Option<u8>,
    /// An interrupt may have been injected and not delivered yet.
    pub(super) interrupt_may_wait: bool,
    /// Instructions emulated since the CPU was created.
    pub(super) emulated: EmulationCounter,
    kicker: Kicker,
    /// Its registers after INIT, unless it is the bootstrap processor.
    after_init: Option<Box<Registers>>,
    /// What was requested of it when it entered the guest, or when it was kicked for that.
    requested: u64,
    /// Notices that it sleeps in KVM, if its local APIC is KVM's.
    pub(super) halt_watch: Option<HaltWatch>,
}

impl Cpu {
    /// A CPU whose vCPU has not run yet; `kicker` targets it.
    pub(super) fn new(vcpu: Vcpu, kicker: Kicker) -> Cpu {
        Cpu {
            vcpu,
            run_state: RunState::default(),
            held: false,
            debug: GuestDebug::default(),
            completion: VmEntry::Resume,
            withdrawn_interrupt: None,
            interrupt_may_wait: false,
            emulated: EmulationCounter::default(),
            kicker,
            after_init: None,
            requested: 0,
            halt_watch: None,
        }
    }

    /// Makes it an application processor, which waits for a start-up IPI. Its vCPU has not run yet.
    ///
    /// # Errors
    ///
    /// [`HostError::Refused`] with the host's reason.
    pub(super) fn wait_for_start(&mut self) -> Result<(), HostError> {
        self.after_init = Some(Box::new(self.vcpu.registers()?));
        self.run_state = RunState::WaitForSipi;
        Ok(())
    }

    /// INIT: the registers get their initial values, and the processor waits for a start-up IPI. False if it is the
    /// bootstrap processor, which would start firmware. Its last exit must have been completed.
    ///
    /// Manual: Intel SDM volume 3A, "Processor State After Reset".
    ///
    /// # Errors
    ///
    /// [`HostError::Refused`] with the host's reason.
    pub(super) fn init(&mut self) -> Result<bool, HostError> {
        let Some(registers) = &self.after_init else { return Ok(false) };
        let mut registers = registers.clone();
        registers.system.apic_base = self.vcpu.system_registers()?.apic_base;
        self.vcpu.clear_events()?;
        self.vcpu.set_registers(&registers)?;
        self.withdrawn_interrupt = None;
        self.vcpu.want_interrupt_window(false);
        self.run_state = RunState::WaitForSipi;
        Ok(true)
    }

    /// A start-up IPI: a processor that waits for one starts at `page` (of 4 KiB) in real mode. False if it does not
    /// wait.
    ///
    /// # Errors
    ///
    /// [`HostError::Refused`] with the host's reason.
    pub(super) fn start_up(&mut self, page: u8) -> Result<bool, HostError> {
        if self.run_state != RunState::WaitForSipi {
            return Ok(false);
        }
        let mut registers = self.vcpu.registers()?;
        registers.system.cs.selector = u16::from(page) << 8;
        registers.system.cs.base = u64::from(page) << 12;
        registers.general.rip = 0;
        self.vcpu.set_registers(&registers)?;
        self.run_state = RunState::Running;
        Ok(true)
    }

    /// Starts an application processor that was just created with these registers.
    ///
    /// # Errors
    ///
    /// [`HostError::Refused`] with the host's reason.
    pub(super) fn start_at(&mut self, registers: &Registers) -> Result<(), HostError> {
        self.vcpu.set_registers(registers)?;
        if self.vcpu.has_kernel_lapic() {
            self.vcpu.set_halted(false)?;
        }
        self.run_state = RunState::Running;
        Ok(())
    }

    /// True while it runs on its own thread, and can only be kicked.
    #[inline]
    pub(super) fn is_away(&self) -> bool {
        self.vcpu.is_away()
    }

    /// Enters the guest on its own thread, after `requested` was delivered as far as that is possible now; an exit
    /// that needs no entry.
    ///
    /// # Errors
    ///
    /// [`HostError::Refused`] if KVM cannot run the vCPU at all.
    pub(super) fn begin(&mut self, requested: u64) -> Result<Option<VmExit>, HostError> {
        self.requested = requested;
        let completion = std::mem::replace(&mut self.completion, VmEntry::Resume);
        self.vcpu.begin(completion)
    }

    /// Waits for the exit that follows [`Self::begin`].
    ///
    /// # Errors
    ///
    /// [`HostError::Refused`] if KVM cannot run the vCPU at all.
    pub(super) fn finish(&mut self) -> Result<VmExit, HostError> {
        self.vcpu.finish()
    }

    /// Kicks it out of the guest if something is requested of it that was not when it entered.
    pub(super) fn kick_for(&mut self, requested: u64) {
        if self.requested != requested {
            self.requested = requested;
            self.kicker.kick();
        }
    }

    /// Its vCPU.
    pub fn vcpu(&self) -> &Vcpu {
        &self.vcpu
    }

    /// The run state.
    pub fn run_state(&self) -> RunState {
        self.run_state
    }

    /// True if it has executed `hlt`, or waits for a disk, and does not go on by itself.
    #[inline]
    pub fn is_halted(&self) -> bool {
        matches!(self.run_state, RunState::Halted | RunState::HaltedForGood | RunState::WaitForDisk)
    }

    /// True if it has instructions to execute.
    #[inline]
    pub(super) fn is_running(&self) -> bool {
        self.run_state == RunState::Running
    }

    /// True if it stays stopped while other CPUs run ([`Machine::set_held`](super::Machine::set_held)).
    #[inline]
    pub fn is_held(&self) -> bool {
        self.held
    }

    /// True if an interrupt waits until it runs freely.
    #[inline]
    pub(super) fn has_withdrawn_interrupt(&self) -> bool {
        self.withdrawn_interrupt.is_some()
    }

    /// Kicks it out of the guest, from any thread.
    pub(super) fn kicker(&self) -> &Kicker {
        &self.kicker
    }

    /// All registers.
    ///
    /// # Errors
    ///
    /// [`HostError::Refused`] with the host's reason.
    pub fn registers(&self) -> Result<Registers, HostError> {
        self.vcpu.registers()
    }

    /// The general registers, RIP and RFLAGS.
    ///
    /// # Errors
    ///
    /// [`HostError::Refused`] with the host's reason.
    pub fn general_registers(&self) -> Result<GeneralRegisters, HostError> {
        self.vcpu.general_registers()
    }

    /// Writes the general registers, RIP and RFLAGS. A halted CPU whose RIP changes runs again.
    ///
    /// # Errors
    ///
    /// [`HostError::Refused`] with the host's reason.
    pub(super) fn set_general_registers(&mut self, registers: &GeneralRegisters) -> Result<(), HostError> {
        if self.is_halted() && self.registers()?.general.rip != registers.rip {
            self.run_state = RunState::Running;
            if self.vcpu.has_kernel_lapic() {
                self.vcpu.set_halted(false)?;
            }
        }
        self.vcpu.set_general_registers(registers)
    }

    /// Writes segments, descriptor tables, control registers and EFER.
    ///
    /// # Errors
    ///
    /// [`HostError::Refused`] if they are a state the processor cannot be in.
    pub(super) fn set_system_registers(&mut self, registers: &SystemRegisters) -> Result<(), HostError> {
        self.vcpu.set_system_registers(registers)
    }

    /// The enabled debug facilities.
    pub fn guest_debug(&self) -> &GuestDebug {
        &self.debug
    }

    /// Sets the debug facilities, from the next entry on.
    ///
    /// # Errors
    ///
    /// [`HostError::Refused`], for example for a breakpoint at an address that is not canonical.
    pub fn set_guest_debug(&mut self, debug: GuestDebug) -> Result<(), HostError> {
        self.vcpu.set_guest_debug(debug)?;
        self.debug = debug;
        Ok(())
    }

    /// Makes the next [`Self::set_guest_debug`] call KVM even if nothing has changed
    /// ([`Vcpu::renew_guest_debug`]).
    pub fn renew_guest_debug(&self) {
        self.vcpu.renew_guest_debug();
    }

    /// Injects a debug exception that belongs to the guest and has stopped it
    /// ([`Vcpu::inject_debug_exception`]).
    ///
    /// # Errors
    ///
    /// [`HostError::Refused`], for example if another exception is pending.
    pub(super) fn inject_debug_exception(&mut self, bits: u64) -> Result<(), HostError> {
        self.vcpu.inject_debug_exception(bits)
    }

    /// Completes the pending read with `value` at the next entry.
    #[inline]
    pub(super) fn complete_read(&mut self, value: u64) {
        self.completion = VmEntry::Value(value);
    }

    /// The pending access to a model-specific register raises #GP at the next entry.
    pub(super) fn fault(&mut self) {
        self.completion = VmEntry::Fault;
    }

    /// Runs the guest to the next exit.
    ///
    /// # Errors
    ///
    /// [`HostError::Refused`] if KVM cannot run the vCPU at all.
    #[inline]
    pub(super) fn run(&mut self) -> Result<VmExit, HostError> {
        let completion = std::mem::replace(&mut self.completion, VmEntry::Resume);
        self.vcpu.run(completion)
    }

    /// Completes the last exit, without running any further instruction ([`Vcpu::complete`]).
    ///
    /// # Errors
    ///
    /// [`HostError::Refused`] if KVM cannot run the vCPU at all.
    pub(super) fn complete(&mut self) -> Result<VmExit, HostError> {
        let completion = std::mem::replace(&mut self.completion, VmEntry::Resume);
        self.vcpu.complete(completion)
    }

    /// The state of the CPU. Its last exit must have been completed.
    ///
    /// # Errors
    ///
    /// [`HostError::Refused`] with the host's reason.
    pub(super) fn state(&self, kvm: &Kvm) -> Result<CpuState, HostError> {
        let mut vcpu = self.vcpu.state(kvm)?;
        if let Some(vector) = self.withdrawn_interrupt {
            vcpu.inject_interrupt(vector);
        }
        Ok(CpuState { vcpu, run_state: self.run_state })
    }

    /// Restores the CPU to `state`. The debug facilities stay enabled.
    ///
    /// # Errors
    ///
    /// [`HostError::Refused`] with the host's reason.
    pub(super) fn set_state(&mut self, state: &CpuState) -> Result<(), HostError> {
        self.vcpu.set_state(&state.vcpu)?;
        self.run_state = state.run_state;
        self.withdrawn_interrupt = None;
        self.interrupt_may_wait = true;
        Ok(())
    }
}

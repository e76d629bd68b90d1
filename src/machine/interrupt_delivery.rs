//! Delivery of interrupts to the processors, between two exits.
//!
//! An interrupt that a controller requests is injected when the processor accepts it; until then the vCPU exits as
//! soon as it does. Nothing is injected while a debugger steps: [`Machine::step_instruction`] does not come here, and
//! takes back what was injected and not delivered.

use tracing::info;

use super::Machine;
use super::cpu::{CpuId, RunState};
use super::flight_recorder::{InterruptController, Occurrence};
use super::journal::JournalEvent;
use crate::devices::lapic::ProcessorRequest;
use crate::kvm::HostError;

impl Machine {
    /// True if something waits to be delivered to the processor.
    #[inline]
    pub fn interrupt_pending(&self, cpu: CpuId) -> bool {
        self.board.interrupt_pending(cpu.number()) || self.cpus[cpu].has_withdrawn_interrupt()
    }

    /// True if what waits wakes the processor from `hlt`.
    pub(super) fn wakes(&mut self, cpu: CpuId) -> Result<bool, HostError> {
        if !self.interrupt_pending(cpu) {
            return Ok(false);
        }
        self.sync_task_priority(cpu);
        let nmi = self.take_processor_requests(cpu)?;
        Ok(match self.cpus[cpu].run_state {
            RunState::Running => true,
            RunState::Halted => nmi || self.has_vector(cpu),
            RunState::HaltedForGood => nmi,
            RunState::WaitForSipi | RunState::WaitForDisk => false,
        })
    }

    /// INIT of an application processor. The bootstrap processor would start firmware, which the machine does not
    /// have.
    fn init_cpu(&mut self, cpu: CpuId) -> Result<(), HostError> {
        // The access that it was in the middle of has been carried out.
        if !self.cpus[cpu].vcpu().is_at_instruction_boundary() {
            self.cpus[cpu].complete()?;
        }
        if !self.cpus[cpu].init()? {
            info!("{cpu} ignores INIT: there is no firmware to start");
            return Ok(());
        }
        self.board.init_local_apic(cpu.number());
        self.note(|| JournalEvent::Init { cpu: cpu.number() });
        self.record(cpu, Occurrence::Init);
        self.arm_timer()
    }

    /// True if there is an interrupt that the processor's priority admits.
    pub(super) fn has_vector(&self, cpu: CpuId) -> bool {
        self.board.has_vector(cpu.number()) || self.cpus[cpu].has_withdrawn_interrupt()
    }

    /// Injects the requested interrupt, or asks for an exit when the processor accepts it.
    #[cold]
    pub(super) fn deliver_interrupt(&mut self, cpu: CpuId) -> Result<(), HostError> {
        if self.halts_in_kernel(cpu) {
            return self.pass_to_kernel(cpu);
        }
        self.take_over_apic_msrs(cpu);
        self.sync_task_priority(cpu);
        self.take_processor_requests(cpu)?;
        if self.cpus[cpu].run_state == RunState::WaitForSipi {
            return Ok(());
        }
        if self.has_vector(cpu) && self.cpus[cpu].vcpu.accepts_interrupt()? {
            let vector = match self.cpus[cpu].withdrawn_interrupt.take() {
                Some(vector) => vector,
                None => {
                    let from = match self.board.lapics().apic(cpu.number()).pending_vector() {
                        Some(_) => InterruptController::LocalApic,
                        None => InterruptController::Pic,
                    };
                    let vector = self.board.acknowledge_interrupt(cpu.number());
                    self.record(cpu, Occurrence::Interrupt { vector, from });
                    self.note(|| JournalEvent::Interrupt { cpu: cpu.number(), vector });
                    vector
                }
            };
            self.cpus[cpu].vcpu.inject_interrupt(vector)?;
            self.cpus[cpu].interrupt_may_wait = true;
        }
        // Where ring 0 is emulated, no exit tells that the guest has lowered CR8: an exit as soon as it accepts an
        // interrupt is the occasion to look.
        let waits =
            self.has_vector(cpu) || self.interrupt_pending(cpu) && !self.kvm.runs_ring_0_on_processor();
        self.cpus[cpu].vcpu.want_interrupt_window(waits);
        Ok(())
    }

    /// Carries out what the local APIC requests besides interrupts with a vector; true if that is an NMI.
    pub(super) fn take_processor_requests(&mut self, cpu: CpuId) -> Result<bool, HostError> {
        let mut nmi = false;
        while let Some(request) = self.board.take_request(cpu.number()) {
            match request {
                ProcessorRequest::Nmi => {
                    self.note(|| JournalEvent::Nmi { cpu: cpu.number() });
                    self.record(cpu, Occurrence::Nmi);
                    self.cpus[cpu].vcpu.inject_nmi()?;
                    nmi = true;
                }
                ProcessorRequest::Init => self.init_cpu(cpu)?,
                ProcessorRequest::StartUp(page) => {
                    if self.cpus[cpu].start_up(page)? {
                        info!("{cpu} starts at {:#x}", u32::from(page) << 12);
                        self.note(|| JournalEvent::StartUp { cpu: cpu.number(), page });
                        self.record(cpu, Occurrence::StartUp { page });
                    }
                }
            }
        }
        Ok(nmi)
    }

    /// The guest may have written CR8, which its local APIC has to know.
    #[inline]
    pub(super) fn sync_task_priority(&mut self, cpu: CpuId) {
        let priority = self.cpus[cpu].vcpu.task_priority();
        self.board.set_task_priority(cpu.number(), priority);
    }

    /// The guest has lowered CR8, or written the task priority register of its local APIC, which CR8 shows.
    pub(super) fn task_priority_changed(&mut self, cpu: CpuId, by_cr8: bool) {
        if by_cr8 {
            self.sync_task_priority(cpu);
        } else {
            let priority = self.board.task_priority(cpu.number());
            self.cpus[cpu].vcpu.set_task_priority(priority);
        }
    }

    /// Takes back an interrupt that was injected and has not been delivered, so that a step executes the instruction
    /// at RIP. It is injected again when the guest runs freely.
    pub(super) fn hold_interrupts(&mut self, cpu: CpuId) -> Result<(), HostError> {
        let cpu = &mut self.cpus[cpu];
        cpu.vcpu.want_interrupt_window(false);
        if std::mem::take(&mut cpu.interrupt_may_wait) && cpu.withdrawn_interrupt.is_none() {
            cpu.withdrawn_interrupt = cpu.vcpu.withdraw_interrupt()?;
        }
        Ok(())
    }
}

//! Delivery of interrupts to the processors, between two exits.
//!
//! An interrupt that a controller requests is injected when the processor accepts it; until then the vCPU exits as
//! soon as it does. Nothing is injected while a debugger steps: [`Machine::step_instruction`] does not come here, and
//! takes back what was injected and not delivered.

use super::Machine;
use super::cpu::CpuId;
use super::journal::JournalEvent;
use crate::kvm::HostError;

impl Machine {
    /// Injects the requested interrupt, or asks for an exit when the processor accepts it.
    #[cold]
    pub(super) fn deliver_interrupt(&mut self, cpu: CpuId) -> Result<(), HostError> {
        if self.cpus[cpu].vcpu.accepts_interrupt()? {
            let vector = match self.cpus[cpu].withdrawn_interrupt.take() {
                Some(vector) => vector,
                None => {
                    let vector = self.board.acknowledge_interrupt();
                    self.note(|| JournalEvent::Interrupt { cpu: cpu.number(), vector });
                    vector
                }
            };
            self.cpus[cpu].vcpu.inject_interrupt(vector)?;
            self.cpus[cpu].interrupt_may_wait = true;
        }
        let waits = self.board.interrupt_pending() || self.cpus[cpu].has_withdrawn_interrupt();
        self.cpus[cpu].vcpu.want_interrupt_window(waits);
        Ok(())
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

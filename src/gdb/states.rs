//! The state of a vCPU, for gdb's `info threads`.
//!
//! Manual: "Thread List Format" in "Appendix E: gdb Remote Serial Protocol" of *Debugging with gdb*; modes:
//! Intel SDM volume 3A, "Modes of Operation".

use super::target::GdbTarget;
use super::threads::name_of;
use crate::arch::{Mode, Registers};
use crate::kvm::HostError;
use crate::machine::{CpuId, Outcome, RunState};

impl GdbTarget<'_, '_> {
    /// Whether a vCPU can continue, and its mode.
    ///
    /// # Errors
    ///
    /// [`HostError`] if the host does not report it.
    pub(crate) fn state(&self, vcpu: CpuId) -> Result<String, HostError> {
        let is_last = vcpu == self.supervisor.cpu;
        let activity = match (self.supervisor.machine.cpu(vcpu).run_state(), self.supervisor.pending_end()) {
            (RunState::WaitForSipi, _) => "waiting for SIPI",
            (_, Some(Outcome::Halted { .. })) => "halted for good",
            (_, Some(Outcome::TripleFault(_))) if is_last => "shut down by a triple fault",
            (_, Some(_)) if is_last => "cannot go on",
            (RunState::Running, _) => "running",
            (RunState::Halted, _) => "waiting in hlt",
            (RunState::HaltedForGood, _) => "halted with interrupts off",
            (RunState::WaitForDisk, _) => "waiting for a disk",
        };
        let registers = self.supervisor.machine.cpu(vcpu).registers()?;
        Ok(format!("{activity}, {}", mode(&registers)))
    }

    /// The document that lists all vCPUs.
    ///
    /// # Errors
    ///
    /// [`HostError`] if the host does not report it.
    pub(crate) fn list(&self) -> Result<String, HostError> {
        let mut document = "<?xml version=\"1.0\"?>\n<threads>\n".to_owned();
        for vcpu in self.threads.all() {
            let (id, state) = (self.threads.id(vcpu), self.state(vcpu)?);
            document += &format!("<thread id=\"{id}\" name=\"{}\">{state}</thread>\n", name_of(vcpu));
        }
        document += "</threads>\n";
        Ok(document)
    }
}

/// The processor's mode, and its ring in those that have rings.
fn mode(registers: &Registers) -> String {
    let name = match (registers.mode(), registers.bitness()) {
        (Mode::Real, _) => return "real mode".to_owned(),
        (Mode::Virtual8086, _) => return "virtual-8086 mode".to_owned(),
        (Mode::SixtyFourBit, _) => "64-bit mode",
        (Mode::Compatibility, _) => "compatibility mode",
        (Mode::Protected, 32) => "32-bit protected mode",
        (Mode::Protected, _) => "16-bit protected mode",
    };
    let ring = registers.ring();
    format!("{name}, ring {ring}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::flags::{CR0_PE, EFER_LMA, RFLAGS_VM};

    #[test]
    fn modes_are_distinguished_as_the_processor_does() {
        let mut registers = Registers::default();
        registers.system.cs.selector = 0xF003;
        assert_eq!(mode(&registers), "real mode", "no ring, whatever CS holds");
        registers.system.cr0 = CR0_PE;
        registers.system.cs.selector = 8;
        assert_eq!(mode(&registers), "16-bit protected mode, ring 0");
        registers.system.cs.db = 1;
        assert_eq!(mode(&registers), "32-bit protected mode, ring 0");
        registers.system.efer = EFER_LMA;
        (registers.system.cs.selector, registers.system.ss.dpl) = (0x1B, 3);
        assert_eq!(mode(&registers), "compatibility mode, ring 3");
        (registers.system.cs.db, registers.system.cs.l) = (0, 1);
        assert_eq!(mode(&registers), "64-bit mode, ring 3");
        registers.system.efer = 0;
        registers.system.cs.l = 0;
        registers.general.rflags = RFLAGS_VM;
        assert_eq!(mode(&registers), "virtual-8086 mode");
    }
}

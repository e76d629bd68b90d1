//! Writes of a debugger to registers and memory. Each is counted as an event of the [journal](super::journal).
//!
//! The machine must be stopped between two instructions.

use super::journal::JournalEvent;
use super::{CpuId, Machine};
use crate::arch::{ExtendedRegisters, GeneralRegisters, SystemRegisters};
use crate::kvm::HostError;
use crate::memory::MemoryError;

impl Machine {
    /// Writes the general registers, RIP and RFLAGS of a CPU. A halted CPU whose RIP changes runs again.
    ///
    /// # Errors
    ///
    /// [`HostError::Refused`] with the host's reason.
    pub fn set_general_registers(
        &mut self,
        cpu: CpuId,
        registers: &GeneralRegisters,
    ) -> Result<(), HostError> {
        self.cpu_mut(cpu).set_general_registers(registers)?;
        self.note(|| JournalEvent::GeneralRegisters { cpu: cpu.number(), registers: *registers });
        Ok(())
    }

    /// Writes segments, descriptor tables, control registers and EFER of a CPU.
    ///
    /// # Errors
    ///
    /// [`HostError::Refused`] if they are a state the processor cannot be in.
    pub fn set_system_registers(&mut self, cpu: CpuId, registers: &SystemRegisters) -> Result<(), HostError> {
        self.cpu_mut(cpu).set_system_registers(registers)?;
        self.note(|| JournalEvent::SystemRegisters { cpu: cpu.number(), registers: Box::new(*registers) });
        Ok(())
    }

    /// Writes the x87, SSE and AVX registers of a CPU.
    ///
    /// # Errors
    ///
    /// [`HostError::Refused`] with the host's reason.
    pub fn set_extended_registers(
        &mut self,
        cpu: CpuId,
        registers: &ExtendedRegisters,
    ) -> Result<(), HostError> {
        self.cpu(cpu).vcpu().set_extended_registers(registers)?;
        self.note(|| JournalEvent::ExtendedRegisters { cpu: cpu.number(), area: registers.to_vec() });
        Ok(())
    }

    /// Writes a model-specific register of a CPU; false if the host does not accept the value.
    ///
    /// # Errors
    ///
    /// [`HostError::Refused`] with the host's reason.
    pub fn set_msr(&mut self, cpu: CpuId, index: u32, value: u64) -> Result<bool, HostError> {
        let accepted = self.cpu(cpu).vcpu().set_msr(index, value)?;
        if accepted {
            self.note(|| JournalEvent::Msr { cpu: cpu.number(), index, value });
        }
        Ok(accepted)
    }

    /// Injects a debug exception that belongs to the guest and has stopped it
    /// ([`crate::kvm::Vcpu::inject_debug_exception`]).
    ///
    /// # Errors
    ///
    /// [`HostError::Refused`], for example if another exception is pending.
    pub fn inject_debug_exception(&mut self, cpu: CpuId, bits: u64) -> Result<(), HostError> {
        self.cpu_mut(cpu).inject_debug_exception(bits)?;
        self.note(|| JournalEvent::DebugException { cpu: cpu.number(), bits });
        Ok(())
    }

    /// Writes guest memory at a guest-physical address.
    ///
    /// # Errors
    ///
    /// [`MemoryError`], and nothing is written, if not all of it is RAM.
    pub fn write_memory(&mut self, address: u64, bytes: &[u8]) -> Result<(), MemoryError> {
        self.memory.write(address, bytes)?;
        self.note(|| JournalEvent::Memory { address, bytes: bytes.to_vec() });
        Ok(())
    }
}

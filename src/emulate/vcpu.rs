//! A KVM vCPU as the emulator accesses it.

use crate::arch::GeneralRegisters;

use super::ProcessorState;
use crate::arch::Registers;
use crate::kvm::{ExtendedRegisters, HostError, Vcpu};

impl ProcessorState for Vcpu {
    fn registers(&self) -> Result<Registers, HostError> {
        Vcpu::registers(self)
    }

    fn set_registers(&self, registers: &Registers) -> Result<(), HostError> {
        Vcpu::set_registers(self, registers)
    }

    fn set_general_registers(&self, registers: &GeneralRegisters) -> Result<(), HostError> {
        Vcpu::set_general_registers(self, registers)
    }

    fn xsave(&self) -> Result<ExtendedRegisters, HostError> {
        self.extended_registers()
    }

    fn set_xsave(&self, state: &ExtendedRegisters) -> Result<(), HostError> {
        self.set_extended_registers(state)
    }

    fn xcr0(&self) -> Result<u64, HostError> {
        Vcpu::xcr0(self)
    }

    fn set_xcr0(&self, value: u64) -> Result<bool, HostError> {
        Ok(Vcpu::set_xcr0(self, value))
    }

    fn msr(&self, index: u32) -> Result<Option<u64>, HostError> {
        Vcpu::msr(self, index)
    }

    fn cpuid(&self, leaf: u32, subleaf: u32) -> [u32; 4] {
        Vcpu::cpuid(self, leaf, subleaf)
    }

    fn dr6(&self) -> Result<u64, HostError> {
        Vcpu::dr6(self)
    }

    fn set_dr6(&self, value: u64) -> Result<(), HostError> {
        Vcpu::set_dr6(self, value)
    }
}

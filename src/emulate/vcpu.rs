//! A KVM vCPU as the emulator accesses it.

use super::{ProcessorState, ProcessorStateError};
use crate::arch::{ExtendedRegisters, GeneralRegisters, Registers};
use crate::kvm::{HostError, Vcpu};

impl From<HostError> for ProcessorStateError {
    fn from(error: HostError) -> ProcessorStateError {
        match error {
            HostError::Refused { what, source } => ProcessorStateError { what, source },
            other => ProcessorStateError { what: "access the state of the vCPU", source: other.into() },
        }
    }
}

impl From<ProcessorStateError> for HostError {
    fn from(error: ProcessorStateError) -> HostError {
        HostError::because(error.what, error.source)
    }
}

impl ProcessorState for Vcpu {
    fn registers(&self) -> Result<Registers, ProcessorStateError> {
        Ok(Vcpu::registers(self)?)
    }

    fn set_registers(&self, registers: &Registers) -> Result<(), ProcessorStateError> {
        Ok(Vcpu::set_registers(self, registers)?)
    }

    fn set_general_registers(&self, registers: &GeneralRegisters) -> Result<(), ProcessorStateError> {
        Ok(Vcpu::set_general_registers(self, registers)?)
    }

    fn xsave(&self) -> Result<ExtendedRegisters, ProcessorStateError> {
        Ok(self.extended_registers()?)
    }

    fn set_xsave(&self, state: &ExtendedRegisters) -> Result<(), ProcessorStateError> {
        Ok(self.set_extended_registers(state)?)
    }

    fn xcr0(&self) -> Result<u64, ProcessorStateError> {
        Ok(Vcpu::xcr0(self)?)
    }

    fn set_xcr0(&self, value: u64) -> Result<bool, ProcessorStateError> {
        Ok(Vcpu::set_xcr0(self, value))
    }

    fn msr(&self, index: u32) -> Result<Option<u64>, ProcessorStateError> {
        Ok(Vcpu::msr(self, index)?)
    }

    fn cpuid(&self, leaf: u32, subleaf: u32) -> [u32; 4] {
        Vcpu::cpuid(self, leaf, subleaf)
    }

    fn dr6(&self) -> Result<u64, ProcessorStateError> {
        Ok(Vcpu::dr6(self)?)
    }

    fn set_dr6(&self, value: u64) -> Result<(), ProcessorStateError> {
        Ok(Vcpu::set_dr6(self, value)?)
    }
}

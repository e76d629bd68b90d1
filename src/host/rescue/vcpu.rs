//! What of a KVM vCPU the rescue of an instruction needs.

use kvm_bindings::{kvm_debugregs, kvm_regs, kvm_xcrs};

use super::cpu::Rest;
use crate::host::{ExtendedRegisters, HostError, Registers, Vcpu};

impl Rest for Vcpu {
    fn registers(&self) -> Result<Registers, HostError> {
        Vcpu::registers(self)
    }

    fn set_registers(&self, registers: &Registers) -> Result<(), HostError> {
        Vcpu::set_registers(self, registers)
    }

    fn set_general_registers(&self, registers: &kvm_regs) -> Result<(), HostError> {
        Vcpu::set_general_registers(self, registers)
    }

    fn xsave(&self) -> Result<ExtendedRegisters, HostError> {
        self.extended_registers()
    }

    fn set_xsave(&self, state: &ExtendedRegisters) -> Result<(), HostError> {
        self.set_extended_registers(state)
    }

    fn xcr0(&self) -> Result<u64, HostError> {
        let xcrs = self.fd.get_xcrs().map_err(|e| HostError::refused("read XCR0", e))?;
        // The x87 bit is always set.
        Ok(xcrs.xcrs.iter().take(xcrs.nr_xcrs as usize).find(|xcr| xcr.xcr == 0).map_or(1, |xcr| xcr.value))
    }

    fn set_xcr0(&self, value: u64) -> Result<bool, HostError> {
        let mut xcrs = kvm_xcrs { nr_xcrs: 1, ..Default::default() };
        xcrs.xcrs[0].value = value;
        Ok(self.fd.set_xcrs(&xcrs).is_ok())
    }

    fn msr(&self, index: u32) -> Result<Option<u64>, HostError> {
        Vcpu::msr(self, index)
    }

    fn cpuid(&self, leaf: u32, subleaf: u32) -> [u32; 4] {
        const SUBLEAVES_DIFFER: u32 = kvm_bindings::KVM_CPUID_FLAG_SIGNIFCANT_INDEX;
        let entry = self.cpuid.as_slice().iter().find(|entry| {
            entry.function == leaf && (entry.flags & SUBLEAVES_DIFFER == 0 || entry.index == subleaf)
        });
        entry.map_or([0; 4], |entry| [entry.eax, entry.ebx, entry.ecx, entry.edx])
    }

    fn dr6(&self) -> Result<u64, HostError> {
        self.fd.get_debug_regs().map(|registers| registers.dr6).map_err(|e| HostError::refused("read DR6", e))
    }

    fn set_dr6(&self, value: u64) -> Result<(), HostError> {
        let registers = self.fd.get_debug_regs().map_err(|e| HostError::refused("read DR6", e))?;
        let registers = kvm_debugregs { dr6: value, ..registers };
        self.fd.set_debug_regs(&registers).map_err(|e| HostError::refused("write DR6", e))
    }
}

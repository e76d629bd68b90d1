//! What of a KVM vCPU the rescue of an instruction needs.

use kvm_bindings::{Msrs, kvm_debugregs, kvm_msr_entry, kvm_regs, kvm_xcrs, kvm_xsave};

use super::cpu::{Extended, Rest};
use crate::host::{HostError, Registers, Vcpu};

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

    fn xsave(&self) -> Result<Extended, HostError> {
        let state = self.fd.get_xsave().map_err(|e| HostError::refused("read the vector registers", e))?;
        let mut bytes = [0; size_of::<Extended>()];
        for (bytes, word) in bytes.chunks_exact_mut(4).zip(state.region) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
        Ok(bytes)
    }

    fn set_xsave(&self, bytes: &Extended) -> Result<(), HostError> {
        const WHAT: &str = "write the vector registers";
        let mut state = kvm_xsave::default();
        for (word, bytes) in state.region.iter_mut().zip(bytes.as_chunks().0) {
            *word = u32::from_le_bytes(*bytes);
        }
        // SAFETY: the structure is as large as this call reads it: no feature that needs more was
        // switched on for this process.
        unsafe { self.fd.set_xsave(&state) }.map_err(|e| HostError::refused(WHAT, e))
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
        const WHAT: &str = "read a model-specific register";
        let entry = kvm_msr_entry { index, ..Default::default() };
        let Ok(mut msrs) = Msrs::from_entries(&[entry]) else { return Ok(None) };
        let read = self.fd.get_msrs(&mut msrs).map_err(|e| HostError::refused(WHAT, e))?;
        Ok(if read == 1 { Some(msrs.as_slice()[0].data) } else { None })
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

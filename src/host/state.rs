//! The registers of a vCPU that does not run.
//!
//! Whoever debugs a guest reads them at every stop: then KVM leaves most of them in `kvm_run`. Every
//! function here that writes one forgets what KVM has left.

use kvm_bindings::{Msrs, kvm_msr_entry, kvm_regs, kvm_sregs, kvm_xsave};
use kvm_ioctls::SyncReg;

use super::{HostError, Registers, Vcpu};

/// x87, vector and other extended registers in the standard (not compacted) format of `xsave`, as
/// KVM_GET_XSAVE gives them (Intel SDM volume 1, "Standard Format of XSAVE Area").
pub type ExtendedRegisters = [u8; 4096];

impl Vcpu {
    /// General, control and segment registers.
    ///
    /// # Errors
    ///
    /// [`HostError::Refused`] with the host's reason.
    pub fn registers(&self) -> Result<Registers, HostError> {
        Ok(Registers { general: self.general_registers()?, system: self.system_registers()? })
    }

    /// The general registers, RIP and RFLAGS.
    ///
    /// # Errors
    ///
    /// [`HostError::Refused`] with the host's reason.
    pub fn general_registers(&self) -> Result<kvm_regs, HostError> {
        if self.shared.get() {
            return Ok(self.fd.sync_regs().regs);
        }
        self.fd.get_regs().map_err(|e| HostError::refused("read the registers", e))
    }

    /// Segments, descriptor tables, control registers, EFER.
    ///
    /// # Errors
    ///
    /// [`HostError::Refused`] with the host's reason.
    pub fn system_registers(&self) -> Result<kvm_sregs, HostError> {
        if self.shared.get() {
            return Ok(self.fd.sync_regs().sregs);
        }
        self.fd.get_sregs().map_err(|e| HostError::refused("read the system registers", e))
    }

    /// Writes general, control and segment registers.
    ///
    /// # Errors
    ///
    /// [`HostError::Refused`] if they are a state the processor cannot be in.
    pub fn set_registers(&self, registers: &Registers) -> Result<(), HostError> {
        self.forget_registers();
        self.fd
            .set_sregs(&registers.system)
            .map_err(|e| HostError::refused("write the system registers", e))?;
        self.fd.set_regs(&registers.general).map_err(|e| HostError::refused("write the registers", e))
    }

    /// Writes the general registers, RIP and RFLAGS.
    ///
    /// # Errors
    ///
    /// [`HostError::Refused`] with the host's reason.
    pub fn set_general_registers(&self, registers: &kvm_regs) -> Result<(), HostError> {
        self.forget_registers();
        self.fd.set_regs(registers).map_err(|e| HostError::refused("write the registers", e))
    }

    /// Writes segments, descriptor tables, control registers and EFER.
    ///
    /// # Errors
    ///
    /// [`HostError::Refused`] if they are a state the processor cannot be in.
    pub fn set_system_registers(&mut self, registers: &kvm_sregs) -> Result<(), HostError> {
        self.forget_registers();
        self.fd.set_sregs(registers).map_err(|e| HostError::refused("write the system registers", e))?;
        // The local APIC is not KVM's: it takes CR8 from here at every entry.
        self.fd.get_kvm_run().cr8 = registers.cr8;
        Ok(())
    }

    /// x87, SSE, AVX and other extended registers.
    ///
    /// # Errors
    ///
    /// [`HostError::Refused`] with the host's reason.
    pub fn extended_registers(&self) -> Result<ExtendedRegisters, HostError> {
        let state = self.fd.get_xsave().map_err(|e| HostError::refused("read the vector registers", e))?;
        let mut bytes = [0; size_of::<ExtendedRegisters>()];
        for (bytes, word) in bytes.as_chunks_mut().0.iter_mut().zip(state.region) {
            *bytes = word.to_le_bytes();
        }
        Ok(bytes)
    }

    /// Writes x87, SSE, AVX and other extended registers.
    ///
    /// # Errors
    ///
    /// [`HostError::Refused`] if a reserved bit is set.
    pub fn set_extended_registers(&self, registers: &ExtendedRegisters) -> Result<(), HostError> {
        const WHAT: &str = "write the vector registers";
        let mut state = kvm_xsave::default();
        for (word, bytes) in state.region.iter_mut().zip(registers.as_chunks().0) {
            *word = u32::from_le_bytes(*bytes);
        }
        // SAFETY: the structure is as large as this call reads it: no feature that needs more was
        // switched on for this process.
        unsafe { self.fd.set_xsave(&state) }.map_err(|e| HostError::refused(WHAT, e))
    }

    /// A model-specific register (Intel SDM volume 4); `None` if the host does not tell of it.
    ///
    /// # Errors
    ///
    /// [`HostError::Refused`] with the host's reason.
    pub fn msr(&self, index: u32) -> Result<Option<u64>, HostError> {
        const WHAT: &str = "read a model-specific register";
        let Ok(mut msrs) = Msrs::from_entries(&[kvm_msr_entry { index, ..Default::default() }]) else {
            return Ok(None);
        };
        let read = self.fd.get_msrs(&mut msrs).map_err(|e| HostError::refused(WHAT, e))?;
        Ok(if read == 1 { msrs.as_slice().first().map(|entry| entry.data) } else { None })
    }

    /// Writes a model-specific register; false if the host does not take this value for it.
    ///
    /// # Errors
    ///
    /// [`HostError::Refused`] with the host's reason.
    pub fn set_msr(&self, index: u32, data: u64) -> Result<bool, HostError> {
        const WHAT: &str = "write a model-specific register";
        self.forget_registers();
        let Ok(msrs) = Msrs::from_entries(&[kvm_msr_entry { index, data, ..Default::default() }]) else {
            return Ok(false);
        };
        Ok(self.fd.set_msrs(&msrs).map_err(|e| HostError::refused(WHAT, e))? == 1)
    }

    /// True if the guest was given AVX (CPUID.01H:ECX bit 28).
    pub fn has_avx(&self) -> bool {
        self.cpuid.as_slice().iter().any(|entry| entry.function == 1 && entry.ecx & 1 << 28 != 0)
    }

    /// Has KVM leave the registers where reading them is no system call, or not, from the next stop
    /// on: whoever debugs a guest reads them at every stop, everybody else hardly ever does.
    ///
    /// Manual: KVM_CAP_SYNC_REGS in api.rst.
    pub(super) fn share_registers(&mut self, wanted: bool) {
        for registers in [SyncReg::Register, SyncReg::SystemRegister] {
            if wanted && self.abilities.sharing {
                self.fd.set_sync_valid_reg(registers);
            } else {
                self.fd.clear_sync_valid_reg(registers);
            }
        }
    }

    /// The registers are about to be written: what KVM has left of them is out of date, and it has
    /// to be told again of a step that starts elsewhere.
    pub(super) fn forget_registers(&self) {
        self.shared.set(false);
        self.debugging_is_stale.set(true);
    }
}

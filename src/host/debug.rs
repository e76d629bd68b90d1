//! What a debugger asks of a vCPU: which debug facilities are on, and the registers only it changes.
//!
//! Manual: KVM_SET_GUEST_DEBUG in api.rst; Intel SDM volume 3B, "Debug Registers".

use kvm_bindings::{
    KVM_GUESTDBG_ENABLE, KVM_GUESTDBG_SINGLESTEP, KVM_GUESTDBG_USE_HW_BP, KVM_GUESTDBG_USE_SW_BP, Msrs,
    kvm_guest_debug, kvm_msr_entry, kvm_regs, kvm_sregs, kvm_xsave,
};

use super::{HostError, Vcpu};

/// DR7: exact breakpoints, and the bit that is always set.
const DR7_BASE: u64 = 0x600;

/// Which debug facilities the host uses on a vCPU; none by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GuestDebug {
    /// Stop after the next instruction.
    pub single_step: bool,
    /// Stop at every `int3` instead of letting the guest handle it.
    pub software_breakpoints: bool,
    /// Stop before the instruction at each of these linear addresses (DR0 to DR3).
    pub hardware_breakpoints: [Option<u64>; 4],
}

impl GuestDebug {
    fn to_kvm(self) -> kvm_guest_debug {
        let mut debug = kvm_guest_debug::default();
        for (slot, address) in self.hardware_breakpoints.into_iter().enumerate() {
            if let Some(address) = address {
                debug.arch.debugreg[slot] = address;
                // Enabled globally; the type and length bits of an execution breakpoint are 0.
                debug.arch.debugreg[7] |= DR7_BASE | 2 << (2 * slot);
            }
        }
        for (wanted, flag) in [
            (self.single_step, KVM_GUESTDBG_SINGLESTEP),
            (self.software_breakpoints, KVM_GUESTDBG_USE_SW_BP),
            (debug.arch.debugreg[7] != 0, KVM_GUESTDBG_USE_HW_BP),
        ] {
            if wanted {
                debug.control |= KVM_GUESTDBG_ENABLE | flag;
            }
        }
        debug
    }
}

impl Vcpu {
    /// Switches debug facilities on and off, from the next entry.
    ///
    /// # Errors
    ///
    /// [`HostError::Refused`], for example for a breakpoint at an address that is not canonical.
    pub fn set_guest_debug(&self, debug: GuestDebug) -> Result<(), HostError> {
        self.fd
            .set_guest_debug(&debug.to_kvm())
            .map_err(|e| HostError::refused("switch its debug facilities", e))
    }

    /// Writes the general registers, RIP and RFLAGS.
    ///
    /// # Errors
    ///
    /// [`HostError::Refused`] with the host's reason.
    pub fn set_general_registers(&self, registers: &kvm_regs) -> Result<(), HostError> {
        self.fd.set_regs(registers).map_err(|e| HostError::refused("write the registers", e))
    }

    /// General-purpose registers, RIP and RFLAGS.
    ///
    /// # Errors
    ///
    /// [`HostError::Refused`] with the host's reason.
    pub fn general_registers(&self) -> Result<kvm_regs, HostError> {
        self.fd.get_regs().map_err(|e| HostError::refused("read the registers", e))
    }

    /// Segments, descriptor tables, control registers and EFER.
    ///
    /// # Errors
    ///
    /// [`HostError::Refused`] with the host's reason.
    pub fn system_registers(&self) -> Result<kvm_sregs, HostError> {
        self.fd.get_sregs().map_err(|e| HostError::refused("read the system registers", e))
    }

    /// Writes segments, descriptor tables, control registers and EFER.
    ///
    /// # Errors
    ///
    /// [`HostError::Refused`] if they are a state the processor cannot be in.
    pub fn set_system_registers(&mut self, registers: &kvm_sregs) -> Result<(), HostError> {
        self.fd.set_sregs(registers).map_err(|e| HostError::refused("write the system registers", e))?;
        // The local APIC is not KVM's: it takes CR8 from here at every entry.
        self.fd.get_kvm_run().cr8 = registers.cr8;
        Ok(())
    }

    /// x87, SSE and AVX registers, in the standard format of the XSAVE area (Intel SDM volume 1,
    /// "XSAVE Area").
    ///
    /// # Errors
    ///
    /// [`HostError::Refused`] with the host's reason.
    pub fn extended_registers(&self) -> Result<Box<kvm_xsave>, HostError> {
        let state = self.fd.get_xsave().map_err(|e| HostError::refused("read the vector registers", e))?;
        Ok(Box::new(state))
    }

    /// Writes x87, SSE and AVX registers.
    ///
    /// # Errors
    ///
    /// [`HostError::Refused`] if a reserved bit is set.
    pub fn set_extended_registers(&self, registers: &kvm_xsave) -> Result<(), HostError> {
        // SAFETY: the structure is as large as this call reads it: no feature that needs more was
        // switched on for this process.
        unsafe { self.fd.set_xsave(registers) }
            .map_err(|e| HostError::refused("write the vector registers", e))
    }

    /// The base that `swapgs` gives GS (Intel SDM volume 4, "IA32_KERNEL_GS_BASE").
    ///
    /// # Errors
    ///
    /// [`HostError::Refused`] with the host's reason.
    pub fn kernel_gs_base(&self) -> Result<u64, HostError> {
        let mut msrs = one_msr(0)?;
        self.fd.get_msrs(&mut msrs).map_err(|e| HostError::refused("read IA32_KERNEL_GS_BASE", e))?;
        Ok(msrs.as_slice().first().map_or(0, |entry| entry.data))
    }

    /// Writes the base that `swapgs` gives GS.
    ///
    /// # Errors
    ///
    /// [`HostError::Refused`] if the address is not canonical.
    pub fn set_kernel_gs_base(&self, base: u64) -> Result<(), HostError> {
        const WHAT: &str = "write IA32_KERNEL_GS_BASE";
        match self.fd.set_msrs(&one_msr(base)?) {
            Ok(1) => Ok(()),
            // The one entry was not taken.
            Ok(_) => Err(HostError::refused(WHAT, kvm_ioctls::Error::new(libc::EINVAL))),
            Err(e) => Err(HostError::refused(WHAT, e)),
        }
    }

    /// True if the guest was given AVX (CPUID.01H:ECX bit 28).
    pub fn has_avx(&self) -> bool {
        self.cpuid.as_slice().iter().any(|entry| entry.function == 1 && entry.ecx & 1 << 28 != 0)
    }
}

/// IA32_KERNEL_GS_BASE with a value, as KVM takes it.
fn one_msr(data: u64) -> Result<Msrs, HostError> {
    const KERNEL_GS_BASE: u32 = 0xC000_0102;
    let entry = kvm_msr_entry { index: KERNEL_GS_BASE, data, ..Default::default() };
    Msrs::from_entries(&[entry])
        .map_err(|_| HostError::refused("take a list of one register", kvm_ioctls::Error::new(libc::ENOMEM)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_wanted_is_nothing_switched_on() {
        assert_eq!(GuestDebug::default().to_kvm(), kvm_guest_debug::default());
    }

    #[test]
    fn hardware_breakpoints_keep_their_slots() {
        let debug = GuestDebug {
            hardware_breakpoints: [None, Some(0x10_0000), None, Some(0x20_0000)],
            ..GuestDebug::default()
        }
        .to_kvm();
        assert_eq!(debug.control, KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_HW_BP);
        assert_eq!(debug.arch.debugreg, [0, 0x10_0000, 0, 0x20_0000, 0, 0, 0, 0x688]);
    }
}

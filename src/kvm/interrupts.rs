//! External interrupts of a vCPU whose interrupt controllers are not KVM's.
//!
//! A processor takes an interrupt only while its interrupt flag is set, outside of the shadow of `sti` and `mov ss`,
//! and while no other event waits for delivery. [`Vcpu::accepts_interrupt`] says whether that is so;
//! [`Vcpu::want_interrupt_window`] makes the vCPU exit with [`VmExit::InterruptWindow`](super::VmExit::InterruptWindow)
//! as soon as it becomes so.
//!
//! Manual: KVM_INTERRUPT, KVM_NMI and `request_interrupt_window` in api.rst; Intel SDM volume 3A, "Masking Maskable
//! Hardware Interrupts".

use std::os::fd::AsRawFd;

use super::{HostError, Vcpu};
use crate::arch::flags::RFLAGS_IF;

/// KVM_INTERRUPT in linux/kvm.h; its argument is the vector, 32 bits wide.
const INTERRUPT: libc::c_ulong = 0x4004_AE86;

impl Vcpu {
    /// True if an interrupt that is injected now is delivered before the next instruction.
    ///
    /// # Errors
    ///
    /// [`HostError::Refused`] with the host's reason.
    pub fn accepts_interrupt(&mut self) -> Result<bool, HostError> {
        if !self.interrupt_state_is_stale.get() {
            let run = self.fd.get_kvm_run();
            return Ok(run.if_flag != 0 && run.ready_for_interrupt_injection != 0);
        }
        // Registers were written since the last exit.
        if self.general_registers()?.rflags & RFLAGS_IF == 0 {
            return Ok(false);
        }
        let events =
            self.fd.get_vcpu_events().map_err(|e| HostError::refused("read the pending events", e))?;
        Ok(events.interrupt.injected == 0
            && events.interrupt.shadow == 0
            && events.exception.injected == 0
            && events.exception.pending == 0
            && events.nmi.injected == 0)
    }

    /// Injects an external interrupt with this vector: the guest's handler runs next. The vCPU must accept
    /// one ([`Self::accepts_interrupt`]).
    ///
    /// # Errors
    ///
    /// [`HostError::Refused`] with the host's reason.
    pub fn inject_interrupt(&mut self, vector: u8) -> Result<(), HostError> {
        let vector = u32::from(vector);
        // SAFETY: the descriptor is that of a vCPU, the request only reads, and its argument is one 32-bit number.
        let result = unsafe { libc::ioctl(self.fd.as_raw_fd(), INTERRUPT, &raw const vector) };
        if result != 0 {
            return Err(HostError::because("inject an interrupt", std::io::Error::last_os_error()));
        }
        // It accepts no other until the next exit says so.
        self.fd.get_kvm_run().ready_for_interrupt_injection = 0;
        self.interrupt_state_is_stale.set(false);
        Ok(())
    }

    /// Takes back an interrupt that was injected and has not been delivered; returns its vector.
    ///
    /// # Errors
    ///
    /// [`HostError::Refused`] with the host's reason.
    pub fn withdraw_interrupt(&mut self) -> Result<Option<u8>, HostError> {
        let mut events =
            self.fd.get_vcpu_events().map_err(|e| HostError::refused("read the pending events", e))?;
        if events.interrupt.injected == 0 || events.interrupt.soft != 0 {
            return Ok(None);
        }
        let vector = events.interrupt.nr;
        events.interrupt.injected = 0;
        self.fd.set_vcpu_events(&events).map_err(|e| HostError::refused("write the pending events", e))?;
        self.interrupt_state_is_stale.set(true);
        Ok(Some(vector))
    }

    /// Injects a non-maskable interrupt, which is delivered as soon as the guest is not in the handler of another.
    ///
    /// # Errors
    ///
    /// [`HostError::Refused`] with the host's reason.
    pub fn inject_nmi(&self) -> Result<(), HostError> {
        self.fd.nmi().map_err(|e| HostError::refused("inject a non-maskable interrupt", e))
    }

    /// CR8 (0 to 15) as the guest has left it.
    #[inline]
    pub fn task_priority(&mut self) -> u8 {
        self.fd.get_kvm_run().cr8 as u8 & 0xF
    }

    /// Sets CR8 (0 to 15) from the next entry on.
    pub fn set_task_priority(&mut self, value: u8) {
        self.fd.get_kvm_run().cr8 = u64::from(value);
    }

    /// Sets whether the vCPU exits as soon as it accepts an interrupt.
    #[inline]
    pub fn want_interrupt_window(&mut self, wanted: bool) {
        self.fd.get_kvm_run().request_interrupt_window = u8::from(wanted);
    }
}

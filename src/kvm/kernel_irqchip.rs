//! KVM's own interrupt controllers and interval timer: two 8259A, an IOAPIC, an 8254 with the speaker's part of port
//! 0x61, and a local APIC in each vCPU.
//!
//! [`Kvm::create_vm_with_irqchip`] creates them before any vCPU. Their ports, register pages and MSRs do not exit, and
//! `hlt` sleeps in KVM_RUN; [`Vcpu::halt_state`] says whether a vCPU that was kicked does. Devices in user space drive
//! them by [`Vm::set_irq_line`]. A tick of the 8254 that the guest has not taken when the next one comes is lost, as in
//! user space: the reinjection of KVM is switched off.
//!
//! Interrupts have these numbers (GSIs): 0 to 15 are the ISA lines, each an input of an 8259A and a pin of the IOAPIC,
//! which for line 0 is pin 2; [`FIRST_PIN_GSI`] plus the number of a pin is that pin of the IOAPIC alone.
//!
//! Manual: KVM_CREATE_IRQCHIP, KVM_CREATE_PIT2, KVM_SET_GSI_ROUTING, KVM_IRQ_LINE, KVM_REINJECT_CONTROL,
//! KVM_GET_MP_STATE in api.rst.

use std::os::fd::AsRawFd;
use std::sync::Arc;

use kvm_bindings::{
    KVM_IRQ_ROUTING_IRQCHIP, KVM_IRQCHIP_IOAPIC, KVM_IRQCHIP_PIC_MASTER, KVM_IRQCHIP_PIC_SLAVE,
    KVM_MP_STATE_HALTED, KVM_MP_STATE_INIT_RECEIVED, KVM_MP_STATE_RUNNABLE, KVM_MP_STATE_UNINITIALIZED,
    KVM_PIT_SPEAKER_DUMMY, KvmIrqRouting, kvm_irq_routing_entry, kvm_pit_config, kvm_reinject_control,
};
use kvm_ioctls::VmFd;

use super::vm::Vm;
use super::{DebugStop, HostError, Kvm, Vcpu};
use crate::arch::flags::RFLAGS_IF;
use crate::memory::GuestMemory;

mod state;

pub use state::{IoApicRegisters, KernelIrqchipState, LapicState, PicRegisters, PitRegisters};

/// The first number of an interrupt that is a pin of the IOAPIC alone.
const FIRST_PIN_GSI: u32 = 32;
/// Pins of the IOAPIC.
const PINS: u32 = 24;
/// KVM_REINJECT_CONTROL in linux/kvm.h.
const REINJECT_CONTROL: libc::c_ulong = 0xAE71;

/// What a vCPU does whose KVM_RUN was interrupted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HaltState {
    /// It executes instructions.
    Running,
    /// It waits for a start-up IPI, or for INIT before that.
    WaitForSipi,
    /// It sleeps in `hlt`.
    Halted {
        /// An interrupt can wake it: its interrupt flag is set, or a non-maskable interrupt waits.
        interruptible: bool,
    },
}

impl Kvm {
    /// Creates a virtual machine that runs in `memory`, none of which is mapped yet, with KVM's interrupt controllers
    /// and interval timer. The 8259A are masked, and `level_triggered` (one bit for each of their 16 lines) are
    /// level-triggered, as a BIOS would leave them.
    ///
    /// # Errors
    ///
    /// [`HostError::Refused`] with the host's reason.
    pub fn create_vm_with_irqchip(
        &self,
        memory: Arc<GuestMemory>,
        level_triggered: u16,
    ) -> Result<Vm, HostError> {
        let mut vm = self.create_vm_as_is(memory)?;
        vm.leave_hypercalls_alone()?;
        vm.hand_over_in_all_rings();
        vm.create_interrupt_controllers()?;
        create_timer(vm.fd())?;
        vm.fd().set_gsi_routing(&routing()?).map_err(|e| HostError::refused("route interrupts", e))?;
        vm.has_irqchip = true;
        vm.set_up_pics(level_triggered)?;
        Ok(vm)
    }
}

fn create_timer(vm: &VmFd) -> Result<(), HostError> {
    let config = kvm_pit_config { flags: KVM_PIT_SPEAKER_DUMMY, ..Default::default() };
    vm.create_pit2(config).map_err(|e| HostError::refused("create its interval timer", e))?;
    let control = kvm_reinject_control::default();
    // SAFETY: the descriptor is that of a virtual machine, the request only reads, and the structure is the one it reads.
    let result = unsafe { libc::ioctl(vm.as_raw_fd(), REINJECT_CONTROL, &raw const control) };
    if result != 0 {
        let error = std::io::Error::last_os_error();
        return Err(HostError::because("let ticks of its interval timer be lost", error));
    }
    Ok(())
}

/// Which inputs of the controllers each interrupt reaches. KVM takes the last interrupt that reaches an input for that
/// of the input: the ISA lines come last.
fn routing() -> Result<KvmIrqRouting, HostError> {
    let entry = |gsi, irqchip, pin| {
        let mut entry = kvm_irq_routing_entry { gsi, type_: KVM_IRQ_ROUTING_IRQCHIP, ..Default::default() };
        entry.u.irqchip.irqchip = irqchip;
        entry.u.irqchip.pin = pin;
        entry
    };
    let mut entries: Vec<_> =
        (0..PINS).map(|pin| entry(FIRST_PIN_GSI + pin, KVM_IRQCHIP_IOAPIC, pin)).collect();
    for line in (0..16).filter(|line| *line != 2) {
        let (pic, input) =
            if line < 8 { (KVM_IRQCHIP_PIC_MASTER, line) } else { (KVM_IRQCHIP_PIC_SLAVE, line - 8) };
        entries.push(entry(line, pic, input));
        entries.push(entry(line, KVM_IRQCHIP_IOAPIC, if line == 0 { 2 } else { line }));
    }
    KvmIrqRouting::from_entries(&entries).map_err(|_| HostError::too_long("route interrupts"))
}

impl Vm {
    /// True if the interrupt controllers are KVM's.
    pub fn has_irqchip(&self) -> bool {
        self.has_irqchip
    }

    /// ISA line `line` (0 to 15, not 2) is now at `level`.
    ///
    /// # Errors
    ///
    /// [`HostError::Refused`] with the host's reason.
    pub fn set_irq_line(&self, line: u8, level: bool) -> Result<(), HostError> {
        self.set_interrupt_line(line.into(), level)
    }

    /// Pin `pin` (0 to 23) of the IOAPIC alone is now at `level`.
    ///
    /// # Errors
    ///
    /// [`HostError::Refused`] with the host's reason.
    pub fn set_ioapic_pin(&self, pin: u8, level: bool) -> Result<(), HostError> {
        self.set_interrupt_line(FIRST_PIN_GSI + u32::from(pin), level)
    }
}

impl Vcpu {
    /// True if the local APIC is KVM's.
    #[inline]
    pub fn has_kernel_lapic(&self) -> bool {
        self.capabilities.kernel_lapic
    }

    /// Whether the vCPU sleeps in `hlt`. Only with a local APIC of KVM; without one `hlt` is an exit.
    ///
    /// # Errors
    ///
    /// [`HostError::Refused`] with the host's reason.
    pub fn halt_state(&self) -> Result<HaltState, HostError> {
        match self.running()? {
            KVM_MP_STATE_HALTED => {}
            KVM_MP_STATE_UNINITIALIZED | KVM_MP_STATE_INIT_RECEIVED => return Ok(HaltState::WaitForSipi),
            _ => return Ok(HaltState::Running),
        }
        let interruptible = self.general_registers()?.rflags & RFLAGS_IF != 0 || {
            let events =
                self.fd.get_vcpu_events().map_err(|e| HostError::refused("read the pending events", e))?;
            events.nmi.pending != 0 || events.nmi.injected != 0
        };
        Ok(HaltState::Halted { interruptible })
    }

    /// Lets the vCPU sleep at its next entry as if it had executed `hlt`, or wakes it.
    ///
    /// # Errors
    ///
    /// [`HostError::Refused`] with the host's reason.
    pub fn set_halted(&mut self, halted: bool) -> Result<(), HostError> {
        if halted {
            // The shadow of an `sti` ends with the `hlt`, and would keep interrupts from waking it.
            let mut events =
                self.fd.get_vcpu_events().map_err(|e| HostError::refused("read the pending events", e))?;
            if events.interrupt.shadow != 0 {
                events.interrupt.shadow = 0;
                self.interrupt_state_is_stale.set(true);
                self.fd
                    .set_vcpu_events(&events)
                    .map_err(|e| HostError::refused("write the pending events", e))?;
            }
        }
        self.set_running(if halted { KVM_MP_STATE_HALTED } else { KVM_MP_STATE_RUNNABLE })
    }

    /// Wakes the vCPU, which sleeps in `hlt`, and sets RIP back to the `hlt`
    /// ([`GuestDebug::halts`](super::GuestDebug::halts)).
    ///
    /// # Errors
    ///
    /// [`HostError::Refused`] with the host's reason.
    pub fn stop_at_halt(&mut self) -> Result<DebugStop, HostError> {
        self.set_halted(false)?;
        self.before_halt()
    }

    /// Gives an interrupt back that [`Self::withdraw_interrupt`] has taken: the guest's handler runs next.
    ///
    /// # Errors
    ///
    /// [`HostError::Refused`] with the host's reason.
    pub fn return_interrupt(&mut self, vector: u8) -> Result<(), HostError> {
        let mut events =
            self.fd.get_vcpu_events().map_err(|e| HostError::refused("read the pending events", e))?;
        (events.interrupt.injected, events.interrupt.nr, events.interrupt.soft) = (1, vector, 0);
        self.interrupt_state_is_stale.set(true);
        self.fd.set_vcpu_events(&events).map_err(|e| HostError::refused("write the pending events", e))
    }
}

#[cfg(test)]
#[path = "kernel_irqchip_test.rs"]
mod tests;

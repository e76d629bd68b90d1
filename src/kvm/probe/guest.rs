//! A probe guest: a small virtual machine whose guest reports by writing to unassigned addresses, and which
//! is interrupted if it does not report.

use std::sync::Arc;
use std::time::Instant;

use super::layout::{self, ProbeMode};
use super::watchdog::Watchdog;
use crate::arch::Registers;
use crate::arch::flags::CR4_OSXSAVE;
use crate::kvm::{GuestDebug, HostError, Kicker, Kvm, SlotUse, Vcpu, Vm, VmEntry, VmExit, cpuid};
use crate::memory::{GuestMemory, MemoryError, MemorySlot};

/// RAM of a probe guest.
const RAM: u64 = 2 << 20;
/// Guest-physical address where a finished guest writes its result, 32 bits.
pub(super) const DONE: u64 = 0x30_0000;
/// Handlers of exceptions and interrupts write to this address plus the vector.
pub(super) const EXCEPTION: u64 = 0x30_1000;
/// Port to which real mode, which cannot address [`DONE`], writes its result.
pub(super) const DONE_PORT: u16 = 0xE0;
/// RAM for the guest's own use; initially zero.
pub(super) const DATA: u64 = 0x1_0000;

/// Maximum number of accesses completed after an exit: a 16-byte access to a device is two.
const MOST_PARTS: usize = 8;

/// Special configuration of a guest's virtual machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum GuestSetup {
    /// Nothing.
    Plain,
    /// KVM's own interrupt controllers.
    InterruptControllers,
    /// KVM replaces hypercall instructions.
    PatchedHypercalls,
    /// RAM for this use.
    Ram(SlotUse),
}

/// Why a guest stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ProbeExit {
    /// It finished with this result.
    Done(u32),
    /// One of its handlers was entered, for this vector.
    Exception(u8),
    /// It never stops.
    Hangs,
    /// Anything else.
    Exit(VmExit),
}

/// A virtual machine with a guest of a few instructions.
pub(super) struct ProbeGuest {
    pub(super) vcpu: Vcpu,
    pub(super) vm: Vm,
    pub(super) slot: MemorySlot,
    watchdog: Watchdog,
}

impl ProbeGuest {
    /// Creates a guest with `code` in its memory, ready to run in `mode`.
    #[cold]
    #[inline(never)]
    pub(super) fn new(
        kvm: &Kvm,
        setup: GuestSetup,
        mode: ProbeMode,
        code: &[u8],
    ) -> Result<ProbeGuest, HostError> {
        let memory = Arc::new(GuestMemory::new(RAM).map_err(no_memory)?);
        memory.write(0, &layout::memory_image(code)).map_err(no_memory)?;
        let begin = Instant::now();
        let vm = match setup {
            GuestSetup::PatchedHypercalls => kvm.create_vm_as_is(memory.clone()),
            _ => kvm.create_vm(memory.clone()),
        }?;
        if setup == GuestSetup::InterruptControllers {
            vm.create_interrupt_controllers()?;
        }
        let kicker = Kicker::default();
        let vcpu = vm.create_vcpu(kvm, 0, 1, &kicker)?;
        let slot = memory.slot_at(0);
        let slot = slot.ok_or_else(|| no_memory(MemoryError::NotRam { start: 0, length: 1 }))?;
        vm.attach_as(
            slot,
            if let GuestSetup::Ram(slot_use) = setup { slot_use } else { SlotUse::ReadWrite },
        )?;
        let watchdog = Watchdog::new(kicker, begin.elapsed())
            .map_err(|e| HostError::because("be probed (no thread can be started)", e))?;
        let guest = ProbeGuest { vcpu, vm, slot, watchdog };
        let mut registers = guest.vcpu.registers()?;
        layout::enter(mode, &mut registers);
        if mode != ProbeMode::Real && guest.vcpu.offers(cpuid::XSAVE) {
            registers.system.cr4 |= CR4_OSXSAVE;
        }
        guest.vcpu.set_registers(&registers)?;
        Ok(guest)
    }

    /// Runs the guest until it reports, or stops in another way.
    pub(super) fn run(&mut self) -> Result<ProbeExit, HostError> {
        let time_limit = self.watchdog.time_limit();
        loop {
            return Ok(match self.vcpu.run(VmEntry::Resume)? {
                VmExit::Interrupted if time_limit.is_exceeded() => ProbeExit::Hangs,
                VmExit::Interrupted => continue,
                VmExit::MmioWrite { address: DONE, value, .. } => ProbeExit::Done(value as u32),
                VmExit::MmioWrite { address, .. } if (EXCEPTION..EXCEPTION + 256).contains(&address) => {
                    ProbeExit::Exception((address - EXCEPTION) as u8)
                }
                VmExit::PortOut { port: DONE_PORT, value, .. } => ProbeExit::Done(value),
                exit => ProbeExit::Exit(exit),
            });
        }
    }

    /// True if the guest's CPUID has this bit.
    pub(super) fn offers(&self, feature: cpuid::CpuidBit) -> bool {
        self.vcpu.offers(feature)
    }

    /// Uses these debug facilities from now on.
    pub(super) fn debug(&mut self, debug: GuestDebug) -> Result<(), HostError> {
        self.vcpu.set_guest_debug(debug)?;
        // The probe measures KVM itself: ignore what the vCPU has cached.
        self.vcpu.debugging.set(GuestDebug::default());
        self.vcpu.renew_guest_debug();
        Ok(())
    }

    /// The registers, after the instruction that stopped is complete.
    pub(super) fn registers(&mut self) -> Result<Registers, HostError> {
        for _ in 0..MOST_PARTS {
            if self.vcpu.complete(VmEntry::Resume)? == VmExit::Interrupted {
                break;
            }
        }
        self.vcpu.registers()
    }

    /// Writes a model-specific register.
    pub(super) fn set_msr(&self, index: u32, data: u64) -> Result<(), HostError> {
        if self.vcpu.set_msr(index, data)? {
            return Ok(());
        }
        let reason = format!("{index:#x} is not one it has");
        Err(HostError::because("write a model-specific register", reason))
    }
}

fn no_memory(error: MemoryError) -> HostError {
    HostError::because("be probed", error)
}

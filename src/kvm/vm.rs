//! `/dev/kvm` and a virtual machine: everything that is not a vCPU.

use std::io::ErrorKind;
use std::sync::Arc;

use kvm_bindings::{
    CpuId, KVM_CAP_DISABLE_QUIRKS2, KVM_CAP_EXIT_ON_EMULATION_FAILURE, KVM_CAP_SET_GUEST_DEBUG2,
    KVM_GUESTDBG_BLOCKIRQ, KVM_MAX_CPUID_ENTRIES, KVM_MEM_LOG_DIRTY_PAGES, KVM_MEM_READONLY,
    KVM_X86_QUIRK_FIX_HYPERCALL_INSN, kvm_clock_data, kvm_enable_cap, kvm_userspace_memory_region,
};
use kvm_ioctls::{Cap, IoEventAddress, SyncReg, VcpuFd, VmFd};
use tracing::{debug, info};

use super::cpu_features::CpuFeatures;
use super::cpuid;
use super::vcpu::Capabilities;
use super::{HostError, Kicker, Vcpu, probe};
use crate::memory::{GuestMemory, MemorySlot, RAM_GRANULE, SlotMapping};

/// The one version of KVM's interface that ever was stable.
const API_VERSION: i32 = 12;

/// The parts of KVM_CAP_SYNC_REGS that are used: general and system registers.
const SHARED_REGISTERS: i32 = (SyncReg::Register as i32) | (SyncReg::SystemRegister as i32);

/// The opened `/dev/kvm`.
#[derive(Debug)]
pub struct Kvm {
    kvm: kvm_ioctls::Kvm,
    cpuid: CpuId,
}

impl Kvm {
    /// Opens `/dev/kvm` and checks that it speaks the interface this program knows.
    ///
    /// # Errors
    ///
    /// [`HostError::NoDevice`], [`HostError::NotAllowed`], [`HostError::Open`], [`HostError::NotKvm`]
    /// and [`HostError::Version`], each with its remedy.
    pub fn open() -> Result<Kvm, HostError> {
        let kvm = kvm_ioctls::Kvm::new().map_err(|e| {
            let error = std::io::Error::from(e);
            match error.kind() {
                ErrorKind::NotFound => HostError::NoDevice,
                ErrorKind::PermissionDenied => HostError::NotAllowed,
                _ => HostError::Open { source: error },
            }
        })?;
        let found = kvm.get_api_version();
        if found < 0 {
            return Err(HostError::NotKvm { source: std::io::Error::last_os_error() });
        }
        if found != API_VERSION {
            return Err(HostError::Version { found });
        }
        let cpuid = cpuid::guest_cpuid(&kvm)?;
        let mut kvm = Kvm { kvm, cpuid };
        kvm.offer_bit_counts_where_they_count()?;
        Ok(kvm)
    }

    /// Takes LZCNT and TZCNT out of the guest's CPUID where they are taken for older instructions.
    fn offer_bit_counts_where_they_count(&mut self) -> Result<(), HostError> {
        if !cpuid::offers_bit_counts(&self.cpuid) {
            return Ok(());
        }
        if probe::processor_runs_ring_0() {
            debug!("lzcnt and tzcnt are the processor's own: KVM runs ring 0 on VT-x or AMD-V");
        } else if probe::BIT_COUNTS.get(self)? {
            debug!("lzcnt and tzcnt count, as a probe has shown");
        } else {
            info!(
                "the guest's CPUID does not offer LZCNT and BMI1: KVM takes lzcnt for bsr and tzcnt for bsf here"
            );
            cpuid::without_bit_counts(&mut self.cpuid);
        }
        Ok(())
    }

    /// A new virtual machine that will run in `memory`, none of which is attached yet.
    ///
    /// # Errors
    ///
    /// [`HostError::Refused`] with the host's reason.
    pub fn create_vm(&self, memory: Arc<GuestMemory>) -> Result<Vm, HostError> {
        let vm = self.create_vm_as_is(memory)?;
        vm.leave_hypercalls_alone()?;
        vm.hand_over_in_all_rings();
        Ok(vm)
    }

    /// A new virtual machine with all of KVM's habits.
    pub(super) fn create_vm_as_is(&self, memory: Arc<GuestMemory>) -> Result<Vm, HostError> {
        let vm = self.kvm.create_vm().map_err(|e| HostError::refused("create a virtual machine", e))?;
        Ok(Vm { vm, memory })
    }

    /// What KVM answers when it is asked for an extension: 0 if it has none, else what
    /// KVM_CHECK_EXTENSION in api.rst says.
    pub(super) fn extension(&self, extension: u32) -> i32 {
        self.kvm.check_extension_raw(extension.into())
    }

    /// How many vCPUs a virtual machine can have (KVM_CAP_MAX_VCPUS); at least 1.
    pub fn max_vcpus(&self) -> usize {
        self.kvm.get_max_vcpus()
    }

    /// The version of its interface.
    pub(super) fn api_version(&self) -> i32 {
        self.kvm.get_api_version()
    }

    /// The CPUID that a guest finds: what KVM makes of what it is asked for.
    ///
    /// # Errors
    ///
    /// [`HostError::Refused`] if no vCPU can be made to look at.
    pub(super) fn guests_cpuid(&self) -> Result<CpuId, HostError> {
        let memory = GuestMemory::new(RAM_GRANULE)
            .map_err(|e| HostError::because("be asked for a guest's CPUID", e))?;
        Ok(self.create_vm(Arc::new(memory))?.create_vcpu(self, 0, &Kicker::default())?.cpuid.clone())
    }

    /// The processor features that a guest finds on this host.
    ///
    /// # Errors
    ///
    /// [`HostError::Refused`] if no vCPU can be made to look at.
    pub fn features(&self) -> Result<CpuFeatures, HostError> {
        Ok(CpuFeatures::of(&self.guests_cpuid()?))
    }

    /// True if KVM knows [`super::GuestDebug::block_interrupts`].
    pub(super) fn can_block_interrupts(&self) -> bool {
        let flags = self.extension(KVM_CAP_SET_GUEST_DEBUG2);
        flags > 0 && flags as u32 & KVM_GUESTDBG_BLOCKIRQ != 0
    }

    pub(super) fn cpuid(&self) -> &CpuId {
        &self.cpuid
    }

    /// The model-specific registers that KVM lists (KVM_GET_MSR_INDEX_LIST).
    pub(super) fn listed_msrs(&self) -> Result<Vec<u32>, HostError> {
        let list = self.kvm.get_msr_index_list();
        let list = list.map_err(|e| HostError::refused("list its model-specific registers", e))?;
        Ok(list.as_slice().to_vec())
    }
}

/// A virtual machine.
#[derive(Debug)]
pub struct Vm {
    vm: VmFd,
    memory: Arc<GuestMemory>,
}

/// How KVM treats what the guest writes to a piece of RAM (KVM_SET_USER_MEMORY_REGION in api.rst).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlotUse {
    /// It is written.
    ReadWrite,
    /// It comes out as [`super::VmExit::MmioWrite`].
    ReadOnly,
    /// It is written, and the page is noted for [`Vm::take_dirty_pages`].
    Logged,
}

impl Vm {
    /// Makes a part of the machine's RAM known to KVM; with `logged`, the guest's writes to it are noted
    /// for [`Vm::take_dirty_pages`]. A part that is known already can be told again to start that or to
    /// end it. Nothing is noted of a read-only part: what is written there comes out.
    ///
    /// # Errors
    ///
    /// [`HostError::Refused`], for example when the host is out of memory.
    pub fn attach(&self, part: SlotMapping, logged: bool) -> Result<(), HostError> {
        let slot_use = match (part.read_only, logged) {
            (true, _) => SlotUse::ReadOnly,
            (false, true) => SlotUse::Logged,
            (false, false) => SlotUse::ReadWrite,
        };
        self.attach_as(part.slot, slot_use)
    }

    /// Has KVM forget a slot: from now on accesses there are those to a device.
    ///
    /// # Errors
    ///
    /// [`HostError::Refused`], for example if it does not know the slot.
    pub fn detach(&self, slot: MemorySlot) -> Result<(), HostError> {
        let region = kvm_userspace_memory_region {
            slot: slot.number,
            guest_phys_addr: slot.guest,
            ..Default::default()
        };
        // SAFETY: a slot without a size is taken away; no memory is handed to anybody.
        unsafe { self.vm.set_user_memory_region(region) }
            .map_err(|e| HostError::refused("forget a piece of guest memory", e))
    }

    /// Makes a piece of RAM, or a part of one, known to KVM for a use of one's own.
    ///
    /// # Errors
    ///
    /// [`HostError::Refused`], for example when the host is out of memory.
    pub fn attach_as(&self, slot: MemorySlot, slot_use: SlotUse) -> Result<(), HostError> {
        const WHAT: &str = "take a piece of guest memory";
        if !self.memory.has_slot(&slot) {
            let reason = format!("{slot:?} is no piece of this machine's memory");
            return Err(HostError::because(WHAT, reason));
        }
        let region = kvm_userspace_memory_region {
            slot: slot.number,
            flags: match slot_use {
                SlotUse::ReadWrite => 0,
                SlotUse::ReadOnly => KVM_MEM_READONLY,
                SlotUse::Logged => KVM_MEM_LOG_DIRTY_PAGES,
            },
            guest_phys_addr: slot.guest,
            memory_size: slot.size,
            userspace_addr: slot.host,
        };
        // SAFETY: the slot is a piece of `self.memory`, which this virtual machine and its vCPUs keep
        // mapped, and into which nobody holds references; slots of one memory never overlap.
        unsafe { self.vm.set_user_memory_region(region) }.map_err(|e| HostError::refused(WHAT, e))
    }

    /// The pages of a [`SlotUse::Logged`] piece that the guest has written to since the last call: a
    /// bit for each page of 4 KiB, the first in the lowest bit of the first word (KVM_GET_DIRTY_LOG).
    ///
    /// # Errors
    ///
    /// [`HostError::Refused`] with the host's reason.
    pub fn take_dirty_pages(&self, slot: MemorySlot) -> Result<Vec<u64>, HostError> {
        self.vm
            .get_dirty_log(slot.number, slot.size as usize)
            .map_err(|e| HostError::refused("tell which pages were written", e))
    }

    /// Gives the virtual machine KVM's own interrupt controllers; no vCPU may be there yet.
    pub(super) fn create_interrupt_controllers(&self) -> Result<(), HostError> {
        self.vm.create_irq_chip().map_err(|e| HostError::refused("create its interrupt controllers", e))
    }

    /// Sets an input line of those.
    pub(super) fn set_interrupt_line(&self, line: u32, high: bool) -> Result<(), HostError> {
        self.vm.set_irq_line(line, high).map_err(|e| HostError::refused("raise an interrupt", e))
    }

    /// Has KVM hand over the instructions it does not carry out in every ring. Otherwise it raises #UD
    /// outside of ring 0, be the instruction valid or not. Linux before 5.15 does not know this.
    fn hand_over_in_all_rings(&self) {
        let mut all_rings = kvm_enable_cap { cap: KVM_CAP_EXIT_ON_EMULATION_FAILURE, ..Default::default() };
        all_rings.args[0] = 1;
        if let Err(error) = self.vm.enable_cap(&all_rings) {
            debug!("instructions refused outside of ring 0 are not carried out here: {error}");
        }
    }

    /// Keeps KVM from replacing the guest's hypercall instructions by those of the processor's own
    /// vendor: it writes to the guest's code, and where the instruction emulator runs ring 0 it tries
    /// so for ever. With this a hypercall of the other vendor is #UD, as on the bare processor
    /// (KVM_CAP_DISABLE_QUIRKS2 in api.rst).
    fn leave_hypercalls_alone(&self) -> Result<(), HostError> {
        let quirks = self.vm.check_extension_raw(KVM_CAP_DISABLE_QUIRKS2.into());
        let quirk = KVM_X86_QUIRK_FIX_HYPERCALL_INSN;
        if quirks < 0 || quirks as u32 & quirk == 0 {
            info!("KVM replaces hypercall instructions: this kernel cannot be told not to (Linux 5.19 can)");
            return Ok(());
        }
        let capability = kvm_enable_cap {
            cap: KVM_CAP_DISABLE_QUIRKS2,
            args: [quirk.into(), 0, 0, 0],
            ..Default::default()
        };
        self.vm
            .enable_cap(&capability)
            .map_err(|e| HostError::refused("leave hypercall instructions alone", e))?;
        debug!("KVM leaves the guest's hypercall instructions alone");
        Ok(())
    }

    /// Creates the vCPU with this index, with the host's processor features. The index is the vCPU's APIC
    /// ID; each may be created once, below [`Kvm::max_vcpus`]. The bootstrap processor is 0; KVM does not
    /// hold back the others, because the local APICs, which start them, are not KVM's.
    ///
    /// `kicker` gets this vCPU, and no other one, out of the guest from now on. The vCPU runs on the calling
    /// thread.
    ///
    /// # Errors
    ///
    /// [`HostError::Refused`] with the host's reason, for example if there is a vCPU with this index.
    pub fn create_vcpu(&self, kvm: &Kvm, index: u8, kicker: &Kicker) -> Result<Vcpu, HostError> {
        let vcpu = self.create_vcpu_fd(index)?;
        let cpuid = give_features(&vcpu, &cpuid::with_apic_id(kvm.cpuid(), index))?;
        self.vcpu(vcpu, index, cpuid, kvm, kicker)
    }

    /// The same for a guest that was given `features`, maybe by another host, and that finds all of
    /// them here ([`CpuFeatures::missing_in`]). Those of any vCPU of a machine will do.
    ///
    /// # Errors
    ///
    /// As [`Self::create_vcpu`].
    pub fn create_vcpu_with_features(
        &self,
        kvm: &Kvm,
        index: u8,
        kicker: &Kicker,
        features: &CpuFeatures,
    ) -> Result<Vcpu, HostError> {
        let vcpu = self.create_vcpu_fd(index)?;
        let cpuid = try_features(&vcpu, &cpuid::with_apic_id(&features.to_kvm()?, index))?;
        self.vcpu(vcpu, index, cpuid, kvm, kicker)
    }

    fn create_vcpu_fd(&self, index: u8) -> Result<VcpuFd, HostError> {
        self.vm.create_vcpu(index.into()).map_err(|e| HostError::refused("create a vCPU", e))
    }

    fn vcpu(
        &self,
        vcpu: VcpuFd,
        index: u8,
        cpuid: CpuId,
        kvm: &Kvm,
        kicker: &Kicker,
    ) -> Result<Vcpu, HostError> {
        let batching = self.vm.check_extension(Cap::CoalescedPio);
        match (index, batching) {
            (0, true) => debug!("KVM collects the writes to busy serial ports"),
            (0, false) => {
                info!(
                    "each write to a serial port is an exit: this kernel cannot collect them (Linux 5.0 can)"
                )
            }
            // Reported for this virtual machine.
            _ => {}
        }
        let shareable = self.vm.check_extension_int(Cap::SyncRegs);
        let capabilities = Capabilities {
            batching,
            sharing: shareable & SHARED_REGISTERS == SHARED_REGISTERS,
            blocking: kvm.can_block_interrupts(),
        };
        Vcpu::new(vcpu, index, self.memory.clone(), cpuid, kicker.clone(), capabilities)
    }

    /// The clock that KVM shows to guests which ask for it, in nanoseconds (KVM_GET_CLOCK).
    ///
    /// # Errors
    ///
    /// [`HostError::Refused`] with the host's reason.
    pub fn clock(&self) -> Result<u64, HostError> {
        self.vm.get_clock().map(|clock| clock.clock).map_err(|e| HostError::refused("tell its clock", e))
    }

    /// Has that clock go on from `clock` (KVM_SET_CLOCK).
    ///
    /// # Errors
    ///
    /// [`HostError::Refused`] with the host's reason.
    pub fn set_clock(&self, clock: u64) -> Result<(), HostError> {
        let clock = kvm_clock_data { clock, ..Default::default() };
        self.vm.set_clock(&clock).map_err(|e| HostError::refused("set its clock", e))
    }

    /// Lets KVM collect byte writes to `port` instead of stopping the vCPU at each, or ends that.
    /// Collected writes come out of [`Vcpu::run`] in their order, before the exit that follows them. All
    /// vCPUs of the virtual machine share one ring of them: while writes are collected, vCPUs take turns
    /// on one thread.
    ///
    /// # Errors
    ///
    /// [`HostError::Refused`] with the host's reason.
    pub fn coalesce_port_writes(&self, port: u16, on: bool) -> Result<(), HostError> {
        let address = IoEventAddress::Pio(u64::from(port));
        if on {
            self.vm.register_coalesced_mmio(address, 1)
        } else {
            self.vm.unregister_coalesced_mmio(address, 1)
        }
        .map_err(|e| HostError::refused("collect writes to a port", e))
    }
}

/// Gives a vCPU the features `wanted`. What it has then may be more, and only KVM knows: where that
/// adds instructions that were left out for being carried out wrong, the leaf they are in is left out.
fn give_features(vcpu: &VcpuFd, wanted: &CpuId) -> Result<CpuId, HostError> {
    let given = try_features(vcpu, wanted)?;
    if !cpuid::offers_bit_counts(&given) || cpuid::offers_bit_counts(wanted) {
        return Ok(given);
    }
    let given = try_features(vcpu, &cpuid::without_leaf_7(wanted)?)?;
    if cpuid::offers_bit_counts(&given) {
        info!(
            "the guest's CPUID offers LZCNT or BMI1 although KVM does not list them: they may compute wrong"
        );
    } else {
        info!("the guest's CPUID has no leaf 7: KVM would put BMI1 there, and does not list it as working");
    }
    Ok(given)
}

fn try_features(vcpu: &VcpuFd, wanted: &CpuId) -> Result<CpuId, HostError> {
    vcpu.set_cpuid2(wanted)
        .map_err(|e| HostError::refused("give the vCPU the host's processor features", e))?;
    vcpu.get_cpuid2(KVM_MAX_CPUID_ENTRIES)
        .map_err(|e| HostError::refused("say which processor features the guest has", e))
}

#[cfg(test)]
#[path = "vm_test.rs"]
mod tests;

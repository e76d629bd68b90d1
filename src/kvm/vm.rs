//! The device of KVM and virtual machines, without their vCPUs.

use std::cell::Cell;
use std::ffi::CString;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kvm_bindings::{
    CpuId, KVM_CAP_DISABLE_QUIRKS2, KVM_CAP_EXIT_ON_EMULATION_FAILURE, KVM_CAP_SET_GUEST_DEBUG2,
    KVM_CAP_TSC_DEADLINE_TIMER, KVM_GUESTDBG_BLOCKIRQ, KVM_MAX_CPUID_ENTRIES, KVM_MEM_LOG_DIRTY_PAGES,
    KVM_MEM_READONLY, KVM_X86_QUIRK_FIX_HYPERCALL_INSN, kvm_clock_data, kvm_enable_cap,
    kvm_userspace_memory_region,
};
use kvm_ioctls::{Cap, IoEventAddress, SyncReg, VcpuFd, VmFd};
use tracing::{debug, info};

use super::cpu_features::CpuFeatures;
use super::cpuid;
use super::interrupted::retry_interrupted;
use super::msr_exits;
use super::vcpu::Capabilities;
use super::{Driver, HostError, Kicker, Vcpu, probe};
use crate::memory::{GuestMemory, MemorySlot, RAM_GRANULE, SlotMapping};

/// The only stable version of KVM's interface.
const API_VERSION: i32 = 12;

/// The parts of KVM_CAP_SYNC_REGS that are used: general and system registers.
const SHARED_REGISTERS: i32 = (SyncReg::Register as i32) | (SyncReg::SystemRegister as i32);

/// An opened device.
#[derive(Debug)]
pub struct Kvm {
    kvm: kvm_ioctls::Kvm,
    device: PathBuf,
    cpuid: CpuId,
    ring_0_on_processor: bool,
}

impl Kvm {
    /// Opens `device` and checks the version of its interface. A process uses one device: what is measured of the
    /// first one holds for all ([`probe`]).
    ///
    /// # Errors
    ///
    /// [`HostError::NoDevice`], [`HostError::NotAllowed`], [`HostError::Open`], [`HostError::NotKvm`]
    /// and [`HostError::Version`], each with its remedy.
    pub fn open(device: &Path) -> Result<Kvm, HostError> {
        let name = || device.to_owned();
        let path = CString::new(device.as_os_str().as_bytes())
            .map_err(|e| HostError::Open { device: name(), source: e.into() })?;
        let kvm = kvm_ioctls::Kvm::new_with_path(path).map_err(|e| {
            let error = std::io::Error::from(e);
            match error.kind() {
                ErrorKind::NotFound => HostError::NoDevice { device: name() },
                ErrorKind::PermissionDenied => HostError::NotAllowed { device: name() },
                _ => HostError::Open { device: name(), source: error },
            }
        })?;
        let found = kvm.get_api_version();
        if found < 0 {
            return Err(HostError::NotKvm { device: name(), source: std::io::Error::last_os_error() });
        }
        if found != API_VERSION {
            return Err(HostError::Version { device: name(), found });
        }
        let cpuid = cpuid::guest_cpuid(&kvm)?;
        let ring_0_on_processor = Driver::of(device).runs_ring_0_on_processor();
        let mut kvm = Kvm { kvm, device: name(), cpuid, ring_0_on_processor };
        kvm.offer_bit_counts_where_they_count()?;
        Ok(kvm)
    }

    /// The default device, opened.
    #[cfg(test)]
    pub(crate) fn open_default() -> Result<Kvm, HostError> {
        Kvm::open(Path::new(crate::settings::DEFAULT_DEVICE))
    }

    /// The path of the device.
    pub fn device(&self) -> &Path {
        &self.device
    }

    /// [`Driver::runs_ring_0_on_processor`] of its driver.
    #[inline]
    pub fn runs_ring_0_on_processor(&self) -> bool {
        self.ring_0_on_processor
    }

    /// Removes LZCNT and TZCNT from the guest's CPUID if they are executed as older instructions.
    fn offer_bit_counts_where_they_count(&mut self) -> Result<(), HostError> {
        if !cpuid::offers_bit_counts(&self.cpuid) {
            return Ok(());
        }
        if self.ring_0_on_processor {
            info!("lzcnt and tzcnt are the processor's own: KVM runs ring 0 on VT-x or AMD-V");
        } else if probe::BIT_COUNTS.get(self)? {
            info!("lzcnt and tzcnt count, as a probe has shown");
        } else {
            info!(
                "the guest's CPUID does not offer LZCNT and BMI1: KVM takes lzcnt for bsr and tzcnt for bsf here"
            );
            cpuid::without_bit_counts(&mut self.cpuid);
        }
        Ok(())
    }

    /// Creates a virtual machine that runs in `memory`, none of which is mapped yet.
    ///
    /// # Errors
    ///
    /// [`HostError::Refused`] with the host's reason.
    pub fn create_vm(&self, memory: Arc<GuestMemory>) -> Result<Vm, HostError> {
        let vm = self.create_vm_as_is(memory)?;
        vm.leave_hypercalls_alone()?;
        vm.hand_over_in_all_rings();
        msr_exits::enable(&vm.vm);
        Ok(vm)
    }

    /// Creates a virtual machine and discards it.
    ///
    /// # Errors
    ///
    /// [`HostError::Held`], [`HostError::SwitchedOff`] or [`HostError::Refused`]: this device can run no guests now.
    pub fn check_that_it_creates_vms(&self) -> Result<(), HostError> {
        self.new_vm_file().map(drop)
    }

    fn new_vm_file(&self) -> Result<VmFd, HostError> {
        retry_interrupted(|| self.kvm.create_vm()).map_err(|error| HostError::no_vm(&self.device, error))
    }

    /// Creates a virtual machine with KVM's default quirks.
    pub(super) fn create_vm_as_is(&self, memory: Arc<GuestMemory>) -> Result<Vm, HostError> {
        Ok(Vm { vm: self.new_vm_file()?, memory, has_irqchip: false, filters_msrs: Cell::new(false) })
    }

    /// The result of KVM_CHECK_EXTENSION (see api.rst); 0 if KVM does not have the extension.
    pub(super) fn extension(&self, extension: u32) -> i32 {
        self.kvm.check_extension_raw(extension.into())
    }

    /// Maximum number of vCPUs per virtual machine (KVM_CAP_MAX_VCPUS); at least 1.
    pub fn max_vcpus(&self) -> usize {
        self.kvm.get_max_vcpus()
    }

    /// The version of its interface.
    pub(super) fn api_version(&self) -> i32 {
        self.kvm.get_api_version()
    }

    /// The CPUID that a guest sees, which can differ from what was requested of KVM.
    ///
    /// # Errors
    ///
    /// [`HostError::Refused`] if no vCPU can be created for the query.
    pub(super) fn guests_cpuid(&self) -> Result<CpuId, HostError> {
        let memory =
            GuestMemory::new(RAM_GRANULE).map_err(|e| HostError::because("report a guest's CPUID", e))?;
        Ok(self.create_vm(Arc::new(memory))?.create_vcpu(self, 0, 1, &Kicker::default())?.cpuid.clone())
    }

    /// The processor features that a guest sees on this host.
    ///
    /// # Errors
    ///
    /// [`HostError::Refused`] if no vCPU can be created for the query.
    pub fn features(&self) -> Result<CpuFeatures, HostError> {
        Ok(CpuFeatures::of(&self.guests_cpuid()?))
    }

    /// True if KVM supports [`super::GuestDebug::block_interrupts`].
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
    /// The interrupt controllers are KVM's.
    pub(super) has_irqchip: bool,
    /// [`Self::filter_apic_msrs`] has been called.
    pub(super) filters_msrs: Cell<bool>,
}

/// How KVM handles guest writes to a memory slot (KVM_SET_USER_MEMORY_REGION in api.rst).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlotUse {
    /// Memory is written.
    ReadWrite,
    /// The write exits as [`super::VmExit::MmioWrite`].
    ReadOnly,
    /// Memory is written, and the page is logged for [`Vm::take_dirty_pages`].
    Logged,
}

impl Vm {
    pub(super) fn fd(&self) -> &VmFd {
        &self.vm
    }

    /// Maps a part of the machine's RAM; with `logged`, guest writes to it are logged for
    /// [`Vm::take_dirty_pages`]. Mapping a part again starts or stops logging. Writes to a read-only part
    /// exit and are not logged.
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

    /// Removes a slot: accesses to its addresses become device accesses.
    ///
    /// # Errors
    ///
    /// [`HostError::Refused`], for example if KVM does not know the slot.
    pub fn detach(&self, slot: MemorySlot) -> Result<(), HostError> {
        let region = kvm_userspace_memory_region {
            slot: slot.number,
            guest_phys_addr: slot.guest,
            ..Default::default()
        };
        // SAFETY: a slot of size zero is removed; no memory is passed to KVM.
        unsafe { self.vm.set_user_memory_region(region) }
            .map_err(|e| HostError::refused("forget a piece of guest memory", e))
    }

    /// Maps a block of RAM, or a part of one, for the given use.
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
        // SAFETY: the slot is a piece of `self.memory`, which this virtual machine and its vCPUs keep mapped,
        // and to which no references exist; slots of one memory never overlap.
        unsafe { self.vm.set_user_memory_region(region) }.map_err(|e| HostError::refused(WHAT, e))
    }

    /// The pages of a [`SlotUse::Logged`] piece that the guest has written to since the last call: one bit
    /// per page of 4 KiB, the first in the lowest bit of the first word (KVM_GET_DIRTY_LOG).
    ///
    /// # Errors
    ///
    /// [`HostError::Refused`] with the host's reason.
    pub fn take_dirty_pages(&self, slot: MemorySlot) -> Result<Vec<u64>, HostError> {
        self.vm
            .get_dirty_log(slot.number, slot.size as usize)
            .map_err(|e| HostError::refused("report which pages were written", e))
    }

    /// Creates KVM's own interrupt controllers; no vCPU may exist yet.
    pub(super) fn create_interrupt_controllers(&self) -> Result<(), HostError> {
        const WHAT: &str = "create its interrupt controllers";
        self.vm.create_irq_chip().map_err(|error| match error.errno() {
            libc::ENOTTY => HostError::because(WHAT, "the device has none: leave `--irqchip kernel` out"),
            _ => HostError::refused(WHAT, error),
        })
    }

    /// Sets an input line of these controllers.
    pub(super) fn set_interrupt_line(&self, line: u32, high: bool) -> Result<(), HostError> {
        self.vm.set_irq_line(line, high).map_err(|e| HostError::refused("raise an interrupt", e))
    }

    /// Makes KVM report instructions that its emulator does not support in every ring. Otherwise it raises
    /// #UD outside of ring 0, whether the instruction is valid or not. Linux before 5.15 does not support
    /// this.
    pub(super) fn hand_over_in_all_rings(&self) {
        let mut all_rings = kvm_enable_cap { cap: KVM_CAP_EXIT_ON_EMULATION_FAILURE, ..Default::default() };
        all_rings.args[0] = 1;
        if let Err(error) = self.vm.enable_cap(&all_rings) {
            debug!("instructions refused outside of ring 0 are not carried out here: {error}");
        }
    }

    /// Keeps KVM from replacing the guest's hypercall instructions by those of the processor's own vendor:
    /// KVM would write to the guest's code and, where the instruction emulator runs ring 0, retry forever. A
    /// hypercall of the other vendor then raises #UD, as on a physical processor (KVM_CAP_DISABLE_QUIRKS2 in
    /// api.rst).
    pub(super) fn leave_hypercalls_alone(&self) -> Result<(), HostError> {
        let quirks = self.vm.check_extension_raw(KVM_CAP_DISABLE_QUIRKS2.into());
        let quirk = KVM_X86_QUIRK_FIX_HYPERCALL_INSN;
        if quirks < 0 || quirks as u32 & quirk == 0 {
            info!(
                "the guest's hypercall instructions may be replaced (KVM can leave them alone since Linux 5.19)"
            );
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
        info!("KVM leaves the guest's hypercall instructions alone");
        Ok(())
    }

    /// Creates the vCPU with this index, with the host's processor features. The index is the vCPU's APIC
    /// ID; each may be created once, below [`Kvm::max_vcpus`]. The bootstrap processor is 0; KVM does not
    /// hold back the others, because the local APICs, which start them, are not KVM's.
    ///
    /// `kicker` is set to this vCPU only. The vCPU runs on the calling thread.
    ///
    /// # Errors
    ///
    /// [`HostError::Refused`] with the host's reason, for example if a vCPU with this index exists.
    pub fn create_vcpu(&self, kvm: &Kvm, index: u8, cpus: u8, kicker: &Kicker) -> Result<Vcpu, HostError> {
        let vcpu = self.create_vcpu_fd(index)?;
        // 0 where KVM cannot say it.
        let tsc_khz = vcpu.get_tsc_khz().unwrap_or(0);
        let mut wanted = cpuid::with_tsc_frequency(kvm.cpuid(), tsc_khz, cpuid::host_frequencies())?;
        if self.has_irqchip {
            let has_deadline = kvm.extension(KVM_CAP_TSC_DEADLINE_TIMER) > 0;
            cpuid::offer_kernel_lapic(&mut wanted, has_deadline);
        }
        let wanted = cpuid::with_processors(&wanted, cpus)?;
        let cpuid = give_features(&vcpu, &cpuid::with_apic_id(&wanted, index))?;
        self.vcpu(vcpu, index, cpuid, kvm, kicker)
    }

    /// As [`Self::create_vcpu`], for a guest that was given `features`, possibly by another host. All of them
    /// must exist here ([`CpuFeatures::missing_in`]). The features of any vCPU of a machine are valid.
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
        retry_interrupted(|| self.vm.create_vcpu(index.into()))
            .map_err(|e| HostError::refused("create a vCPU", e))
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
            (0, true) => info!("KVM collects the writes to busy serial ports and to the PCI address port"),
            (0, false) => {
                info!(
                    "each write to a serial port is an exit: {} does not collect them (KVM does since Linux 5.0)",
                    kvm.device().display()
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
            kernel_lapic: self.has_irqchip,
        };
        let vcpu = Vcpu::new(vcpu, index, self.memory.clone(), cpuid, kicker.clone(), capabilities)?;
        match (self.has_irqchip, index) {
            (false, _) => {}
            (true, 0) => vcpu.connect_virtual_wire()?,
            (true, _) => vcpu.announce_lapic()?,
        }
        Ok(vcpu)
    }

    /// The clock that KVM shows to guests which ask for it, in nanoseconds (KVM_GET_CLOCK); 0 if the device has none.
    ///
    /// # Errors
    ///
    /// [`HostError::Refused`] with the host's reason.
    pub fn clock(&self) -> Result<u64, HostError> {
        match self.vm.get_clock() {
            Ok(clock) => Ok(clock.clock),
            Err(error) if error.errno() == libc::ENOTTY => Ok(0),
            Err(error) => Err(HostError::refused("report its clock", error)),
        }
    }

    /// Sets that clock to `clock` (KVM_SET_CLOCK), if the device has one.
    ///
    /// # Errors
    ///
    /// [`HostError::Refused`] with the host's reason.
    pub fn set_clock(&self, clock: u64) -> Result<(), HostError> {
        let clock = kvm_clock_data { clock, ..Default::default() };
        match self.vm.set_clock(&clock) {
            Err(error) if error.errno() != libc::ENOTTY => Err(HostError::refused("set its clock", error)),
            _ => Ok(()),
        }
    }

    /// Lets KVM coalesce writes to the `size` (1, 2 or 4) ports from `port` on instead of exiting on each, or stops
    /// that: those of any width that lie within these ports. [`Vcpu::run`] returns coalesced writes in order, before
    /// the exit that follows them. All vCPUs of the virtual machine
    /// share one ring of them: while writes are coalesced, vCPUs take turns on one thread.
    ///
    /// # Errors
    ///
    /// [`HostError::Refused`] with the host's reason.
    pub fn coalesce_port_writes(&self, port: u16, size: u32, on: bool) -> Result<(), HostError> {
        let address = IoEventAddress::Pio(u64::from(port));
        if on {
            self.vm.register_coalesced_mmio(address, size)
        } else {
            self.vm.unregister_coalesced_mmio(address, size)
        }
        .map_err(|e| HostError::refused("collect writes to a port", e))
    }
}

/// Sets the features of a vCPU to `wanted`. The effective CPUID may contain more, and only KVM knows it. If
/// that adds instructions that were removed because they execute incorrectly, their leaf is removed.
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
        info!(
            "CPUID leaf 7 (AVX2, BMI1, SMEP and others) is hidden from the guest: this KVM would announce BMI1 and \
             LZCNT there, which it executes incorrectly"
        );
    }
    Ok(given)
}

fn try_features(vcpu: &VcpuFd, wanted: &CpuId) -> Result<CpuId, HostError> {
    vcpu.set_cpuid2(wanted)
        .map_err(|e| HostError::refused("give the vCPU the host's processor features", e))?;
    vcpu.get_cpuid2(KVM_MAX_CPUID_ENTRIES)
        .map_err(|e| HostError::refused("set the processor features of the guest", e))
}

#[cfg(test)]
#[path = "vm_test.rs"]
mod tests;

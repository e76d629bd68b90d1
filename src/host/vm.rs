//! `/dev/kvm` and a virtual machine: everything that is not a vCPU.

use std::io::ErrorKind;
use std::sync::Arc;

use kvm_bindings::{
    CpuId, KVM_CAP_EXIT_ON_EMULATION_FAILURE, KVM_MAX_CPUID_ENTRIES, kvm_enable_cap,
    kvm_userspace_memory_region,
};
use kvm_ioctls::{Cap, IoEventAddress, VmFd};
use tracing::debug;

use super::{HostError, Kicker, Vcpu, cpuid};
use crate::memory::{GuestMemory, Slot};

/// The one version of KVM's interface that ever was stable.
const API_VERSION: i32 = 12;

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
                _ => HostError::Open { reason: error.to_string() },
            }
        })?;
        let found = kvm.get_api_version();
        if found < 0 {
            return Err(HostError::NotKvm { reason: std::io::Error::last_os_error().to_string() });
        }
        if found != API_VERSION {
            return Err(HostError::Version { found });
        }
        let cpuid = cpuid::guest_cpuid(&kvm)?;
        Ok(Kvm { kvm, cpuid })
    }

    /// A new virtual machine that will run in `memory`, none of which is attached yet.
    ///
    /// # Errors
    ///
    /// [`HostError::Refused`] with the host's reason.
    pub fn create_vm(&self, memory: Arc<GuestMemory>) -> Result<Vm, HostError> {
        let vm = self.kvm.create_vm().map_err(|e| HostError::refused("create a virtual machine", e))?;
        // Otherwise KVM raises #UD where its emulator gives up outside of ring 0, be the instruction
        // valid or not. Linux before 5.15 does not know this.
        let mut all_rings = kvm_enable_cap { cap: KVM_CAP_EXIT_ON_EMULATION_FAILURE, ..Default::default() };
        all_rings.args[0] = 1;
        if let Err(error) = vm.enable_cap(&all_rings) {
            debug!("instructions refused outside of ring 0 are not carried out here: {error}");
        }
        Ok(Vm { vm, memory })
    }

    pub(super) fn cpuid(&self) -> &CpuId {
        &self.cpuid
    }
}

/// A virtual machine.
#[derive(Debug)]
pub struct Vm {
    vm: VmFd,
    memory: Arc<GuestMemory>,
}

impl Vm {
    /// Makes a piece of the machine's RAM known to KVM.
    ///
    /// # Errors
    ///
    /// [`HostError::Refused`], for example when the host is out of memory.
    pub fn attach(&self, slot: Slot) -> Result<(), HostError> {
        const WHAT: &str = "take a piece of guest memory";
        if !self.memory.has_slot(&slot) {
            let reason = format!("{slot:?} is no piece of this machine's memory");
            return Err(HostError::Refused { what: WHAT, reason });
        }
        let region = kvm_userspace_memory_region {
            slot: slot.number,
            flags: 0,
            guest_phys_addr: slot.guest,
            memory_size: slot.size,
            userspace_addr: slot.host,
        };
        // SAFETY: the slot is a piece of `self.memory`, which this virtual machine and its vCPUs keep
        // mapped, and into which nobody holds references; slots of one memory never overlap.
        unsafe { self.vm.set_user_memory_region(region) }.map_err(|e| HostError::refused(WHAT, e))
    }

    /// Creates vCPU 0, with the host's processor features; `kicker` aims at it from now on.
    ///
    /// # Errors
    ///
    /// [`HostError::Refused`] with the host's reason.
    pub fn create_vcpu(&self, kvm: &Kvm, kicker: &Kicker) -> Result<Vcpu, HostError> {
        let vcpu = self.vm.create_vcpu(0).map_err(|e| HostError::refused("create a vCPU", e))?;
        vcpu.set_cpuid2(kvm.cpuid())
            .map_err(|e| HostError::refused("give the vCPU the host's processor features", e))?;
        // KVM may give the guest other features than it was asked for, and says so only here.
        let cpuid = vcpu
            .get_cpuid2(KVM_MAX_CPUID_ENTRIES)
            .map_err(|e| HostError::refused("say which processor features the guest has", e))?;
        let batching = self.vm.check_extension(Cap::CoalescedPio);
        Vcpu::new(vcpu, self.memory.clone(), cpuid, kicker.clone(), batching)
    }

    /// Lets KVM collect byte writes to `port` instead of stopping the vCPU at each, or ends that.
    /// Collected writes come out of [`Vcpu::run`] in their order, before the exit that follows them.
    ///
    /// # Errors
    ///
    /// [`HostError::Refused`] with the host's reason.
    pub fn batch_writes(&self, port: u16, on: bool) -> Result<(), HostError> {
        let address = IoEventAddress::Pio(u64::from(port));
        if on {
            self.vm.register_coalesced_mmio(address, 1)
        } else {
            self.vm.unregister_coalesced_mmio(address, 1)
        }
        .map_err(|e| HostError::refused("collect writes to a port", e))
    }
}

//! What the host reports about itself: cheap to query, but not always accurate.

use std::path::Path;

use kvm_bindings::{
    KVM_CAP_DIRTY_LOG_RING, KVM_CAP_MAX_VCPUS, KVM_CAP_NR_MEMSLOTS, KVM_CAP_NR_VCPUS, KVM_CAP_SYNC_REGS,
};

use crate::kvm::{Driver, Kvm, cpuid};

/// What KVM and the kernel report about this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KvmCapabilities {
    /// Version of KVM's interface; always 12.
    pub api_version: i32,
    /// Release of the kernel; empty if it is not reported.
    pub kernel: String,
    /// The modules that give the device its processor ([`Driver::modules`]).
    pub modules: Vec<&'static str>,
    /// Vendor of the processor that a guest sees.
    pub vendor: String,
    /// The guest's CPUID offers pages of 1 GiB.
    pub huge_pages: bool,
    /// The guest's CPUID offers `lzcnt` and `tzcnt`.
    pub bit_counts: bool,
    /// Maximum number of vCPUs per machine that KVM recommends.
    pub recommended_vcpus: i32,
    /// Maximum number of vCPUs per machine that KVM accepts.
    pub most_vcpus: i32,
    /// Maximum number of memory slots per machine.
    pub memory_slots: i32,
    /// Registers can be shared, without a system call for each exit.
    pub shared_registers: bool,
    /// Entries of the dirty ring; 0 if it is not supported.
    pub dirty_ring: i32,
}

impl KvmCapabilities {
    /// Queries the host.
    pub fn of(kvm: &Kvm) -> KvmCapabilities {
        // Without a vCPU there is no guest either; other rows report the reason.
        let cpuid = kvm.guests_cpuid().unwrap_or_else(|_| kvm.cpuid().clone());
        let extension = |extension| kvm.extension(extension).max(0);
        KvmCapabilities {
            api_version: kvm.api_version(),
            kernel: kernel_release(),
            modules: Driver::of(kvm.device()).modules(),
            vendor: cpuid::vendor(&cpuid),
            huge_pages: cpuid::HUGE_PAGES.is_in(&cpuid),
            bit_counts: cpuid::offers_bit_counts(&cpuid),
            recommended_vcpus: extension(KVM_CAP_NR_VCPUS),
            most_vcpus: extension(KVM_CAP_MAX_VCPUS),
            memory_slots: extension(KVM_CAP_NR_MEMSLOTS),
            shared_registers: extension(KVM_CAP_SYNC_REGS) > 0,
            dirty_ring: extension(KVM_CAP_DIRTY_LOG_RING),
        }
    }
}

/// Release of the kernel; empty if it is not reported.
pub fn kernel_release() -> String {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease");
    release.unwrap_or_default().trim_end().to_owned()
}

/// True if the kernel has this module, loaded or built in.
pub(in crate::kvm) fn is_module_present(name: &str) -> bool {
    Path::new("/sys/module").join(name).exists()
}

//! What the host reports about itself: cheap to query, but not always accurate.

use std::sync::OnceLock;

use std::path::Path;

use kvm_bindings::{
    KVM_CAP_DIRTY_LOG_RING, KVM_CAP_MAX_VCPUS, KVM_CAP_NR_MEMSLOTS, KVM_CAP_NR_VCPUS, KVM_CAP_SYNC_REGS,
};

use crate::kvm::{Kvm, cpuid};

/// What KVM and the kernel report about this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KvmCapabilities {
    /// Version of KVM's interface; always 12.
    pub api_version: i32,
    /// Release of the kernel; empty if it is not reported.
    pub kernel: String,
    /// The modules that give KVM its processor: those of `kvm_intel`, `kvm_amd` and `kvm_pvm` that are
    /// present.
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
            modules: kvm_modules(),
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

/// True if a processor with VT-x or AMD-V is known to run the guest's ring 0. Properties that only an
/// instruction emulator gets wrong then need no measurement, and no virtual machine is created for them.
pub fn processor_runs_ring_0() -> bool {
    static RUNS: OnceLock<bool> = OnceLock::new();
    *RUNS.get_or_init(|| {
        let modules = kvm_modules();
        !modules.is_empty() && modules.iter().all(|module| matches!(*module, "kvm_intel" | "kvm_amd"))
    })
}

/// The present modules among those that can give KVM its processor: `kvm_intel`, `kvm_amd`, `kvm_pvm`.
pub fn kvm_modules() -> Vec<&'static str> {
    let known = ["kvm_intel", "kvm_amd", "kvm_pvm"];
    known.into_iter().filter(|name| is_module_present(name)).collect()
}

/// True if the kernel has this module, loaded or built in.
pub(in crate::kvm) fn is_module_present(name: &str) -> bool {
    Path::new("/sys/module").join(name).exists()
}

//! What the host says about itself: free to ask, and to be taken with care.

use std::path::Path;

use kvm_bindings::{
    KVM_CAP_DIRTY_LOG_RING, KVM_CAP_MAX_VCPUS, KVM_CAP_NR_MEMSLOTS, KVM_CAP_NR_VCPUS, KVM_CAP_SYNC_REGS,
};

use crate::kvm::{Kvm, cpuid};

/// What KVM and the kernel say about this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KvmCapabilities {
    /// Version of KVM's interface; always 12.
    pub api_version: i32,
    /// Release of the kernel, empty if it does not tell.
    pub kernel: String,
    /// The modules that give KVM its processor: of `kvm_intel`, `kvm_amd` and `kvm_pvm` those that are
    /// there.
    pub modules: Vec<&'static str>,
    /// Maker of the processor that a guest finds.
    pub vendor: String,
    /// The guest's CPUID offers pages of 1 GiB.
    pub huge_pages: bool,
    /// The guest's CPUID offers `lzcnt` and `tzcnt`.
    pub bit_counts: bool,
    /// vCPUs in one machine that KVM recommends at most.
    pub recommended_vcpus: i32,
    /// vCPUs in one machine that KVM accepts at most.
    pub most_vcpus: i32,
    /// Pieces of memory in one machine.
    pub memory_slots: i32,
    /// Registers can be shared, without a call for each exit.
    pub shared_registers: bool,
    /// Entries of the ring of written pages; 0 if there is none.
    pub dirty_ring: i32,
}

impl KvmCapabilities {
    /// Asks.
    pub fn of(kvm: &Kvm) -> KvmCapabilities {
        // Where no vCPU can be made there is no guest either; other rows tell why.
        let cpuid = kvm.guests_cpuid().unwrap_or_else(|_| kvm.cpuid().clone());
        let extension = |extension| kvm.extension(extension).max(0);
        KvmCapabilities {
            api_version: kvm.api_version(),
            kernel: kernel(),
            modules: modules(),
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

/// Release of the kernel, empty if it does not tell.
fn kernel() -> String {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease");
    release.unwrap_or_default().trim_end().to_owned()
}

/// True if the guest's ring 0 is surely run by a processor with VT-x or AMD-V: then nothing needs to be
/// measured that only an instruction emulator gets wrong, and no virtual machine made for it.
pub fn processor_runs_ring_0() -> bool {
    let modules = modules();
    !modules.is_empty() && modules.iter().all(|module| matches!(*module, "kvm_intel" | "kvm_amd"))
}

/// Those of the modules that can give KVM its processor which are there.
fn modules() -> Vec<&'static str> {
    let known = ["kvm_intel", "kvm_amd", "kvm_pvm"];
    known.into_iter().filter(|name| Path::new("/sys/module").join(name).exists()).collect()
}

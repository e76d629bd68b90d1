//! Model-specific registers that are not KVM's: their accesses exit.
//!
//! The local APICs are the machine's, and with them IA32_APIC_BASE, IA32_TSC_DEADLINE and the registers of x2APIC
//! mode. A filter makes the first two exit. KVM cannot filter the others (api.rst); without a local APIC of its own it
//! takes each access to them for invalid, and reports it as such.
//!
//! Installing the filter waits until the kernel's other processors have noticed it: a tenth of a millisecond, or several
//! milliseconds on a busy host, of a start that takes two. So it is installed when a guest begins to use its local APIC
//! ([`Vm::filter_apic_msrs`]). Until then KVM keeps IA32_APIC_BASE, which [`Vcpu::apic_base`] reads, and the deadline
//! is as good as not there: it counts only in a mode of the timer that the guest has to choose first.
//!
//! Manual: KVM_X86_SET_MSR_FILTER, KVM_CAP_X86_USER_SPACE_MSR, KVM_EXIT_X86_RDMSR in api.rst.

use kvm_bindings::{
    KVM_CAP_X86_USER_SPACE_MSR, KVM_MSR_EXIT_REASON_FILTER, KVM_MSR_EXIT_REASON_INVAL, kvm_enable_cap,
};
use kvm_ioctls::{MsrFilterDefaultAction, MsrFilterRange, MsrFilterRangeFlags, VmFd};
use tracing::info;

use super::Vcpu;
use super::probe::is_module_present;
use super::vm::Vm;

/// IA32_APIC_BASE and IA32_TSC_DEADLINE (Intel SDM volume 4).
const FILTERED: [u32; 2] = [0x1B, 0x6E0];

/// True if KVM can report accesses to model-specific registers (Linux 5.10).
pub(super) fn are_possible(kvm: &kvm_ioctls::Kvm) -> bool {
    kvm.check_extension_raw(KVM_CAP_X86_USER_SPACE_MSR.into()) > 0
}

/// True if writes of IA32_TSC_DEADLINE exit. With VT-x some kernels (6.1 is one) handle them before they look at the
/// filter, for a local APIC that is not there: the write is lost.
pub(super) fn include_tsc_deadline() -> bool {
    !is_module_present("kvm_intel")
}

/// Makes accesses exit that KVM takes for invalid or that the filter names, where that is possible.
pub(super) fn enable(vm: &VmFd) {
    let reasons = KVM_MSR_EXIT_REASON_FILTER | KVM_MSR_EXIT_REASON_INVAL;
    let capability = kvm_enable_cap {
        cap: KVM_CAP_X86_USER_SPACE_MSR,
        args: [reasons.into(), 0, 0, 0],
        ..Default::default()
    };
    if let Err(error) = vm.enable_cap(&capability) {
        info!("the guest's local APIC has no x2APIC mode and no TSC deadline: {error}");
    }
}

impl Vm {
    /// Makes accesses to IA32_APIC_BASE and IA32_TSC_DEADLINE exit from now on, where the interrupt controllers are not
    /// KVM's. True the first time: until then the guest has accessed KVM's IA32_APIC_BASE.
    #[inline]
    pub fn filter_apic_msrs(&self) -> bool {
        !self.filters_msrs.get() && self.install_filter()
    }

    #[cold]
    fn install_filter(&self) -> bool {
        self.filters_msrs.set(true);
        if self.has_irqchip {
            return false;
        }
        let denied = [0u8];
        let ranges = FILTERED.map(|base| MsrFilterRange {
            flags: MsrFilterRangeFlags::READ | MsrFilterRangeFlags::WRITE,
            base,
            msr_count: 1,
            bitmap: &denied,
        });
        if let Err(error) = self.fd().set_msr_filter(MsrFilterDefaultAction::ALLOW, &ranges) {
            info!("the guest's local APIC has no TSC deadline: {error}");
        }
        true
    }
}

impl Vcpu {
    /// IA32_APIC_BASE as KVM has it, at the last exit.
    pub fn apic_base(&mut self) -> u64 {
        self.fd.get_kvm_run().apic_base
    }
}

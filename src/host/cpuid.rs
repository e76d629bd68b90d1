//! The CPUID leaves a guest sees: the host's, less what this machine does not have.

use kvm_bindings::{CpuId, KVM_MAX_CPUID_ENTRIES};

use super::HostError;

/// CPUID.01H:ECX bit 21: x2APIC. The machine's local APIC is reached through memory only.
const X2APIC: u32 = 1 << 21;
/// CPUID.01H:ECX bit 24: local APIC timer by TSC deadline, which needs KVM's own local APIC.
const TSC_DEADLINE: u32 = 1 << 24;
/// CPUID.01H:EBX bits 31-24: initial APIC ID.
const INITIAL_APIC_ID: u32 = 0xFF << 24;

/// What vCPU 0 of a single-processor machine gets on this host.
pub(super) fn guest_cpuid(kvm: &kvm_ioctls::Kvm) -> Result<CpuId, HostError> {
    let mut cpuid = kvm
        .get_supported_cpuid(KVM_MAX_CPUID_ENTRIES)
        .map_err(|e| HostError::refused("list the processor's features", e))?;
    for entry in cpuid.as_mut_slice() {
        match entry.function {
            0x1 => {
                entry.ecx &= !(X2APIC | TSC_DEADLINE);
                entry.ebx &= !INITIAL_APIC_ID;
            }
            // Extended topology: EDX is the x2APIC ID of the calling processor.
            0xB | 0x1F => entry.edx = 0,
            _ => {}
        }
    }
    Ok(cpuid)
}

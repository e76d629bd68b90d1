//! The CPUID leaves that a guest sees: the host's, without features that this machine does not have and
//! features that this host implements incorrectly.
//!
//! Manual: Intel SDM volume 2A, "CPUID"; AMD APM volume 3, "CPUID"; KVM_GET_SUPPORTED_CPUID in api.rst.

use kvm_bindings::{CpuId, KVM_MAX_CPUID_ENTRIES, kvm_cpuid_entry2};

use super::HostError;

/// CPUID.01H:ECX bit 21: x2APIC. The machine's local APIC is reached through memory only.
const X2APIC: u32 = 1 << 21;
/// CPUID.01H:ECX bit 24: local APIC timer by TSC deadline, which needs KVM's own local APIC.
const TSC_DEADLINE: u32 = 1 << 24;
/// CPUID.01H:EBX: shift of the initial APIC ID, 8 bits.
const INITIAL_APIC_ID: u32 = 24;

/// A CPUID output register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Ebx,
    Ecx,
    Edx,
}

/// A CPUID feature bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CpuidBit {
    leaf: u32,
    answer: Answer,
    bit: u32,
}

impl CpuidBit {
    const fn new(leaf: u32, answer: Answer, bit: u32) -> CpuidBit {
        CpuidBit { leaf, answer, bit }
    }

    /// The register of `entry` that holds the bit, if it is the right entry.
    fn register(self, entry: &mut kvm_cpuid_entry2) -> Option<&mut u32> {
        (entry.function == self.leaf && entry.index == 0).then_some(match self.answer {
            Answer::Ebx => &mut entry.ebx,
            Answer::Ecx => &mut entry.ecx,
            Answer::Edx => &mut entry.edx,
        })
    }

    /// True if the bit is set in `cpuid`.
    pub(super) fn is_in(self, cpuid: &CpuId) -> bool {
        cpuid.as_slice().iter().any(|entry| {
            let mut entry = *entry;
            self.register(&mut entry).is_some_and(|register| *register >> self.bit & 1 == 1)
        })
    }

    /// Clears the bit in `cpuid`.
    fn remove_from(self, cpuid: &mut CpuId) {
        for entry in cpuid.as_mut_slice() {
            if let Some(register) = self.register(entry) {
                *register &= !(1 << self.bit);
            }
        }
    }
}

/// CMPXCHG16B.
pub(super) const CMPXCHG16B: CpuidBit = CpuidBit::new(1, Answer::Ecx, 13);
/// CRC32, among others.
pub(super) const SSE4_2: CpuidBit = CpuidBit::new(1, Answer::Ecx, 20);
/// MOVBE.
pub(super) const MOVBE: CpuidBit = CpuidBit::new(1, Answer::Ecx, 22);
/// POPCNT.
pub(super) const POPCNT: CpuidBit = CpuidBit::new(1, Answer::Ecx, 23);
/// XSAVE, XGETBV, and the bit CR4.OSXSAVE.
pub(super) const XSAVE: CpuidBit = CpuidBit::new(1, Answer::Ecx, 26);
/// AVX.
pub(super) const AVX: CpuidBit = CpuidBit::new(1, Answer::Ecx, 28);
/// RDRAND.
pub(super) const RDRAND: CpuidBit = CpuidBit::new(1, Answer::Ecx, 30);
/// TZCNT, ANDN and others.
pub(super) const BMI1: CpuidBit = CpuidBit::new(7, Answer::Ebx, 3);
/// CLAC and STAC.
pub(super) const SMAP: CpuidBit = CpuidBit::new(7, Answer::Ebx, 20);
/// LZCNT; AMD calls it ABM.
pub(super) const LZCNT: CpuidBit = CpuidBit::new(0x8000_0001, Answer::Ecx, 5);
/// Pages of 1 GiB.
pub(super) const HUGE_PAGES: CpuidBit = CpuidBit::new(0x8000_0001, Answer::Edx, 26);
/// RDTSCP.
pub(super) const RDTSCP: CpuidBit = CpuidBit::new(0x8000_0001, Answer::Edx, 27);

/// The CPUID that every vCPU gets on this host, apart from its APIC ID ([`with_apic_id`]).
pub(super) fn guest_cpuid(kvm: &kvm_ioctls::Kvm) -> Result<CpuId, HostError> {
    let mut cpuid = kvm
        .get_supported_cpuid(KVM_MAX_CPUID_ENTRIES)
        .map_err(|e| HostError::refused("list the processor's features", e))?;
    for entry in cpuid.as_mut_slice() {
        if entry.function == 0x1 {
            entry.ecx &= !(X2APIC | TSC_DEADLINE);
        }
    }
    // KVM reports the APIC ID of the host processor that executed the call.
    Ok(with_apic_id(&cpuid, 0))
}

/// `cpuid` as the vCPU with this APIC ID reads it.
///
/// Manual: Intel SDM volume 2A, "CPUID", leaves 01H, 0BH and 1FH; AMD APM volume 3, "Extended APIC ID".
pub(super) fn with_apic_id(cpuid: &CpuId, id: u8) -> CpuId {
    let id = u32::from(id);
    let mut cpuid = cpuid.clone();
    for entry in cpuid.as_mut_slice() {
        match entry.function {
            0x1 => entry.ebx = entry.ebx & !(0xFF << INITIAL_APIC_ID) | id << INITIAL_APIC_ID,
            0xB | 0x1F => entry.edx = id,
            0x8000_001E => entry.eax = id,
            _ => {}
        }
    }
    cpuid
}

/// True if `cpuid` offers LZCNT or TZCNT, which an instruction emulator may execute as older instructions.
pub(super) fn offers_bit_counts(cpuid: &CpuId) -> bool {
    LZCNT.is_in(cpuid) || BMI1.is_in(cpuid)
}

/// Clears LZCNT and TZCNT in `cpuid`.
pub(super) fn without_bit_counts(cpuid: &mut CpuId) {
    LZCNT.remove_from(cpuid);
    BMI1.remove_from(cpuid);
}

/// `cpuid` without the leaf that contains BMI1: the guest reads zeros there.
pub(super) fn without_leaf_7(cpuid: &CpuId) -> Result<CpuId, HostError> {
    let rest: Vec<_> = cpuid.as_slice().iter().filter(|entry| entry.function != 7).copied().collect();
    CpuId::from_entries(&rest).map_err(|_| HostError::too_long("take a list of processor features"))
}

/// The [`vendor`] string of an Intel processor.
pub(super) const INTEL: &str = "GenuineIntel";

/// The vendor string: 12 letters of leaf 0.
pub(super) fn vendor(cpuid: &CpuId) -> String {
    let leaf = cpuid.as_slice().iter().find(|entry| entry.function == 0);
    let letters = leaf.map(|leaf| [leaf.ebx, leaf.edx, leaf.ecx].map(u32::to_le_bytes).concat());
    String::from_utf8_lossy(&letters.unwrap_or_default()).into_owned()
}

#[cfg(test)]
#[path = "cpuid_test.rs"]
mod tests;

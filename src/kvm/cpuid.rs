//! The CPUID leaves that a guest sees: the host's, without features that this machine does not have and
//! features that this host implements incorrectly.
//!
//! Manual: Intel SDM volume 2A, "CPUID"; AMD APM volume 3, "CPUID"; KVM_GET_SUPPORTED_CPUID in api.rst.

use kvm_bindings::{CpuId, KVM_MAX_CPUID_ENTRIES, kvm_cpuid_entry2};

use super::{HostError, msr_exits};

/// CPUID.01H:ECX bit 21: x2APIC.
const X2APIC: u32 = 1 << 21;
/// CPUID.01H:ECX bit 24: local APIC timer by TSC deadline.
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
    // They are the machine's own, whether KVM lists them or not.
    let works = msr_exits::are_possible(kvm);
    for entry in cpuid.as_mut_slice() {
        if entry.function == 0x1 {
            entry.ecx &= !(X2APIC | TSC_DEADLINE);
            entry.ecx |= if works { X2APIC } else { 0 };
            entry.ecx |= if works && msr_exits::include_tsc_deadline() { TSC_DEADLINE } else { 0 };
        }
    }
    // KVM reports the APIC ID of the host processor that executed the call.
    Ok(with_apic_id(&cpuid, 0))
}

/// Offers what a local APIC of KVM has: x2APIC mode, and its timer by TSC deadline if `has_deadline`.
pub(super) fn offer_kernel_lapic(cpuid: &mut CpuId, has_deadline: bool) {
    for entry in cpuid.as_mut_slice().iter_mut().filter(|entry| entry.function == 0x1) {
        entry.ecx = entry.ecx & !TSC_DEADLINE | X2APIC | if has_deadline { TSC_DEADLINE } else { 0 };
    }
}

/// Leaf whose EAX is the highest basic leaf.
const HIGHEST_BASIC: u32 = 0;
/// TSC and core crystal clock.
const CRYSTAL_CLOCK: u32 = 0x15;
/// Processor frequencies.
const FREQUENCIES: u32 = 0x16;
/// Leaf whose EAX is the highest leaf of the hypervisor.
const HIGHEST_OF_HYPERVISOR: u32 = 0x4000_0000;
/// TSC frequency in kHz: a leaf that hypervisors have agreed on.
const TIMING: u32 = 0x4000_0010;
/// Frequency of the timers of the local APICs, before their divider.
const APIC_TIMER_KHZ: u32 = 1_000_000;
/// Frequency of the clock that leaf 15H relates the TSC to, in Hz. It is a number of kHz and MHz, so that a guest
/// that divides first gets the right frequency.
const CRYSTAL_HZ: u32 = 1_000_000;

/// `cpuid` with the frequency of the time stamp counter: leaf 15H, leaf 40000010H if there are leaves of a
/// hypervisor, and leaf 16H, which has other frequencies, as the host has it (`host_frequencies`: EAX to EDX, zero
/// if it has none). The highest leaves follow. `khz` 0 is a frequency that KVM does not know: nothing changes.
///
/// Manual: Intel SDM volume 2A, "CPUID", leaves 15H and 16H.
pub(super) fn with_tsc_frequency(
    cpuid: &CpuId,
    khz: u32,
    host_frequencies: [u32; 4],
) -> Result<CpuId, HostError> {
    if khz == 0 {
        return Ok(cpuid.clone());
    }
    let crystal_khz = CRYSTAL_HZ / 1000;
    let divisor = greatest_common_divisor(khz, crystal_khz);
    let mut leaves = vec![(CRYSTAL_CLOCK, [crystal_khz / divisor, khz / divisor, CRYSTAL_HZ, 0])];
    if host_frequencies[0] != 0 {
        leaves.push((FREQUENCIES, host_frequencies));
    }
    if cpuid.as_slice().iter().any(|entry| entry.function == HIGHEST_OF_HYPERVISOR) {
        leaves.push((TIMING, [khz, APIC_TIMER_KHZ, 0, 0]));
    }
    let mut entries: Vec<kvm_cpuid_entry2> = cpuid
        .as_slice()
        .iter()
        .filter(|entry| leaves.iter().all(|(leaf, _)| entry.function != *leaf))
        .copied()
        .collect();
    for (function, [eax, ebx, ecx, edx]) in leaves {
        let highest = if function < HIGHEST_OF_HYPERVISOR { HIGHEST_BASIC } else { HIGHEST_OF_HYPERVISOR };
        for entry in entries.iter_mut().filter(|entry| entry.function == highest) {
            entry.eax = entry.eax.max(function);
        }
        entries.push(kvm_cpuid_entry2 { function, eax, ebx, ecx, edx, ..Default::default() });
    }
    CpuId::from_entries(&entries).map_err(|_| HostError::too_long("take a list of processor features"))
}

/// The frequency of the time stamp counter in kHz that `cpuid` tells a guest; `None` if it tells none, or if another
/// program has made leaf 15H.
pub(super) fn tsc_frequency(cpuid: &CpuId) -> Option<u32> {
    let leaf = cpuid.as_slice().iter().find(|entry| entry.function == CRYSTAL_CLOCK)?;
    if leaf.ecx != CRYSTAL_HZ || leaf.eax == 0 {
        return None;
    }
    let hertz = u64::from(leaf.ecx) * u64::from(leaf.ebx) / u64::from(leaf.eax);
    u32::try_from(hertz / 1000).ok().filter(|khz| *khz != 0)
}

/// Leaf 16H of the host's processor; zeros if it has none.
pub(super) fn host_frequencies() -> [u32; 4] {
    use std::arch::x86_64::__cpuid;
    if __cpuid(HIGHEST_BASIC).eax < FREQUENCIES {
        return [0; 4];
    }
    let leaf = __cpuid(FREQUENCIES);
    // The upper halves, and EDX, are reserved.
    [leaf.eax, leaf.ebx, leaf.ecx, 0].map(|frequency| frequency & 0xFFFF)
}

fn greatest_common_divisor(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
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

/// CPUID.01H:EBX: shift of the number of APIC IDs of the package, 8 bits.
const APIC_IDS: u32 = 16;
/// CPUID.01H:EDX bit 28: the package has room for several processors.
const MULTI_THREADING: u32 = 1 << 28;
/// CPUID.80000001H:ECX bit 1: several processors of the package are cores.
const CORE_MULTI_PROCESSING: u32 = 1 << 1;
/// The level of leaf 0BH that describes threads, and the one that describes cores (ECX bits 15 to 8).
const LEVELS: [u32; 2] = [1, 2];

/// `cpuid` of a machine with `cpus` processors: the cores of one package, each with one thread and caches of its own.
/// A machine with one keeps what `cpuid` says.
///
/// Manual: Intel SDM volume 2A, "CPUID", leaves 01H, 04H and 0BH, and volume 3A, "Hierarchical Mapping of Shared
/// Resources"; AMD APM volume 3, leaves 80000008H and 8000001EH.
pub(super) fn with_processors(cpuid: &CpuId, cpus: u8) -> Result<CpuId, HostError> {
    if cpus < 2 {
        return Ok(cpuid.clone());
    }
    let cpus = u32::from(cpus);
    let ids = cpus.next_power_of_two();
    let mut entries: Vec<kvm_cpuid_entry2> =
        cpuid.as_slice().iter().filter(|entry| !matches!(entry.function, 0xB | 0x1F)).copied().collect();
    let flags = kvm_bindings::KVM_CPUID_FLAG_SIGNIFCANT_INDEX;
    for entry in &mut entries {
        match entry.function {
            HIGHEST_BASIC => entry.eax = entry.eax.max(0xB),
            0x1 => {
                entry.ebx = entry.ebx & !(0xFF << APIC_IDS) | ids << APIC_IDS;
                entry.edx |= MULTI_THREADING;
            }
            // No type of cache: the list ends.
            0x4 if entry.eax & 0x1F != 0 => entry.eax = entry.eax & 0x3FFF | (ids - 1) << 26,
            0x8000_0001 => entry.ecx |= CORE_MULTI_PROCESSING,
            0x8000_0008 => entry.ecx = entry.ecx & !0xF0FF | ids.trailing_zeros() << 12 | (cpus - 1),
            0x8000_001E => (entry.ebx, entry.ecx) = (0, 0),
            _ => {}
        }
    }
    let levels = [(0, 1), (ids.trailing_zeros(), cpus)];
    for ((index, level), (shift, processors)) in (0..).zip(LEVELS).zip(levels) {
        entries.push(kvm_cpuid_entry2 {
            function: 0xB,
            index,
            flags,
            eax: shift,
            ebx: processors,
            ecx: index | level << 8,
            ..Default::default()
        });
    }
    entries.push(kvm_cpuid_entry2 { function: 0xB, index: 2, flags, ecx: 2, ..Default::default() });
    CpuId::from_entries(&entries).map_err(|_| HostError::too_long("take a list of processor features"))
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

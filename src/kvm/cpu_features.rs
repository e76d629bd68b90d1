//! Checks whether a guest created with the CPU features of one host can run on another host.
//!
//! Manual: Intel SDM volume 2A, "CPUID"; AMD APM volume 3, "CPUID".

use kvm_bindings::{CpuId, kvm_cpuid_entry2};
use serde::{Deserialize, Serialize};

use super::HostError;

/// Maximum number of CPUID leaves accepted; KVM itself accepts 256.
const MOST_LEAVES: usize = 256;

/// The CPUID leaves that a guest sees: leaf, subleaf, KVM flags, EAX, EBX, ECX, EDX.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CpuFeatures(Vec<[u32; 7]>);

/// The registers of leaves that consist of features: leaf, subleaf, and which of EAX, EBX, ECX, EDX.
const FEATURE_WORDS: [(u32, u32, usize); 26] = [
    (0x1, 0, 2),
    (0x1, 0, 3),
    (0x6, 0, 0),
    (0x7, 0, 1),
    (0x7, 0, 2),
    (0x7, 0, 3),
    (0x7, 1, 0),
    (0x7, 1, 1),
    (0x7, 1, 2),
    (0x7, 1, 3),
    (0x7, 2, 3),
    (0xD, 0, 0),
    (0xD, 0, 3),
    (0xD, 1, 0),
    (0xD, 1, 2),
    (0xD, 1, 3),
    (0x4000_0001, 0, 0),
    (0x8000_0001, 0, 2),
    (0x8000_0001, 0, 3),
    (0x8000_0007, 0, 3),
    (0x8000_0008, 0, 1),
    (0x8000_000A, 0, 3),
    (0x8000_001F, 0, 0),
    (0x8000_0021, 0, 0),
    (0x8000_0021, 0, 1),
    (0x8000_0021, 0, 2),
];

/// Bits among those that reflect vCPU state (OSXSAVE, OSPKE and APIC), the number of processors, or whose local APICs
/// they have (TSC deadline).
const FOLLOW: [(u32, usize, u32); 6] = [
    (0x1, 2, 1 << 27),
    (0x7, 2, 1 << 4),
    (0x1, 3, 1 << 9),
    (0x1, 3, 1 << 28),
    (0x8000_0001, 2, 1 << 1),
    (0x1, 2, 1 << 24),
];

/// Features with a well-known name.
const NAMES: [(u32, usize, u32, &str); 27] = [
    (0x1, 2, 0, "SSE3"),
    (0x1, 2, 1, "PCLMULQDQ"),
    (0x1, 2, 9, "SSSE3"),
    (0x1, 2, 12, "FMA"),
    (0x1, 2, 13, "CMPXCHG16B"),
    (0x1, 2, 19, "SSE4.1"),
    (0x1, 2, 20, "SSE4.2"),
    (0x1, 2, 22, "MOVBE"),
    (0x1, 2, 23, "POPCNT"),
    (0x1, 2, 25, "AES"),
    (0x1, 2, 26, "XSAVE"),
    (0x1, 2, 28, "AVX"),
    (0x1, 2, 29, "F16C"),
    (0x1, 2, 30, "RDRAND"),
    (0x7, 1, 0, "FSGSBASE"),
    (0x7, 1, 3, "BMI1"),
    (0x7, 1, 5, "AVX2"),
    (0x7, 1, 7, "SMEP"),
    (0x7, 1, 8, "BMI2"),
    (0x7, 1, 10, "INVPCID"),
    (0x7, 1, 16, "AVX512F"),
    (0x7, 1, 20, "SMAP"),
    (0x7, 1, 29, "SHA"),
    (0x8000_0001, 2, 5, "LZCNT"),
    (0x8000_0001, 3, 20, "NX"),
    (0x8000_0001, 3, 26, "1-GiB pages"),
    (0x8000_0001, 3, 27, "RDTSCP"),
];

impl CpuFeatures {
    pub(super) fn of(cpuid: &CpuId) -> CpuFeatures {
        let leaf = |e: &kvm_cpuid_entry2| [e.function, e.index, e.flags, e.eax, e.ebx, e.ecx, e.edx];
        CpuFeatures(cpuid.as_slice().iter().map(leaf).collect())
    }

    /// As KVM takes them.
    pub(super) fn to_kvm(&self) -> Result<CpuId, HostError> {
        let entries: Vec<kvm_cpuid_entry2> = self
            .0
            .iter()
            .map(|[function, index, flags, eax, ebx, ecx, edx]| kvm_cpuid_entry2 {
                function: *function,
                index: *index,
                flags: *flags,
                eax: *eax,
                ebx: *ebx,
                ecx: *ecx,
                edx: *edx,
                ..Default::default()
            })
            .collect();
        CpuId::from_entries(&entries)
            .map_err(|_| HostError::too_long("take the processor features of a saved guest"))
    }

    /// True if the number of leaves is within the maximum.
    pub fn is_valid(&self) -> bool {
        !self.0.is_empty() && self.0.len() <= MOST_LEAVES
    }

    /// The vendor string of CPUID leaf 0.
    pub fn vendor(&self) -> String {
        let [ebx, ecx, edx] = [4, 5, 6].map(|at| self.leaf(0, 0).map_or(0, |leaf| leaf[at]));
        let bytes: Vec<u8> = [ebx, edx, ecx].into_iter().flat_map(u32::to_le_bytes).collect();
        bytes.iter().map(|byte| if byte.is_ascii_graphic() { char::from(*byte) } else { '?' }).collect()
    }

    /// The features of this set that `here` lacks: their names, or their positions in CPUID.
    pub fn missing_in(&self, here: &CpuFeatures) -> Vec<String> {
        let mut missing = Vec::new();
        for (leaf, subleaf, register) in FEATURE_WORDS {
            let word =
                |features: &CpuFeatures| features.leaf(leaf, subleaf).map_or(0, |leaf| leaf[3 + register]);
            let follow = FOLLOW.iter().filter(|(l, r, _)| (*l, *r) == (leaf, register));
            let follow = follow.fold(0, |bits, (_, _, bit)| bits | bit);
            let lacking = word(self) & !word(here) & !follow;
            missing.extend(
                (0..32).filter(|bit| lacking >> bit & 1 == 1).map(|bit| name(leaf, subleaf, register, bit)),
            );
        }
        missing
    }

    fn leaf(&self, leaf: u32, subleaf: u32) -> Option<&[u32; 7]> {
        self.0.iter().find(|entry| (entry[0], entry[1]) == (leaf, subleaf))
    }
}

fn name(leaf: u32, subleaf: u32, register: usize, bit: u32) -> String {
    let known = NAMES.iter().find(|(l, r, b, _)| (*l, *r, *b, 0) == (leaf, register, bit, subleaf));
    match known {
        Some((_, _, _, name)) => (*name).to_owned(),
        None => {
            let register = ["EAX", "EBX", "ECX", "EDX"][register & 3];
            format!("CPUID.{leaf:02X}H.{subleaf}:{register} bit {bit}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(leaf: u32, words: [u32; 4]) -> CpuFeatures {
        let [eax, ebx, ecx, edx] = words;
        CpuFeatures(vec![[leaf, 0, 0, eax, ebx, ecx, edx]])
    }

    #[test]
    fn only_features_the_host_lacks_are_listed_as_missing() {
        let old = with(1, [0, 0, 1 << 28 | 1 << 20 | 1 << 5, 0]);
        assert_eq!(old.missing_in(&with(1, [0, 0, u32::MAX, 0])), Vec::<String>::new());
        assert_eq!(old.missing_in(&with(1, [7, 7, 1 << 28, 7])), ["CPUID.01H.0:ECX bit 5", "SSE4.2"]);
        assert_eq!(old.missing_in(&with(7, [0; 4])), ["CPUID.01H.0:ECX bit 5", "SSE4.2", "AVX"]);
    }

    #[test]
    fn cpuid_bits_that_depend_on_guest_state_are_no_features() {
        let busy = with(1, [0, 0, 1 << 27 | 1 << 24, 1 << 28 | 1 << 9]);
        assert_eq!(busy.missing_in(&with(1, [0; 4])), Vec::<String>::new());
    }

    #[test]
    fn features_from_kvm_are_returned_to_kvm_unchanged() {
        let features = CpuFeatures(vec![[1, 0, 0, 1, 2, 3, 4], [7, 1, 1, 5, 6, 7, 8]]);
        assert_eq!(CpuFeatures::of(&features.to_kvm().unwrap()), features);
        assert_eq!(with(0, [1, 0x6874_7541, 0x444D_4163, 0x6974_6E65]).vendor(), "AuthenticAMD");
    }
}

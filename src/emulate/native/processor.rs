//! Features of the host's processor that native execution uses.
//!
//! Manual: Intel SDM volume 2A, "CPUID"; AMD APM volume 3, "Obtaining Processor Information".

use std::arch::x86_64::{__cpuid, __cpuid_count};
use std::sync::OnceLock;

use iced_x86::{CpuidFeature, Instruction};

use super::allowed::Unit;
use super::{image, stub};

/// Where CPUID reports a feature.
#[derive(Clone, Copy)]
enum Place {
    /// Every processor of 64 bits has it.
    Always,
    /// Leaf 1, bit of ECX.
    Leaf1(u32),
    /// Leaf 7, bit of EBX.
    Leaf7B(u32),
    /// Leaf 7, bit of ECX.
    Leaf7C(u32),
    /// Leaf 7, bit of EDX.
    Leaf7D(u32),
    /// Leaf 7, subleaf 1, bit of EAX.
    Leaf71A(u32),
    /// Leaf 0x80000001, bit of ECX.
    Extended(u32),
}

/// Every extension whose instructions may run here.
const FEATURES: &[(CpuidFeature, Place)] = &[
    (CpuidFeature::FPU, Place::Always),
    (CpuidFeature::FPU287, Place::Always),
    (CpuidFeature::FPU387, Place::Always),
    (CpuidFeature::CMOV, Place::Always),
    (CpuidFeature::MMX, Place::Always),
    (CpuidFeature::SSE, Place::Always),
    (CpuidFeature::SSE2, Place::Always),
    (CpuidFeature::SSE3, Place::Leaf1(0)),
    (CpuidFeature::PCLMULQDQ, Place::Leaf1(1)),
    (CpuidFeature::SSSE3, Place::Leaf1(9)),
    (CpuidFeature::FMA, Place::Leaf1(12)),
    (CpuidFeature::CMPXCHG16B, Place::Leaf1(13)),
    (CpuidFeature::SSE4_1, Place::Leaf1(19)),
    (CpuidFeature::SSE4_2, Place::Leaf1(20)),
    (CpuidFeature::MOVBE, Place::Leaf1(22)),
    (CpuidFeature::POPCNT, Place::Leaf1(23)),
    (CpuidFeature::AES, Place::Leaf1(25)),
    (CpuidFeature::AVX, Place::Leaf1(28)),
    (CpuidFeature::F16C, Place::Leaf1(29)),
    (CpuidFeature::BMI1, Place::Leaf7B(3)),
    (CpuidFeature::AVX2, Place::Leaf7B(5)),
    (CpuidFeature::BMI2, Place::Leaf7B(8)),
    (CpuidFeature::AVX512F, Place::Leaf7B(16)),
    (CpuidFeature::AVX512DQ, Place::Leaf7B(17)),
    (CpuidFeature::ADX, Place::Leaf7B(19)),
    (CpuidFeature::AVX512_IFMA, Place::Leaf7B(21)),
    (CpuidFeature::AVX512CD, Place::Leaf7B(28)),
    (CpuidFeature::SHA, Place::Leaf7B(29)),
    (CpuidFeature::AVX512BW, Place::Leaf7B(30)),
    (CpuidFeature::AVX512VL, Place::Leaf7B(31)),
    (CpuidFeature::AVX512_VBMI, Place::Leaf7C(1)),
    (CpuidFeature::AVX512_VBMI2, Place::Leaf7C(6)),
    (CpuidFeature::GFNI, Place::Leaf7C(8)),
    (CpuidFeature::VAES, Place::Leaf7C(9)),
    (CpuidFeature::VPCLMULQDQ, Place::Leaf7C(10)),
    (CpuidFeature::AVX512_VNNI, Place::Leaf7C(11)),
    (CpuidFeature::AVX512_BITALG, Place::Leaf7C(12)),
    (CpuidFeature::AVX512_VPOPCNTDQ, Place::Leaf7C(14)),
    (CpuidFeature::MOVDIRI, Place::Leaf7C(27)),
    (CpuidFeature::AVX512_FP16, Place::Leaf7D(23)),
    (CpuidFeature::AVX_VNNI, Place::Leaf71A(4)),
    (CpuidFeature::AVX512_BF16, Place::Leaf71A(5)),
    (CpuidFeature::LZCNT, Place::Extended(5)),
    (CpuidFeature::SSE4A, Place::Extended(6)),
];

/// MXCSR bits of a processor that does not report them.
const DEFAULT_MXCSR_MASK: u32 = 0xFFBF;
/// Properties of the processor, queried once.
struct Processor {
    leaf1: u32,
    leaf7: [u32; 3],
    leaf71: u32,
    extended: u32,
    components: u64,
    mxcsr_mask: u32,
}

fn processor() -> &'static Processor {
    static PROCESSOR: OnceLock<Processor> = OnceLock::new();
    PROCESSOR.get_or_init(|| {
        let leaf1 = __cpuid(1).ecx;
        let leaf7 = if __cpuid(0).eax >= 7 { Some(__cpuid_count(7, 0)) } else { None };
        let leaf71 = leaf7.filter(|leaf| leaf.eax >= 1).map_or(0, |_| __cpuid_count(7, 1).eax);
        let components = stub::host_xcr0().unwrap_or(0);
        Processor {
            leaf1,
            leaf7: leaf7.map_or([0; 3], |leaf| [leaf.ebx, leaf.ecx, leaf.edx]),
            leaf71,
            extended: __cpuid(0x8000_0001).ecx,
            components: components & (image::X87 | image::SSE | image::AVX | image::AVX512),
            mxcsr_mask: stub::host_mxcsr_mask().unwrap_or(DEFAULT_MXCSR_MASK),
        }
    })
}

/// True if instructions of `feature` may run here, on processors that have it.
pub fn is_known(feature: CpuidFeature) -> bool {
    FEATURES.iter().any(|&(known, _)| known == feature)
}

/// True if the processor has all features that `instruction` needs, enabled.
pub fn has(instruction: &Instruction, unit: Unit) -> bool {
    let state = super::ready::components(instruction, unit);
    components() & state == state && instruction.cpuid_features().iter().all(|&feature| has_feature(feature))
}

fn has_feature(feature: CpuidFeature) -> bool {
    let processor = processor();
    let bit = |word: u32, bit: u32| word >> bit & 1 == 1;
    match FEATURES.iter().find(|&&(known, _)| known == feature).map(|&(_, place)| place) {
        None => false,
        Some(Place::Always) => true,
        Some(Place::Leaf1(n)) => bit(processor.leaf1, n),
        Some(Place::Leaf7B(n)) => bit(processor.leaf7[0], n),
        Some(Place::Leaf7C(n)) => bit(processor.leaf7[1], n),
        Some(Place::Leaf7D(n)) => bit(processor.leaf7[2], n),
        Some(Place::Leaf71A(n)) => bit(processor.leaf71, n),
        Some(Place::Extended(n)) => bit(processor.extended, n),
    }
}

/// True if the processor knows the EVEX prefix.
pub fn has_evex() -> bool {
    has_feature(CpuidFeature::AVX512F)
}

/// Components of the extended registers that the host has enabled and that are saved and restored; zero
/// without `xsave`.
pub fn components() -> u64 {
    processor().components
}

/// The bits of MXCSR that exist.
pub fn mxcsr_mask() -> u32 {
    processor().mxcsr_mask
}

// SPDX-License-Identifier: MIT OR GPL-2.0
//! What CPUID reports to guests: AMD APM volume 3, appendix E.
//!
//! A guest sees what the processor has and the driver virtualizes. Features with state of their own that is
//! not switched (shadow stacks, protection keys, supervisor states of XSAVES, MTRR, SVM itself) are left out.

/// `struct yakvm_cpuid_leaf`.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Leaf {
    /// EAX at CPUID.
    pub leaf: u32,
    /// ECX at CPUID.
    pub index: u32,
    /// 1: the leaf has several indices.
    pub indexed: u32,
}
const _: () = assert!(size_of::<Leaf>() == 12);

const HIGHEST: u32 = 0xd;
const HYPERVISOR: u32 = 0x4000_0000;
const EXTENDED: u32 = 0x8000_0000;
const HIGHEST_EXTENDED: u32 = 0x8000_0008;

/// The leaves, with the number of indices that each has (0: ECX does not matter).
const LEAVES: [(u32, u32); 14] = [
    (0, 0),
    (1, 0),
    (7, 1),
    (HIGHEST, 10),
    (HYPERVISOR, 0),
    (EXTENDED, 0),
    (0x8000_0001, 0),
    // Processor name, in three leaves.
    (0x8000_0002, 0),
    (0x8000_0003, 0),
    (0x8000_0004, 0),
    // Caches, power management, address sizes.
    (0x8000_0005, 0),
    (0x8000_0006, 0),
    (0x8000_0007, 0),
    (HIGHEST_EXTENDED, 0),
];

/// The n-th leaf: whether there is one.
#[unsafe(no_mangle)]
pub extern "C" fn yakvm_cpuid_leaf(n: u32, found: &mut Leaf) -> bool {
    let mut left = n;
    for (leaf, indices) in LEAVES {
        if left < indices.max(1) {
            *found = Leaf { leaf, index: left, indexed: u32::from(indices != 0) };
            return true;
        }
        left -= indices.max(1);
    }
    false
}

/// A set of bits by their numbers.
const fn bits(numbers: &[u32]) -> u32 {
    let mut set = 0;
    let mut rest = numbers;
    while let [first, others @ ..] = rest {
        set |= 1 << *first;
        rest = others;
    }
    set
}

// Leaf 1. SSE3, PCLMULQDQ, SSSE3, CMPXCHG16B, PCID, SSE4.1, SSE4.2, MOVBE, POPCNT, AES, XSAVE, RDRAND; FMA,
// AVX, F16C; the bit of hypervisors. OSXSAVE follows CR4.
const ECX_1: u32 = bits(&[0, 1, 9, 13, 17, 19, 20, 22, 23, 25, 26, 30]);
const ECX_1_AVX: u32 = bits(&[12, 28, 29]);
const OF_HYPERVISORS: u32 = bits(&[31]);
// FPU, VME, DE, PSE, TSC, MSR, PAE, MCE, CX8, APIC, SEP, PGE, CMOV, PAT, PSE36, CLFLUSH, MMX, FXSR, SSE, SSE2.
const EDX_1: u32 = bits(&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 13, 15, 16, 17, 19, 23, 24, 25, 26]);
// Leaf 7. FSGSBASE, BMI1, SMEP, BMI2, ERMS, RDSEED, ADX, SMAP, CLFLUSHOPT, CLWB, SHA.
const EBX_7: u32 = bits(&[0, 3, 7, 8, 9, 18, 19, 20, 23, 24, 29]);
// AVX2; AVX-512 F, DQ, IFMA, CD, BW, VL.
const EBX_7_AVX: u32 = bits(&[5]);
const EBX_7_AVX512: u32 = bits(&[16, 17, 21, 28, 30, 31]);
// UMIP, GFNI; VAES, VPCLMULQDQ; VBMI, VBMI2, VNNI, BITALG, VPOPCNTDQ.
const ECX_7: u32 = bits(&[2, 8]);
const ECX_7_AVX: u32 = bits(&[9, 10]);
const ECX_7_AVX512: u32 = bits(&[1, 6, 11, 12, 14]);
// Fast short REP MOVS.
const EDX_7: u32 = bits(&[4]);
// XSAVEOPT, XSAVEC, XGETBV with ECX = 1.
const EAX_D_1: u32 = bits(&[0, 1, 2]);
// Leaf 80000001h. LAHF, ABM, SSE4A, misaligned SSE, PREFETCH, TBM; XOP, FMA4.
const ECX_EXTENDED: u32 = bits(&[0, 5, 6, 7, 8, 21]);
const ECX_EXTENDED_AVX: u32 = bits(&[11, 16]);
// What leaf 1 has, SYSCALL, NX, MMX extensions, FFXSR, 1 GiB pages, RDTSCP, long mode, 3DNow.
const EDX_EXTENDED: u32 = EDX_1 & 0x0183_f3ff | bits(&[11, 20, 22, 25, 26, 27, 29, 30, 31]);
// TSC that runs evenly.
const EDX_POWER: u32 = bits(&[8]);
// CLZERO, pointers of FXSAVE and XSAVE always current.
const EBX_SIZES: u32 = bits(&[0, 2]);

/// Masks what the processor reports; `xcr0` is the set of states that the guest may enable.
#[unsafe(no_mangle)]
pub extern "C" fn yakvm_cpuid_supported(leaf: u32, index: u32, xcr0: u64, regs: &mut [u32; 4]) {
    let [eax, ebx, ecx, edx] = *regs;
    let avx = |mask: u32| if xcr0 & 4 != 0 { mask } else { 0 };
    let avx512 = |mask: u32| if xcr0 & 0xe0 == 0xe0 { mask } else { 0 };
    *regs = match (leaf, index) {
        (0, _) => [eax.min(HIGHEST), ebx, ecx, edx],
        (1, _) => {
            let mut features = ecx & (ECX_1 | avx(ECX_1_AVX)) | OF_HYPERVISORS;
            if xcr0 == 0 {
                features &= !(1 << 26);
            }
            // Of EBX the size of a cache line: the rest is the number of this processor.
            [eax, ebx & 0xff00, features, edx & EDX_1]
        }
        (7, 0) => [
            0,
            ebx & (EBX_7 | avx(EBX_7_AVX) | avx512(EBX_7_AVX512)),
            ecx & (ECX_7 | avx(ECX_7_AVX) | avx512(ECX_7_AVX512)),
            edx & EDX_7,
        ],
        (HIGHEST, 0) if xcr0 != 0 => [xcr0 as u32, ebx, ecx, (xcr0 >> 32) as u32],
        (HIGHEST, 1) if xcr0 != 0 => [eax & EAX_D_1, ebx, 0, 0],
        (HIGHEST, 2..=62) if xcr0 >> index & 1 != 0 => [eax, ebx, ecx, 0],
        // "yakvm yakvm ".
        (HYPERVISOR, _) => [HYPERVISOR, 0x766b_6179, 0x6179_206d, 0x206d_766b],
        (EXTENDED, _) => [eax.min(HIGHEST_EXTENDED), ebx, ecx, edx],
        (0x8000_0001, _) => [eax, 0, ecx & (ECX_EXTENDED | avx(ECX_EXTENDED_AVX)), edx & EDX_EXTENDED],
        (0x8000_0002..=0x8000_0006, _) => *regs,
        (0x8000_0007, _) => [0, 0, 0, edx & EDX_POWER],
        (HIGHEST_EXTENDED, _) => [eax & 0xffff, ebx & EBX_SIZES, 0, 0],
        _ => [0; 4],
    };
}

// SPDX-License-Identifier: MIT OR GPL-2.0
//! Which states a processor can have: AMD APM volume 2, sections 3.1 (control registers and EFER), 13.1
//! (debug registers), 11.5 (XCR0) and 15.5.1 (what VMRUN refuses).
//!
//! KVM_SET_SREGS refuses a state that no processor has. What VMRUN would refuse is refused here as well,
//! so that the caller hears it from the call that was wrong.

use crate::EINVAL;
use crate::segment::Segment;

/// CR0.PE: protected mode.
pub const CR0_PE: u64 = 1 << 0;
/// CR0.WP: the supervisor, too, needs writable pages.
pub const CR0_WP: u64 = 1 << 16;
const CR0_NW: u64 = 1 << 29;
const CR0_CD: u64 = 1 << 30;
/// CR0.PG: paging.
pub const CR0_PG: u64 = 1 << 31;
/// CR4.PSE: 4 MiB pages.
pub const CR4_PSE: u64 = 1 << 4;
/// CR4.PAE: entries of eight bytes.
pub const CR4_PAE: u64 = 1 << 5;
/// CR4.PCIDE: the low bits of CR3 are a process number.
pub const CR4_PCIDE: u64 = 1 << 17;
/// CR4.SMEP: the supervisor does not execute user pages.
pub const CR4_SMEP: u64 = 1 << 20;
/// CR4.SMAP: the supervisor does not access user pages unless RFLAGS.AC is set.
pub const CR4_SMAP: u64 = 1 << 21;
/// EFER.SCE: SYSCALL.
pub const EFER_SCE: u64 = 1 << 0;
/// EFER.LME: long mode enabled.
pub const EFER_LME: u64 = 1 << 8;
/// EFER.LMA: long mode active.
pub const EFER_LMA: u64 = 1 << 10;
/// EFER.NXE: pages that cannot be executed.
pub const EFER_NXE: u64 = 1 << 11;

/// `struct kvm_dtable` of the KVM API.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs)]
pub struct Table {
    pub base: u64,
    pub limit: u16,
    pub padding: [u16; 3],
}

/// `struct kvm_sregs` of the KVM API.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs)]
pub struct Sregs {
    pub cs: Segment,
    pub ds: Segment,
    pub es: Segment,
    pub fs: Segment,
    pub gs: Segment,
    pub ss: Segment,
    pub tr: Segment,
    pub ldt: Segment,
    pub gdt: Table,
    pub idt: Table,
    pub cr0: u64,
    pub cr2: u64,
    pub cr3: u64,
    pub cr4: u64,
    pub cr8: u64,
    pub efer: u64,
    pub apic_base: u64,
    pub interrupt_bitmap: [u64; 4],
}
const _: () = assert!(size_of::<Sregs>() == 312);

/// Whether bits 63-47 of an address agree, as they must with four levels of page tables.
pub fn canonical(address: u64) -> bool {
    ((address as i64) << 16) >> 16 == address as i64
}

/// The bits of a physical address above those that the processor has.
pub fn beyond(physical_bits: u32) -> u64 {
    u64::MAX.checked_shl(physical_bits).unwrap_or(0)
}

/// `struct yakvm_limits`: what a guest may set, from its CPUID.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Limits {
    /// Bits of CR4.
    pub cr4: u64,
    /// Bits of EFER, without SVME: guests have no virtual machines.
    pub efer: u64,
    /// Bits of a physical address.
    pub physical_bits: u32,
    /// Zero.
    pub reserved: u32,
}
const _: () = assert!(size_of::<Limits>() == 24);

/// Computes the limits from CPUID leaves 1, 7, 80000001h and 80000008h.
#[unsafe(no_mangle)]
pub extern "C" fn yakvm_limits(
    leaf1_ecx: u32,
    leaf7_ebx: u32,
    leaf7_ecx: u32,
    extended1_ecx: u32,
    extended1_edx: u32,
    extended8_eax: u32,
    limits: &mut Limits,
) {
    let feature = |register: u32, bit: u32, position: u32| u64::from((register >> bit) & 1) << position;
    // VME, PVI, TSD, DE, PSE, PAE, MCE, PGE, PCE, OSFXSR and OSXMMEXCPT, as KVM without a feature bit.
    limits.cr4 = 0x7ff
        | feature(leaf7_ecx, 2, 11) // UMIP
        | feature(leaf7_ebx, 0, 16) // FSGSBASE
        | feature(leaf1_ecx, 17, 17) // PCIDE
        | feature(leaf1_ecx, 26, 18) // OSXSAVE
        | feature(leaf7_ebx, 7, 20) // SMEP
        | feature(leaf7_ebx, 20, 21); // SMAP
    limits.efer = EFER_SCE
        | EFER_LME
        | EFER_LMA
        | EFER_NXE
        | feature(extended1_edx, 25, 14) // FFXSR
        | feature(extended1_ecx, 17, 15); // TCE
    // Without that leaf a processor has 36 bits.
    limits.physical_bits = match extended8_eax & 0xff {
        0 => 36,
        bits => bits.min(52),
    };
    limits.reserved = 0;
}

/// 0 if a processor can have this state, otherwise `EINVAL`.
#[unsafe(no_mangle)]
pub extern "C" fn yakvm_check_sregs(sregs: &Sregs, limits: &Limits) -> i32 {
    let &Sregs { cr0, cr3, cr4, cr8, efer, .. } = sregs;
    let paging = cr0 & CR0_PG != 0;
    let long = efer & EFER_LMA != 0;
    let bases = [sregs.fs.base, sregs.gs.base, sregs.tr.base, sregs.ldt.base, sregs.gdt.base, sregs.idt.base];
    let registers = cr0 >> 32 == 0
        && cr0 & (CR0_NW | CR0_CD) != CR0_NW
        && (!paging || cr0 & CR0_PE != 0)
        && cr4 & !limits.cr4 == 0
        && efer & !limits.efer == 0
        && cr8 <= 15;
    let mode = if long {
        cr4 & CR4_PAE != 0
            && cr3 & beyond(limits.physical_bits) == 0
            && (sregs.cs.l == 0 || sregs.cs.db == 0)
            && bases.iter().all(|base| canonical(*base))
    } else {
        sregs.cs.l == 0 && cr4 & CR4_PCIDE == 0
    };
    // Long mode is active exactly when it is enabled and paging is on.
    if registers && mode && long == (efer & EFER_LME != 0 && paging) { 0 } else { EINVAL }
}

/// 0 if XSETBV accepts the value, of the states in `supported`, otherwise `EINVAL`.
#[unsafe(no_mangle)]
pub extern "C" fn yakvm_check_xcr0(xcr0: u64, supported: u64) -> i32 {
    // x87 is always on; AVX needs SSE; the parts of AVX-512 come together and need AVX.
    let x87 = xcr0 & 1 != 0;
    let avx = xcr0 & 4 == 0 || xcr0 & 2 != 0;
    let avx512 = matches!(xcr0 & 0xe0, 0 | 0xe0) && (xcr0 & 0xe0 == 0 || xcr0 & 4 != 0);
    if x87 && avx && avx512 && xcr0 & !supported == 0 { 0 } else { EINVAL }
}

/// Sets the fixed bits of DR6 or DR7, or `EINVAL` for bits above 31.
#[unsafe(no_mangle)]
pub extern "C" fn yakvm_check_dr(number: u32, value: &mut u64) -> i32 {
    if *value >> 32 != 0 {
        return EINVAL;
    }
    *value = match number {
        // Bits that are always 1, and bit 12, which is always 0.
        4 | 6 => *value & !(1 << 12) | 0xffff_0ff0,
        // Bit 10 is always 1; 11, 12, 14 and 15 are always 0.
        _ => *value & !0xd800 | 1 << 10,
    };
    0
}

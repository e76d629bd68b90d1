// SPDX-License-Identifier: MIT OR GPL-2.0
//! Model-specific registers: AMD APM volume 2, appendix A; section 15.11 (interception) and appendix B
//! (where the VMCB keeps the guest's).
//!
//! All others raise #GP in the guest and are refused by KVM_SET_MSRS, as on a processor without them.

use crate::control::{CR0_PG, EFER_LMA, EFER_LME, Limits, canonical};
use crate::{EINVAL, ENOENT};

/// The kind of an MSR, `enum yakvm_msr_kind`.
pub const VALUE: u8 = 0;
/// See `core.h`.
pub const FIXED: u8 = 1;
/// See `core.h`.
pub const TSC: u8 = 2;
/// See `core.h`.
pub const EFER: u8 = 3;

/// KVM_GET_MSR_INDEX_LIST has it.
pub const LISTED: u8 = 1;
/// The guest reads and writes it without an exit.
pub const PASSED: u8 = 2;

/// `struct yakvm_msr`.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Msr {
    /// ECX at RDMSR.
    pub index: u32,
    /// Of its value from the start of the VMCB; 0 if the VMCB has none.
    pub vmcb_offset: u16,
    /// [`VALUE`], [`FIXED`], [`TSC`] or [`EFER`].
    pub kind: u8,
    /// A set of [`LISTED`] and [`PASSED`].
    pub flags: u8,
    /// The value after reset.
    pub reset: u64,
}
const _: () = assert!(size_of::<Msr>() == 16);

const fn msr(index: u32, kind: u8, flags: u8, vmcb_offset: u16, reset: u64) -> Msr {
    Msr { index, vmcb_offset, kind, flags, reset }
}

const SYSENTER_ESP: u32 = 0x175;
const SYSENTER_EIP: u32 = 0x176;
const PAT: u32 = 0x277;
const MSR_EFER: u32 = 0xc000_0080;
const LSTAR: u32 = 0xc000_0082;
const CSTAR: u32 = 0xc000_0083;
const SFMASK: u32 = 0xc000_0084;
const FS_BASE: u32 = 0xc000_0100;
const GS_BASE: u32 = 0xc000_0101;
const KERNEL_GS_BASE: u32 = 0xc000_0102;
const TSC_AUX: u32 = 0xc000_0103;

/// The MSRs. What VMLOAD and VMSAVE switch is the guest's own; EFER and the bases of FS and GS belong to
/// KVM_SET_SREGS, so that KVM does not list them either.
static MSRS: [Msr; 20] = [
    msr(0x174, VALUE, LISTED | PASSED, 0x628, 0), // SYSENTER_CS
    msr(SYSENTER_ESP, VALUE, LISTED | PASSED, 0x630, 0),
    msr(SYSENTER_EIP, VALUE, LISTED | PASSED, 0x638, 0),
    msr(0xc000_0081, VALUE, LISTED | PASSED, 0x600, 0), // STAR
    msr(LSTAR, VALUE, LISTED | PASSED, 0x608, 0),
    msr(CSTAR, VALUE, LISTED | PASSED, 0x610, 0),
    msr(SFMASK, VALUE, LISTED | PASSED, 0x618, 0),
    msr(KERNEL_GS_BASE, VALUE, LISTED | PASSED, 0x620, 0),
    msr(FS_BASE, VALUE, PASSED, 0x448, 0),
    msr(GS_BASE, VALUE, PASSED, 0x458, 0),
    msr(PAT, VALUE, LISTED, 0x668, 0x0007_0406_0007_0406),
    msr(0x10, TSC, LISTED, 0, 0),
    msr(TSC_AUX, VALUE, LISTED, 0, 0),
    msr(MSR_EFER, EFER, 0, 0x4d0, 0),
    // What a kernel for AMD processors reads without asking: microcode level, machine checks (none),
    // debug control, hardware configuration, and that SVM is switched off for good.
    msr(0x8b, FIXED, 0, 0, 0x0100_0065),
    msr(0x179, FIXED, 0, 0, 0),
    msr(0x1d9, FIXED, 0, 0, 0),
    msr(0xc001_0010, FIXED, 0, 0, 0),
    msr(0xc001_0015, FIXED, 0, 0, 0),
    msr(0xc001_0114, FIXED, 0, 0, 0x18),
];

/// The n-th MSR: whether there is one.
#[unsafe(no_mangle)]
pub extern "C" fn yakvm_msr_at(n: u32, msr: &mut Msr) -> bool {
    MSRS.get(n as usize).inspect(|found| *msr = **found).is_some()
}

/// The position of an MSR, or `ENOENT`.
#[unsafe(no_mangle)]
pub extern "C" fn yakvm_msr_find(index: u32, msr: &mut Msr) -> i32 {
    let position = MSRS.iter().position(|candidate| candidate.index == index);
    position.filter(|n| yakvm_msr_at(*n as u32, msr)).map_or(ENOENT, |n| n as i32)
}

/// The value that a write stores, in `value`; or `EINVAL` where it raises #GP.
#[unsafe(no_mangle)]
pub extern "C" fn yakvm_msr_check(
    index: u32,
    value: &mut u64,
    before: u64,
    cr0: u64,
    limits: &Limits,
    from_guest: bool,
) -> i32 {
    let written = *value;
    let allowed = match index {
        LSTAR | CSTAR | FS_BASE | GS_BASE | KERNEL_GS_BASE => canonical(written),
        TSC_AUX => written >> 32 == 0,
        // Each byte is a memory type: UC, WC, WT, WP, WB or UC-.
        PAT => written.to_le_bytes().iter().all(|kind| matches!(kind, 0 | 1 | 4..=7)),
        // LME is fixed while paging is on.
        MSR_EFER => {
            let changed = (written ^ before) & EFER_LME != 0;
            written & !limits.efer == 0 && !(from_guest && changed && cr0 & CR0_PG != 0)
        }
        _ => true,
    };
    *value = match index {
        // Made canonical, as a processor of AMD does.
        SYSENTER_ESP | SYSENTER_EIP => ((written as i64) << 16 >> 16) as u64,
        SFMASK => written & 0xffff_ffff,
        // LMA follows CR0.PG.
        MSR_EFER => written & !EFER_LMA | before & EFER_LMA,
        _ => written,
    };
    if allowed { 0 } else { EINVAL }
}

// SPDX-License-Identifier: MIT OR GPL-2.0
//! Segments, states, CPUID and MSRs: what the AMD manual says of them, case by case.

mod random;

use random::Random;
use yakvm_core::control::*;
use yakvm_core::cpuid::*;
use yakvm_core::msr::*;
use yakvm_core::processor::*;
use yakvm_core::segment::*;
use yakvm_core::{EINVAL, ENOENT};

fn to_vmcb(segment: &Segment) -> VmcbSegment {
    let mut vmcb = VmcbSegment::default();
    yakvm_segment_to_vmcb(segment, &mut vmcb);
    vmcb
}

fn from_vmcb(vmcb: &VmcbSegment, name: u32, cpl: u8) -> Segment {
    let mut segment = Segment::default();
    yakvm_segment_from_vmcb(vmcb, name, cpl, &mut segment);
    segment
}

const DS: u32 = 3;
const LDTR: u32 = 7;

#[test]
fn attributes_are_where_the_vmcb_has_them() {
    let code64 = Segment {
        base: 0x1234_5678_9abc,
        limit: 0xffff_ffff,
        selector: 8,
        kind: 0xb,
        present: 1,
        dpl: 3,
        s: 1,
        l: 1,
        g: 1,
        avl: 1,
        ..Segment::default()
    };
    let vmcb = to_vmcb(&code64);
    // G, L, AVL, P, DPL 3, S, type B.
    assert_eq!(vmcb.attributes, 0xbfb);
    assert_eq!((vmcb.selector, vmcb.limit, vmcb.base), (8, 0xffff_ffff, 0x1234_5678_9abc));
    assert_eq!(to_vmcb(&Segment { db: 1, ..Segment::default() }).attributes, 1 << 10);
    // Values of more bits than the field do not reach other fields.
    let full = Segment { kind: 0xff, dpl: 0xff, s: 0xfe, ..Segment::default() };
    assert_eq!(to_vmcb(&full).attributes, 0x6f);
}

#[test]
fn a_segment_comes_back_as_it_was_set() {
    let mut random = Random::new(6);
    for _ in 0..100_000 {
        let bits = random.next();
        let bit = |n: u32| ((bits >> n) & 1) as u8;
        let limit = random.next() as u32;
        let segment = Segment {
            base: random.next(),
            limit,
            selector: random.next() as u16,
            kind: (bits >> 16) as u8 & 0xf,
            present: bit(0),
            dpl: (bits >> 20) as u8 & 3,
            db: bit(1),
            s: bit(2),
            l: bit(3),
            g: u8::from(limit > 0xf_ffff),
            avl: bit(4),
            unusable: bit(0) ^ 1,
            padding: 0,
        };
        assert_eq!(from_vmcb(&to_vmcb(&segment), CS, 0), segment);
        assert_eq!(from_vmcb(&to_vmcb(&segment), LDTR, 0), segment);
    }
}

#[test]
fn what_an_amd_processor_leaves_suits_an_intel_processor() {
    let vmcb = VmcbSegment { attributes: 0x92, limit: 0xffff, ..VmcbSegment::default() };
    assert_eq!(from_vmcb(&vmcb, DS, 0).kind, 3, "loaded data segments are accessed");
    assert_eq!(from_vmcb(&vmcb, CS, 0).kind, 2);
    assert_eq!(from_vmcb(&vmcb, TR, 0).kind, 2, "the task register is busy");
    assert_eq!(from_vmcb(&VmcbSegment { attributes: 0x89, ..vmcb }, TR, 0).kind, 0xb);
    let null = VmcbSegment { attributes: 0x412, ..vmcb };
    let ss = from_vmcb(&null, SS, 3);
    assert_eq!((ss.unusable, ss.present, ss.db, ss.dpl), (1, 0, 0, 3), "the VMCB's CPL is that of SS");
    assert_eq!(from_vmcb(&null, DS, 0).kind, 2, "a null segment stays as it is");
    let unusable = Segment { present: 1, unusable: 1, ..Segment::default() };
    assert_eq!(to_vmcb(&unusable).attributes & 0x80, 0);
}

fn everything() -> Limits {
    let mut limits = Limits::default();
    yakvm_limits(!0, !0, !0, !0, !0, 48, &mut limits);
    limits
}

#[test]
fn limits_follow_cpuid() {
    let mut limits = Limits::default();
    yakvm_limits(0, 0, 0, 0, 0, 0, &mut limits);
    assert_eq!(limits, Limits { cr4: 0x7ff, efer: 0xd01, physical_bits: 36, reserved: 0 });
    yakvm_limits(1 << 26, 1 << 7 | 1 << 20, 1 << 2, 0, 1 << 25, 0x3028, &mut limits);
    assert_eq!(limits.cr4, 0x7ff | 1 << 18 | 1 << 20 | 1 << 21 | 1 << 11);
    assert_eq!((limits.efer, limits.physical_bits), (0x4d01, 40));
    let all = everything();
    assert_eq!(all.efer & 1 << 12, 0, "guests have no SVM");
    assert_eq!(all.cr4 & (1 << 12 | 1 << 22 | 1 << 23), 0, "no LA57, PKE or CET");
}

/// The state of a 64-bit program.
fn long_mode() -> Sregs {
    let cs = Segment { l: 1, present: 1, s: 1, kind: 0xb, ..Segment::default() };
    Sregs { cs, cr0: 0x8000_0011, cr3: 0x1000, cr4: 0x20, efer: 0x500, ..Sregs::default() }
}

#[test]
fn states_that_a_processor_has_are_accepted() {
    let real = Sregs { cr0: 0x6000_0010, ..Sregs::default() };
    let protected = Sregs { cr0: 0x11, ..real };
    let paging = Sregs { cr0: 0x8000_0011, cr4: 0x10, ..real };
    let compatibility = Sregs { cs: Segment { db: 1, ..Segment::default() }, ..long_mode() };
    let before_paging = Sregs { cr0: 0x11, efer: 0x100, cr4: 0x20, ..real };
    let high = Sregs {
        gdt: Table { base: 0xffff_8000_0000_0000, ..Table::default() },
        fs: Segment { base: 0x7fff_ffff_f000, ..Segment::default() },
        ..long_mode()
    };
    for state in [real, protected, paging, long_mode(), compatibility, before_paging, high] {
        assert_eq!(yakvm_check_sregs(&state, &everything()), 0, "{state:x?}");
    }
}

#[test]
fn impossible_states_are_refused() {
    let long = long_mode();
    let wrong = |base| Segment { base, ..Segment::default() };
    let states = [
        ("paging without protection", Sregs { cr0: 0x8000_0010, efer: 0, cr4: 0, ..long }),
        ("NW without CD", Sregs { cr0: long.cr0 | 1 << 29, ..long }),
        ("CR0 above 32 bits", Sregs { cr0: long.cr0 | 1 << 32, ..long }),
        ("long mode without PAE", Sregs { cr4: 0, ..long }),
        ("LME and paging without LMA", Sregs { efer: 0x100, ..long }),
        ("LMA without LME", Sregs { efer: 0x400, ..long }),
        ("LMA without paging", Sregs { cr0: 0x11, ..long }),
        ("64-bit code outside of long mode", Sregs { efer: 0, ..long }),
        ("64-bit code of 32 bits", Sregs { cs: Segment { db: 1, ..long.cs }, ..long }),
        ("CR3 beyond physical memory", Sregs { cr3: 1 << 48, ..long }),
        ("process numbers outside of long mode", Sregs { cr4: 1 << 17, efer: 0, cs: wrong(0), ..long }),
        ("an unknown bit of CR4", Sregs { cr4: long.cr4 | 1 << 13, ..long }),
        ("SVM in the guest", Sregs { efer: long.efer | 1 << 12, ..long }),
        ("an unknown bit of EFER", Sregs { efer: long.efer | 2, ..long }),
        ("a task priority of 16", Sregs { cr8: 16, ..long }),
        ("an FS base that is not canonical", Sregs { fs: wrong(1 << 47), ..long }),
        ("a GS base that is not canonical", Sregs { gs: wrong(0xfffe << 48), ..long }),
        ("a TR base that is not canonical", Sregs { tr: wrong(1 << 63), ..long }),
        ("an LDT base that is not canonical", Sregs { ldt: wrong(1 << 48), ..long }),
        ("an IDT base that is not canonical", Sregs { idt: Table { base: 1 << 47, ..long.idt }, ..long }),
    ];
    for (reason, state) in states {
        assert_eq!(yakvm_check_sregs(&state, &everything()), EINVAL, "{reason}");
    }
    let mut few = everything();
    few.cr4 = 0;
    assert_eq!(yakvm_check_sregs(&long, &few), EINVAL, "a bit of CR4 that CPUID does not have");
}

#[test]
fn xcr0_takes_sets_of_states_that_belong_together() {
    for (value, supported, result) in [
        (1, 7, 0),
        (3, 7, 0),
        (7, 7, 0),
        (0xe7, 0xe7, 0),
        (0, 7, EINVAL),
        (2, 7, EINVAL),
        (5, 7, EINVAL),
        (7, 3, EINVAL),
        (0x27, 0xe7, EINVAL),
        (0xe3, 0xe7, EINVAL),
        (1 << 63 | 1, 7, EINVAL),
    ] {
        assert_eq!(yakvm_check_xcr0(value, supported), result, "{value:#x} of {supported:#x}");
    }
}

#[test]
fn debug_registers_have_fixed_bits() {
    let fixed = |number, value| {
        let mut value = value;
        (yakvm_check_dr(number, &mut value) == 0).then_some(value)
    };
    assert_eq!(fixed(6, 0), Some(0xffff_0ff0));
    assert_eq!(fixed(6, 0xffff_ffff), Some(0xffff_efff));
    assert_eq!(fixed(6, 0x600f), Some(0xffff_6fff));
    assert_eq!(fixed(7, 0), Some(0x400));
    assert_eq!(fixed(7, 0xffff_ffff), Some(0xffff_27ff));
    assert_eq!(fixed(6, 1 << 32), None);
    assert_eq!(fixed(7, 1 << 63), None);
}

fn cpuid(leaf: u32, index: u32, xcr0: u64) -> [u32; 4] {
    let mut regs = [!0; 4];
    yakvm_cpuid_supported(leaf, index, xcr0, &mut regs);
    regs
}

#[test]
fn leaves_are_listed_once_and_in_order() {
    let mut leaves = Vec::new();
    let mut leaf = Leaf::default();
    while yakvm_cpuid_leaf(leaves.len() as u32, &mut leaf) {
        leaves.push((leaf.leaf, leaf.index));
        assert_eq!(leaf.indexed != 0, matches!(leaf.leaf, 7 | 0xd));
    }
    assert!(leaves.is_sorted() && leaves.len() > 20);
    for wanted in [(0, 0), (1, 0), (7, 0), (0xd, 0), (0xd, 2), (0x8000_0001, 0), (0x8000_0008, 0)] {
        assert!(leaves.contains(&wanted), "{wanted:x?}");
    }
    assert!(!yakvm_cpuid_leaf(u32::MAX, &mut leaf));
}

#[test]
fn guests_see_no_features_that_are_not_virtualized() {
    let [_, _, ecx, edx] = cpuid(1, 0, 7);
    assert_eq!(ecx & (1 << 3 | 1 << 21 | 1 << 24 | 1 << 27), 0, "MONITOR, x2APIC, TSC deadline, OSXSAVE");
    assert_eq!(ecx >> 31, 1, "a hypervisor");
    assert_eq!(edx & (1 << 12 | 1 << 14), 0, "MTRR, MCA");
    let [_, ebx, ecx, edx] = cpuid(7, 0, 7);
    assert_eq!(ebx & 1 << 2, 0, "TSC_ADJUST");
    assert_eq!(ecx & (1 << 3 | 1 << 4 | 1 << 7 | 1 << 16 | 1 << 22), 0, "PKU, OSPKE, CET, LA57, RDPID");
    assert_eq!(edx & (1 << 20 | 0xfc00_0000), 0, "CET, SPEC_CTRL");
    assert_eq!(cpuid(0x8000_0001, 0, 7)[2] & 1 << 2, 0, "SVM");
    assert_eq!(cpuid(0xd, 1, 7)[0] & 1 << 3, 0, "XSAVES");
    assert_eq!(cpuid(0x8000_000a, 0, 7), [0; 4], "SVM");
    assert_eq!(cpuid(0, 0, 7)[0], 0xd);
    assert_eq!(cpuid(0x8000_0000, 0, 7)[0], 0x8000_0008);
    let [_, ebx, ecx, edx] = cpuid(0x4000_0000, 0, 7);
    let name: Vec<u8> = [ebx, ecx, edx].iter().flat_map(|part| part.to_le_bytes()).collect();
    assert_eq!(name, b"yakvm yakvm ");
}

#[test]
fn vector_features_follow_the_states_that_a_guest_may_enable() {
    let avx = |xcr0| {
        (cpuid(1, 0, xcr0)[2] >> 28 & 1, cpuid(7, 0, xcr0)[1] >> 5 & 1, cpuid(7, 0, xcr0)[1] >> 16 & 1)
    };
    assert_eq!(avx(3), (0, 0, 0));
    assert_eq!(avx(7), (1, 1, 0));
    assert_eq!(avx(0xe7), (1, 1, 1));
    assert_eq!(cpuid(1, 0, 0)[2] >> 26 & 1, 0, "no XSAVE");
    assert_eq!(cpuid(0xd, 0, 7)[0], 7);
    assert_eq!(cpuid(0xd, 2, 7)[0], !0);
    for (index, xcr0) in [(2, 3), (5, 7), (62, 7), (63, u64::MAX), (64, u64::MAX), (u32::MAX, u64::MAX)] {
        assert_eq!(cpuid(0xd, index, xcr0), [0; 4]);
    }
    assert_eq!(cpuid(0xd, 0, 0), [0; 4]);
}

fn msr(index: u32) -> Option<Msr> {
    let mut msr = Msr { index: 0, vmcb_offset: 0, kind: 0, flags: 0, reset: 0 };
    let position = yakvm_msr_find(index, &mut msr);
    (position >= 0).then(|| {
        let mut same = msr;
        assert!(yakvm_msr_at(position as u32, &mut same));
        assert_eq!(same, msr);
        msr
    })
}

#[test]
fn msrs_are_found_by_their_numbers() {
    assert_eq!(msr(0xc000_0082).map(|msr| (msr.vmcb_offset, msr.flags)), Some((0x608, LISTED | PASSED)));
    assert_eq!(msr(0xc000_0080).map(|msr| (msr.kind, msr.flags)), Some((EFER, 0)));
    assert_eq!(msr(0x10).map(|msr| msr.kind), Some(TSC));
    assert_eq!(msr(0xc001_0114).map(|msr| (msr.kind, msr.reset)), Some((FIXED, 0x18)));
    let mut unused = msr(0x10).unwrap();
    assert_eq!(yakvm_msr_find(0x48, &mut unused), ENOENT);
    let all: Vec<Msr> = (0..)
        .map_while(|n| {
            let mut msr = unused;
            yakvm_msr_at(n, &mut msr).then_some(msr)
        })
        .collect();
    assert!(all.len() <= 32, "YAKVM_MSR_COUNT");
    for (n, msr) in all.iter().enumerate() {
        assert!(all[..n].iter().all(|other| other.index != msr.index), "{:#x} is there twice", msr.index);
        assert!(msr.flags & PASSED == 0 || msr.vmcb_offset != 0, "{:#x} would be the host's", msr.index);
        assert!(msr.vmcb_offset == 0 || (0x400..0x700).contains(&msr.vmcb_offset));
    }
}

#[test]
fn values_of_msrs_are_checked() {
    let write = |index, value, before, cr0, from_guest| {
        let mut value = value;
        let result = yakvm_msr_check(index, &mut value, before, cr0, &everything(), from_guest);
        (result == 0).then_some(value)
    };
    const NOT_CANONICAL: u64 = 0x8000_0000_0000;
    for index in [0xc000_0082, 0xc000_0083, 0xc000_0100, 0xc000_0101, 0xc000_0102] {
        assert_eq!(write(index, NOT_CANONICAL, 0, 0, true), None, "{index:#x}");
        assert_eq!(write(index, 0xffff_8000_0000_0000, 0, 0, true), Some(0xffff_8000_0000_0000));
    }
    assert_eq!(write(0x176, NOT_CANONICAL, 0, 0, true), Some(0xffff_8000_0000_0000));
    assert_eq!(write(0xc000_0103, 1 << 32, 0, 0, true), None);
    assert_eq!(write(0x277, 0x0007_0406_0007_0406, 0, 0, true), Some(0x0007_0406_0007_0406));
    assert_eq!(write(0x277, 2, 0, 0, true), None);
    assert_eq!(write(0x277, 8 << 56, 0, 0, true), None);
    assert_eq!(write(0xc000_0084, u64::MAX, 0, 0, true), Some(0xffff_ffff));
    // EFER: LME is fixed while paging is on, LMA follows paging, SVME is not there.
    assert_eq!(write(0xc000_0080, 0x101, 0, 0x11, true), Some(0x101));
    assert_eq!(write(0xc000_0080, 0x101, 0, 0x8000_0011, true), None);
    assert_eq!(write(0xc000_0080, 0x101, 0, 0x8000_0011, false), Some(0x101));
    assert_eq!(write(0xc000_0080, 0x900, 0x500, 0x8000_0011, true), Some(0xd00));
    assert_eq!(write(0xc000_0080, 0x400, 0, 0, true), Some(0));
    assert_eq!(write(0xc000_0080, 0x1000, 0, 0, true), None);
}

#[test]
fn a_processor_whose_firmware_has_switched_svm_off_is_refused_for_that() {
    const SVMDIS: u64 = 1 << 4;
    // LOCK alone: the firmware has locked SVM in the state on. R_INIT, DIS_A20M and others do not matter.
    for vm_cr in [0, 1 << 3, !SVMDIS] {
        assert_eq!(yakvm_obstacle(HAS_SVM | HAS_NPT, vm_cr), Obstacle::None);
        assert_eq!(yakvm_obstacle(HAS_SVM | HAS_NPT, vm_cr | SVMDIS), Obstacle::SwitchedOff);
    }
}

#[test]
fn what_no_setting_of_the_firmware_changes_is_named_first() {
    for vm_cr in [0, !0] {
        assert_eq!(yakvm_obstacle(0, vm_cr), Obstacle::NoSvm);
        assert_eq!(yakvm_obstacle(HAS_NPT | ENCRYPTS, vm_cr), Obstacle::NoSvm);
        assert_eq!(yakvm_obstacle(HAS_SVM, vm_cr), Obstacle::NoNpt);
        assert_eq!(yakvm_obstacle(HAS_SVM | HAS_NPT | ENCRYPTS, vm_cr), Obstacle::Encrypted);
    }
    // As core.h numbers them.
    let numbers =
        [Obstacle::None, Obstacle::NoSvm, Obstacle::NoNpt, Obstacle::Encrypted, Obstacle::SwitchedOff];
    assert!(numbers.iter().enumerate().all(|(number, obstacle)| *obstacle as usize == number));
}

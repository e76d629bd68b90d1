// SPDX-License-Identifier: MIT OR GPL-2.0
//! Segments in the VMCB: AMD APM volume 2, sections 4.7 and 4.8 (descriptors), 15.5.1 (what VMRUN loads)
//! and appendix B (the save area).
//!
//! The VMCB stores a descriptor's attributes in twelve bits, without the hole that the limit leaves in
//! memory. KVM's `struct kvm_segment` has a byte for each.

/// `struct kvm_segment` of the KVM API.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[allow(missing_docs)]
pub struct Segment {
    pub base: u64,
    pub limit: u32,
    pub selector: u16,
    /// The descriptor's type, four bits.
    pub kind: u8,
    pub present: u8,
    pub dpl: u8,
    pub db: u8,
    pub s: u8,
    pub l: u8,
    pub g: u8,
    pub avl: u8,
    pub unusable: u8,
    pub padding: u8,
}
const _: () = assert!(size_of::<Segment>() == 24);

/// `struct yakvm_vmcb_segment`: a segment in the VMCB's save area.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[allow(missing_docs)]
pub struct VmcbSegment {
    pub selector: u16,
    /// Type 0-3, S 4, DPL 5-6, P 7, AVL 8, L 9, D/B 10, G 11.
    pub attributes: u16,
    pub limit: u32,
    pub base: u64,
}
const _: () = assert!(size_of::<VmcbSegment>() == 16);

/// Positions in the save area, `enum yakvm_segment_name`.
pub const CS: u32 = 1;
/// See [`CS`].
pub const SS: u32 = 2;
/// See [`CS`].
pub const GS: u32 = 5;
/// See [`CS`].
pub const TR: u32 = 9;

/// The form of the VMCB, which has no "unusable": such a segment is not present there.
#[unsafe(no_mangle)]
pub extern "C" fn yakvm_segment_to_vmcb(segment: &Segment, vmcb: &mut VmcbSegment) {
    let bit = |value: u8, position: u32| u16::from(value & 1) << position;
    let present = segment.present & u8::from(segment.unusable == 0);
    *vmcb = VmcbSegment {
        selector: segment.selector,
        attributes: u16::from(segment.kind & 0xf)
            | bit(segment.s, 4)
            | u16::from(segment.dpl & 3) << 5
            | bit(present, 7)
            | bit(segment.avl, 8)
            | bit(segment.l, 9)
            | bit(segment.db, 10)
            | bit(segment.g, 11),
        limit: segment.limit,
        base: segment.base,
    };
}

/// The form of the KVM API, in which an Intel processor, too, accepts what an AMD processor leaves.
#[unsafe(no_mangle)]
pub extern "C" fn yakvm_segment_from_vmcb(vmcb: &VmcbSegment, name: u32, cpl: u8, segment: &mut Segment) {
    let bit = |position: u32| ((vmcb.attributes >> position) & 1) as u8;
    *segment = Segment {
        base: vmcb.base,
        limit: vmcb.limit,
        selector: vmcb.selector,
        kind: (vmcb.attributes & 0xf) as u8,
        present: bit(7),
        dpl: (vmcb.attributes >> 5) as u8 & 3,
        db: bit(10),
        s: bit(4),
        l: bit(9),
        // Limits are in bytes here. The processor does not keep this bit for every segment.
        g: u8::from(vmcb.limit > 0xf_ffff),
        avl: bit(8),
        unusable: bit(7) ^ 1,
        padding: 0,
    };
    match name {
        // The busy bit of the task register may be lost.
        TR => segment.kind |= 2,
        // The current privilege level has a field of its own, and D/B is stale once SS is null.
        SS => {
            segment.dpl = cpl & 3;
            segment.db &= segment.present;
        }
        // A loaded data segment has been accessed.
        0..=GS if name != CS => segment.kind |= segment.present,
        _ => {}
    }
}

//! Segment descriptors: what they say, and where the guest's tables hold them.
//!
//! Manual: Intel SDM volume 3A, "Segment Selectors", "Segment Descriptors" and "System Descriptor
//! Types"; AMD APM volume 2, "Descriptor Tables".

use super::{SegmentRegister, SystemRegisters};

/// Size of a descriptor in the GDT and the LDT in bytes. System descriptors of long mode are twice as
/// long; their upper halves hold the upper half of the base.
pub const SIZE: u64 = 8;
/// Selector: the LDT, not the GDT.
pub const IN_LDT: u16 = 1 << 2;
/// Selector: the requested ring.
const RPL: u16 = 3;

/// Type of a code or data segment: has been loaded.
pub const ACCESSED: u8 = 1;
/// Type of a data segment: writable; of a code segment: readable.
const WRITABLE_OR_READABLE: u8 = 1 << 1;
/// Type of a code segment: keeps the ring of its caller.
const CONFORMING: u8 = 1 << 2;
/// Type: code.
const CODE: u8 = 1 << 3;

/// A descriptor, with the place it was read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Descriptor {
    /// Its lower eight bytes.
    pub value: u64,
    /// Linear address of its first byte.
    pub address: u64,
}

impl Descriptor {
    /// Type: its meaning depends on [`Descriptor::is_system`].
    pub fn kind(&self) -> u8 {
        (self.value >> 40 & 0xF) as u8
    }

    /// True for gates, LDTs and task state segments; false for code and data.
    pub fn is_system(&self) -> bool {
        self.value & 1 << 44 == 0
    }

    /// Descriptor privilege level, 0 to 3.
    pub fn dpl(&self) -> u8 {
        (self.value >> 45 & 3) as u8
    }

    /// True if the segment is present.
    pub fn is_present(&self) -> bool {
        self.value & 1 << 47 != 0
    }

    /// True for a 64-bit code segment.
    pub fn is_long(&self) -> bool {
        self.value & 1 << 53 != 0
    }

    /// True for 32-bit code, or a stack with 32-bit addresses (the D/B bit).
    pub fn is_big(&self) -> bool {
        self.value & 1 << 54 != 0
    }

    /// Base address: its low 32 bits, which are all of it in code and data segments.
    pub fn base(&self) -> u64 {
        self.value >> 16 & 0xFF_FFFF | self.value >> 56 << 24
    }

    /// Offset of the segment's last byte (for data that grows downwards: of the last byte outside).
    pub fn limit(&self) -> u32 {
        let limit = (self.value & 0xFFFF | self.value >> 32 & 0xF_0000) as u32;
        if self.value & 1 << 55 != 0 { limit << 12 | 0xFFF } else { limit }
    }

    /// The upper half, which holds the access rights.
    pub fn high(&self) -> u32 {
        (self.value >> 32) as u32
    }

    /// True for a code segment.
    pub fn is_code(&self) -> bool {
        !self.is_system() && self.kind() & CODE != 0
    }

    /// True for a code segment that keeps the ring of its caller.
    pub fn is_conforming(&self) -> bool {
        self.is_code() && self.kind() & CONFORMING != 0
    }

    /// True for a data segment and for code that can be read.
    pub fn is_readable(&self) -> bool {
        !self.is_system() && (self.kind() & CODE == 0 || self.kind() & WRITABLE_OR_READABLE != 0)
    }

    /// True for a data segment that can be written.
    pub fn is_writable(&self) -> bool {
        !self.is_system() && self.kind() & (CODE | WRITABLE_OR_READABLE) == WRITABLE_OR_READABLE
    }

    /// What a segment register holds when `selector` has been loaded with this code or data segment.
    pub fn loaded(&self, selector: u16) -> SegmentRegister {
        let bit = |bit: u32| (self.value >> bit & 1) as u8;
        SegmentRegister {
            base: self.base(),
            limit: self.limit(),
            selector,
            type_: self.kind() | ACCESSED,
            present: bit(47),
            dpl: self.dpl(),
            db: bit(54),
            s: bit(44),
            l: bit(53),
            g: bit(55),
            avl: bit(52),
            ..Default::default()
        }
    }
}

/// True for the selectors that stand for no segment.
pub fn is_null(selector: u16) -> bool {
    selector & !RPL == 0
}

/// The ring a selector asks for.
pub fn rpl(selector: u16) -> u8 {
    (selector & RPL) as u8
}

/// Where a table is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Table {
    /// Linear address of its first byte.
    pub base: u64,
    /// Offset of its last byte.
    pub limit: u32,
}

impl Table {
    /// The table `selector` is about: the GDT or the LDT; `None` if there is no LDT.
    pub fn of(system: &SystemRegisters, selector: u16) -> Option<Table> {
        if selector & IN_LDT == 0 {
            return Some(Table { base: system.gdt.base, limit: system.gdt.limit.into() });
        }
        let usable = system.ldt.unusable == 0 && system.ldt.present == 1;
        usable.then_some(Table { base: system.ldt.base, limit: system.ldt.limit })
    }

    /// Linear address of the descriptor `selector` names; `None` if it is beyond the end.
    pub fn address_of(&self, selector: u16) -> Option<u64> {
        let offset = u64::from(selector & !(IN_LDT | RPL));
        (offset + SIZE - 1 <= u64::from(self.limit)).then(|| self.base.wrapping_add(offset))
    }
}

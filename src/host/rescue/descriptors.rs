//! Segment descriptors as the processor reads them from the guest's descriptor tables.
//!
//! Manual: Intel SDM volume 3A, "Segment Descriptors" and "System Descriptor Types"; AMD APM volume 2,
//! "Descriptor Tables".

use kvm_bindings::kvm_segment;

use super::cpu::Cpu;
use super::exception::{Exception, Trouble};
use crate::host::paging::Access;

/// Size of a descriptor in the GDT and the LDT in bytes. System descriptors of long mode are twice as
/// long; their upper halves hold the upper half of the base.
const SIZE: u64 = 8;
/// Selector: the LDT, not the GDT.
const IN_LDT: u16 = 1 << 2;
/// Selector: the requested ring.
const RPL: u16 = 3;

/// Type of a code or data segment: has been loaded.
const ACCESSED: u8 = 1;
/// Type of a data segment: writable; of a code segment: readable.
const WRITABLE_OR_READABLE: u8 = 1 << 1;
/// Type of a code segment: keeps the ring of its caller.
const CONFORMING: u8 = 1 << 2;
/// Type: code.
const CODE: u8 = 1 << 3;

/// A descriptor, with the place it was read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Descriptor {
    value: u64,
    /// Linear address of its first byte.
    address: u64,
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
    pub fn loaded(&self, selector: u16) -> kvm_segment {
        let bit = |bit: u32| (self.value >> bit & 1) as u8;
        kvm_segment {
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
pub(super) fn is_null(selector: u16) -> bool {
    selector & !RPL == 0
}

/// The ring a selector asks for.
pub(super) fn rpl(selector: u16) -> u8 {
    (selector & RPL) as u8
}

impl Cpu<'_> {
    /// The descriptor that `selector` names; `None` if it is null or beyond the end of its table.
    ///
    /// # Errors
    ///
    /// The page fault that reading the table raises.
    pub fn descriptor(&mut self, selector: u16) -> Result<Option<Descriptor>, Trouble> {
        let system = &self.registers.system;
        let (base, limit) = if selector & IN_LDT == 0 {
            (system.gdt.base, u32::from(system.gdt.limit))
        } else if system.ldt.unusable == 0 && system.ldt.present == 1 {
            (system.ldt.base, system.ldt.limit)
        } else {
            return Ok(None);
        };
        let offset = u64::from(selector & !(IN_LDT | RPL));
        if is_null(selector) || offset + SIZE - 1 > u64::from(limit) {
            return Ok(None);
        }
        let address = base.wrapping_add(offset);
        let mut value = [0; SIZE as usize];
        self.read_system(address, &mut value)?;
        Ok(Some(Descriptor { value: u64::from_le_bytes(value), address }))
    }

    /// Notes in the table that a code or data segment has been loaded.
    ///
    /// # Errors
    ///
    /// The page fault that writing to the table raises.
    pub fn mark_accessed(&mut self, descriptor: &Descriptor) -> Result<(), Trouble> {
        if descriptor.kind() & ACCESSED != 0 {
            return Ok(());
        }
        // The type is in the low half of the sixth byte.
        let address = self.wrap_system(descriptor.address.wrapping_add(5));
        let access = Access { write: true, implicit: true, ..Access::default() };
        let span = self.span(address, 1, access)?;
        self.write(span, &[(descriptor.value >> 40) as u8 | ACCESSED]);
        Ok(())
    }

    /// Fills `bytes` from a descriptor table or a task state segment at a linear address, as the
    /// processor itself reads there in whatever ring it is.
    ///
    /// # Errors
    ///
    /// The page fault that this raises; #GP where the address is not canonical.
    pub fn read_system(&mut self, linear: u64, bytes: &mut [u8]) -> Result<(), Trouble> {
        let linear = self.wrap_system(linear);
        let access = Access { implicit: true, ..Access::default() };
        if !self.paging().is_canonical(linear) {
            return Err(Exception::protection(0).into());
        }
        let span = self.span(linear, bytes.len(), access)?;
        self.read(span, bytes);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::host::rescue::testing::Fake;

    /// Writes a GDT with a code segment of 4 GiB at selector 0x10.
    fn with_code_segment(fake: &mut Fake) -> u64 {
        const GDT: u64 = 0x4000;
        fake.memory.write_u64(GDT + 0x10, 0x12CF_9A34_5678_FFFF).unwrap();
        let system = &mut fake.registers.get_mut().system;
        (system.gdt.base, system.gdt.limit) = (GDT, 0x17);
        GDT
    }

    #[test]
    fn a_descriptor_is_taken_apart_as_the_manual_draws_it() {
        let mut fake = Fake::long_mode(&[]);
        with_code_segment(&mut fake);
        fake.with_cpu(|cpu| {
            let code = cpu.descriptor(0x13).unwrap().unwrap();
            assert_eq!((code.base(), code.limit()), (0x1234_5678, u32::MAX));
            assert!(code.is_code() && code.is_readable() && !code.is_writable() && code.is_present());
            assert!(!code.is_system() && !code.is_conforming() && !code.is_long() && code.is_big());
            assert_eq!((code.dpl(), code.kind()), (0, 10));
            let loaded = code.loaded(0x10);
            assert_eq!((loaded.base, loaded.limit, loaded.selector), (0x1234_5678, u32::MAX, 0x10));
            assert_eq!((loaded.type_, loaded.db, loaded.g, loaded.l, loaded.s), (11, 1, 1, 0, 1));
        });
    }

    #[test]
    fn selectors_that_name_nothing_give_nothing() {
        let mut fake = Fake::long_mode(&[]);
        with_code_segment(&mut fake);
        fake.with_cpu(|cpu| {
            // Null, beyond the limit, and in an LDT that is not there.
            for selector in [0, 3, 0x18, 0x14] {
                assert_eq!(cpu.descriptor(selector).unwrap(), None, "{selector:#x}");
            }
        });
    }

    #[test]
    fn loading_a_segment_marks_it_in_the_table() {
        let mut fake = Fake::long_mode(&[]);
        let gdt = with_code_segment(&mut fake);
        fake.with_cpu(|cpu| {
            let code = cpu.descriptor(0x10).unwrap().unwrap();
            cpu.mark_accessed(&code).unwrap();
        });
        assert_eq!(fake.memory.read_u64(gdt + 0x10).unwrap(), 0x12CF_9B34_5678_FFFF);
    }
}

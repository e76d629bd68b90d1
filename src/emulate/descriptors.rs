//! Segment descriptors as the processor reads them from the guest's descriptor tables.
//!
//! Manual: Intel SDM volume 3A, "Segment Descriptors" and "System Descriptor Types"; AMD APM volume 2,
//! "Descriptor Tables".

use super::cpu::Cpu;
use super::exception::{EmulationError, Exception};
use crate::arch::descriptor::{ACCESSED, SIZE, Table};
pub(super) use crate::arch::descriptor::{Descriptor, is_null, rpl};
use crate::arch::paging::Access;

impl Cpu<'_> {
    /// The descriptor that `selector` names; `None` if it is null or beyond the end of its table.
    ///
    /// # Errors
    ///
    /// The page fault that reading the table raises.
    pub fn descriptor(&mut self, selector: u16) -> Result<Option<Descriptor>, EmulationError> {
        let table = Table::of(&self.registers.system, selector);
        let Some(address) = table.and_then(|table| table.address_of(selector)) else { return Ok(None) };
        if is_null(selector) {
            return Ok(None);
        }
        let mut value = [0; SIZE as usize];
        self.read_system(address, &mut value)?;
        Ok(Some(Descriptor { value: u64::from_le_bytes(value), address }))
    }

    /// Sets the accessed bit in the table for a code or data segment that has been loaded.
    ///
    /// # Errors
    ///
    /// The page fault that writing to the table raises.
    pub fn mark_accessed(&mut self, descriptor: &Descriptor) -> Result<(), EmulationError> {
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

    /// Fills `bytes` from a descriptor table or a task state segment at a linear address, as the processor
    /// itself does in every ring.
    ///
    /// # Errors
    ///
    /// The page fault that this raises; #GP if the address is not canonical.
    pub fn read_system(&mut self, linear: u64, bytes: &mut [u8]) -> Result<(), EmulationError> {
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
    use crate::emulate::testing::FakeCpu;

    /// Writes a GDT with a code segment of 4 GiB at selector 0x10.
    fn with_code_segment(fake: &mut FakeCpu) -> u64 {
        const GDT: u64 = 0x4000;
        fake.memory.write_u64(GDT + 0x10, 0x12CF_9A34_5678_FFFF).unwrap();
        let system = &mut fake.registers.get_mut().system;
        (system.gdt.base, system.gdt.limit) = (GDT, 0x17);
        GDT
    }

    #[test]
    fn a_descriptor_is_taken_apart_as_the_manual_draws_it() {
        let mut fake = FakeCpu::long_mode(&[]);
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
        let mut fake = FakeCpu::long_mode(&[]);
        with_code_segment(&mut fake);
        fake.with_cpu(|cpu| {
            // Null, beyond the limit, and in an absent LDT.
            for selector in [0, 3, 0x18, 0x14] {
                assert_eq!(cpu.descriptor(selector).unwrap(), None, "{selector:#x}");
            }
        });
    }

    #[test]
    fn loading_a_segment_marks_it_in_the_table() {
        let mut fake = FakeCpu::long_mode(&[]);
        let gdt = with_code_segment(&mut fake);
        fake.with_cpu(|cpu| {
            let code = cpu.descriptor(0x10).unwrap().unwrap();
            cpu.mark_accessed(&code).unwrap();
        });
        assert_eq!(fake.memory.read_u64(gdt + 0x10).unwrap(), 0x12CF_9B34_5678_FFFF);
    }
}

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
#[path = "descriptors_test.rs"]
mod tests;

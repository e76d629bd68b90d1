//! The tables that a PC's firmware leaves in memory, and where guests search for them: ACPI and MP tables.
//!
//! All of them are in one area, so that few pages are written when a guest starts:
//!
//! | offset | what |
//! |---|---|
//! | 0 | RSDP |
//! | 0x30 | MP floating pointer structure |
//! | 0x40 | FACS, then the other ACPI tables |
//! | a multiple of 16 | MP configuration table |
//!
//! The area is in the last 64 KiB below 1 MiB, where guests search. If the guest's segments leave no room there, it
//! is elsewhere, and only the start info names the RSDP.

use std::ops::Range;

pub(super) use super::acpi::RSDP_SIZE;

use super::acpi;
use super::allocator::Allocator;
use super::platform::Platform;
use super::{BootError, mp_table};
use crate::arch::PAGE_SIZE;
use crate::memory::GuestMemory;

/// Where the area is unless a segment is there.
const USUAL_BASE: u32 = 0xF_0000;
const POINTER_OFFSET: usize = RSDP_SIZE.next_multiple_of(mp_table::POINTER_SIZE);
const TABLES_OFFSET: usize = 0x40;

/// The area as it has to be at `base`, a multiple of [`PAGE_SIZE`] below 4 GiB. Its length does not depend on the
/// address.
fn build(base: u32, platform: &Platform) -> Vec<u8> {
    let tables = acpi::build(base + TABLES_OFFSET as u32, platform);
    let mut area = vec![0; TABLES_OFFSET];
    area[..RSDP_SIZE].copy_from_slice(&tables.rsdp());
    area.extend(tables.bytes);
    area.resize(area.len().next_multiple_of(16), 0);
    let pointer = mp_table::pointer(base + area.len() as u32);
    area[POINTER_OFFSET..POINTER_OFFSET + pointer.len()].copy_from_slice(&pointer);
    area.extend(mp_table::build(platform));
    area
}

/// Writes the tables and returns the pages that they take; the RSDP is at their start. `None` if there is no room:
/// a guest can do without them.
///
/// # Errors
///
/// [`BootError::Memory`], if memory cannot be written.
pub(super) fn write(
    memory: &GuestMemory,
    platform: &Platform,
    allocator: &mut Allocator,
) -> Result<Option<Range<u64>>, BootError> {
    let mut area = build(USUAL_BASE, platform);
    let size = (area.len() as u64).next_multiple_of(PAGE_SIZE);
    let Some(base) = allocator.allocate_firmware_tables(size) else { return Ok(None) };
    if base != u64::from(USUAL_BASE) {
        // No allocation is above 3 GiB.
        area = build(base as u32, platform);
    }
    memory.write(base, &area)?;
    Ok(Some(base..base + size))
}

/// Writes the tables where they usually are, for a guest without segments, and returns where that is.
///
/// # Errors
///
/// [`BootError::Memory`], if memory cannot be written.
pub(super) fn write_at_usual_place(
    memory: &GuestMemory,
    platform: &Platform,
) -> Result<Range<u64>, BootError> {
    let area = build(USUAL_BASE, platform);
    let start = u64::from(USUAL_BASE);
    memory.write(start, &area)?;
    Ok(start..start + area.len() as u64)
}

/// The RSDP of the tables that were written to `tables`.
pub(super) fn rsdp(memory: &GuestMemory, tables: &Range<u64>) -> Result<[u8; RSDP_SIZE], BootError> {
    let mut rsdp = [0; RSDP_SIZE];
    memory.read(tables.start, &mut rsdp)?;
    Ok(rsdp)
}

#[cfg(test)]
#[path = "firmware_tables_test.rs"]
mod tests;

//! From a virtual address to a guest-physical one, through the guest's own page tables.
//!
//! Manual: Intel SDM volume 3A, "4-Level Paging and 5-Level Paging".

use crate::host::Registers;
use crate::memory::GuestMemory;

/// CR0: paging.
const CR0_PAGING: u64 = 1 << 31;
/// CR4: 57-bit linear addresses.
const CR4_LA57: u64 = 1 << 12;
/// EFER: long mode is active.
const EFER_LONG_MODE: u64 = 1 << 10;
/// Smallest page in bytes: what is contiguous in any mapping.
const PAGE: u64 = 4096;
/// Entry: present.
const PRESENT: u64 = 1;
/// Entry of the second or third level: maps a large page.
const LARGE: u64 = 1 << 7;
/// Entry: the address it holds.
const ADDRESS: u64 = 0x000F_FFFF_FFFF_F000;

/// The guest-physical address behind `address`, or `None` if nothing is mapped there.
///
/// Without paging the two are the same. Of the paging modes, those of long mode are known.
pub fn translate(memory: &GuestMemory, registers: &Registers, address: u64) -> Option<u64> {
    let system = &registers.system;
    if system.cr0 & CR0_PAGING == 0 {
        return Some(address);
    }
    if system.efer & EFER_LONG_MODE == 0 {
        return None;
    }
    let levels = if system.cr4 & CR4_LA57 != 0 { 5 } else { 4 };
    // The upper bits repeat the highest one that is translated; the processor faults otherwise.
    let unused = 64 - (12 + 9 * levels);
    if (address << unused) as i64 >> unused != address as i64 {
        return None;
    }
    let mut table = system.cr3 & ADDRESS;
    for level in (0..levels).rev() {
        let shift = 12 + 9 * level;
        let index = address >> shift & 0x1FF;
        let entry = memory.read_u64(table + index * 8).ok()?;
        if entry & PRESENT == 0 {
            return None;
        }
        let last = level == 0 || (level <= 2 && entry & LARGE != 0);
        if last {
            let offset = (1 << shift) - 1;
            return Some(entry & ADDRESS & !offset | address & offset);
        }
        table = entry & ADDRESS;
    }
    None
}

/// Where the virtual address `address` lies, and how many of the `length` bytes from there on lie in
/// the same page; `None` if nothing is mapped there.
pub fn piece(
    memory: &GuestMemory,
    registers: &Registers,
    address: u64,
    length: usize,
) -> Option<(u64, usize)> {
    let physical = translate(memory, registers, address)?;
    let in_page = (PAGE - address % PAGE) as usize;
    Some((physical, in_page.min(length)))
}

/// Fills `bytes` from the virtual address `address`; the number of bytes there were before the first
/// one that is not mapped or not RAM.
pub fn read_virtual(memory: &GuestMemory, registers: &Registers, address: u64, bytes: &mut [u8]) -> usize {
    let mut done = 0;
    while done < bytes.len() {
        let next = address.checked_add(done as u64);
        let found = next.and_then(|next| piece(memory, registers, next, bytes.len() - done));
        let Some((physical, count)) = found else { break };
        if memory.read(physical, &mut bytes[done..done + count]).is_err() {
            break;
        }
        done += count;
    }
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    fn long_mode(memory: &GuestMemory) -> Registers {
        memory.write_u64(0x1000, 0x2003).unwrap();
        memory.write_u64(0x2000, 0x3003).unwrap();
        memory.write_u64(0x3000, 0x83).unwrap();
        memory.write_u64(0x3008, 0x4003).unwrap();
        memory.write_u64(0x4000, 0x5003).unwrap();
        let mut registers = Registers::default();
        registers.system.cr0 = CR0_PAGING;
        registers.system.cr3 = 0x1000;
        registers.system.efer = EFER_LONG_MODE;
        registers
    }

    #[test]
    fn large_and_small_pages_are_followed_and_holes_are_holes() {
        let memory = GuestMemory::new(1 << 20).unwrap();
        let registers = long_mode(&memory);
        assert_eq!(translate(&memory, &registers, 0x12345), Some(0x12345));
        assert_eq!(translate(&memory, &registers, 0x20_0123), Some(0x5123));
        assert_eq!(translate(&memory, &registers, 0x20_1000), None);
        assert_eq!(translate(&memory, &registers, 1 << 39), None);
    }

    #[test]
    fn addresses_that_are_not_canonical_are_no_mapping() {
        let memory = GuestMemory::new(1 << 20).unwrap();
        let registers = long_mode(&memory);
        memory.write_u64(0x1FF8, 0x2003).unwrap();
        assert_eq!(translate(&memory, &registers, 0xFFFF_FF80_0000_0010), Some(0x10));
        assert_eq!(translate(&memory, &registers, 0x0000_FF80_0000_0010), None);
        assert_eq!(translate(&memory, &registers, 1 << 63), None);
    }

    #[test]
    fn reading_stops_where_the_mapping_stops() {
        let memory = GuestMemory::new(1 << 20).unwrap();
        let registers = long_mode(&memory);
        memory.write(0x5FFE, b"ab").unwrap();
        let mut bytes = [0; 15];
        assert_eq!(read_virtual(&memory, &registers, 0x20_0FFE, &mut bytes), 2);
        assert_eq!(&bytes[..2], b"ab");
    }

    #[test]
    fn tables_that_point_outside_of_memory_are_no_mapping() {
        let memory = GuestMemory::new(1 << 20).unwrap();
        let mut registers = long_mode(&memory);
        registers.system.cr3 = ADDRESS;
        assert_eq!(translate(&memory, &registers, 0), None);
    }
}

//! Guest memory at virtual addresses, as the guest's own page tables map it.

use crate::host::Registers;
use crate::inspect::translate::translate;
use crate::memory::GuestMemory;

/// Smallest page in bytes: what is contiguous in any mapping.
const PAGE: u64 = 4096;

/// Fills `bytes` from the virtual address `address`; the number of bytes there were before the first
/// one that is not mapped or not RAM.
pub(super) fn read(memory: &GuestMemory, registers: &Registers, address: u64, bytes: &mut [u8]) -> usize {
    let mut done = 0;
    while done < bytes.len() {
        let Some((physical, count)) = piece(registers, memory, address, done, bytes.len()) else { break };
        if memory.read(physical, &mut bytes[done..done + count]).is_err() {
            break;
        }
        done += count;
    }
    done
}

/// Copies `bytes` to the virtual address `address`, whatever the page's protection; false, and
/// nothing is written, if not all of it is mapped RAM.
pub(super) fn write(memory: &GuestMemory, registers: &Registers, address: u64, bytes: &[u8]) -> bool {
    let mut pieces = Vec::new();
    let mut done = 0;
    while done < bytes.len() {
        let Some((physical, count)) = piece(registers, memory, address, done, bytes.len()) else {
            return false;
        };
        if !memory.is_ram(physical, count as u64) {
            return false;
        }
        pieces.push((physical, done..done + count));
        done += count;
    }
    pieces.into_iter().all(|(physical, range)| memory.write(physical, &bytes[range]).is_ok())
}

/// Where the bytes from `done` on are, and how many of them lie in one page.
fn piece(
    registers: &Registers,
    memory: &GuestMemory,
    address: u64,
    done: usize,
    length: usize,
) -> Option<(u64, usize)> {
    let address = address.checked_add(done as u64)?;
    let physical = translate(memory, registers, address)?;
    let in_page = (PAGE - address % PAGE) as usize;
    Some((physical, in_page.min(length - done)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two pages that are neighbours for the guest, swapped in memory, and nothing after them.
    fn swapped_pages() -> (GuestMemory, Registers) {
        let memory = GuestMemory::new(1 << 20).unwrap();
        for (at, entry) in
            [(0x1000, 0x2003), (0x2000, 0x3003), (0x3000, 0x4003), (0x4000, 0x6003), (0x4008, 0x5003)]
        {
            memory.write_u64(at, entry).unwrap();
        }
        let mut registers = Registers::default();
        registers.system.cr0 = 1 << 31;
        registers.system.cr3 = 0x1000;
        registers.system.efer = 1 << 10;
        (memory, registers)
    }

    #[test]
    fn an_access_across_pages_follows_both_mappings() {
        let (memory, registers) = swapped_pages();
        assert!(write(&memory, &registers, 0xFFE, b"abcd"));
        let mut bytes = [0; 2];
        memory.read(0x6FFE, &mut bytes).unwrap();
        assert_eq!(&bytes, b"ab");
        memory.read(0x5000, &mut bytes).unwrap();
        assert_eq!(&bytes, b"cd");
        let mut bytes = [0; 4];
        assert_eq!(read(&memory, &registers, 0xFFE, &mut bytes), 4);
        assert_eq!(&bytes, b"abcd");
    }

    #[test]
    fn a_write_that_runs_out_of_its_mapping_changes_nothing() {
        let (memory, registers) = swapped_pages();
        assert!(!write(&memory, &registers, 0x1FFE, b"abcd"));
        let mut bytes = [1; 4];
        assert_eq!(read(&memory, &registers, 0x1FFE, &mut bytes), 2);
        assert_eq!(bytes, [0, 0, 1, 1]);
        assert_eq!(read(&memory, &registers, u64::MAX, &mut bytes), 0);
    }
}

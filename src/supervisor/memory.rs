//! Guest memory as gdb asks for it: at virtual addresses, as the guest's own page tables map them, or
//! at guest-physical ones.

use std::ops::Range;

use crate::arch::Registers;
use crate::inspect::translate::{piece, read_virtual};
use crate::machine::Machine;
use crate::memory::GuestMemory;

/// Fills `bytes` from `address`, which is virtual if there are `registers` and else guest-physical; the
/// number of bytes there were before the first one that is not mapped or not RAM.
pub(crate) fn read(
    memory: &GuestMemory,
    registers: Option<&Registers>,
    address: u64,
    bytes: &mut [u8],
) -> usize {
    if let Some(registers) = registers {
        return read_virtual(memory, registers, address, bytes);
    }
    let Some(range) = memory.ram().iter().find(|range| range.contains(&address)) else { return 0 };
    let count = bytes.len().min(usize::try_from(range.end - address).unwrap_or(usize::MAX));
    if memory.read(address, &mut bytes[..count]).is_ok() { count } else { 0 }
}

/// Copies `bytes` to `address`, which is virtual if there are `registers` and else guest-physical,
/// whatever the page's protection; false, and nothing is written, if not all of it is mapped RAM.
pub(crate) fn write(memory: &GuestMemory, registers: Option<&Registers>, address: u64, bytes: &[u8]) -> bool {
    pieces(memory, registers, address, bytes.len())
        .is_some_and(|pieces| pieces.into_iter().all(|(at, range)| memory.write(at, &bytes[range]).is_ok()))
}

/// As [`write`], for a debugger: the write is an event of the machine's journal.
pub(crate) fn write_for_client(
    machine: &mut Machine,
    registers: Option<&Registers>,
    address: u64,
    bytes: &[u8],
) -> bool {
    pieces(machine.memory(), registers, address, bytes.len()).is_some_and(|pieces| {
        pieces.into_iter().all(|(at, range)| machine.write_memory(at, &bytes[range]).is_ok())
    })
}

/// The guest-physical addresses of `length` bytes, and the part of the bytes at each; `None` if not all of them
/// are mapped RAM.
fn pieces(
    memory: &GuestMemory,
    registers: Option<&Registers>,
    address: u64,
    length: usize,
) -> Option<Vec<(u64, Range<usize>)>> {
    let Some(registers) = registers else {
        return memory.is_ram(address, length as u64).then(|| vec![(address, 0..length)]);
    };
    let mut pieces = Vec::new();
    let mut done = 0;
    while done < length {
        let (physical, count) = piece(memory, registers, address.checked_add(done as u64)?, length - done)?;
        if !memory.is_ram(physical, count as u64) {
            return None;
        }
        pieces.push((physical, done..done + count));
        done += count;
    }
    Some(pieces)
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
        assert!(write(&memory, Some(&registers), 0xFFE, b"abcd"));
        let mut bytes = [0; 2];
        memory.read(0x6FFE, &mut bytes).unwrap();
        assert_eq!(&bytes, b"ab");
        memory.read(0x5000, &mut bytes).unwrap();
        assert_eq!(&bytes, b"cd");
        let mut bytes = [0; 4];
        assert_eq!(read(&memory, Some(&registers), 0xFFE, &mut bytes), 4);
        assert_eq!(&bytes, b"abcd");
    }

    #[test]
    fn a_write_that_runs_out_of_its_mapping_changes_nothing() {
        let (memory, registers) = swapped_pages();
        assert!(!write(&memory, Some(&registers), 0x1FFE, b"abcd"));
        let mut bytes = [1; 4];
        assert_eq!(read(&memory, Some(&registers), 0x1FFE, &mut bytes), 2);
        assert_eq!(bytes, [0, 0, 1, 1]);
        assert_eq!(read(&memory, Some(&registers), u64::MAX, &mut bytes), 0);
    }

    #[test]
    fn physical_addresses_do_not_ask_the_page_tables() {
        let (memory, _) = swapped_pages();
        assert!(write(&memory, None, 0xF_FFFE, b"ab"));
        let mut bytes = [0; 4];
        assert_eq!(read(&memory, None, 0xF_FFFE, &mut bytes), 2, "RAM ends there");
        assert_eq!(&bytes, b"ab\0\0");
        assert!(!write(&memory, None, 0xF_FFFF, b"cd"), "not all of it is RAM");
        assert_eq!(read(&memory, None, u64::MAX, &mut bytes), 0);
    }
}

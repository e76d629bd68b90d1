//! Guest memory as a client addresses it: as the guest's own page tables map it, or physically.

use crate::host::Registers;
use crate::inspect::translate::{piece, read_virtual};
use crate::memory::GuestMemory;

/// What a client's addresses are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Addressing {
    /// The guest's virtual ones.
    Virtual,
    /// Guest-physical ones.
    Physical,
}

/// Fills `bytes` from `address`; the number of bytes there were before the first one that is not
/// mapped or not RAM.
pub(super) fn read(
    memory: &GuestMemory,
    registers: &Registers,
    addressing: Addressing,
    address: u64,
    bytes: &mut [u8],
) -> usize {
    if addressing == Addressing::Virtual {
        return read_virtual(memory, registers, address, bytes);
    }
    let end = memory.ram().iter().find(|range| range.contains(&address)).map_or(address, |range| range.end);
    let count = usize::try_from(end - address).unwrap_or(usize::MAX).min(bytes.len());
    let there = bytes.get_mut(..count).is_some_and(|bytes| memory.read(address, bytes).is_ok());
    if there { count } else { 0 }
}

/// Copies `bytes` to `address`, whatever the page's protection; false, and nothing is written, if not
/// all of it is mapped RAM.
pub(super) fn write(
    memory: &GuestMemory,
    registers: &Registers,
    addressing: Addressing,
    address: u64,
    bytes: &[u8],
) -> bool {
    if addressing == Addressing::Physical {
        return memory.write(address, bytes).is_ok();
    }
    let mut pieces = Vec::new();
    let mut done = 0;
    while done < bytes.len() {
        let next = address.checked_add(done as u64);
        let found = next.and_then(|next| piece(memory, registers, next, bytes.len() - done));
        let Some((physical, count)) = found else { return false };
        if !memory.is_ram(physical, count as u64) {
            return false;
        }
        pieces.push((physical, done..done + count));
        done += count;
    }
    pieces.into_iter().all(|(physical, range)| memory.write(physical, &bytes[range]).is_ok())
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
        assert!(write(&memory, &registers, Addressing::Virtual, 0xFFE, b"abcd"));
        let mut bytes = [0; 2];
        memory.read(0x6FFE, &mut bytes).unwrap();
        assert_eq!(&bytes, b"ab");
        memory.read(0x5000, &mut bytes).unwrap();
        assert_eq!(&bytes, b"cd");
        let mut bytes = [0; 4];
        assert_eq!(read_virtual(&memory, &registers, 0xFFE, &mut bytes), 4);
        assert_eq!(&bytes, b"abcd");
    }

    #[test]
    fn a_write_that_runs_out_of_its_mapping_changes_nothing() {
        let (memory, registers) = swapped_pages();
        assert!(!write(&memory, &registers, Addressing::Virtual, 0x1FFE, b"abcd"));
        let mut bytes = [1; 4];
        assert_eq!(read_virtual(&memory, &registers, 0x1FFE, &mut bytes), 2);
        assert_eq!(bytes, [0, 0, 1, 1]);
        assert_eq!(read_virtual(&memory, &registers, u64::MAX, &mut bytes), 0);
    }

    #[test]
    fn physical_addresses_do_not_ask_the_page_tables() {
        let (memory, registers) = swapped_pages();
        assert!(write(&memory, &registers, Addressing::Physical, 0x6FFE, b"abcd"));
        let mut bytes = [0; 4];
        assert_eq!(read(&memory, &registers, Addressing::Physical, 0x6FFE, &mut bytes), 4);
        assert_eq!(&bytes, b"abcd");
        assert_eq!(read(&memory, &registers, Addressing::Physical, (1 << 20) - 2, &mut bytes), 2);
        assert_eq!(read(&memory, &registers, Addressing::Physical, 1 << 20, &mut bytes), 0);
        assert!(!write(&memory, &registers, Addressing::Physical, (1 << 20) - 2, b"abcd"));
    }
}

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
    let Some(range) = memory.parts().find(|range| range.contains(&address)) else { return 0 };
    let count = bytes.len().min(usize::try_from(range.end - address).unwrap_or(usize::MAX));
    if memory.read(address, &mut bytes[..count]).is_ok() { count } else { 0 }
}

/// Copies `bytes` to `address`, which is virtual if there are `registers` and else guest-physical,
/// whatever the page's protection; false, and nothing is written, if not all of it is mapped RAM. The write is an
/// event of the machine's journal.
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
#[path = "memory_test.rs"]
mod tests;

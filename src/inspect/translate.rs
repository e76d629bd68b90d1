//! From a virtual address to a guest-physical one, through the guest's own page tables.
//!
//! Manual: Intel SDM volume 3A, "4-Level Paging and 5-Level Paging".

use crate::arch::PAGE_SIZE;
use crate::arch::Registers;
use crate::arch::paging::Paging;
use crate::memory::GuestMemory;

/// The guest-physical address behind `address`, or `None` if nothing is mapped there. Without paging
/// the two are the same.
pub fn translate(memory: &GuestMemory, registers: &Registers, address: u64) -> Option<u64> {
    Paging::new(registers, Paging::WIDEST).find(memory, address).ok().map(|mapping| mapping.physical)
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
    let in_page = (PAGE_SIZE - address % PAGE_SIZE) as usize;
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
#[path = "translate_test.rs"]
mod tests;

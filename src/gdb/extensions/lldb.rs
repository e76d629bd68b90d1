//! LLDB's extensions: guest memory that it uses itself, for `expression f(x)`, and `memory region`.
//!
//! The memory lies at the end of the RAM below 4 GiB, where `docs/boot-state.md` places nothing: its last
//! [`ARENA`] bytes. Only pages that hold nothing but zeros and are mapped to themselves, writable, are given away.
//!
//! Manual: "GDB Remote Protocol Extensions" of LLDB.

use super::{Answered, text};
use crate::arch::PAGE_SIZE;
use crate::arch::paging::Paging;
use crate::gdb::target::{FULL, GdbTarget, INVALID};
use crate::inspect::mappings::region_at;
use crate::supervisor::memory;

/// Size of the memory that is set aside, in bytes.
const ARENA: u64 = 1 << 20;

/// Gives guest memory to the client.
pub(super) fn allocate(target: &mut GdbTarget<'_, '_>, size: u64, out: &mut Vec<u8>) -> Answered {
    let registers = target.selected_registers().map_err(|_| INVALID)?;
    let size =
        size.checked_next_multiple_of(PAGE_SIZE).filter(|size| (1..=ARENA).contains(size)).ok_or(INVALID)?;
    let guest = target.supervisor.machine.memory();
    let paging = Paging::new(&registers, Paging::WIDEST);
    let end = guest.ram().first().map_or(0, |range| range.end);
    let is_free = |start: u64| {
        let range = start..start + size;
        let taken = target.view.allocations.iter();
        let overlaps = |(other, length): &(u64, u64)| *other < range.end && range.start < other + length;
        !taken.into_iter().any(overlaps)
            && range.step_by(PAGE_SIZE as usize).all(|page| {
                let mut bytes = [0; PAGE_SIZE as usize];
                paging.find(guest, page).is_ok_and(|mapping| mapping.physical == page && mapping.rights.write)
                    && guest.read(page, &mut bytes).is_ok()
                    && bytes.iter().all(|byte| *byte == 0)
            })
    };
    let pages = (1..=ARENA / PAGE_SIZE).filter_map(|count| end.checked_sub(count * PAGE_SIZE));
    let mut starts = pages.filter(|start| end - start >= size);
    let start = starts.find(|start| is_free(*start)).ok_or(FULL)?;
    target.view.allocations.push((start, size));
    text(out, &format!("{start:x}"))
}

/// Takes memory back, and clears it.
pub(super) fn deallocate(target: &mut GdbTarget<'_, '_>, address: u64, out: &mut Vec<u8>) -> Answered {
    let allocations = &mut target.view.allocations;
    let known = allocations.iter().position(|(start, _)| *start == address).ok_or(INVALID)?;
    let (start, size) = allocations.swap_remove(known);
    memory::write_for_client(target.supervisor.machine, None, start, &vec![0; size as usize]);
    text(out, "OK")
}

/// What is mapped at an address.
pub(super) fn region(target: &mut GdbTarget<'_, '_>, address: u64, out: &mut Vec<u8>) -> Answered {
    let registers = target.selected_registers().map_err(|_| INVALID)?;
    let region = region_at(target.supervisor.machine.memory(), &registers, address);
    // The size of a region that ends with the last address must fit in 64 bits, too.
    let size = (region.last - region.start).saturating_add(1);
    let permissions = region.rights.map_or_else(String::new, |rights| {
        let write = if rights.write { "w" } else { "" };
        let execute = if rights.execute { "x" } else { "" };
        format!("permissions:r{write}{execute};")
    });
    text(out, &format!("start:{:x};size:{size:x};{permissions}", region.start))
}

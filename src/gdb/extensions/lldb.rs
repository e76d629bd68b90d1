//! LLDB's extensions: guest memory that it uses itself, for `expression f(x)`, and `memory region`.
//!
//! The memory lies at the end of the RAM below 4 GiB, where `docs/boot-state.md` places nothing: in its last
//! [`ARENA`] bytes. Only pages that hold nothing but zeros are given away. LLDB reaches them whatever the guest's page
//! tables map there.
//!
//! Manual: "GDB Remote Protocol Extensions" of LLDB.

use super::{Answered, text};
use crate::arch::PAGE_SIZE;
use crate::arch::paging::Paging;
use crate::gdb::target::{FULL, GdbTarget, INVALID};
use crate::inspect::mappings::region_at;
use crate::supervisor::memory;

/// Size of the memory that is set aside, in bytes; at most a quarter of the RAM.
const ARENA: u64 = 16 << 20;

/// What must be free beside the first piece, in bytes. LLDB takes a success for a promise: it no longer interprets
/// expressions with memory of its own, but asks for half a MiB for each, and for each condition of a breakpoint.
const RESERVE: u64 = 1 << 20;

/// Gives guest memory to the client, which the guest maps to itself if it is to be `executable`. The empty answer if
/// there is not enough even for the first expression.
pub(super) fn allocate(
    target: &mut GdbTarget<'_, '_>,
    size: u64,
    executable: bool,
    out: &mut Vec<u8>,
) -> Answered {
    let registers = target.selected_registers().map_err(|_| INVALID)?;
    let size =
        size.checked_next_multiple_of(PAGE_SIZE).filter(|size| (1..=ARENA).contains(size)).ok_or(INVALID)?;
    let guest = target.supervisor.machine.memory();
    let paging = Paging::new(&registers, Paging::WIDEST);
    let allocations = &target.view.allocations;
    let is_free = |page: u64| {
        let mut bytes = [0; PAGE_SIZE as usize];
        let maps_itself =
            || paging.find(guest, page).is_ok_and(|found| found.physical == page && found.rights.write);
        !allocations.iter().any(|(start, size)| (*start..start + size).contains(&page))
            && (!executable || maps_itself())
            && guest.read(page, &mut bytes).is_ok()
            && bytes.iter().all(|byte| *byte == 0)
    };
    let ram = guest.ram().first().map_or(0..0, |range| range.start..range.end);
    let arena = ARENA.min((ram.end - ram.start) / 4) / PAGE_SIZE;
    let wanted = if allocations.is_empty() { size + RESERVE } else { size };
    let mut run = 0;
    let mut pages = (1..=arena).map(|count| ram.end - count * PAGE_SIZE);
    let first = pages.find(|page| {
        run = if is_free(*page) { run + PAGE_SIZE } else { 0 };
        run == wanted
    });
    let Some(first) = first else {
        // The empty answer makes LLDB use memory of its own; after an error it evaluates no expression at all.
        return if allocations.is_empty() { Ok(()) } else { Err(FULL) };
    };
    let start = first + wanted - size;
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

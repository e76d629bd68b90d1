//! Where the guest's exception handlers begin: a step that raises an exception ends there.
//!
//! Manual: Intel SDM volume 3A, "IDT Descriptors" and "64-Bit Mode IDT"; volume 3A, "8086 Emulation" for
//! the table of real mode.

use super::memory;
use crate::arch::gate::{GateEntry, GateKind, MAX_GATE_SIZE};
use crate::arch::paging::is_canonical;
use crate::arch::{Mode, Registers};
use crate::memory::GuestMemory;

/// The exceptions that ordinary instructions raise most, as many as there are debug registers: page
/// fault, general protection, invalid opcode, divide error.
const VECTORS: [u8; 4] = [14, 13, 6, 0];

/// RFLAGS.TF, in the second byte of RFLAGS.
const TRAP_FLAG: u8 = 1;

/// What was read of the guest's table of handlers.
#[derive(Debug)]
pub(crate) struct Handlers {
    /// Base and limit of the table.
    table: (u64, u16),
    /// Linear addresses of the first instructions, in the order of [`VECTORS`].
    pub(crate) entries: [Option<u64>; 4],
}

impl Handlers {
    /// Reads the table.
    pub(crate) fn read(guest: &GuestMemory, registers: &Registers) -> Handlers {
        let idt = &registers.system.idt;
        Handlers { table: (idt.base, idt.limit), entries: entries(guest, registers) }
    }

    /// True if the guest has not gone to another table.
    pub(crate) fn are_of(&self, registers: &Registers) -> bool {
        self.table == (registers.system.idt.base, registers.system.idt.limit)
    }
}

/// Code segments of protected mode are taken to begin at 0, as they nearly always do.
fn entries(guest: &GuestMemory, registers: &Registers) -> [Option<u64>; 4] {
    // The guest may have written anything there, and the host takes no breakpoint where no address can be.
    let possible = |address: &u64| is_canonical(registers.system.cr4, *address);
    VECTORS.map(|vector| entry(guest, registers, vector).filter(possible))
}

fn entry(guest: &GuestMemory, registers: &Registers, vector: u8) -> Option<u64> {
    let entry = GateEntry::of(registers, vector)?;
    let mut bytes = [0; MAX_GATE_SIZE];
    let place = &mut bytes[..entry.size()];
    if memory::read(guest, Some(registers), entry.address, place) < place.len() {
        return None;
    }
    let gate = entry.decode(bytes).filter(|gate| gate.is_present)?;
    match (registers.mode(), gate.kind) {
        (_, GateKind::Task) => None,
        (Mode::Real, _) => Some((u64::from(gate.selector) << 4) + gate.offset),
        _ => Some(gate.offset),
    }
}

/// A step of the instruction at `before` has led to `after`, where the stack has moved. If that was by an
/// exception, takes the trap flag, with which it was stepped, out of the flags the handler will return to;
/// false if it was not.
///
/// What an exception has pushed begins, from below, with RIP and CS of the instruction, and the flags
/// (Intel SDM volume 3A, "Exception- or Interrupt-Handler Procedures").
pub(crate) fn hide_trap_flag(guest: &GuestMemory, before: &Registers, after: &Registers) -> bool {
    let word = match after.bitness() {
        64 => 8,
        32 => 4,
        _ => 2,
    };
    // A handler that ran unseen for a while has pushed more, but its stack is as a rule the same one.
    let same_stack = match word {
        8 => (before.general.rsp & !15).wrapping_sub(5 * word),
        _ => top_of_stack(before).wrapping_sub(3 * word),
    };
    let top = top_of_stack(after);
    // At its first instruction, without and with an error code.
    let places = [Some(top), Some(top.wrapping_add(word)), Some(same_stack).filter(|place| *place > top)];
    let frame = places.into_iter().flatten().find(|place| is_frame_of(guest, before, after, *place, word));
    if let Some(frame) = frame {
        clear_trap_flag(guest, after, frame.wrapping_add(2 * word));
    }
    frame.is_some()
}

/// True if RIP and CS of `before` lie at `place`.
fn is_frame_of(guest: &GuestMemory, before: &Registers, after: &Registers, place: u64, word: u64) -> bool {
    let mut rip = [0; 8];
    let (mut cs, bytes) = ([0; 2], &mut rip[..word as usize]);
    memory::read(guest, Some(after), place, bytes) == bytes.len()
        && memory::read(guest, Some(after), place.wrapping_add(word), &mut cs) == cs.len()
        && u64::from_le_bytes(rip) == before.general.rip
        && u16::from_le_bytes(cs) == before.system.cs.selector
}

/// Clears the trap flag in the flags that `pushf` has left at the top of the stack.
pub(crate) fn clear_pushed_trap_flag(guest: &GuestMemory, registers: &Registers) {
    clear_trap_flag(guest, registers, top_of_stack(registers));
}

/// The linear address of the top of the stack.
fn top_of_stack(registers: &Registers) -> u64 {
    let (sp, ss) = (registers.general.rsp, &registers.system.ss);
    match registers.bitness() {
        64 => sp,
        _ if ss.db == 0 => ss.base.wrapping_add(sp & 0xFFFF),
        _ => ss.base.wrapping_add(sp & 0xFFFF_FFFF),
    }
}

/// Clears the trap flag in the flags at a linear address.
fn clear_trap_flag(guest: &GuestMemory, registers: &Registers, flags: u64) {
    let (at, mut byte) = (flags.wrapping_add(1), [0]);
    if memory::read(guest, Some(registers), at, &mut byte) == 1 && byte[0] & TRAP_FLAG != 0 {
        memory::write(guest, Some(registers), at, &[byte[0] & !TRAP_FLAG]);
    }
}

#[cfg(test)]
#[path = "handlers_test.rs"]
mod tests;

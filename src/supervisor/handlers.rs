//! Where the guest's exception handlers begin: a step that raises an exception ends there.
//!
//! Manual: Intel SDM volume 3A, "IDT Descriptors" and "64-Bit Mode IDT"; volume 3A, "8086 Emulation" for
//! the table of real mode.

use super::memory;
use crate::arch::descriptor::{Descriptor, SIZE, Table, is_null};
use crate::arch::gate::{GateEntry, GateKind, MAX_GATE_SIZE};
use crate::arch::paging::is_canonical;
use crate::arch::{Mode, Registers};
use crate::machine::Machine;
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

fn entries(guest: &GuestMemory, registers: &Registers) -> [Option<u64>; 4] {
    VECTORS.map(|vector| entry(guest, registers, vector))
}

/// Linear address of the handler of a vector; `None` if there is none that can be used.
pub(super) fn entry(guest: &GuestMemory, registers: &Registers, vector: u8) -> Option<u64> {
    // The guest may have written anything there, and the host takes no breakpoint where no address can be.
    target(guest, registers, vector).filter(|address| is_canonical(registers.system.cr4, *address))
}

/// Where the gate of a vector leads.
fn target(guest: &GuestMemory, registers: &Registers, vector: u8) -> Option<u64> {
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
        (mode, _) if mode.is_long() => Some(gate.offset),
        _ => {
            Some(code_segment_base(guest, registers, gate.selector)?.wrapping_add(gate.offset) & 0xFFFF_FFFF)
        }
    }
}

/// Base address of the code segment that a gate of protected mode selects; `None` if it selects none.
fn code_segment_base(guest: &GuestMemory, registers: &Registers, selector: u16) -> Option<u64> {
    let address = Table::of(&registers.system, selector)?.address_of(selector)?;
    let mut bytes = [0; SIZE as usize];
    if is_null(selector) || memory::read(guest, Some(registers), address, &mut bytes) < bytes.len() {
        return None;
    }
    let descriptor = Descriptor { value: u64::from_le_bytes(bytes), address };
    (descriptor.is_code() && descriptor.is_present()).then(|| descriptor.base())
}

/// A step of the instruction at `before` has led to `after`, where the stack has moved. If that was by an
/// exception, returns the linear address of the flags the handler will return to; they have the trap flag, with
/// which it was stepped.
///
/// What an exception has pushed begins, from below, with RIP and CS of the instruction, and the flags
/// (Intel SDM volume 3A, "Exception- or Interrupt-Handler Procedures").
pub(crate) fn flags_of_frame(guest: &GuestMemory, before: &Registers, after: &Registers) -> Option<u64> {
    let word = match after.bitness() {
        64 => 8,
        32 => 4,
        _ => 2,
    };
    // A handler that ran unseen for a while has pushed more, but its stack is as a rule the same one.
    let same_stack = match word {
        8 => (before.general.rsp & !15).wrapping_sub(5 * word),
        _ => before.top_of_stack().wrapping_sub(3 * word),
    };
    let top = after.top_of_stack();
    // At its first instruction, without and with an error code.
    let places = [Some(top), Some(top.wrapping_add(word)), Some(same_stack).filter(|place| *place > top)];
    let frame = places.into_iter().flatten().find(|place| is_frame_of(guest, before, after, *place, word));
    frame.map(|frame| frame.wrapping_add(2 * word))
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

/// Clears the trap flag in the flags at a linear address, as an event of the machine's journal.
pub(crate) fn clear_trap_flag(machine: &mut Machine, registers: &Registers, flags: u64) {
    if let Some((address, byte)) = without_trap_flag(machine.memory(), registers, flags) {
        memory::write_for_client(machine, Some(registers), address, &[byte]);
    }
}

/// The byte of the flags at a linear address that has the trap flag, without it, and its address; `None` if the flag
/// is clear.
fn without_trap_flag(guest: &GuestMemory, registers: &Registers, flags: u64) -> Option<(u64, u8)> {
    let (address, mut byte) = (flags.wrapping_add(1), [0]);
    let read = memory::read(guest, Some(registers), address, &mut byte) == 1;
    (read && byte[0] & TRAP_FLAG != 0).then_some((address, byte[0] & !TRAP_FLAG))
}

#[cfg(test)]
#[path = "handlers_test.rs"]
mod tests;

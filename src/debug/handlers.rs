//! Where the guest's exception handlers begin: a step that raises an exception ends there.
//!
//! Manual: Intel SDM volume 3A, "IDT Descriptors" and "64-Bit Mode IDT"; volume 3A, "8086 Emulation" for
//! the table of real mode.

use super::memory;
use crate::host::Registers;
use crate::host::paging::is_canonical;
use crate::memory::GuestMemory;

/// The exceptions that ordinary instructions raise most, as many as there are debug registers: page
/// fault, general protection, invalid opcode, divide error.
const VECTORS: [u8; 4] = [14, 13, 6, 0];
/// Those of them that push an error code.
const WITH_CODE: [u8; 2] = [14, 13];

/// RFLAGS.TF, in the second byte of RFLAGS.
const TRAP_FLAG: u8 = 1;

/// What was read of the guest's table of handlers.
#[derive(Debug)]
pub(super) struct Handlers {
    /// Base and limit of the table.
    table: (u64, u16),
    /// Linear addresses of the first instructions, in the order of [`VECTORS`].
    pub(super) entries: [Option<u64>; 4],
}

impl Handlers {
    /// Reads the table.
    pub(super) fn read(guest: &GuestMemory, registers: &Registers) -> Handlers {
        let idt = &registers.system.idt;
        Handlers { table: (idt.base, idt.limit), entries: entries(guest, registers) }
    }

    /// True if the guest has not gone to another table.
    pub(super) fn are_of(&self, registers: &Registers) -> bool {
        self.table == (registers.system.idt.base, registers.system.idt.limit)
    }
}

/// Code segments of protected mode are taken to begin at 0, as they nearly always do.
fn entries(guest: &GuestMemory, registers: &Registers) -> [Option<u64>; 4] {
    // The guest may have written anything there, and the host takes no breakpoint where no address can be.
    let possible = |address: &u64| is_canonical(registers.system.cr4, *address);
    VECTORS.map(|vector| entry(guest, registers, u64::from(vector)).filter(possible))
}

fn entry(guest: &GuestMemory, registers: &Registers, vector: u64) -> Option<u64> {
    let system = &registers.system;
    let protected = system.cr0 & 1 != 0;
    let long = system.efer & 1 << 10 != 0;
    let size = match (protected, long) {
        (false, _) => 4,
        (true, false) => 8,
        (true, true) => 16,
    };
    let mut gate = [0; 16];
    if vector * size + size - 1 > u64::from(system.idt.limit) {
        return None;
    }
    let at = system.idt.base.wrapping_add(vector * size);
    let bytes = &mut gate[..size as usize];
    if memory::read(guest, Some(registers), at, bytes) < bytes.len() {
        return None;
    }
    let word = |place: usize| u64::from(u16::from_le_bytes([gate[place], gate[place + 1]]));
    if !protected {
        return Some((word(2) << 4) + word(0));
    }
    // Present, and an interrupt or trap gate.
    let (present, kind) = (gate[5] & 0x80 != 0, gate[5] & 0x1F);
    match kind {
        _ if !present => None,
        0x06 | 0x07 => Some(word(0)),
        0x0E | 0x0F if long => Some(word(0) | word(6) << 16 | word(8) << 32 | word(10) << 48),
        0x0E | 0x0F => Some(word(0) | word(6) << 16),
        _ => None,
    }
}

/// The guest is at the handler of one of [`VECTORS`], the one at `place` of them, in the middle of a
/// step: takes the trap flag, with which it was stepped, out of the flags the handler will return to.
pub(super) fn hide_trap_flag(guest: &GuestMemory, registers: &Registers, place: usize) {
    let code = VECTORS.get(place).is_some_and(|vector| WITH_CODE.contains(vector));
    let (word, protected) = match registers.bitness() {
        64 => (8, true),
        32 => (4, true),
        _ => (2, registers.system.cr0 & 1 != 0),
    };
    // Above the error code: the instruction pointer, CS, and the flags.
    let words = 2 + u64::from(code && protected);
    clear_trap_flag(guest, registers, words * word);
}

/// Clears the trap flag in the flags that lie `offset` bytes from the top of the stack.
pub(super) fn clear_trap_flag(guest: &GuestMemory, registers: &Registers, offset: u64) {
    let (sp, ss) = (registers.general.rsp, &registers.system.ss);
    let top = match registers.bitness() {
        64 => sp,
        _ if ss.db == 0 => ss.base.wrapping_add(sp & 0xFFFF),
        _ => ss.base.wrapping_add(sp & 0xFFFF_FFFF),
    };
    let at = top.wrapping_add(offset + 1);
    let mut flags = [0];
    if memory::read(guest, Some(registers), at, &mut flags) == 1 && flags[0] & TRAP_FLAG != 0 {
        memory::write(guest, Some(registers), at, &[flags[0] & !TRAP_FLAG]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handlers_are_found_in_every_kind_of_table() {
        let memory = GuestMemory::new(1 << 20).unwrap();
        let mut registers = Registers::default();
        registers.system.idt.limit = 0x3FF;
        memory.write(4 * 6, &[0x34, 0x12, 0x00, 0xF0]).unwrap();
        assert_eq!(entries(&memory, &registers)[2], Some(0xF_1234));

        registers.system.cr0 = 1;
        registers.system.idt.base = 0x1000;
        memory.write_u64(0x1000 + 8 * 14, 0x1234_8E00_0008_5678).unwrap();
        assert_eq!(entries(&memory, &registers), [Some(0x1234_5678), None, None, None]);

        registers.system.efer = 1 << 10;
        registers.system.idt.base = 0x2000;
        memory.write_u64(0x2000, 0x8010_8F00_0008_5678).unwrap();
        memory.write_u64(0x2008, 0xFFFF_FFFF).unwrap();
        assert_eq!(entries(&memory, &registers), [None, None, None, Some(0xFFFF_FFFF_8010_5678)]);
        memory.write_u64(0x2008, 0x8000_0000).unwrap();
        assert_eq!(entries(&memory, &registers), [None; 4], "no address");
        registers.system.idt.limit = 14;
        assert_eq!(entries(&memory, &registers), [None; 4], "behind the end of the table");
    }

    #[test]
    fn the_trap_flag_is_taken_out_of_what_a_handler_returns_to() {
        let memory = GuestMemory::new(1 << 20).unwrap();
        let mut registers = Registers::default();
        registers.system.cr0 = 1;
        registers.system.cs.l = 1;
        registers.general.rsp = 0x8000;
        memory.write_u64(0x8018, 0x10346).unwrap();
        hide_trap_flag(&memory, &registers, 0);
        assert_eq!(memory.read_u64(0x8018).unwrap(), 0x10246);
        memory.write_u64(0x8010, 0x146).unwrap();
        hide_trap_flag(&memory, &registers, 3);
        assert_eq!(memory.read_u64(0x8010).unwrap(), 0x46);
    }
}

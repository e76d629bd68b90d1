//! Entries of the interrupt descriptor table, and of the interrupt vector table of real mode.
//!
//! Manual: Intel SDM volume 3A, "IDT Descriptors" and "64-Bit Mode IDT"; volume 3B, "Interrupt and Exception
//! Handling" under "8086 Emulation" for real mode.

use super::{Mode, Registers};

/// Size of the largest entry in bytes.
pub const MAX_GATE_SIZE: usize = 16;

/// Type of a task gate.
const TASK: u8 = 5;
/// Type of a 16-bit interrupt gate.
const INTERRUPT_16: u8 = 6;
/// Type of a 16-bit trap gate.
const TRAP_16: u8 = 7;
/// Type of a 32-bit interrupt gate; in long mode of a 64-bit one.
const INTERRUPT: u8 = 14;
/// Type of a 32-bit trap gate; in long mode of a 64-bit one.
const TRAP: u8 = 15;

/// Where the entry of a vector lies, and how it is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GateEntry {
    /// Linear address of its first byte.
    pub address: u64,
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    /// Offset and segment, two bytes each.
    RealMode,
    /// Eight bytes.
    Protected,
    /// Sixteen bytes.
    Long,
}

/// What an entry does with an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GateKind {
    /// Enters the handler with IF clear. Entries of real mode do so, too.
    Interrupt,
    /// Enters the handler without a change of IF.
    Trap,
    /// Switches to the task whose state segment the selector names.
    Task,
}

/// A decoded entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gate {
    /// What it does.
    pub kind: GateKind,
    /// Offset of the handler in its code segment; 0 in a task gate.
    pub offset: u64,
    /// Selector of the handler's code segment; in real mode its base divided by 16.
    pub selector: u16,
    /// Index of the handler's stack in the interrupt stack table, 1 to 7; 0 for none.
    pub ist: u8,
    /// Size of each value that is pushed for the handler, in bytes: 2, 4 or 8; 0 in a task gate.
    pub width: u8,
    /// Descriptor privilege level, 0 to 3: software interrupts of outer rings are refused.
    pub dpl: u8,
    /// P: the entry is valid.
    pub is_present: bool,
}

impl GateEntry {
    /// The entry of `vector`; `None` if it lies beyond the limit of the table.
    pub fn of(registers: &Registers, vector: u8) -> Option<GateEntry> {
        let format = match registers.mode() {
            Mode::Real => Format::RealMode,
            mode if mode.is_long() => Format::Long,
            _ => Format::Protected,
        };
        let mut entry = GateEntry { address: 0, format };
        let (table, size) = (registers.system.idt, entry.size() as u64);
        let offset = u64::from(vector) * size;
        entry.address = table.base.wrapping_add(offset);
        (offset + size - 1 <= u64::from(table.limit)).then_some(entry)
    }

    /// Its size in bytes, at most [`MAX_GATE_SIZE`].
    pub fn size(&self) -> usize {
        match self.format {
            Format::RealMode => 4,
            Format::Protected => 8,
            Format::Long => MAX_GATE_SIZE,
        }
    }

    /// Decodes the entry from its bytes, of which [`GateEntry::size`] count; `None` if its type is none that
    /// the table may hold.
    pub fn decode(&self, mut bytes: [u8; MAX_GATE_SIZE]) -> Option<Gate> {
        bytes[self.size()..].fill(0);
        let bits = u128::from_le_bytes(bytes);
        let field = |first: u32, count: u32| (bits >> first) as u64 & ((1 << count) - 1);
        if self.format == Format::RealMode {
            return Some(Gate {
                kind: GateKind::Interrupt,
                offset: field(0, 16),
                selector: field(16, 16) as u16,
                ist: 0,
                width: 2,
                dpl: 3,
                is_present: true,
            });
        }
        let long = self.format == Format::Long;
        // The S bit, which is clear in every gate, is taken as one more bit of the type.
        let (kind, width) = match (field(40, 5) as u8, long) {
            (INTERRUPT, _) => (GateKind::Interrupt, if long { 8 } else { 4 }),
            (TRAP, _) => (GateKind::Trap, if long { 8 } else { 4 }),
            (INTERRUPT_16, false) => (GateKind::Interrupt, 2),
            (TRAP_16, false) => (GateKind::Trap, 2),
            (TASK, false) => (GateKind::Task, 0),
            _ => return None,
        };
        let low = if kind == GateKind::Task { 0 } else { field(0, 16) };
        // The upper half of a 16-bit gate is not used; that of an entry of eight bytes is 0.
        let high = if width > 2 { field(48, 16) << 16 | field(64, 32) << 32 } else { 0 };
        Some(Gate {
            kind,
            offset: low | high,
            selector: field(16, 16) as u16,
            ist: if long { field(32, 3) as u8 } else { 0 },
            width,
            dpl: field(45, 2) as u8,
            is_present: field(47, 1) == 1,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::flags::{CR0_PE, EFER_LMA};

    fn registers(cr0: u64, efer: u64) -> Registers {
        let mut registers = Registers::default();
        (registers.system.cr0, registers.system.efer) = (cr0, efer);
        (registers.system.idt.base, registers.system.idt.limit) = (0x1000, 0x3FF);
        registers
    }

    fn decode(registers: &Registers, low: u64, high: u64) -> Option<Gate> {
        let bytes = u128::from(high) << 64 | u128::from(low);
        GateEntry::of(registers, 0).unwrap().decode(bytes.to_le_bytes())
    }

    #[test]
    fn entries_have_the_size_of_the_mode_and_end_at_the_limit() {
        for (registers, size) in
            [(registers(0, 0), 4), (registers(CR0_PE, 0), 8), (registers(CR0_PE, EFER_LMA), 16)]
        {
            let entry = GateEntry::of(&registers, 3).unwrap();
            assert_eq!((entry.address, entry.size() as u64), (0x1000 + 3 * size, size));
            let last = (0x400 / size - 1) as u8;
            assert!(GateEntry::of(&registers, last).is_some());
            assert_eq!(GateEntry::of(&registers, last.wrapping_add(1)).is_some(), last == 255);
            let mut shorter = registers;
            shorter.system.idt.limit -= 1;
            assert_eq!(GateEntry::of(&shorter, last), None);
        }
    }

    #[test]
    fn real_mode_entries_are_offset_and_segment() {
        let gate = decode(&registers(0, 0), 0xFFFF_FFFF_F000_1234, 0).unwrap();
        assert_eq!((gate.offset, gate.selector, gate.width, gate.is_present), (0x1234, 0xF000, 2, true));
    }

    #[test]
    fn gates_of_every_width_are_decoded() {
        let protected = registers(CR0_PE, 0);
        let gate = decode(&protected, 0x1234_EE00_0008_5678, u64::MAX).unwrap();
        assert_eq!((gate.kind, gate.offset, gate.selector), (GateKind::Interrupt, 0x1234_5678, 8));
        assert_eq!((gate.width, gate.dpl, gate.is_present, gate.ist), (4, 3, true, 0));
        let gate = decode(&protected, 0x1234_8700_0008_5678, 0).unwrap();
        assert_eq!((gate.kind, gate.offset, gate.width), (GateKind::Trap, 0x5678, 2));
        let gate = decode(&protected, 0x1234_0500_0030_5678, 0).unwrap();
        assert_eq!((gate.kind, gate.selector, gate.is_present), (GateKind::Task, 0x30, false));

        let long = registers(CR0_PE, EFER_LMA);
        let gate = decode(&long, 0x8010_8F05_0008_5678, 0xFFFF_FFFF).unwrap();
        assert_eq!((gate.kind, gate.offset), (GateKind::Trap, 0xFFFF_FFFF_8010_5678));
        assert_eq!((gate.width, gate.ist), (8, 5));
    }

    #[test]
    fn other_types_are_no_gates() {
        let gates = |efer| {
            let of_type = move |kind: u64| decode(&registers(CR0_PE, efer), 0x8000_0000_0000 | kind << 40, 0);
            (0..32).filter(|kind| of_type(*kind).is_some()).collect::<Vec<u64>>()
        };
        assert_eq!(gates(0), [5, 6, 7, 14, 15]);
        assert_eq!(gates(EFER_LMA), [14, 15]);
    }
}

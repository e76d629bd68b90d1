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
#[path = "gate_test.rs"]
mod tests;

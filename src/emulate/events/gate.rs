//! What the interrupt descriptor table says about a vector.
//!
//! Manual: Intel SDM volume 3A, "IDT Descriptors" and "64-Bit Mode IDT".

use super::super::Obstacle;
use super::super::cpu::Cpu;
use super::super::exception::{EmulationError, Exception};
use super::Event;

/// In an error code: the rest is an index of the interrupt descriptor table.
const IN_IDT: u32 = 1 << 1;

/// Gate type: switches tasks.
const TASK: u8 = 5;
/// Gate type: 16 bits, clears IF.
const INTERRUPT_16: u8 = 6;
/// Gate type: 16 bits, leaves IF alone.
const TRAP_16: u8 = 7;
/// Gate type: 32 bits, in long mode 64, clears IF.
const INTERRUPT: u8 = 14;
/// Gate type: 32 bits, in long mode 64, leaves IF alone.
const TRAP: u8 = 15;

/// The way to a handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Gate {
    /// Where the handler is in its code segment.
    pub offset: u64,
    /// Its code segment.
    pub selector: u16,
    /// Number of its stack in the interrupt stack table, 1 to 7; 0 for none.
    pub stack: u8,
    /// Bytes of each value that is pushed: 2, 4 or 8.
    pub width: u8,
    /// The handler is entered with interrupts off.
    pub clears_if: bool,
}

impl Gate {
    /// The gate of an event, which may pass through it.
    ///
    /// # Errors
    ///
    /// #GP and #NP as the manual has them, the page fault of reading the table, and
    /// [`Obstacle::TaskGate`].
    pub fn of(cpu: &mut Cpu, event: &Event) -> Result<Gate, EmulationError> {
        let long = cpu.long_mode_active();
        let code = u32::from(event.vector) << 3 | IN_IDT | event.external();
        let refused = Exception::protection(code);
        let size: u64 = if long { 16 } else { 8 };
        let offset = u64::from(event.vector) * size;
        let table = cpu.registers.system.idt;
        if offset + size - 1 > u64::from(table.limit) {
            return Err(refused.into());
        }
        let mut bytes = [0; 16];
        cpu.read_system(table.base.wrapping_add(offset), &mut bytes[..size as usize])?;
        // Of a gate of eight bytes the upper half is 0.
        let bits = u128::from_le_bytes(bytes);
        let field = |first: u32, count: u32| (bits >> first) as u64 & ((1 << count) - 1);
        // The S bit, which no gate has, is one more of the type.
        let kind = field(40, 5) as u8;
        let width = match (kind, long) {
            (INTERRUPT | TRAP, true) => 8,
            (INTERRUPT | TRAP, false) => 4,
            (INTERRUPT_16 | TRAP_16, false) => 2,
            (TASK, false) => 0,
            _ => return Err(refused.into()),
        };
        if event.software && (field(45, 2) as u8) < cpu.ring() {
            return Err(refused.into());
        }
        if field(47, 1) == 0 {
            return Err(Exception::not_present(code).into());
        }
        if kind == TASK {
            return Err(Obstacle::TaskGate.into());
        }
        let high = if width == 2 { 0 } else { field(48, 16) << 16 | field(64, 32) << 32 };
        Ok(Gate {
            offset: field(0, 16) | high,
            selector: field(16, 16) as u16,
            stack: if long { field(32, 3) as u8 } else { 0 },
            width,
            clears_if: matches!(kind, INTERRUPT | INTERRUPT_16),
        })
    }
}

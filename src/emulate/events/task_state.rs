//! The stacks for inner rings in the task state segment.
//!
//! Manual: Intel SDM volume 3A, "Task-State Segment (TSS)" and "Task Management in 64-bit Mode".

use super::super::cpu::Cpu;
use super::super::exception::{EmulationError, Exception};
use super::Event;

/// Offset of RSP0 in a 64-bit task state segment.
const RSP0: u64 = 4;
/// Offset of the first stack of the interrupt stack table, IST1.
const IST1: u64 = 36;
/// Type of a task state segment: 32 bits, or 64 in long mode.
const WIDE: u8 = 1 << 3;

/// The stack for `ring` in a 64-bit task state segment, or that of the interrupt stack table if `ist`
/// is not 0.
///
/// # Errors
///
/// #TS if it is beyond the segment's limit, and the page fault of reading it.
pub(super) fn stack_64(cpu: &mut Cpu, event: &Event, ring: u8, ist: u8) -> Result<u64, EmulationError> {
    let offset = match ist {
        0 => RSP0 + 8 * u64::from(ring),
        _ => IST1 + 8 * u64::from(ist - 1),
    };
    let mut bytes = [0; 8];
    read(cpu, event, offset, &mut bytes)?;
    Ok(u64::from_le_bytes(bytes))
}

/// Selector and offset of the stack for `ring` in a task state segment of 16 or 32 bits.
///
/// # Errors
///
/// #TS if it is beyond the segment's limit, and the page fault of reading it.
pub(super) fn stack(cpu: &mut Cpu, event: &Event, ring: u8) -> Result<(u16, u64), EmulationError> {
    let ring = u64::from(ring);
    let mut bytes = [0; 6];
    if cpu.registers.system.tr.type_ & WIDE == 0 {
        read(cpu, event, 2 + 4 * ring, &mut bytes[..4])?;
        let [p0, p1, s0, s1, ..] = bytes;
        return Ok((u16::from_le_bytes([s0, s1]), u64::from(u16::from_le_bytes([p0, p1]))));
    }
    read(cpu, event, 4 + 8 * ring, &mut bytes)?;
    let [p0, p1, p2, p3, s0, s1] = bytes;
    Ok((u16::from_le_bytes([s0, s1]), u64::from(u32::from_le_bytes([p0, p1, p2, p3]))))
}

fn read(cpu: &mut Cpu, event: &Event, offset: u64, bytes: &mut [u8]) -> Result<(), EmulationError> {
    let task = cpu.registers.system.tr;
    if task.unusable == 1 || task.present == 0 || offset + bytes.len() as u64 - 1 > u64::from(task.limit) {
        return Err(Exception::invalid_tss(event.code(task.selector)).into());
    }
    cpu.read_system(task.base.wrapping_add(offset), bytes)
}

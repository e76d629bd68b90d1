//! The descriptor tables the guest starts with (Intel SDM volume 3, 3.5 and 9.7; AMD APM volume 2,
//! 4.8 and 12.2).

use super::long_mode::{CODE_SELECTOR, DATA_SELECTOR, TASK_SELECTOR};
use crate::arch::TableRegister;
use crate::memory::{GuestMemory, MemoryError};

/// Size of the area that has the GDT, the task state segment, and at its end the stack of the IDT's gates.
pub(super) const SIZE: u64 = 0x1000;

/// Size of the IDT: 256 gates of 16 bytes, of which [`super::rescue_idt`] makes those for exceptions present.
pub(super) const IDT_SIZE: u64 = 256 * 16;

/// Where in the area the task state segment is.
const TSS_OFFSET: u64 = 0x80;

/// Size of a 64-bit task state segment without an I/O permission bitmap.
pub(super) const TSS_SIZE: u16 = 104;

/// Where in the task state segment the first entry of the interrupt stack table is (Intel SDM volume 3A, "Task
/// Management in 64-bit Mode").
const IST1_OFFSET: usize = 36;

/// Present, ring 0, execute/read, accessed, L = 1, limit 4 GiB (not looked at in 64-bit mode).
const CODE: u64 = 0x00AF_9B00_0000_FFFF;

/// Present, ring 0, read/write, accessed, base 0, limit 4 GiB.
const DATA: u64 = 0x00CF_9300_0000_FFFF;

/// Present, busy 64-bit task state segment: busy because TR is already loaded with it.
const BUSY_TASK: u64 = 0x8B << 40;

const GDT_ENTRIES: usize = TASK_SELECTOR as usize / 8 + 2;

/// Writes the GDT and the task state segment to the area at `base`, and returns where they are: GDTR, and base and
/// limit of the task state segment.
///
/// `stack_top` is the stack an interrupt from ring 3 switches to.
pub(super) fn write(
    memory: &GuestMemory,
    base: u64,
    stack_top: u64,
) -> Result<(TableRegister, TableRegister), MemoryError> {
    let tss = TableRegister { base: base + TSS_OFFSET, limit: TSS_SIZE - 1 };
    let mut gdt = [0; GDT_ENTRIES];
    gdt[usize::from(CODE_SELECTOR) / 8] = CODE;
    gdt[usize::from(DATA_SELECTOR) / 8] = DATA;
    let task = usize::from(TASK_SELECTOR) / 8;
    gdt[task] =
        BUSY_TASK | u64::from(tss.limit) | (tss.base & 0xFF_FFFF) << 16 | (tss.base >> 24 & 0xFF) << 56;
    gdt[task + 1] = tss.base >> 32;
    let bytes: Vec<u8> = gdt.iter().flat_map(|entry: &u64| entry.to_le_bytes()).collect();
    memory.write(base, &bytes)?;

    memory.write(tss.base, &task_state(stack_top, base + SIZE))?;

    Ok((TableRegister { base, limit: bytes.len() as u16 - 1 }, tss))
}

/// A task state segment with the stack for interrupts from ring 3, and that of the IDT's gates (IST 1).
pub(super) fn task_state(stack_top: u64, gates_stack_top: u64) -> [u8; TSS_SIZE as usize] {
    let mut task_state = [0; TSS_SIZE as usize];
    task_state[4..12].copy_from_slice(&stack_top.to_le_bytes());
    task_state[IST1_OFFSET..IST1_OFFSET + 8].copy_from_slice(&gates_stack_top.to_le_bytes());
    // The I/O permission bitmap would start beyond the limit: it is absent, and ring 3 may use no port.
    task_state[102..].copy_from_slice(&TSS_SIZE.to_le_bytes());
    task_state
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_task_state_segment_is_found_through_its_descriptor() {
        let memory = GuestMemory::new(32 << 20).unwrap();
        let (gdt, tss) = write(&memory, 0x1234_5000 & 0x1FF_F000, 0x9_0000).unwrap();
        assert_eq!(gdt.limit, 39);
        let low = memory.read_u64(gdt.base + u64::from(TASK_SELECTOR)).unwrap();
        let high = memory.read_u64(gdt.base + u64::from(TASK_SELECTOR) + 8).unwrap();
        let base = low >> 16 & 0xFF_FFFF | low >> 56 << 24 | high << 32;
        assert_eq!(base, tss.base);
        assert_eq!(low & 0xFFFF, 103);
        assert_eq!(low >> 40 & 0xFF, 0x8B, "present, ring 0, busy");
        assert_eq!(memory.read_u64(tss.base + 4).unwrap(), 0x9_0000, "RSP0");
        assert_eq!(memory.read_u64(tss.base + 36).unwrap(), gdt.base + SIZE, "IST1");
        assert_eq!(memory.read_u64(tss.base + 96).unwrap() >> 48, 104, "no I/O bitmap");
    }
}

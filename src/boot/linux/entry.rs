//! The CPU state in which a Linux kernel starts (Linux, Documentation/arch/x86/boot.rst, "32-bit Boot Protocol" and
//! "64-bit Boot Protocol").

use super::setup_header::Entry;
use crate::arch::{GeneralRegisters, Registers, SegmentRegister, TableRegister};
use crate::boot::long_mode::{self, EntryPoint};
use crate::boot::protected_mode::{self, EntryPoint32, FlatSelectors};
use crate::memory::{GuestMemory, MemoryError};

/// `__BOOT_CS` and `__BOOT_DS`, which the protocol demands.
const CODE_SELECTOR: u16 = FlatSelectors::LINUX.code;
const DATA_SELECTOR: u16 = FlatSelectors::LINUX.data;
/// Not part of the protocol: VT-x wants one.
const TASK_SELECTOR: u16 = 0x20;

/// Present, ring 0, execute/read, accessed, limit 4 GiB; 64-bit and 32-bit.
const CODE_64: u64 = 0x00AF_9B00_0000_FFFF;
const CODE_32: u64 = 0x00CF_9B00_0000_FFFF;
/// Present, ring 0, read/write, accessed, base 0, limit 4 GiB.
const DATA: u64 = 0x00CF_9300_0000_FFFF;
/// Present, busy task state segment.
const BUSY_TASK: u64 = 0x8B << 40;

/// Size of a task state segment without an I/O permission bitmap.
const TSS_SIZE: u16 = 104;
/// Where it is behind the GDT.
const TSS_OFFSET: u64 = 0x80;
/// Size of both.
pub(super) const SIZE: u64 = TSS_OFFSET + TSS_SIZE as u64;

/// Type of a data segment: read/write, accessed.
const READ_WRITE: u8 = 0b0011;

/// Writes the GDT and an empty task state segment to `base`, and returns where they are.
pub(super) fn write_descriptors(
    memory: &GuestMemory,
    base: u64,
    entry: Entry,
) -> Result<(TableRegister, TableRegister), MemoryError> {
    let tss = TableRegister { base: base + TSS_OFFSET, limit: TSS_SIZE - 1 };
    let code = match entry {
        Entry::Long(_) => CODE_64,
        Entry::Protected(_) => CODE_32,
    };
    let task =
        BUSY_TASK | u64::from(tss.limit) | (tss.base & 0xFF_FFFF) << 16 | (tss.base >> 24 & 0xFF) << 56;
    let gdt = [0, 0, code, DATA, task, 0];
    let bytes: Vec<u8> = gdt.iter().flat_map(|entry: &u64| entry.to_le_bytes()).collect();
    memory.write(base, &bytes)?;
    Ok((TableRegister { base, limit: bytes.len() as u16 - 1 }, tss))
}

/// The registers of the bootstrap processor at the kernel's first instruction.
pub(super) fn registers(
    entry: Entry,
    zero_page: u64,
    stack_pointer: u64,
    page_tables: u64,
    (gdt, tss): (TableRegister, TableRegister),
) -> Registers {
    let address = match entry {
        Entry::Long(address) => address,
        Entry::Protected(address) => {
            // Loaded below 4 GiB.
            let start = EntryPoint32 {
                entry: address as u32,
                stack_pointer: stack_pointer as u32,
                selectors: FlatSelectors::LINUX,
                gdt,
            };
            let mut registers = protected_mode::registers(&start);
            registers.general.rsi = zero_page;
            return registers;
        }
    };
    let mut registers = long_mode::registers(&EntryPoint {
        entry: address,
        stack_pointer,
        page_tables,
        gdt,
        tss,
        ..EntryPoint::default()
    });
    let GeneralRegisters { rip, rsp, rflags, .. } = registers.general;
    registers.general = GeneralRegisters { rip, rsp, rflags, rsi: zero_page, ..Default::default() };
    let system = &mut registers.system;
    system.cs.selector = CODE_SELECTOR;
    system.tr.selector = TASK_SELECTOR;
    let data = SegmentRegister {
        limit: u32::MAX,
        selector: DATA_SELECTOR,
        type_: READ_WRITE,
        present: 1,
        db: 1,
        s: 1,
        g: 1,
        ..Default::default()
    };
    (system.ds, system.es, system.ss) = (data, data, data);
    registers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_entries_have_the_selectors_of_the_protocol_and_the_zero_page_in_rsi() {
        for (entry, bitness) in [(Entry::Long(0x100_0200), 64), (Entry::Protected(0x10_0000), 32)] {
            let memory = GuestMemory::new(1 << 20).unwrap();
            let tables = write_descriptors(&memory, 0x1000, entry).unwrap();
            let registers = registers(entry, 0x5000, 0x4000, 0x6000, tables);
            assert_eq!((registers.bitness(), registers.ring()), (bitness, 0));
            let (general, system) = (registers.general, registers.system);
            assert_eq!((general.rsi, general.rbx, general.rbp, general.rdi), (0x5000, 0, 0, 0));
            assert_eq!(general.rflags & 1 << 9, 0, "interrupts are off");
            let selectors = [system.cs, system.ds, system.es, system.ss].map(|segment| segment.selector);
            assert_eq!(selectors, [0x10, 0x18, 0x18, 0x18]);
            let descriptor = memory.read_u64(system.gdt.base + u64::from(system.cs.selector)).unwrap();
            assert_eq!(descriptor >> 53 & 3, if bitness == 64 { 1 } else { 2 }, "L and D of the descriptor");
            assert_eq!(system.cr0 >> 31, u64::from(bitness == 64), "paging");
        }
    }
}

//! The CPU state in which a guest starts in 32-bit protected mode: flat segments of 4 GiB, no paging, ring 0,
//! interrupts off. Multiboot, PVH and the 32-bit entry of Linux have it in common.
//!
//! Manual: Intel SDM volume 3A, "Protected-Mode Memory Management" and "Segment Descriptors".
#![allow(dead_code, reason = "shared by the protocols of 32-bit guests")]

use crate::arch::{GeneralRegisters, Registers, SegmentRegister, SystemRegisters, TableRegister};

/// CR0: PE and ET.
const CR0: u64 = 1 << 0 | 1 << 4;

/// RFLAGS: interrupts off, and bit 1, which is always set.
const RFLAGS: u64 = 1 << 1;

/// IA32_APIC_BASE after a reset: the default address, enabled, bootstrap processor.
const APIC_BASE: u64 = 0xFEE0_0000 | 1 << 11 | 1 << 8;

/// Segment types: code, readable, accessed; data, writable, accessed; 32-bit task state segment, busy.
const CODE: u8 = 0b1011;
const DATA: u8 = 0b0011;
const BUSY_TASK: u8 = 11;

/// The selectors of the flat segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FlatSelectors {
    /// CS.
    pub code: u16,
    /// DS, ES, FS, GS and SS.
    pub data: u16,
}

impl FlatSelectors {
    /// 8 and 0x10, which most boot loaders use.
    pub const USUAL: FlatSelectors = FlatSelectors { code: 0x08, data: 0x10 };
    /// 0x10 and 0x18, which Linux requires (`__BOOT_CS`, `__BOOT_DS`).
    pub const LINUX: FlatSelectors = FlatSelectors { code: 0x10, data: 0x18 };

    /// A GDT with both segments at their selectors. In memory below 4 GiB, it is what the guest's GDTR refers to.
    pub fn descriptor_table(self) -> Vec<u8> {
        /// Base 0, limit 4 GiB, ring 0, 32-bit; accessed.
        const CODE_DESCRIPTOR: u64 = 0x00CF_9B00_0000_FFFF;
        const DATA_DESCRIPTOR: u64 = 0x00CF_9300_0000_FFFF;
        let entries = usize::from(self.code.max(self.data) >> 3) + 1;
        let mut table = vec![0u64; entries];
        table[usize::from(self.code >> 3)] = CODE_DESCRIPTOR;
        table[usize::from(self.data >> 3)] = DATA_DESCRIPTOR;
        table.iter().flat_map(|entry| entry.to_le_bytes()).collect()
    }
}

/// What differs between guests.
#[derive(Clone, Copy, Debug)]
pub(super) struct EntryPoint32 {
    /// EIP.
    pub entry: u32,
    /// ESP; 0 where the protocol has no stack.
    pub stack_pointer: u32,
    /// The selectors in the segment registers.
    pub selectors: FlatSelectors,
    /// GDTR: where [`FlatSelectors::descriptor_table`] is, or an empty table where the protocol has none.
    pub gdt: TableRegister,
}

/// The registers of the bootstrap processor at the guest's first instruction. The general registers are 0: the caller
/// sets those that its protocol defines.
pub(super) fn registers(start: &EntryPoint32) -> Registers {
    let flat = |selector, type_| SegmentRegister {
        limit: u32::MAX,
        selector,
        type_,
        present: 1,
        s: 1,
        db: 1,
        g: 1,
        ..Default::default()
    };
    let data = flat(start.selectors.data, DATA);
    // VT-x refuses to run a guest without a task state segment; none can be switched to before the guest loads one.
    let task = SegmentRegister { limit: 0x67, type_: BUSY_TASK, present: 1, ..Default::default() };
    Registers {
        general: GeneralRegisters {
            rip: u64::from(start.entry),
            rsp: u64::from(start.stack_pointer),
            rflags: RFLAGS,
            ..Default::default()
        },
        system: SystemRegisters {
            cs: flat(start.selectors.code, CODE),
            ds: data,
            es: data,
            fs: data,
            gs: data,
            ss: data,
            tr: task,
            ldt: SegmentRegister { unusable: 1, ..Default::default() },
            gdt: start.gdt,
            idt: TableRegister::default(),
            cr0: CR0,
            apic_base: APIC_BASE,
            ..Default::default()
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_starts_in_32_bit_code_of_ring_0_without_paging() {
        let gdt = TableRegister { base: 0x1000, limit: 23 };
        let start =
            EntryPoint32 { entry: 0x10_0000, stack_pointer: 0x8000, selectors: FlatSelectors::USUAL, gdt };
        let registers = registers(&start);
        assert_eq!((registers.bitness(), registers.ring()), (32, 0));
        assert_eq!(registers.next_instruction(), 0x10_0000);
        let system = registers.system;
        assert_eq!((system.cs.selector, system.ss.selector, system.gdt), (8, 0x10, gdt));
        assert_eq!((system.cr0, system.cr3, system.cr4, system.efer), (0x11, 0, 0, 0));
    }

    #[test]
    fn the_descriptor_table_has_the_segments_at_their_selectors() {
        for (selectors, entries) in [(FlatSelectors::USUAL, 3), (FlatSelectors::LINUX, 4)] {
            let table = selectors.descriptor_table();
            assert_eq!(table.len(), 8 * entries);
            assert_eq!(table[usize::from(selectors.code) + 5], 0x9B);
            assert_eq!(table[usize::from(selectors.data) + 5], 0x93);
        }
    }
}

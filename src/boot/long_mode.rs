//! The CPU state in which a guest starts in 64-bit mode: ring 0, paging on, interrupts off. The table in
//! `docs/boot-state.md` is this file in prose.
//!
//! Manual: Intel SDM volume 3A, "Initializing IA-32e Mode"; AMD APM volume 2, "Long-Mode Initialization
//! Example".

use crate::arch::{GeneralRegisters, Registers, SegmentRegister, SystemRegisters, TableRegister};

/// Selector of the 64-bit ring-0 code segment a guest starts in.
pub(super) const CODE_SELECTOR: u16 = 0x08;

/// Selector of the flat ring-0 data segment. No segment register has it when the guest starts: SS,
/// DS, ES, FS and GS hold the null selector, which 64-bit code may use for data.
pub(super) const DATA_SELECTOR: u16 = 0x10;

/// Selector of the task state segment.
pub(super) const TASK_SELECTOR: u16 = 0x18;

/// CR0: PE, MP, ET, NE, WP and PG (Intel SDM volume 3A, "Control Registers").
const CR0: u64 = 1 << 0 | 1 << 1 | 1 << 4 | 1 << 5 | 1 << 16 | 1 << 31;

/// CR4: PAE, OSFXSR and OSXMMEXCPT, so that SSE instructions work at once (Intel SDM volume 3A, "Control
/// Registers"). No page is global, so PGE is left to the guest.
const CR4: u64 = 1 << 5 | 1 << 9 | 1 << 10;

/// EFER: LME, LMA and NXE (Intel SDM volume 3A, "Extended Feature Enable Register").
const EFER: u64 = 1 << 8 | 1 << 10 | 1 << 11;

/// RFLAGS: interrupts off, and bit 1, which is always set.
const RFLAGS: u64 = 1 << 1;

/// IA32_APIC_BASE after a reset: the default address, enabled, bootstrap processor (Intel SDM volume 3A,
/// "Local APIC Status and Location").
const APIC_BASE: u64 = 0xFEE0_0000 | 1 << 11 | 1 << 8;

/// Segment type: code, readable, accessed (Intel SDM volume 3A, "Code- and Data-Segment Descriptor
/// Types").
const CODE: u8 = 0b1011;

/// Segment type: 64-bit task state segment, busy (Intel SDM volume 3A, "System Descriptor Types").
const BUSY_TASK: u8 = 0b1011;

/// Where the structures lie that a guest in 64-bit mode starts with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct EntryPoint {
    /// RIP.
    pub entry: u64,
    /// RSP, 16-byte aligned.
    pub stack_pointer: u64,
    /// CR3: guest-physical address of the PML4.
    pub page_tables: u64,
    /// GDTR.
    pub gdt: TableRegister,
    /// IDTR.
    pub idt: TableRegister,
    /// The task state segment that TR is loaded with.
    pub tss: TableRegister,
    /// RDI and RBX: guest-physical address of the PVH `hvm_start_info`.
    pub start_info: u64,
}

/// The registers of the bootstrap processor at the guest's first instruction.
pub(super) fn registers(start: &EntryPoint) -> Registers {
    let code = SegmentRegister {
        limit: u32::MAX,
        selector: CODE_SELECTOR,
        type_: CODE,
        present: 1,
        s: 1,
        l: 1,
        g: 1,
        ..Default::default()
    };
    let task = SegmentRegister {
        base: start.tss.base,
        limit: u32::from(start.tss.limit),
        selector: TASK_SELECTOR,
        type_: BUSY_TASK,
        present: 1,
        ..Default::default()
    };
    let null = SegmentRegister { unusable: 1, ..Default::default() };
    Registers {
        general: GeneralRegisters {
            rip: start.entry,
            rsp: start.stack_pointer,
            rflags: RFLAGS,
            rdi: start.start_info,
            rbx: start.start_info,
            ..Default::default()
        },
        system: SystemRegisters {
            cs: code,
            ds: null,
            es: null,
            fs: null,
            gs: null,
            ss: null,
            tr: task,
            ldt: null,
            gdt: start.gdt,
            idt: start.idt,
            cr0: CR0,
            cr2: 0,
            cr3: start.page_tables,
            cr4: CR4,
            cr8: 0,
            efer: EFER,
            apic_base: APIC_BASE,
            interrupt_bitmap: [0; 4],
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_starts_in_ring_0_of_64_bit_mode() {
        let start =
            EntryPoint { entry: 0x20_0000, stack_pointer: 0x9000, start_info: 0x3000, ..Default::default() };
        let registers = registers(&start);
        assert_eq!((registers.bitness(), registers.ring()), (64, 0));
        assert_eq!(registers.next_instruction(), 0x20_0000);
        let general = registers.general;
        assert_eq!((general.rsp, general.rdi, general.rbx, general.rflags), (0x9000, 0x3000, 0x3000, 2));
    }

    #[test]
    fn the_system_registers_are_those_of_the_documentation() {
        let table =
            std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/boot-state.md")).unwrap();
        let Registers { general, system } = registers(&EntryPoint::default());
        for (name, value) in [
            ("RFLAGS", general.rflags),
            ("CR0", system.cr0),
            ("CR4", system.cr4),
            ("EFER", system.efer),
            ("IA32_APIC_BASE", system.apic_base),
        ] {
            let row = format!("| {name} | {value:#X} |").replace("0X", "0x");
            assert!(table.contains(&row), "{row}");
        }
        for (name, register) in [("CS", system.cs), ("TR", system.tr)] {
            let row = format!("| {name} | 0x{:02X} |", register.selector);
            assert!(table.contains(&row), "{row}");
        }
    }
}

//! How the processors start: the state of the one that runs the kernel, and the code that the others execute until the
//! kernel sets `goto_address` of their `limine_mp_info`.
//!
//! Nothing in the supervisor waits for that write. Each of the other processors runs `firmware/parking.S` from the
//! start, in guest memory, with page tables of its own: it sleeps, and its local APIC wakes it every ten milliseconds
//! to look. So a parked processor is saved, restored, stopped by a debugger and reset as any other, and a kernel that
//! sends INIT gets a processor that waits for a start-up IPI.
//!
//! One page has all that is shared:
//!
//! | offset | what |
//! |---|---|
//! | 0 | the code of parked processors |
//! | 0x100 | the GDT that the protocol promises |
//! | 0x200 | the IDT of parked processors |
//! | 0x800 | a `limine_mp_info` for each processor |

use super::mapping::DIRECT_MAP;
use crate::arch::{PAGE_SIZE, Registers, SegmentRegister, TableRegister};
use crate::boot::descriptors;
use crate::boot::elf64::Access;
use crate::boot::long_mode::{self, EntryPoint};
use crate::boot::page_tables::{Page, PageTables, TooManyTables};
use crate::boot::rescue_idt::{self, GateCode};
use crate::devices::lapic;
use crate::memory::{GuestMemory, MemoryError};

/// What parked processors execute: `firmware/build` makes it of `firmware/parking.S`.
const CODE: &[u8] = include_bytes!("parking.bin");
/// Offset of the interrupt handler in it.
const TICK: u64 = 0xB0;
/// Offset of the instruction behind the `hlt` in which a parked processor sleeps, and of what marks it.
const ASLEEP: usize = 0x34;
const MARK: usize = 32;

/// Number of bytes at RIP that [`is_parked`] examines.
pub const PARKED_MARK_LENGTH: usize = MARK;

const GDT: u64 = 0x100;
const IDT: u64 = 0x200;
const INFO: u64 = 0x800;
/// Size of a `limine_mp_info`: ACPI's processor number, local APIC ID, a reserved word, `goto_address`, and a word for the
/// kernel.
const INFO_SIZE: u64 = 32;

/// The descriptors of the specification: null, 16-bit, 32-bit and 64-bit code and data.
const DESCRIPTORS: [u64; 7] = [
    0,
    0x0000_9B00_0000_FFFF,
    0x0000_9300_0000_FFFF,
    0x00CF_9B00_0000_FFFF,
    0x00CF_9300_0000_FFFF,
    0x00AF_9B00_0000_FFFF,
    0x00CF_9300_0000_FFFF,
];
/// The selector of 64-bit code.
pub(in crate::boot) const CODE_SELECTOR: u16 = 0x28;
const DATA_SELECTOR: u16 = 0x30;
/// Vectors of the IDT: up to that of spurious interrupts.
const VECTORS: u64 = 0x30;
/// Present 64-bit interrupt gate (Intel SDM volume 3A, "64-Bit Mode IDT").
const INTERRUPT_GATE: u64 = 0x8E00 << 32;

/// IA32_APIC_BASE of a processor that is not the first one: its local APIC is enabled.
const APIC_BASE: u64 = lapic::BASE | 1 << 11;

/// True for a processor that is parked, and sleeps; `code` is what lies at RIP then.
pub fn is_parked(code: &[u8]) -> bool {
    code.starts_with(&CODE[ASLEEP..ASLEEP + MARK])
}

/// The shared page, which lies at guest-physical `at`.
pub(super) fn shared_page(at: u64, processors: u8) -> Vec<u8> {
    let mut page = vec![0; PAGE_SIZE as usize];
    let mut put = |offset: u64, bytes: &[u8]| {
        page[offset as usize..offset as usize + bytes.len()].copy_from_slice(bytes);
    };
    put(0, CODE);
    for (descriptor, offset) in DESCRIPTORS.iter().zip((GDT..).step_by(8)) {
        put(offset, &descriptor.to_le_bytes());
    }
    let tick = DIRECT_MAP + at + TICK;
    let gate = tick & 0xFFFF | u64::from(CODE_SELECTOR) << 16 | INTERRUPT_GATE | (tick & 0xFFFF_0000) << 32;
    for vector in 0..VECTORS {
        put(IDT + 16 * vector, &gate.to_le_bytes());
        put(IDT + 16 * vector + 8, &(tick >> 32).to_le_bytes());
    }
    for processor in 0..processors {
        let info = [u32::from(processor).to_le_bytes(), u32::from(processor).to_le_bytes()].concat();
        put(INFO + INFO_SIZE * u64::from(processor), &info);
    }
    page
}

/// The virtual address of the `limine_mp_info` of a processor.
pub(super) fn info_address(shared: u64, processor: u8) -> u64 {
    DIRECT_MAP + shared + INFO + INFO_SIZE * u64::from(processor)
}

/// The page tables of parked processors: the shared page, the stacks and the local APIC, all in the direct map.
pub(super) fn parking_tables(
    shared: u64,
    stacks: u64,
    size: u64,
    limit: u64,
) -> Result<PageTables, TooManyTables> {
    const EXPECTED: u64 = 8;
    let mut tables = PageTables::new(limit, EXPECTED);
    let mut map = |start: u64, size: u64, page: Page| {
        tables.map(DIRECT_MAP + start..DIRECT_MAP + start + size, start, page)
    };
    map(shared, PAGE_SIZE, Page::Supervisor(Access::ALL))?;
    map(stacks, size, Page::Supervisor(Access::ALL))?;
    map(lapic::BASE, PAGE_SIZE, Page::Device)?;
    Ok(tables)
}

/// Where the structures lie that a processor starts with: guest-physical addresses.
#[derive(Clone, Copy, Debug)]
pub(super) struct ProcessorStart {
    /// The end of the stack.
    pub stack_top: u64,
    /// The shared page.
    pub shared: u64,
    /// The kernel's page tables.
    pub page_tables: u64,
    /// The tables of the exceptions, see [`ExceptionTables`].
    pub exceptions: ExceptionTables,
}

/// Two pages with what takes exceptions until the kernel has an IDT of its own: the IDT, and behind it the task state
/// segment, the code of the gates ([`rescue_idt`]) and their stack. There is no descriptor of the task state segment.
#[derive(Clone, Copy, Debug)]
pub(super) struct ExceptionTables(u64);

impl ExceptionTables {
    /// Bytes that they take.
    pub const SIZE: u64 = descriptors::IDT_SIZE + PAGE_SIZE;
    /// Where in the second page the task state segment is.
    const TASK_STATE: u64 = 0x80;

    /// Writes them to the guest-physical address `at`.
    ///
    /// # Errors
    ///
    /// [`MemoryError`] if they do not lie in RAM.
    pub fn write(memory: &GuestMemory, at: u64) -> Result<ExceptionTables, MemoryError> {
        let page = at + descriptors::IDT_SIZE;
        rescue_idt::write(memory, at, GateCode { page, mapped_from: DIRECT_MAP, selector: CODE_SELECTOR })?;
        let stack_top = DIRECT_MAP + at + Self::SIZE;
        memory.write(page + Self::TASK_STATE, &descriptors::task_state(stack_top, stack_top))?;
        Ok(ExceptionTables(at))
    }

    fn idt(self) -> TableRegister {
        TableRegister { base: DIRECT_MAP + self.0, limit: descriptors::IDT_SIZE as u16 - 1 }
    }

    fn task_state(self) -> TableRegister {
        let base = DIRECT_MAP + self.0 + descriptors::IDT_SIZE + Self::TASK_STATE;
        TableRegister { base, limit: descriptors::TSS_SIZE - 1 }
    }
}

impl ProcessorStart {
    /// The registers of the first processor, which begins at virtual address `entry`.
    pub fn kernel_registers(&self, entry: u64) -> Registers {
        let gdt = TableRegister {
            base: DIRECT_MAP + self.shared + GDT,
            limit: size_of_val(&DESCRIPTORS) as u16 - 1,
        };
        let mut registers = long_mode::registers(&EntryPoint {
            entry,
            // The return address is 0.
            stack_pointer: DIRECT_MAP + self.stack_top - 8,
            page_tables: self.page_tables,
            gdt,
            idt: self.exceptions.idt(),
            tss: self.exceptions.task_state(),
            start_info: 0,
        });
        let data = SegmentRegister {
            limit: u32::MAX,
            selector: DATA_SELECTOR,
            type_: 0b0011,
            present: 1,
            s: 1,
            db: 1,
            g: 1,
            ..SegmentRegister::default()
        };
        let system = &mut registers.system;
        system.cs.selector = CODE_SELECTOR;
        system.tr.selector = 0;
        for segment in [&mut system.ds, &mut system.es, &mut system.fs, &mut system.gs, &mut system.ss] {
            *segment = data;
        }
        registers
    }

    /// The registers of another processor, which begins to wait: see `firmware/parking.S`.
    pub fn parked_registers(&self, processor: u8, parking_tables: u64) -> Registers {
        let mut registers = self.kernel_registers(DIRECT_MAP + self.shared);
        registers.general.rdi = info_address(self.shared, processor);
        registers.general.rsi = DIRECT_MAP + lapic::BASE;
        registers.general.rbx = self.page_tables;
        registers.system.cr3 = parking_tables;
        registers.system.idt =
            TableRegister { base: DIRECT_MAP + self.shared + IDT, limit: (16 * VECTORS) as u16 - 1 };
        registers.system.apic_base = APIC_BASE;
        registers
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::process::Command;

    use super::*;
    use crate::devices::lapic::MOST_CPUS;

    #[test]
    fn the_code_of_parked_processors_is_what_its_source_is_assembled_to() {
        let tools = ["gcc", "objcopy"].map(|tool| Command::new(tool).arg("--version").output().is_ok());
        if tools != [true, true] {
            eprintln!("not compared: gcc and binutils are needed");
            return;
        }
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let built = ["rom", "parking"]
            .map(|name| std::env::temp_dir().join(format!("kvm-limine-{name}-{}.bin", std::process::id())));
        let ran = Command::new(root.join("firmware/build")).args(&built).output().unwrap();
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
        let bytes = std::fs::read(&built[1]).unwrap();
        built.iter().for_each(|file| std::fs::remove_file(file).unwrap());
        assert!(bytes == CODE, "run firmware/build: parking.bin is not what firmware/parking.S says");
        // `movl $0, EOI(%rsi)`, and the jump behind `hlt`.
        assert!(CODE[TICK as usize..].starts_with(&[0xC7, 0x86, 0xB0]));
        assert_eq!((CODE[ASLEEP - 1], CODE[ASLEEP]), (0xF4, 0xEB));
        assert!(CODE[ASLEEP..ASLEEP + MARK].ends_with(b"kvm: this processor is parked\0"[..30].as_ref()));
    }

    #[test]
    fn the_shared_page_has_room_for_all_processors() {
        let page = shared_page(0x5_0000, MOST_CPUS as u8);
        assert!(CODE.len() as u64 <= GDT && IDT + 16 * VECTORS <= INFO);
        assert_eq!(page.len() as u64, PAGE_SIZE);
        let last = (INFO + 63 * INFO_SIZE) as usize;
        assert_eq!(page[last..last + 8], [63, 0, 0, 0, 63, 0, 0, 0]);
        assert!(page[last + 8..].iter().all(|byte| *byte == 0), "no processor is started");
    }

    #[test]
    fn a_sleeping_parked_processor_is_recognised_by_its_code() {
        assert!(is_parked(&CODE[ASLEEP..]));
        assert!(!is_parked(CODE) && !is_parked(&CODE[ASLEEP..ASLEEP + 8]));
    }
}

//! Memory contents of a probe guest, and its initial registers in each mode.
//!
//! All structures are written once, before the first run, with their accessed and dirty bits set. The
//! processor has no reason to write to them, so they can be in read-only or logged memory, and hosts that
//! shadow page tables see no changes.
//!
//! Manual: Intel SDM volume 3A, "Protected-Mode Memory Management", "Paging" and "Interrupt and
//! Exception Handling".

use crate::arch::SegmentRegister;

use super::code::guest_code;
use super::guest::EXCEPTION;
use crate::arch::Registers;
use crate::arch::flags::{CR0_PG, CR4_OSFXSR, CR4_OSXMMEXCPT, CR4_PAE, CR4_PSE};

const GDT: u64 = 0x1000;
const TSS: u64 = 0x1800;
const IDT: u64 = 0x2000;
/// One handler of 16 bytes for each vector.
const HANDLERS: u64 = 0x3000;
/// Four-level tables with 2 MiB pages.
pub(super) const PML4: u64 = 0x4000;
pub(super) const PDPT: u64 = 0x5000;
pub(super) const PD: u64 = 0x6000;
/// Four-level tables with one 1 GiB page.
const HUGE_PML4: u64 = 0x7000;
const HUGE_PDPT: u64 = 0x8000;
/// 32-bit tables: a page directory with 4 MiB pages, and the PAE form.
const PD_32: u64 = 0x9000;
const PDPT_PAE: u64 = 0xA000;
/// Where the guest's code lies; below 64 KiB, so that real mode reaches it.
pub(super) const CODE: u64 = 0xC000;
/// Maximum code size in bytes.
const CODE_SIZE: usize = 0x1000;
const STACK_REAL: u64 = 0xF000;
const STACK_RING_0: u64 = 0x3_0000;
const STACK_RING_3: u64 = 0x4_0000;

const CODE_64: u16 = 0x08;
const DATA_0: u16 = 0x10;
const DATA_3: u16 = 0x18 | 3;
const CODE_3: u16 = 0x20 | 3;
const CODE_32: u16 = 0x28;
const TASK: u16 = 0x30;

/// Present, writable, for ring 3, accessed.
const TABLE: u64 = 0x27;
/// The same, dirty, and a page instead of a table.
const LEAF: u64 = 0xE7;

const CR0_PROTECTED: u64 = 0x33; // PE, MP, ET, NE
const EFER_LONG: u64 = 0x501; // SCE, LME, LMA

/// The mode a probe guest starts in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbeMode {
    /// Real mode.
    Real,
    /// 32-bit protected mode without paging.
    Protected,
    /// 32-bit protected mode with 4 MiB pages (PSE).
    Paging32,
    /// 32-bit protected mode with PAE paging.
    PagingPae,
    /// 64-bit long mode, ring 0.
    Long,
    /// 64-bit long mode, ring 0, in one page of 1 GiB.
    LongHuge,
    /// 64-bit long mode, ring 3.
    LongRing3,
}

/// What lies in memory from address 0: tables, handlers and `code`.
///
/// # Panics
///
/// If `code` is longer than [`CODE_SIZE`].
pub(super) fn memory_image(code: &[u8]) -> Vec<u8> {
    let mut image = Image(vec![0; CODE as usize + CODE_SIZE]);
    let descriptors: [u64; 7] = [
        0,
        0x00AF_9B00_0000_FFFF, // 64-bit code, ring 0
        0x00CF_9300_0000_FFFF, // data, ring 0
        0x00CF_F300_0000_FFFF, // data, ring 3: where SYSRET wants it
        0x00AF_FB00_0000_FFFF, // 64-bit code, ring 3
        0x00CF_9B00_0000_FFFF, // 32-bit code, ring 0
        0x0000_8B00_0000_0067 | TSS << 16,
    ];
    for (number, descriptor) in (0..).zip(descriptors) {
        image.put(GDT + 8 * number, descriptor);
    }
    image.put_bytes(TSS + 4, &STACK_RING_0.to_le_bytes());
    // No permissions for ports: the I/O permission bitmap would begin beyond the limit.
    image.put_bytes(TSS + 102, &0x68_u16.to_le_bytes());
    let handler = handler_code();
    for vector in 0..256 {
        let at = HANDLERS + 16 * vector;
        // An interrupt gate that ring 3 may use, too.
        image.put(IDT + 16 * vector, 0xEE00_0000_0000 | u64::from(CODE_64) << 16 | at);
        image.put_bytes(at, handler);
        image.put_bytes(at + OPERAND, &(EXCEPTION as u32 + vector as u32).to_le_bytes());
    }
    image.put(PML4, PDPT | TABLE);
    image.put(PDPT, PD | TABLE);
    image.put(HUGE_PML4, HUGE_PDPT | TABLE);
    image.put(HUGE_PDPT, LEAF);
    // The PAE form reserves bits that the others use for permissions; its directory can be shared.
    image.put(PDPT_PAE, PD | 1);
    // RAM, and the report addresses.
    for page in 0..2 {
        image.put(PD + 8 * page, page << 21 | LEAF);
    }
    image.put_bytes(PD_32, &(LEAF as u32).to_le_bytes());
    image.put_bytes(CODE, code);
    image.0
}

/// Memory from address 0.
struct Image(Vec<u8>);

impl Image {
    fn put_bytes(&mut self, address: u64, bytes: &[u8]) {
        self.0[address as usize..][..bytes.len()].copy_from_slice(bytes);
    }

    fn put(&mut self, address: u64, value: u64) {
        self.put_bytes(address, &value.to_le_bytes());
    }
}

/// Offset in [`handler_code`] of the address that it writes to, which identifies the vector.
const OPERAND: u64 = 3;

/// Reports an exception to the host, and returns from it.
fn handler_code() -> &'static [u8] {
    guest_code!(64:
        "movb $0, 0x7fffffff",
        "iretq",
    )
}

/// Sets the registers for the first instruction at [`CODE`] in `mode`.
pub(super) fn enter(mode: ProbeMode, registers: &mut Registers) {
    let system = &mut registers.system;
    registers.general = Default::default();
    registers.general.rip = CODE;
    registers.general.rsp = STACK_RING_0;
    registers.general.rflags = 2;
    if mode == ProbeMode::Real {
        system.cs.selector = (CODE >> 4) as u16;
        system.cs.base = CODE;
        (system.ss.selector, system.ss.base) = (0, 0);
        (system.ds.selector, system.ds.base) = (0, 0);
        registers.general.rip = 0;
        registers.general.rsp = STACK_REAL;
        return;
    }
    let flat = |selector: u16, type_: u8| SegmentRegister {
        limit: u32::MAX,
        selector,
        type_,
        present: 1,
        dpl: (selector & 3) as u8,
        s: 1,
        g: 1,
        db: 1,
        ..Default::default()
    };
    let long = matches!(mode, ProbeMode::Long | ProbeMode::LongHuge | ProbeMode::LongRing3);
    let (code, data) = match mode {
        ProbeMode::LongRing3 => (CODE_3, DATA_3),
        _ if long => (CODE_64, DATA_0),
        _ => (CODE_32, DATA_0),
    };
    if mode == ProbeMode::LongRing3 {
        registers.general.rsp = STACK_RING_3;
    }
    system.cs = flat(code, 0b1011);
    if long {
        (system.cs.l, system.cs.db) = (1, 0);
    }
    let data = flat(data, 0b0011);
    (system.ds, system.es, system.fs, system.gs, system.ss) = (data, data, data, data, data);
    system.ldt = SegmentRegister { unusable: 1, ..Default::default() };
    system.tr = SegmentRegister {
        base: TSS,
        limit: 0x67,
        selector: TASK,
        type_: 0b1011,
        present: 1,
        ..Default::default()
    };
    (system.gdt.base, system.gdt.limit) = (GDT, 8 * 8 - 1);
    (system.idt.base, system.idt.limit) = if long { (IDT, 0xFFF) } else { (0, 0) };
    let (paging, cr3, cr4) = match mode {
        ProbeMode::Real | ProbeMode::Protected => (0, 0, 0),
        ProbeMode::Paging32 => (CR0_PG, PD_32, CR4_PSE),
        ProbeMode::PagingPae => (CR0_PG, PDPT_PAE, CR4_PAE),
        ProbeMode::Long | ProbeMode::LongRing3 => (CR0_PG, PML4, CR4_PAE),
        ProbeMode::LongHuge => (CR0_PG, HUGE_PML4, CR4_PAE),
    };
    system.cr0 = CR0_PROTECTED | paging;
    system.cr3 = cr3;
    system.cr4 = cr4 | CR4_OSFXSR | CR4_OSXMMEXCPT;
    system.efer = if long { EFER_LONG } else { 0 };
}

/// CR0.PG: paging is on.
pub(super) fn paging(registers: &Registers) -> bool {
    registers.system.cr0 & CR0_PG != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_handler_writes_to_the_address_of_its_vector() {
        let image = memory_image(&[]);
        let handler = &image[HANDLERS as usize + 16 * 0x80..][..16];
        // movb $0, EXCEPTION + 0x80; iretq
        assert_eq!(handler[..10], [0xC6, 0x04, 0x25, 0x80, 0x10, 0x30, 0, 0, 0x48, 0xCF]);
        let gate = &image[IDT as usize + 16 * 0x80..][..16];
        assert_eq!(gate, [0x00, 0x38, 0x08, 0, 0, 0xEE, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    }
}

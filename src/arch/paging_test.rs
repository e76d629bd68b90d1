use super::*;
use crate::arch::test_ram::TestRam;

const LOAD: Access = Access { write: false, fetch: false, user: false, implicit: false };
const STORE: Access = Access { write: true, ..LOAD };
const FETCH: Access = Access { fetch: true, ..LOAD };

fn by_user(access: Access) -> Access {
    Access { user: true, ..access }
}

fn memory(entries: &[(u64, u64)]) -> TestRam {
    let memory = TestRam::new(1 << 20);
    for (address, entry) in entries {
        memory.write_u64(*address, *entry);
    }
    memory
}

fn registers(cr4: u64, efer: u64) -> Registers {
    let mut registers = Registers::default();
    (registers.system.cr0, registers.system.cr3) = (CR0_PG | 1, 0x1000);
    (registers.system.cr4, registers.system.efer) = (cr4, efer);
    registers
}

/// One page of 4 KiB at 0 of long mode with the rights `last`, at 0x9000.
fn one_page(last: u64) -> TestRam {
    memory(&[(0x1000, 0x2007), (0x2000, 0x3007), (0x3000, 0x4007), (0x4000, 0x9000 | last)])
}

fn long(cr4: u64, efer: u64) -> Registers {
    registers(CR4_PAE | cr4, EFER_LMA | efer)
}

fn try_access(memory: &TestRam, registers: &Registers, access: Access) -> Result<u64, u32> {
    Paging::new(registers, 40).translate(memory, 0x123, access).map_err(|fault| fault.code)
}

#[test]
fn an_access_sets_accessed_and_dirty_bits() {
    let memory = one_page(PRESENT | WRITABLE);
    assert_eq!(try_access(&memory, &long(0, 0), LOAD), Ok(0x9123));
    assert_eq!(memory.read_u64(0x1000), 0x2007 | ACCESSED);
    assert_eq!(memory.read_u64(0x4000), 0x9003 | ACCESSED);
    assert_eq!(try_access(&memory, &long(0, 0), STORE), Ok(0x9123));
    assert_eq!(memory.read_u64(0x4000), 0x9003 | ACCESSED | DIRTY);
}

#[test]
fn a_refused_access_sets_no_bits() {
    let memory = one_page(PRESENT);
    assert_eq!(try_access(&memory, &long(0, 0), by_user(STORE)), Err(0b111));
    assert_eq!(memory.read_u64(0x1000), 0x2007);
}

#[test]
fn supervisor_writes_to_read_only_pages_fault_only_with_cr0_wp() {
    let memory = one_page(PRESENT | USER);
    let mut registers = long(0, 0);
    assert_eq!(try_access(&memory, &registers, STORE), Ok(0x9123));
    registers.system.cr0 |= CR0_WP;
    assert_eq!(try_access(&memory, &registers, STORE), Err(0b11));
    assert_eq!(try_access(&memory, &registers, by_user(LOAD)), Ok(0x9123));
    assert_eq!(try_access(&memory, &registers, by_user(STORE)), Err(0b111));
}

#[test]
fn fetches_from_no_execute_pages_fault() {
    let memory = one_page(PRESENT | NO_EXECUTE);
    assert_eq!(try_access(&memory, &long(0, EFER_NXE), FETCH), Err(0b1_0001));
    assert_eq!(try_access(&memory, &long(0, EFER_NXE), LOAD), Ok(0x9123));
    // Without NX the bit is reserved.
    assert_eq!(try_access(&memory, &long(0, 0), LOAD), Err(0b1001));
}

#[test]
fn smep_and_smap_keep_supervisor_accesses_out_of_user_pages() {
    let memory = one_page(PRESENT | WRITABLE | USER);
    assert_eq!(try_access(&memory, &long(0, 0), FETCH), Ok(0x9123));
    assert_eq!(try_access(&memory, &long(CR4_SMEP, 0), FETCH), Err(0b1_0001));
    assert_eq!(try_access(&memory, &long(CR4_SMAP, 0), LOAD), Err(1));
    let mut opened = long(CR4_SMAP, 0);
    opened.general.rflags = RFLAGS_AC;
    assert_eq!(try_access(&memory, &opened, LOAD), Ok(0x9123));
    let by_processor = Access { implicit: true, ..LOAD };
    assert_eq!(try_access(&memory, &opened, by_processor), Err(1));
}

#[test]
fn reserved_bits_are_faults() {
    // Beyond the 40 physical address bits of this processor.
    let memory = one_page(PRESENT | 1 << 40);
    assert_eq!(try_access(&memory, &long(0, 0), STORE), Err(0b1011));
    // A page of 512 GiB does not exist.
    let huge = self::memory(&[(0x1000, PRESENT | LARGE)]);
    assert_eq!(try_access(&huge, &long(0, 0), LOAD), Err(0b1001));
    // A page of 2 MiB starts at a multiple of its size.
    let crooked = self::memory(&[(0x1000, 0x2003), (0x2000, 0x3003), (0x3000, 0x10_2083)]);
    assert_eq!(try_access(&crooked, &long(0, 0), LOAD), Err(0b1001));
}

#[test]
fn five_level_paging_is_walked() {
    let memory = memory(&[
        (0x1000 + 8, 0x2003),
        (0x2000, 0x3003),
        (0x3000, 0x4003),
        (0x4000, 0x5003),
        (0x5000, 0x9003),
    ]);
    let paging = Paging::new(&long(CR4_LA57, 0), 40);
    assert_eq!(paging.translate(&memory, 1 << 48 | 5, LOAD), Ok(0x9005));
    assert!(paging.is_canonical(1 << 55));
    assert!(!paging.is_canonical(1 << 56));
}

#[test]
fn pae_entries_of_the_first_level_are_plain() {
    // The second GiB: a directory with a large page, and one with a small page.
    let memory = memory(&[(0x1008, 0x2001), (0x2000, 0x20_0083), (0x2008, 0x4003), (0x4008, 0x9003)]);
    let paging = Paging::new(&registers(CR4_PAE, 0), 40);
    assert_eq!(paging.translate(&memory, 0x4000_0123, STORE), Ok(0x20_0123));
    assert_eq!(paging.translate(&memory, 0x4020_1123, STORE), Ok(0x9123));
    assert_eq!(memory.read_u64(0x1008), 0x2001, "no accessed bit there");
    // The writable bit is reserved there.
    memory.write_u64(0x1008, 0x2003);
    assert_eq!(paging.translate(&memory, 0x4000_0000, LOAD), Err(PageFault { code: 0b1001 }));
}

#[test]
fn tables_of_32_bit_paging_have_entries_of_four_bytes() {
    // Entry 1 of the directory a table, entry 2 a page of 4 MiB above 4 GiB.
    let memory = memory(&[(0x1000, 0x2003 << 32), (0x1008, 0x0040_2083), (0x2000, 0x9003)]);
    let paging = Paging::new(&registers(CR4_PSE, 0), 40);
    assert_eq!(paging.translate(&memory, 0x40_0123, STORE), Ok(0x9123));
    assert_eq!(memory.read_u64(0x2000), 0x9063, "the neighbour is left alone");
    assert_eq!(paging.translate(&memory, 0x80_0123, LOAD), Ok(0x1_0040_0123));
    // Without PSE the same entry leads to a table, which has nothing at this place.
    let plain = Paging::new(&registers(0, 0), 40);
    assert_eq!(plain.translate(&memory, 0x80_0123, STORE), Err(PageFault { code: 0b10 }));
    assert_eq!(paging.translate(&memory, 0xC0_0000, by_user(FETCH)), Err(PageFault { code: 0b100 }));
}

#[test]
fn without_paging_addresses_are_physical() {
    let mut registers = registers(0, 0);
    registers.system.cr0 = 1;
    let memory = memory(&[]);
    assert_eq!(Paging::new(&registers, 40).translate(&memory, 0xFFFF_0000, STORE), Ok(0xFFFF_0000));
}

#[test]
fn tables_outside_of_memory_map_nothing() {
    let mut registers = long(0, 0);
    registers.system.cr3 = ADDRESS;
    assert_eq!(try_access(&memory(&[]), &registers, STORE), Err(0b10));
}

use super::*;
use crate::arch::Registers;
use crate::arch::test_ram::TestRam;

fn long_mode() -> Registers {
    let mut registers = Registers::default();
    (registers.system.cr0, registers.system.cr3) = (1 << 31 | 1, 0x1018);
    (registers.system.cr4, registers.system.efer) = (1 << 5, 1 << 10);
    registers
}

#[test]
fn tables_are_found_and_mapped_pages_are_not_among_them() {
    let memory = TestRam::new(1 << 20);
    for (at, entry) in [
        (0x1000, 0x2003),
        // A table of tables that is its own.
        (0x1FF8, 0x1003),
        (0x2000, 0x3003),
        (0x3000, 0x4003),
        (0x3008, 0x20_0083),
        (0x3010, 0x8002),
        (0x4000, 0x9003),
    ] {
        memory.write_u64(at, entry);
    }
    let paging = Paging::new(&long_mode(), Paging::WIDEST);
    let pages = paging.table_pages(&memory).unwrap();
    assert_eq!(pages.into_iter().collect::<Vec<_>>(), [0x1000, 0x2000, 0x3000, 0x4000]);
}

#[test]
fn walking_stops_at_the_limit_of_tables() {
    let memory = TestRam::new(64 << 20);
    memory.write_u64(0x1000, 0x2003);
    for table in 0..512 {
        memory.write_u64(0x2000 + table * 8, 0x10_0003 + table * PAGE_SIZE);
        for last in 0..512 {
            let entry = 0x100_0003 + (table * 512 + last) % 8192 * PAGE_SIZE;
            memory.write_u64(0x10_0000 + table * PAGE_SIZE + last * 8, entry);
        }
    }
    assert_eq!(Paging::new(&long_mode(), Paging::WIDEST).table_pages(&memory), None);
    assert!(Paging::new(&Registers::default(), Paging::WIDEST).table_pages(&memory).unwrap().is_empty());
}

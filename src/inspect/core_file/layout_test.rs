use super::*;

/// Long mode with its root table at 0x1000, which maps nothing yet.
fn machine() -> (GuestMemory, Registers) {
    let memory = GuestMemory::new(4 << 20).unwrap();
    let mut registers = Registers::default();
    let system = &mut registers.system;
    (system.cr0, system.cr3, system.cr4, system.efer) = (1 << 31 | 1, 0x1000, 1 << 5, 0x500);
    memory.write_u64(0x1000, 0x2003).unwrap();
    memory.write_u64(0x2000, 0x3003).unwrap();
    (memory, registers)
}

fn parts(layout: &CoreLayout) -> Vec<(u64, u64, u64, u64)> {
    layout.segments.iter().map(|s| (s.address, s.physical, s.length, s.stored)).collect()
}

fn stored(layout: &CoreLayout) -> Vec<Range<u64>> {
    layout.stored.iter().map(|stored| stored.physical.clone()).collect()
}

#[test]
fn memory_that_was_never_touched_takes_no_room() {
    let (memory, registers) = machine();
    // 2 MiB at 0, and the same at 4 MiB.
    memory.write_u64(0x3000, 0x83).unwrap();
    memory.write_u64(0x3010, 0x83).unwrap();
    memory.write_u64(0x10_0000, 1).unwrap();
    let layout = CoreLayout::new(&memory, &registers);
    let of = |base| [(base, 0, 0x10_0000, 0x1_0000), (base + 0x10_0000, 0x10_0000, 0x10_0000, 0x1_0000)];
    assert_eq!(parts(&layout), [of(0), of(0x40_0000)].concat());
    assert_eq!(stored(&layout), [0..0x1_0000, 0x10_0000..0x11_0000], "each page once");
    assert_eq!(layout.offset_of(0x10_2000), 0x1_2000);
    assert!(!layout.incomplete);
}

#[test]
fn a_segment_ends_where_the_rights_or_the_physical_addresses_change() {
    let (memory, registers) = machine();
    memory.write_u64(0x3000, 0x4003).unwrap();
    for (index, entry) in [(1, 0x5003_u64), (2, 0x6003), (3, 0x7001), (4, 0x9001), (6, 0x9001)] {
        memory.write_u64(0x4000 + 8 * index, entry).unwrap();
    }
    // A device, and a page across the end of RAM.
    memory.write_u64(0x4000 + 8 * 7, 0xFEE0_0003).unwrap();
    memory.write_u64(0x3008, 0x40_0083 - 0x20_0000).unwrap();
    let layout = CoreLayout::new(&memory, &registers);
    assert_eq!(
        parts(&layout)[..4],
        [
            (0x1000, 0x5000, 0x2000, 0x2000),
            (0x3000, 0x7000, 0x1000, 0x1000),
            (0x4000, 0x9000, 0x1000, 0x1000),
            (0x6000, 0x9000, 0x1000, 0x1000)
        ]
    );
    assert_eq!(parts(&layout)[4..], [(0x20_0000, 0x20_0000, 0x20_0000, 0)]);
}

#[test]
fn tables_that_map_without_end_give_a_file_of_limited_size() {
    let (memory, registers) = machine();
    // All four levels are the same table: every entry leads to it again.
    for index in 0..512 {
        memory.write_u64(0x1000 + 8 * index, 0x1003).unwrap();
    }
    let layout = CoreLayout::new(&memory, &registers);
    assert!(layout.incomplete);
    assert!(layout.segments.len() <= MOST_SEGMENTS);
    assert_eq!(stored(&layout), vec![0x1000..0x2000; 1]);
}

#[test]
fn without_paging_all_of_ram_is_at_its_physical_addresses() {
    let memory = GuestMemory::new(1 << 20).unwrap();
    memory.write(0x7C00, &[1]).unwrap();
    let layout = CoreLayout::new(&memory, &Registers::default());
    assert_eq!(parts(&layout), [(0, 0, 1 << 20, 0x1_0000)]);
}

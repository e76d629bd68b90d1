use super::*;
use crate::arch::flags::{CR0_PG, CR4_LA57, CR4_PAE, EFER_LMA};
use crate::boot::{FileSection, NamedStack, Symbol};
use crate::inspect::names::NoNames;

fn memory(entries: &[(u64, u64)]) -> GuestMemory {
    let memory = GuestMemory::new(4 << 20).unwrap();
    entries.iter().for_each(|(address, entry)| memory.write_u64(*address, *entry).unwrap());
    memory
}

fn registers(cr4: u64, efer: u64) -> Registers {
    let mut registers = Registers::default();
    (registers.system.cr0, registers.system.cr3) = (CR0_PG | 1, 0x1000);
    (registers.system.cr4, registers.system.efer) = (cr4, efer);
    registers
}

fn long(cr4: u64) -> Registers {
    registers(CR4_PAE | cr4, EFER_LMA | EFER_NXE)
}

fn text(memory: &GuestMemory, registers: &Registers, start: u64) -> String {
    Maps::capture(memory, registers, start).describe(memory, &NoNames).to_string()
}

/// 64-bit tables: a large page, three small ones of which two are alike, and a page of 1 GiB.
const LONG: [(u64, u64); 9] = [
    (0x1000, 0x2007),
    (0x2000, 0x3007),
    (0x2008, 0x4000_0000 | 1 << 12 | 0x9B | 1 << 63),
    (0x3000, 0x4007),
    (0x3008, 0x20_0187),
    (0x4008, 0x6003),
    (0x4010, 0x7003),
    (0x4018, 0x9003),
    (0x1FF8, 0x2003),
];

#[test]
fn four_level_tables_are_shown_with_their_attributes() {
    // The upper half maps the same tables, without access from ring 3.
    assert_eq!(
        text(&memory(&LONG), &long(0), 0),
        "4-level paging, CR3 0x1000\n\
         0000000000001000-0000000000002fff -> 000000006000     8K 4K rwx--\n\
         0000000000003000-0000000000003fff -> 000000009000     4K 4K rwx--\n\
         0000000000200000-00000000003fffff -> 000000200000     2M 2M rwxug\n\
         0000000040000000-000000007fffffff -> 000040000000     1G 1G rw--- PCD PWT PAT  not RAM\n\
         ffffff8000001000-ffffff8000002fff -> 000000006000     8K 4K rwx--\n\
         ffffff8000003000-ffffff8000003fff -> 000000009000     4K 4K rwx--\n\
         ffffff8000200000-ffffff80003fffff -> 000000200000     2M 2M rwx-g\n\
         ffffff8040000000-ffffff807fffffff -> 000040000000     1G 1G rw--- PCD PWT PAT  not RAM\n"
    );
    let upper = text(&memory(&LONG), &long(0), 0x8000_0000);
    assert!(upper.starts_with("4-level paging, CR3 0x1000\nffffff8000001000-"), "{upper}");
}

#[test]
fn five_level_tables_are_walked_to_the_end_of_the_address_space() {
    let entries = [
        (0x1000, 0x2003),
        (0x1FF8, 0x2003),
        (0x2FF8, 0x3003),
        (0x3FF8, 0x4003),
        (0x4FF8, 0x5003),
        (0x5FF8, 0x9001),
    ];
    assert_eq!(
        text(&memory(&entries), &long(CR4_LA57), 0),
        "5-level paging, CR3 0x1000\n\
         0000fffffffff000-0000ffffffffffff -> 000000009000     4K 4K r-x--\n\
         fffffffffffff000-ffffffffffffffff -> 000000009000     4K 4K r-x--\n"
    );
}

#[test]
fn pae_tables_have_a_first_level_without_rights() {
    let entries = [(0x1008, 0x2001), (0x2000, 0x20_0087), (0x2008, 0x3005), (0x3008, 0x9005)];
    assert_eq!(
        text(&memory(&entries), &registers(CR4_PAE, 0), 0),
        "PAE paging, without NX, CR3 0x1000\n\
         0000000040000000-00000000401fffff -> 000000200000     2M 2M rwxu-\n\
         0000000040201000-0000000040201fff -> 000000009000     4K 4K r-xu-\n"
    );
}

#[test]
fn tables_of_32_bits_have_large_pages_only_with_pse() {
    // Entry 1 a table with the last page of it, entry 2 a page of 4 MiB above 4 GiB.
    let entries = [(0x1000, 0x2003 << 32), (0x1008, 0x0040_2083), (0x2FF8, 0x9103 << 32)];
    let page = "00000000007ff000-00000000007fffff -> 000000009000     4K 4K rwx-g\n";
    assert_eq!(
        text(&memory(&entries), &registers(CR4_PSE, 0), 0),
        format!(
            "32-bit paging with PSE, CR3 0x1000\n{page}\
             0000000000800000-0000000000bfffff -> 000100400000     4M 4M rwx--  not RAM\n"
        )
    );
    assert_eq!(
        text(&memory(&entries), &registers(0, 0), 0),
        format!("32-bit paging, CR3 0x1000\n{page}"),
        "without PSE the entry leads to a table outside of RAM"
    );
}

#[test]
fn without_paging_or_mappings_the_view_says_so() {
    let off = text(&memory(&[]), &Registers::default(), 0);
    assert_eq!(off, "paging is off: addresses are guest-physical ones\n");
    assert_eq!(text(&memory(&[]), &long(0), 0), "4-level paging, CR3 0x1000\nnothing is mapped\n");
}

#[test]
fn tables_that_contain_themselves_end_at_the_limit() {
    let memory = memory(&[]);
    (0..512).for_each(|entry| memory.write_u64(0x1000 + 8 * entry, 0x1003).unwrap());
    let maps = Maps::capture(&memory, &long(0), 0);
    assert_eq!(maps.ranges.len(), 4096);
    let text = maps.describe(&memory, &NoNames).to_string();
    assert!(
        text.ends_with("... and more, up to the limit of this view; `maps 0x1000000` goes on there\n"),
        "{text}"
    );
    // One range of all there is: the limit is that of the entries.
    (0..512).for_each(|entry| memory.write_u64(0x2000 + 8 * entry, 0x2003).unwrap());
    (0..512).for_each(|entry| memory.write_u64(0x1000 + 8 * entry, 0x2001).unwrap());
    assert!(Maps::capture(&memory, &long(0), 0).stopped_at.is_some());
}

/// A guest file with code at 0x1000 and a symbol everywhere else.
struct OneSection;

impl Names for OneSection {
    fn symbol_at(&self, address: u64) -> Option<Symbol> {
        Some(Symbol { name: "kernel".to_owned(), offset: address & 0xFFF })
    }

    fn sections(&self) -> Vec<FileSection> {
        let named = |name: &str, range| FileSection { name: name.to_owned(), range, executable: true };
        vec![named(".text", 0x1000..0x2100), named(".data", 0x2FFF..0x3000), named(".bss", 0x3000..0x3001)]
    }

    fn stacks(&self) -> Vec<NamedStack> {
        Vec::new()
    }
}

#[test]
fn ranges_are_named_by_sections_symbols_and_devices() {
    let memory = memory(&LONG);
    memory.write_u64(0x4020, 0xFEE0_0003).unwrap();
    let maps = Maps::capture(&memory, &long(0), 0);
    let what = |names: &dyn Names, at: usize| maps.describe(&memory, names).ranges[at].what.clone();
    assert_eq!(what(&OneSection, 0), ".text .data");
    assert_eq!(what(&OneSection, 1), ".bss");
    assert_eq!(what(&OneSection, 3), "kernel");
    assert_eq!(what(&NoNames, 2), "lapic");
}

fn diff(before: &[(u64, u64)], after: &[(u64, u64)]) -> String {
    let (registers, memory_before, memory_after) = (long(0), memory(before), memory(after));
    let maps = |memory| Maps::capture(memory, &registers, 0);
    MapsDiff::between(&maps(&memory_before), &maps(&memory_after), &memory_after, &NoNames).to_string()
}

#[test]
fn a_diff_shows_exactly_what_has_changed() {
    let tables = [(0x1000, 0x2003), (0x2000, 0x3003), (0x3000, 0x4003)];
    let pages: Vec<(u64, u64)> = (0..8).map(|page| (0x4000 + 8 * page, page << 12 | 3)).collect();
    let before = [&tables[..], &pages].concat();
    assert_eq!(diff(&before, &before), "nothing has changed\n");
    // One page is taken out of the middle, and a neighbour becomes read-only.
    let after = [&before[..], &[(0x4018, 0), (0x4020, 0x4001)]].concat();
    assert_eq!(
        diff(&before, &after),
        "- 0000000000003000-0000000000004fff -> 000000003000     8K 4K rwx--\n\
         + 0000000000004000-0000000000004fff -> 000000004000     4K 4K r-x--\n"
    );
    assert_eq!(
        diff(&after, &before),
        "+ 0000000000003000-0000000000004fff -> 000000003000     8K 4K rwx--\n\
         - 0000000000004000-0000000000004fff -> 000000004000     4K 4K r-x--\n"
    );
    // Page 0 alone, and everything.
    assert_eq!(
        diff(&before, &[&before[..], &[(0x4000, 0)]].concat()),
        "- 0000000000000000-0000000000000fff -> 000000000000     4K 4K rwx--\n"
    );
    let all = diff(&before, &[]);
    assert_eq!(all, "- 0000000000000000-0000000000007fff -> 000000000000    32K 4K rwx--\n");
}

#[test]
fn a_diff_names_other_tables_and_another_mode() {
    let memory = memory(&LONG);
    let before = Maps::capture(&memory, &Registers::default(), 0);
    let after = Maps::capture(&memory, &long(0), 0);
    let text = MapsDiff::between(&before, &after, &memory, &NoNames).to_string();
    let start = "- paging is off: addresses are guest-physical ones\n+ 4-level paging\n- CR3 0x0\n+ CR3 0x1000\n+ 0000000000001000-";
    assert!(text.starts_with(start), "{text}");
}

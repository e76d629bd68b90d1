//! Reads the table as the specification says (chapter 4, tables 4-1 to 4-11).

use super::*;

fn number(bytes: &[u8], at: usize, size: usize) -> u64 {
    bytes[at..at + size].iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte))
}

/// The entries of a table with a correct header.
fn entries(table: &[u8]) -> Vec<&[u8]> {
    assert_eq!(&table[..4], b"PCMP");
    assert_eq!((number(table, 4, 2), table[6]), (table.len() as u64, 4));
    assert_eq!(checksum(table), 0);
    assert!(table[8..28].is_ascii());
    assert_eq!(table[28..34], [0; 6], "no OEM table");
    assert_eq!(number(table, 36, 4), 0xFEE0_0000);
    assert_eq!(table[40..44], [0; 4], "no extended table");
    let (mut found, mut rest) = (Vec::new(), &table[HEADER_SIZE..]);
    while let [kind, ..] = *rest {
        let (entry, after) = rest.split_at(if kind == 0 { 20 } else { 8 });
        found.push(entry);
        rest = after;
    }
    assert_eq!(number(table, 34, 2), found.len() as u64);
    let kinds: Vec<u8> = found.iter().map(|entry| entry[0]).collect();
    assert!(kinds.is_sorted() && kinds.iter().all(|kind| *kind <= 4), "{kinds:?}");
    found
}

#[test]
fn the_pointer_leads_to_the_table() {
    let pointer = pointer(0xF_0800);
    assert_eq!(&pointer[..10], b"_MP_\x00\x08\x0F\x00\x01\x04");
    assert_eq!(checksum(&pointer), 0);
    assert_eq!(pointer[11..], [0; 5], "a table, and no IMCR");
}

#[test]
fn every_processor_has_an_entry_and_one_is_the_bootstrap_processor() {
    for cpus in [1, 2, 64] {
        let table = build(&Platform { cpus, ..Platform::default() });
        let processors: Vec<&[u8]> = entries(&table).into_iter().filter(|entry| entry[0] == 0).collect();
        assert_eq!(processors.len(), usize::from(cpus));
        for (entry, id) in processors.iter().zip(0..) {
            assert_eq!((entry[1], entry[2], entry[3]), (id, 0x14, if id == 0 { 3 } else { 1 }));
            assert_eq!(number(entry, 8, 4) >> 9 & 1, 1, "it has an APIC");
        }
    }
}

#[test]
fn buses_and_the_io_apic_are_there() {
    let table = build(&Platform::default());
    let entries = entries(&table);
    let of = |kind: u8| entries.iter().copied().filter(move |entry| entry[0] == kind).collect::<Vec<_>>();
    assert_eq!(of(1), [b"\x01\0PCI   ", b"\x01\x01ISA   "]);
    assert_eq!(of(2), [b"\x02\0\x20\x01\0\0\xC0\xFE"]);
    assert_eq!(of(4), [b"\x04\x03\0\0\x01\0\0\0", b"\x04\x01\0\0\x01\0\xFF\x01"], "ExtINT and NMI");
}

#[test]
fn isa_interrupts_are_at_their_pins() {
    let table = build(&Platform::default());
    let interrupts: Vec<_> =
        entries(&table).into_iter().filter(|entry| entry[0] == 3 && entry[4] == ISA_BUS).collect();
    assert_eq!(interrupts.len(), 15, "without the cascade");
    for entry in interrupts {
        let (line, pin) = (entry[5], entry[7]);
        assert_eq!((entry[1], entry[4], entry[6]), (0, ISA_BUS, 0));
        assert_eq!(pin, if line == 0 { 2 } else { line });
        let level = [5, 9, 10, 11].contains(&line);
        assert_eq!(number(entry, 2, 2), if level { 0xD } else { 0 }, "line {line}");
    }
}

#[test]
fn pci_interrupts_have_entries_where_they_are_routed() {
    let table = build(&Platform { pirq_lines: [Some(10), None, Some(11), None], ..Platform::default() });
    let routed: Vec<_> = entries(&table)
        .into_iter()
        .filter(|entry| entry[0] == 3 && entry[4] == PCI_BUS)
        .map(|entry| (entry[5] >> 2, entry[5] & 3, entry[7]))
        .collect();
    assert_eq!(routed.len(), 2 * PCI_SLOTS.count());
    assert_eq!(routed[..4], [(1, 0, 10), (1, 2, 11), (2, 1, 11), (2, 3, 10)]);
}

//! Follows the pointers from the RSDP as a guest does, and lets ACPICA read the tables where it is installed.

use std::process::Command;

use super::super::platform::SCI;
use super::*;
use crate::devices::{acpi_pm, ioapic, lapic};

const BASE: u32 = 0xF_0040;

/// The tables in a place where pointers can be followed.
struct Tables(AcpiTables);

impl Tables {
    fn of(platform: &Platform) -> Tables {
        Tables(build(BASE, platform))
    }

    /// The table at an address, with a correct checksum.
    fn at(&self, address: u64) -> &[u8] {
        let bytes = &self.0.bytes[address as usize - BASE as usize..];
        let length = number(bytes, 4, 4) as usize;
        let table = &bytes[..length];
        assert_eq!(checksum(table), 0, "checksum of {:?}", String::from_utf8_lossy(&table[..4]));
        table
    }

    /// The table of this signature, found through a root table whose pointers have this size.
    fn find(&self, root: u64, pointer_size: usize, signature: &str) -> Option<&[u8]> {
        let root = self.at(root);
        let mut tables = root[HEADER_SIZE..]
            .chunks_exact(pointer_size)
            .map(|pointer| self.at(number(pointer, 0, pointer_size)));
        tables.find(|table| &table[..4] == signature.as_bytes())
    }

    fn table(&self, signature: &str) -> &[u8] {
        self.find(u64::from(self.0.xsdt), 8, signature).expect(signature)
    }

    fn dsdt(&self) -> &[u8] {
        self.at(number(self.table("FACP"), 40, 4))
    }
}

fn number(bytes: &[u8], at: usize, size: usize) -> u64 {
    bytes[at..at + size].iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte))
}

#[test]
fn old_and_new_systems_find_the_same_tables() {
    let tables = Tables::of(&Platform::default());
    let rsdp = tables.0.rsdp();
    assert_eq!(&rsdp[..8], b"RSD PTR ");
    assert_eq!((checksum(&rsdp[..20]), checksum(&rsdp)), (0, 0));
    assert_eq!((rsdp[15], number(&rsdp, 20, 4)), (2, 36));
    let (rsdt, xsdt) = (number(&rsdp, 16, 4), number(&rsdp, 24, 8));
    assert_eq!((&tables.at(rsdt)[..4], &tables.at(xsdt)[..4]), (&b"RSDT"[..], &b"XSDT"[..]));
    for signature in ["FACP", "APIC", "HPET"] {
        assert!(tables.find(xsdt, 8, signature).is_some(), "{signature}");
        assert_eq!(tables.find(rsdt, 4, signature), tables.find(xsdt, 8, signature), "{signature}");
    }
}

#[test]
fn the_fadt_has_the_ports_of_the_devices_in_both_forms() {
    let tables = Tables::of(&Platform::default());
    let fadt = tables.table("FACP");
    assert_eq!((fadt.len(), fadt[8]), (244, 3));
    for (old, new, length, port) in [
        (56, 148, 88, acpi_pm::PM1_EVENT),
        (64, 172, 89, acpi_pm::PM1_CONTROL),
        (76, 208, 91, acpi_pm::PM_TIMER),
        (80, 220, 92, acpi_pm::GPE0),
    ] {
        assert_eq!(number(fadt, old, 4), u64::from(port));
        assert_eq!((fadt[new], fadt[new + 1]), (PORT_SPACE, 8 * fadt[length]));
        assert_eq!(number(fadt, new + 4, 8), u64::from(port));
    }
    assert_eq!(number(fadt, 46, 2), u64::from(SCI));
    assert_eq!(number(fadt, 48, 4), 0, "no SMI command port");
    assert_eq!(fadt[116..129], [1, 8, 0, 1, 0xF9, 0x0C, 0, 0, 0, 0, 0, 0, 6], "reset register");
    assert_eq!(number(fadt, 112, 4) >> 10 & 1, 1, "the reset register exists");
    assert_eq!(number(fadt, 112, 4) >> 8 & 1, 0, "the timer has 24 bits");
    let facs = number(fadt, 36, 4);
    assert_eq!((facs % 64, number(fadt, 132, 8), number(fadt, 140, 8)), (0, facs, number(fadt, 40, 4)));
    assert_eq!(&tables.0.bytes[facs as usize - BASE as usize..][..8], b"FACS\x40\0\0\0");
    assert_eq!(&tables.dsdt()[..4], b"DSDT");
}

#[test]
fn the_madt_has_every_processor_and_what_differs_from_isa() {
    for cpus in [1, 64] {
        let tables = Tables::of(&Platform { cpus, ..Platform::default() });
        let madt = tables.table("APIC");
        assert_eq!((number(madt, 36, 4), number(madt, 40, 4)), (lapic::BASE, 1));
        let (mut found, mut overrides, mut rest) = (Vec::new(), Vec::new(), &madt[44..]);
        while let [kind, length, ..] = *rest {
            let (entry, after) = rest.split_at(length.into());
            match kind {
                0 => {
                    assert_eq!((entry[2], number(entry, 4, 4)), (entry[3], 1));
                    found.push(entry[3]);
                }
                1 => {
                    assert_eq!((entry[2], number(entry, 4, 4), number(entry, 8, 4)), (0, ioapic::BASE, 0));
                }
                2 => overrides.push((entry[3], number(entry, 4, 4), number(entry, 8, 2))),
                4 => assert_eq!(entry, [4, 6, 0xFF, 0, 0, 1], "NMI"),
                _ => panic!("an entry of type {kind}"),
            }
            rest = after;
        }
        assert_eq!(found, (0..cpus).collect::<Vec<u8>>());
        assert_eq!(overrides, [(0, 2, 0), (5, 5, 0xD), (9, 9, 0xD), (10, 10, 0xD), (11, 11, 0xD)]);
    }
}

#[test]
fn the_hpet_table_has_the_address_of_the_registers() {
    let tables = Tables::of(&Platform::default());
    let table = tables.table("HPET");
    assert_eq!((table.len(), number(table, 36, 4)), (56, 0x8086_A201));
    assert_eq!((table[40], number(table, 44, 8)), (MEMORY_SPACE, hpet::BASE));
}

/// The value that a teaching kernel finds for `SLP_TYPa`: it searches the DSDT for the name.
#[test]
fn a_search_of_the_dsdt_finds_the_sleep_type() {
    let tables = Tables::of(&Platform::default());
    let dsdt = tables.dsdt();
    let at = dsdt.windows(4).position(|name| name == b"_S5_").unwrap();
    assert_eq!((dsdt[at - 1], dsdt[at + 4]), (0x08, 0x12), "the name of a package");
    let length_bytes = usize::from(dsdt[at + 5] >> 6) + 1;
    assert_eq!(dsdt[at + 5 + length_bytes..][..5], [4, 0, 0, 0, 0]);
}

#[test]
fn acpica_reads_the_tables() {
    if Command::new("iasl").arg("-v").output().is_err() {
        eprintln!("skipped: iasl is not installed");
        return;
    }
    let folder = std::env::temp_dir().join(format!("kvm-acpi-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let iasl = |arguments: &[&str]| {
        let output = Command::new("iasl").args(arguments).current_dir(&folder).output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text).into_owned();
        assert!(output.status.success(), "iasl {arguments:?}: {text}");
        text
    };
    let tables = Tables::of(&Platform { cpus: 3, ..Platform::default() });
    let read = |name: &str, table: &[u8]| {
        std::fs::write(folder.join(format!("{name}.aml")), table).unwrap();
        let text = iasl(&["-d", &format!("{name}.aml")]);
        assert!(!text.contains("Error") && !text.contains("Warning"), "{name}: {text}");
        let source = std::fs::read_to_string(folder.join(format!("{name}.dsl"))).unwrap();
        for complaint in ["Invalid", "Unknown", "Incorrect checksum", "Warning"] {
            assert!(!source.contains(complaint), "{name}: {complaint}: {source}");
        }
        source
    };
    for (name, expected) in [
        ("FACP", "PM Timer Block Address : 00000608"),
        ("APIC", "Local Apic ID : 02"),
        ("HPET", "Address : 00000000FED00000"),
    ] {
        let source = read(name, tables.table(name));
        assert!(source.contains(expected), "{source}");
    }
    let source = read("DSDT", tables.dsdt());
    for expected in ["Name (_S5", "Device (PCI0)", "OperationRegion (PIRQ, PCI_Config, 0x60, 0x04)", "LNKD"] {
        assert!(source.contains(expected), "{expected}: {source}");
    }
    // What it has read is a program without mistakes; without optimizations, it compiles to the same bytes.
    let text = iasl(&["-oa", "-p", "again", "DSDT.dsl"]);
    assert!(text.contains("0 Errors, 0 Warnings"), "{text}");
    let again = std::fs::read(folder.join("again.aml")).unwrap();
    assert!(again[HEADER_SIZE..] == tables.dsdt()[HEADER_SIZE..], "the same program");
    std::fs::remove_dir_all(&folder).unwrap();
}

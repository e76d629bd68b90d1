//! The MP configuration table (Intel MultiProcessor Specification 1.4, chapter 4), for guests without ACPI.

use super::acpi::checksum;
use super::platform::{self, PCI_SLOTS, Platform};
use crate::devices::pci::isa_bridge::{self, Pirq};
use crate::devices::{ioapic, lapic};

/// Size of the floating pointer structure.
pub(super) const POINTER_SIZE: usize = 16;
/// Size of the header of the configuration table.
const HEADER_SIZE: usize = 44;
/// Version 1.4 of the specification.
const SPECIFICATION: u8 = 4;

/// Types of entries.
const PROCESSOR: u8 = 0;
const BUS: u8 = 1;
const IO_APIC: u8 = 2;
const IO_INTERRUPT: u8 = 3;
const LOCAL_INTERRUPT: u8 = 4;

/// Types of interrupts.
const VECTORED: u8 = 0;
const NMI: u8 = 1;
const EXTERNAL: u8 = 3;

/// Polarity and trigger mode: as the bus has it, and active high with level.
const CONFORMING: u16 = 0;
const LEVEL_HIGH: u16 = 0b1101;

const PCI_BUS: u8 = 0;
const ISA_BUS: u8 = 1;

const USABLE: u8 = 1 << 0;
const BOOTSTRAP: u8 = 1 << 1;
/// Signature of a processor of family 6. CPUID has the real one.
const SIGNATURE: u32 = 0x600;
/// Features, as in EDX of CPUID leaf 1: FPU, CMPXCHG8B, APIC.
const FEATURES: u32 = 1 << 0 | 1 << 8 | 1 << 9;
const LOCAL_APIC_VERSION: u8 = lapic::CHIP_VERSION;
const IO_APIC_VERSION: u8 = ioapic::CHIP_VERSION;
const IO_APIC_ID: u8 = 0;
/// All local APICs.
const ALL: u8 = 0xFF;

/// The floating pointer structure that leads to the table at `address`. There is no IMCR: the machine starts in
/// virtual wire mode.
pub(super) fn pointer(address: u32) -> [u8; POINTER_SIZE] {
    let mut pointer = [0; POINTER_SIZE];
    pointer[..4].copy_from_slice(b"_MP_");
    pointer[4..8].copy_from_slice(&address.to_le_bytes());
    pointer[8] = (POINTER_SIZE / 16) as u8;
    pointer[9] = SPECIFICATION;
    pointer[10] = checksum(&pointer);
    pointer
}

/// The configuration table.
pub(super) fn build(platform: &Platform) -> Vec<u8> {
    let mut table = Table { bytes: vec![0; HEADER_SIZE], entries: 0 };
    for cpu in 0..platform.cpus {
        let flags = if cpu == 0 { USABLE | BOOTSTRAP } else { USABLE };
        let entry = [PROCESSOR, cpu, LOCAL_APIC_VERSION, flags];
        table.push(&[&entry, &SIGNATURE.to_le_bytes()[..], &FEATURES.to_le_bytes(), &[0; 8]]);
    }
    table.push(&[&[BUS, PCI_BUS], b"PCI   "]);
    table.push(&[&[BUS, ISA_BUS], b"ISA   "]);
    let address = (ioapic::BASE as u32).to_le_bytes();
    table.push(&[&[IO_APIC, IO_APIC_ID, IO_APIC_VERSION, USABLE], &address]);
    for slot in PCI_SLOTS {
        for pin in 0..isa_bridge::PINS {
            let Some(line) = platform.pirq_lines[usize::from(Pirq::of(slot, pin).number())] else { continue };
            let Some(to) = ioapic::pin_of_isa_line(line) else { continue };
            let source = Source { bus: PCI_BUS, line: slot << 2 | pin };
            table.interrupt(IO_INTERRUPT, VECTORED, LEVEL_HIGH, source, (IO_APIC_ID, to));
        }
    }
    for (line, pin) in platform::isa_pins() {
        let flags = if platform::is_level(line) { LEVEL_HIGH } else { CONFORMING };
        table.interrupt(IO_INTERRUPT, VECTORED, flags, Source { bus: ISA_BUS, line }, (IO_APIC_ID, pin));
    }
    let first = Source { bus: ISA_BUS, line: 0 };
    table.interrupt(LOCAL_INTERRUPT, EXTERNAL, CONFORMING, first, (0, 0));
    table.interrupt(LOCAL_INTERRUPT, NMI, CONFORMING, first, (ALL, 1));
    table.finish()
}

/// Where an interrupt comes from.
#[derive(Clone, Copy)]
struct Source {
    bus: u8,
    line: u8,
}

/// A table in the making.
struct Table {
    bytes: Vec<u8>,
    entries: u16,
}

impl Table {
    fn push(&mut self, parts: &[&[u8]]) {
        parts.iter().for_each(|part| self.bytes.extend(*part));
        self.entries += 1;
    }

    /// An assignment of an interrupt to an input of an APIC.
    fn interrupt(&mut self, entry: u8, kind: u8, flags: u16, source: Source, to: (u8, u8)) {
        let (apic, input) = to;
        self.push(&[&[entry, kind], &flags.to_le_bytes(), &[source.bus, source.line, apic, input]]);
    }

    fn finish(mut self) -> Vec<u8> {
        let length = self.bytes.len() as u16;
        let header = &mut self.bytes[..HEADER_SIZE];
        header[..4].copy_from_slice(b"PCMP");
        header[4..6].copy_from_slice(&length.to_le_bytes());
        header[6] = SPECIFICATION;
        header[8..16].copy_from_slice(b"KVM     ");
        header[16..28].copy_from_slice(b"PC          ");
        header[34..36].copy_from_slice(&self.entries.to_le_bytes());
        header[36..40].copy_from_slice(&(lapic::BASE as u32).to_le_bytes());
        self.bytes[7] = checksum(&self.bytes);
        self.bytes
    }
}

#[cfg(test)]
#[path = "mp_table_test.rs"]
mod tests;

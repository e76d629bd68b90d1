//! The platform as the ACPI and MP tables describe it: processors and the wiring of interrupts.

use crate::devices::pci::{firmware, isa_bridge};
use crate::devices::{acpi_pm, ioapic};

/// Number of ISA interrupt lines.
const ISA_LINES: u8 = 16;

/// The interrupt of the power management registers (SCI): an ISA line.
pub(super) const SCI: u8 = 9;
/// ISA lines to which PCI interrupts are usually routed.
pub(super) const PCI_LINES: [u8; 3] = [5, 10, 11];
/// Slots of the PCI bus whose interrupt pins the tables have: those that can have a card.
pub(super) const PCI_SLOTS: std::ops::RangeInclusive<u8> = 1..=15;
/// The reset control register, and the value that resets the machine.
pub(super) const RESET_VALUE: u8 = 6;
/// Length of general-purpose event block 0 in bytes.
pub(super) const GPE0_LENGTH: u8 = 4;
/// Length of PM1 status and enable together in bytes.
pub(super) const PM1_EVENT_LENGTH: u8 = (acpi_pm::PM1_CONTROL - acpi_pm::PM1_EVENT) as u8;

/// The parts of the machine that differ between machines and that the tables name. The rest is fixed: an I/O APIC
/// with ID 0 whose pins begin at interrupt 0, and local APIC IDs that are the processors' numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Platform {
    /// Number of processors, from 1 to [`lapic::MOST_CPUS`](crate::devices::lapic::MOST_CPUS).
    pub cpus: u8,
    /// The ISA lines to which PIRQA# to PIRQD# are routed when the guest starts. The MP table names the interrupts
    /// of those that are; an ACPI guest routes them itself.
    pub pirq_lines: [Option<u8>; isa_bridge::PINS as usize],
}

impl Default for Platform {
    /// One processor; PCI interrupts are routed as the machine routes them.
    fn default() -> Platform {
        Platform { cpus: 1, pirq_lines: firmware::PIRQ_LINES.map(Some) }
    }
}

/// True if an ISA line requests interrupts by a level.
pub(super) fn is_level(line: u8) -> bool {
    line == SCI || PCI_LINES.contains(&line)
}

/// The ISA lines that are connected to the I/O APIC, each with its pin.
pub(super) fn isa_pins() -> impl Iterator<Item = (u8, u8)> {
    (0..ISA_LINES).filter_map(|line| Some((line, ioapic::pin_of_isa_line(line)?)))
}

//! The MADT (ACPI specification 6.5, 5.2.12): local APICs, I/O APIC, and what differs from ISA's interrupts.

use super::super::platform::{self, Platform};
use crate::devices::{ioapic, lapic};

/// The machine also has two 8259A.
const HAS_8259: u32 = 1 << 0;
/// Local APIC flags: the processor can be used.
const ENABLED: u32 = 1 << 0;
/// Interrupt flags: active high, level-triggered.
const LEVEL_HIGH: u16 = 0b1101;
/// Interrupt flags: as the bus has it.
const CONFORMING: u16 = 0;
/// All processors.
const ALL: u8 = 0xFF;
/// Input of the local APIC that NMI is connected to.
const NMI_INPUT: u8 = 1;

pub(super) fn build(platform: &Platform) -> Vec<u8> {
    let mut body = Vec::with_capacity(64 + 8 * usize::from(platform.cpus));
    body.extend((lapic::BASE as u32).to_le_bytes());
    body.extend(HAS_8259.to_le_bytes());
    for cpu in 0..platform.cpus {
        body.extend([0, 8, cpu, cpu]);
        body.extend(ENABLED.to_le_bytes());
    }
    body.extend([1, 12, 0, 0]);
    body.extend((ioapic::BASE as u32).to_le_bytes());
    body.extend(0u32.to_le_bytes()); // first interrupt
    for (line, pin) in platform::isa_pins() {
        let level = platform::is_level(line);
        if pin != line || level {
            body.extend([2, 10, 0, line]);
            body.extend(u32::from(pin).to_le_bytes());
            body.extend(if level { LEVEL_HIGH } else { CONFORMING }.to_le_bytes());
        }
    }
    body.extend([4, 6, ALL, 0, 0, NMI_INPUT]);
    super::table(b"APIC", 3, &body)
}

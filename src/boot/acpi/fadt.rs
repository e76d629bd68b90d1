//! The FADT (ACPI specification 6.5, 5.2.9) in the version of ACPI 2.0: power management ports, reset register.

use super::super::platform::{self, GPE0_LENGTH, PM1_EVENT_LENGTH, RESET_VALUE};
use super::{PORT_SPACE, generic_address};
use crate::devices::{acpi_pm, reset, rtc};

/// Length of the body after the header of the table.
const BODY_SIZE: usize = 244 - super::HEADER_SIZE;

/// `wbinvd` works; C1 (`hlt`) works; there is no sleep button; waking by the RTC is not reported; there is a reset
/// register. The power button is one of the fixed registers; the PM timer has 24 bits.
const FLAGS: u32 = 1 << 0 | 1 << 2 | 1 << 5 | 1 << 6 | 1 << 10;
/// There are ISA devices, and a keyboard controller.
const BOOT_ARCHITECTURE: u16 = 1 << 0 | 1 << 1;
/// Latencies that say that C2 and C3 do not exist.
const NO_C2: u16 = 0xFFF;
const NO_C3: u16 = 0xFFF;
/// Length of PM1 control and of the PM timer in bytes.
const PM1_CONTROL_LENGTH: u8 = 2;
const PM_TIMER_LENGTH: u8 = 4;

/// Number of bytes of fields before a field of the whole table.
const fn at(offset: usize) -> usize {
    offset - super::HEADER_SIZE
}

pub(super) fn build(facs: u32, dsdt: u32) -> Vec<u8> {
    let mut body = [0; BODY_SIZE];
    let mut put = |offset: usize, value: &[u8]| {
        body[at(offset)..at(offset) + value.len()].copy_from_slice(value);
    };
    let port = |number: u16| u32::from(number).to_le_bytes();
    put(36, &facs.to_le_bytes());
    put(40, &dsdt.to_le_bytes());
    put(46, &u16::from(platform::SCI).to_le_bytes());
    // SMI_CMD, ACPI_ENABLE and ACPI_DISABLE are 0: the machine is always in ACPI mode.
    put(56, &port(acpi_pm::PM1_EVENT));
    put(64, &port(acpi_pm::PM1_CONTROL));
    put(76, &port(acpi_pm::PM_TIMER));
    put(80, &port(acpi_pm::GPE0));
    put(88, &[PM1_EVENT_LENGTH, PM1_CONTROL_LENGTH, 0, PM_TIMER_LENGTH, GPE0_LENGTH]);
    put(96, &NO_C2.to_le_bytes());
    put(98, &NO_C3.to_le_bytes());
    put(108, &[rtc::CENTURY]);
    put(109, &BOOT_ARCHITECTURE.to_le_bytes());
    put(112, &FLAGS.to_le_bytes());
    put(116, &generic_address(PORT_SPACE, 8, 1, u64::from(reset::RESET_CONTROL)));
    put(128, &[RESET_VALUE]);
    put(132, &u64::from(facs).to_le_bytes());
    put(140, &u64::from(dsdt).to_le_bytes());
    for (offset, length, access, number) in [
        (148, PM1_EVENT_LENGTH, 2, acpi_pm::PM1_EVENT),
        (172, PM1_CONTROL_LENGTH, 2, acpi_pm::PM1_CONTROL),
        (208, PM_TIMER_LENGTH, 3, acpi_pm::PM_TIMER),
        (220, GPE0_LENGTH, 1, acpi_pm::GPE0),
    ] {
        put(offset, &generic_address(PORT_SPACE, 8 * length, access, u64::from(number)));
    }
    super::table(b"FACP", 3, &body)
}

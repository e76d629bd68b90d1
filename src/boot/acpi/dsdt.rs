//! The DSDT: how to power off, the PCI bus with the routing of its interrupts, ISA devices.
//!
//! It depends on nothing, so the program contains its bytes, `dsdt.aml`. This is how they come about; after a change,
//! `KVM_BLESS=1 cargo test --lib dsdt` renews them.
//!
//! In ACPI's own language it reads:
//!
//! ```text
//! Name (_S5, Package () { 0, 0, 0, 0 })
//! Scope (\_SB) {
//!     Device (PCI0) {
//!         ... _HID, _CRS, and _PRT: each pin of each slot is at one of the links below
//!         Device (ISA) {
//!             OperationRegion (PIRQ, PCI_Config, 0x60, 4)
//!             ... RTC, keyboard, mouse, serial ports
//!         }
//!     }
//!     Field (PCI0.ISA.PIRQ, ByteAcc) { PRQA, 8, PRQB, 8, PRQC, 8, PRQD, 8 }
//!     Device (LNKA) {            // and B, C, D
//!         _PRS: 5, 10 or 11
//!         _STA, _DIS, _CRS, _SRS: by PRQA
//!     }
//!     Device (HPET) { ... }
//! }
//! ```

use super::super::platform::{PCI_LINES, PCI_SLOTS};
use super::aml::{self, RangeKind, Term};
use crate::devices::pci::PciAddress;
use crate::devices::pci::isa_bridge::{PINS, Pirq, ROUTE_CONTROL};
use crate::devices::{hpet, ioapic};
use crate::memory::LOW_RAM_LIMIT;

/// The interrupt links of the ISA bridge, and the fields with their route control registers.
const LINKS: [(&str, &str); PINS as usize] =
    [("LNKA", "PRQA"), ("LNKB", "PRQB"), ("LNKC", "PRQC"), ("LNKD", "PRQD")];

/// Route control: the interrupt is not routed.
const NOT_ROUTED: u8 = 0x80;
/// Route control: the ISA interrupt line.
const LINE: u32 = 0x0F;
/// `_STA`: present, and shown to the user; with or without `ENABLED`.
const PRESENT: u8 = 0b1001;
const ENABLED: u8 = 0b0010;

fn build() -> Vec<u8> {
    let mut system_bus = vec![pci_bus(), aml::byte_fields("PCI0.ISA_.PIRQ", &LINKS.map(|(_, field)| field))];
    system_bus.extend((1..).zip(LINKS).map(|(number, (name, field))| link(number, name, field)));
    let registers = aml::fixed_memory(hpet::BASE as u32, hpet::LENGTH as u32);
    system_bus.push(isa_device("HPET", "PNP0103", 0, &[registers]));
    // Every sleep type powers the machine off; 0 is what the guest has to write.
    let power_off = aml::name("_S5_", &aml::package(&[0, 0, 0, 0].map(aml::integer)));
    super::table(b"DSDT", 1, &[power_off, aml::scope("\\_SB_", &system_bus)].concat())
}

fn pci_bus() -> Term {
    let ranges = [
        aml::word_range(RangeKind::BusNumbers, 0, 0xFF),
        aml::ports(0xCF8, 8),
        aml::word_range(RangeKind::Ports, 0, 0xCF7),
        aml::word_range(RangeKind::Ports, 0xD00, 0xFFFF),
        aml::dword_range(RangeKind::Memory, 0xA_0000, 0xB_FFFF),
        aml::dword_range(RangeKind::Memory, LOW_RAM_LIMIT as u32, ioapic::BASE as u32 - 1),
    ];
    let routes: Vec<Term> = PCI_SLOTS.flat_map(|slot| (0..PINS).map(move |pin| route(slot, pin))).collect();
    aml::device(
        "PCI0",
        &[
            aml::name("_HID", &aml::eisa_id("PNP0A03")),
            aml::name("_UID", &aml::integer(0)),
            aml::name("_CRS", &aml::resources(&ranges)),
            aml::name("_PRT", &aml::package(&routes)),
            isa_bridge(),
        ],
    )
}

/// The entry of the routing table for an interrupt pin (0 is INTA#) of any function of a slot.
fn route(slot: u8, pin: u8) -> Term {
    const ANY_FUNCTION: u32 = 0xFFFF;
    let (link, _) = LINKS[usize::from(Pirq::of(slot, pin).number())];
    let address = u32::from(slot) << 16 | ANY_FUNCTION;
    aml::package(&[aml::integer(address), aml::integer(pin.into()), aml::path(link), aml::integer(0)])
}

fn isa_bridge() -> Term {
    let serial = |name, number, port, line| {
        isa_device(name, "PNP0501", number, &[aml::ports(port, 8), aml::line(line)])
    };
    aml::device(
        "ISA_",
        &[
            aml::name("_ADR", &aml::integer(u32::from(PciAddress::ISA_BRIDGE.device) << 16)),
            aml::configuration_region("PIRQ", ROUTE_CONTROL, PINS),
            isa_device("RTC_", "PNP0B00", 0, &[aml::ports(0x70, 2), aml::line(8)]),
            isa_device("KBD_", "PNP0303", 0, &[aml::ports(0x60, 1), aml::ports(0x64, 1), aml::line(1)]),
            isa_device("MOU_", "PNP0F13", 0, &[aml::line(12)]),
            serial("COM1", 1, 0x3F8, 4),
            serial("COM2", 2, 0x2F8, 3),
            serial("COM3", 3, 0x3E8, 4),
            serial("COM4", 4, 0x2E8, 3),
        ],
    )
}

/// A device with fixed resources.
fn isa_device(name: &str, identifier: &str, number: u32, descriptors: &[Term]) -> Term {
    aml::device(
        name,
        &[
            aml::name("_HID", &aml::eisa_id(identifier)),
            aml::name("_UID", &aml::integer(number)),
            aml::name("_CRS", &aml::resources(descriptors)),
        ],
    )
}

/// An interrupt link; `field` is its route control register.
fn link(number: u32, name: &str, field: &str) -> Term {
    let register = aml::path(field);
    let is_off = aml::and(&register, &aml::integer(NOT_ROUTED.into()), aml::NOWHERE);
    let status = |bits: u8| aml::return_value(&aml::integer(bits.into()));
    let buffer = aml::path("BUF_");
    let interrupt = aml::path("INT_");
    let number_in = |buffer: &[u8]| aml::dword_field(buffer, aml::INTERRUPT_OFFSET, "INT_");
    aml::device(
        name,
        &[
            aml::name("_HID", &aml::eisa_id("PNP0C0F")),
            aml::name("_UID", &aml::integer(number)),
            aml::name("_PRS", &aml::resources(&[aml::shared_interrupts(&PCI_LINES)])),
            aml::method("_STA", 0, &[aml::if_true(&is_off, &[status(PRESENT)]), status(PRESENT | ENABLED)]),
            aml::method("_DIS", 0, &[aml::set_bits(&register, NOT_ROUTED)]),
            aml::method(
                "_CRS",
                0,
                &[
                    aml::name("BUF_", &aml::resources(&[aml::shared_interrupts(&[0])])),
                    number_in(&buffer),
                    aml::and(&register, &aml::integer(LINE), &interrupt),
                    aml::return_value(&buffer),
                ],
            ),
            aml::method("_SRS", 1, &[number_in(aml::ARGUMENT_0), aml::store(&interrupt, &register)]),
        ],
    )
}

#[test]
fn the_bytes_of_the_dsdt_are_those_that_are_encoded() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/boot/acpi/dsdt.aml");
    let bytes = build();
    if std::env::var_os("KVM_BLESS").is_some() {
        std::fs::write(path, &bytes).unwrap();
    }
    assert!(std::fs::read(path).unwrap() == bytes, "renew {path} with KVM_BLESS=1 cargo test --lib dsdt");
}

//! The PCI bus, in the form of QEMU's `info pci`.

use super::super::error::CommandError;
use crate::devices::pci::bar::{BarKind, BarMapping};
use crate::devices::pci::{PciAddress, PciBus};
use crate::supervisor::stopped_machine::StoppedMachine;

/// The functions on the bus with their base addresses and interrupts.
pub(in crate::control) fn functions(guest: &mut dyn StoppedMachine, _: &str) -> Result<String, CommandError> {
    Ok(describe(guest.board().pci()))
}

fn describe(bus: &PciBus) -> String {
    let mut text = String::new();
    for (at, function) in bus.functions() {
        let space = function.space();
        let ((vendor, device), class) = (space.vendor_and_device(), space.class());
        text.push_str(&format!("  Bus  0, device {:3}, function {}:\n", at.device, at.function));
        text.push_str(&format!("    {}: PCI device {vendor:04x}:{device:04x}\n", class_name(class)));
        for mapping in space.mappings() {
            text.push_str(&format!("      BAR{}: {}.\n", mapping.index, place(mapping)));
        }
        if let Some((pin, line)) = space.interrupt() {
            let name = char::from(b'A' + pin.saturating_sub(1).min(3));
            let routed = line_or_none(bus.route(at, pin));
            text.push_str(&format!("      Interrupt line register {line}, pin {name}, {routed}\n"));
        }
        if at == PciAddress::ISA_BRIDGE {
            // INTA# to INTD# of this slot are at PIRQA# to PIRQD#.
            for (name, pin) in ('A'..='D').zip(1..) {
                text.push_str(&format!("      PIRQ{name}: {}\n", line_or_none(bus.route(at, pin))));
            }
        }
    }
    text
}

fn line_or_none(line: Option<u8>) -> String {
    line.map_or("not routed".to_owned(), |line| format!("IRQ {line}"))
}

/// The name of a class and subclass (PCI Local Bus Specification 3.0, appendix D), else their number.
fn class_name(class: u32) -> String {
    match class >> 8 {
        0x0100 => "SCSI controller".to_owned(),
        0x0101 => "IDE controller".to_owned(),
        0x0180 => "Storage controller".to_owned(),
        0x0200 => "Ethernet controller".to_owned(),
        0x0600 => "Host bridge".to_owned(),
        0x0601 => "ISA bridge".to_owned(),
        0x0680 => "Bridge".to_owned(),
        other => format!("Class {other:04x}"),
    }
}

fn place(mapping: BarMapping) -> String {
    let (what, size) = (mapping.kind, mapping.kind.size());
    let unit = match what {
        BarKind::Io { .. } => "I/O",
        BarKind::Memory { prefetchable: true, .. } => "32 bit prefetchable memory",
        BarKind::Memory { prefetchable: false, .. } => "32 bit memory",
    };
    let enabled = if mapping.enabled { "" } else { ", disabled by the command register" };
    match mapping.base {
        Some(base) => {
            let last = base.saturating_add(size - 1);
            let digits = if matches!(what, BarKind::Io { .. }) { 4 } else { 8 };
            format!("{unit} at 0x{base:0digits$x} [0x{last:0digits$x}]{enabled}")
        }
        None => format!("{unit}, {size:#x} long, has no address"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::devices::Device;

    fn write(bus: &mut PciBus, address: u32, value: u32) {
        assert!(bus.write_wide(0, 4, 0x8000_0000 | address).is_some());
        assert!(bus.write_wide(4, 4, value).is_some());
    }

    #[test]
    fn a_virtio_disk_is_shown_with_its_interrupt() {
        let mut bus = PciBus::default();
        bus.add_virtio_disk(0);
        bus.set_up();
        assert!(describe(&bus).ends_with(
            "  Bus  0, device   3, function 0:\n    SCSI controller: PCI device 1af4:1001\n\
             \x20     BAR0: I/O at 0xc080 [0xc0ff].\n      BAR1: 32 bit memory at 0xfea00000 [0xfea03fff].\n\
             \x20     Interrupt line register 11, pin A, IRQ 11\n"
        ));
    }

    #[test]
    fn functions_base_addresses_and_routes_are_shown() {
        let mut bus = PciBus::default();
        write(&mut bus, 0x0860, 0x8080_0B80);
        assert_eq!(
            describe(&bus),
            "  Bus  0, device   0, function 0:\n    Host bridge: PCI device 8086:1237\n\
             \x20 Bus  0, device   1, function 0:\n    ISA bridge: PCI device 8086:7000\n\
             \x20     PIRQA: not routed\n      PIRQB: IRQ 11\n      PIRQC: not routed\n      PIRQD: not routed\n\
             \x20 Bus  0, device   1, function 1:\n    IDE controller: PCI device 8086:7010\n\
             \x20     BAR4: I/O, 0x10 long, has no address.\n"
        );
        write(&mut bus, 0x0920, 0xC040);
        assert!(
            describe(&bus).ends_with("BAR4: I/O at 0xc040 [0xc04f], disabled by the command register.\n")
        );
        write(&mut bus, 0x0904, 0x0001);
        assert!(describe(&bus).ends_with("BAR4: I/O at 0xc040 [0xc04f].\n"));
    }
}

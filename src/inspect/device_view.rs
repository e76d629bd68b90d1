//! The devices of a machine: where each is, what its registers say in words, and its state as a tree.

use std::fmt;

use serde::Serialize;

use crate::devices::state_tree::StateTree;
use crate::devices::table::{Registration, Role};
use crate::devices::{BoardDevice, pci};
use crate::machine::board::Board;

/// Other names of devices.
const ALIASES: [(&str, &str); 13] = [
    ("com1", "serial0"),
    ("com2", "serial1"),
    ("com3", "serial2"),
    ("com4", "serial3"),
    ("uart", "serial0"),
    ("keyboard", "i8042"),
    ("mouse", "i8042"),
    ("ps2", "i8042"),
    ("8259a", "pic"),
    ("cmos", "rtc"),
    ("apic", "lapic"),
    ("acpi", "acpi-pm"),
    ("vbe", "bochs-vbe"),
];

/// One device.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DeviceView {
    /// `serial0`; without a number where there is only one of its kind.
    pub name: String,
    /// Its ports, memory and interrupts, in words.
    pub place: String,
    /// Its registers in words, a line each; empty if nothing is to be said.
    pub words: Vec<String>,
    /// Its saved state; `None` if it has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<StateTree>,
}

/// All devices of a machine, without their state trees.
pub fn devices(board: &Board) -> Vec<DeviceView> {
    board.devices().map(|(entry, device)| view(board, entry, device, false)).collect()
}

/// The device called `name`; `None` if there is none.
pub fn device(board: &Board, name: &str) -> Option<DeviceView> {
    let wanted: String = name.to_lowercase().split_whitespace().collect();
    let alias = ALIASES.iter().find(|(alias, _)| *alias == wanted).map(|(_, name)| *name);
    let wanted = alias.unwrap_or(&wanted);
    let mut devices = board.devices();
    let (entry, device) = devices
        .find(|(entry, _)| name_of(board, entry) == wanted || entry.number == 0 && entry.kind == wanted)?;
    Some(view(board, entry, device, true))
}

fn view(board: &Board, entry: &Registration, device: &dyn BoardDevice, with_state: bool) -> DeviceView {
    DeviceView {
        name: name_of(board, entry),
        place: place_of(entry),
        words: device.explain(),
        state: if with_state { device.state_tree() } else { None },
    }
}

fn name_of(board: &Board, entry: &Registration) -> String {
    let alike = board.devices().filter(|(other, _)| other.kind == entry.kind).count();
    if alike == 1 { entry.kind.to_owned() } else { format!("{}{}", entry.kind, entry.number) }
}

fn place_of(entry: &Registration) -> String {
    let mut parts = Vec::new();
    for ports in entry.ports {
        let (first, last) = (ports.start(), ports.end());
        parts.push(if first == last {
            format!("port {first:#x}")
        } else {
            format!("ports {first:#x}-{last:#x}")
        });
    }
    parts.extend(entry.mmio.as_ref().map(|range| format!("memory {:#x}-{:#x}", range.start, range.end - 1)));
    parts.extend(entry.interrupt.map(|line| format!("interrupt {line}")));
    parts.extend(entry.second_interrupt.map(|line| format!("interrupt {line}")));
    parts
        .extend(entry.pci.map(|pci::PciAddress { device, function }| format!("PCI {device:02x}.{function}")));
    match entry.role {
        Role::DebuggerPort | Role::VirtioDisk | Role::BiosPort | Role::Firmware | Role::Framebuffer => {
            parts.push("optional".to_owned());
        }
        _ => {}
    }
    parts.join(", ")
}

impl DeviceView {
    /// The device in a line: where it is, and the first thing that its registers say.
    pub fn summary(&self) -> String {
        match self.words.first() {
            Some(words) => format!("{:<16} {}: {words}", self.name, self.place),
            None => format!("{:<16} {}", self.name, self.place).trim_end().to_owned(),
        }
    }
}

impl fmt::Display for DeviceView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {}", self.name, self.place)?;
        self.words.iter().try_for_each(|line| writeln!(f, "  {line}"))?;
        match &self.state {
            Some(state) => write!(f, "state:\n{state}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_device_has_a_name_of_its_own_and_can_be_shown() {
        let board = Board::default();
        let all = devices(&board);
        for shown in &all {
            let found = device(&board, &shown.name).unwrap_or_else(|| panic!("{} is not found", shown.name));
            assert_eq!((&found.name, &found.words), (&shown.name, &shown.words));
            assert!(found.to_string().starts_with(&format!("{}: ", shown.name)));
        }
        let mut names: Vec<&str> = all.iter().map(|device| device.name.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all.len());
        assert_eq!(device(&board, "nothing"), None);
    }

    #[test]
    fn a_device_is_found_by_its_other_names() {
        let board = Board::default();
        for (name, found) in [
            ("COM2", "serial1"),
            ("serial 3", "serial3"),
            ("serial", "serial0"),
            ("keyboard", "i8042"),
            ("ide1", "ide1"),
        ] {
            assert_eq!(device(&board, name).unwrap().name, found, "{name}");
        }
    }

    #[test]
    fn registers_are_explained_in_words() {
        let mut board = Board::default();
        for (port, value) in
            [(0x3FB, 0x83), (0x3F8, 12), (0x3F9, 0), (0x3FB, 0x1A), (0x3FA, 0x81), (0x3F9, 5)]
        {
            let _ = board.port_out(port, 1, value);
        }
        for (port, value) in [(0x20, 0x11), (0x21, 0x20), (0x21, 4), (0x21, 1), (0x21, 0xFE)] {
            let _ = board.port_out(port, 1, value);
        }
        for (name, parts) in [
            (
                "com1",
                &[
                    "serial0: ports 0x3f8-0x3ff, interrupt 4\n  9600 baud (divisor 12), 7E1\n",
                    "FIFO on, trigger level 8, 0 characters received and not read\n",
                    "interrupts enabled: received data, line status; pending: none\n",
                    "modem control: OUT2 (interrupt connected)\nstate:\ndivisor: 0xc\n",
                ][..],
            ),
            (
                "pic",
                &[
                    "master: vectors from 0x20; masked 1, 2, 3, 4, 5, 6, 7;",
                    "slave: not initialised (no ICW1 yet)",
                ],
            ),
            (
                "vga",
                &[
                    "text, 80 columns, 25 rows of 16 scan lines, ports 0x3Dx\n",
                    "cursor at row 0, column 0, scan lines 13 to 14\n",
                    "CRTC 0x13 offset: 0x28\n",
                    "sequencer 0x01 clocking mode: 0x00\n",
                ],
            ),
            (
                "keyboard",
                &["configuration 0x64: system flag, mouse disabled, translation to set 1\n", "A20 open"],
            ),
            ("lapic", &["CPU 0: xAPIC, identification 0x0, enabled", "LINT0: vector 0x00, ExtINT (8259A)\n"]),
            ("ioapic", &["24 pins, 0 not masked"]),
            ("ide0", &["device 0 is selected, interrupts on", "device 1: none"]),
            ("virtio-disk0", &["no disk is connected"]),
            ("pit", &["counter 0: "]),
            ("rtc", &["enabled interrupts: none"]),
            ("hpet", &["counter 0x0, stopped"]),
            ("acpi-pm", &["PM timer event disabled"]),
        ] {
            let text = device(&board, name).unwrap().to_string();
            for part in parts {
                assert!(text.contains(part), "{part} is missing in\n{text}");
            }
        }
    }
}

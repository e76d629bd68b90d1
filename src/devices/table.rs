//! The one table of devices: ports, windows in memory, interrupt line and saved state of each.
//!
//! The board builds its devices from [`TABLE`]; decoding, saving, restoring, reset and the section names of
//! snapshot files follow from it. A new device is a file that implements [`Device`] and
//! [`Snapshot`], and an entry here.

use std::fmt::Debug;
use std::ops::{Range, RangeInclusive};

use super::acpi_pm::{self, AcpiPm};
use super::bios_port::{self, BiosPort};
use super::debug_console::{self, DebugConsole};
use super::debug_exit::{self, DebugExit};
use super::debugger_port::{self, DebuggerPort};
use super::dma::Dma;
use super::firmware_log::{self, FirmwareLog};
use super::fw_cfg::{self, FirmwareConfiguration};
use super::hpet::{self, Hpet};
use super::i8042::I8042;
use super::ide::bus_master::BusMaster;
use super::ide::{self, IdeChannel};
use super::ioapic::{self, IoApic};
use super::lapic::{self, LocalApics};
use super::pci::{self, PciAddress, PciBus};
use super::pic::DualPic;
use super::pit::Pit;
use super::post::{self, PostPort};
use super::reset::{self, ResetControl, SystemControlA};
use super::rtc::Rtc;
use super::serial::{self, SerialPort};
use super::test_port::{self, TestPort};
use super::unassigned::UnassignedAccesses;
use super::vbe::{self, BochsVbe};
use super::vga::{self, Vga};
use super::virtio_disk::VirtioDisk;
use super::{BoardDevice, Device, Snapshot};

/// What the machine does for a device besides passing accesses on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// Nothing.
    #[default]
    Plain,
    /// A serial port, counted from 0: it has an output queue and receives input.
    Serial(u8),
    /// The debug console: it has an output queue.
    DebugConsole,
    /// The keyboard controller: it receives key events and movements of the mouse.
    Keyboard,
    /// The display: its view is published after each write.
    Display,
    /// The PCI bus: writes to its address register may be coalesced.
    PciBus,
    /// The port at which the guest stops itself in a debugger. It is connected only if the user asks for it, and
    /// snapshot files have no section for it while it is in its state after power-on: files of earlier versions
    /// have none.
    DebuggerPort,
    /// The port at which the guest asks the test runner for a test.
    TestPort,
    /// An IDE channel, or the bus master of both.
    Ide,
    /// A disk with the virtio interface, if the user asks for it.
    VirtioDisk,
    /// The port at which the machine's own BIOS calls the supervisor, connected only if the guest was started by it.
    BiosPort,
    /// What only firmware uses, in a machine that has any.
    Firmware,
    /// The interface to modes with a linear framebuffer, if the machine has one.
    Framebuffer,
}

/// When a device has to know the time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Timing {
    /// Never.
    #[default]
    None,
    /// At its deadlines.
    Deadlines,
    /// At its deadlines and at each access: its registers show the time.
    Accesses,
}

/// One device of the machine.
#[derive(Clone, Debug)]
pub struct Registration {
    /// Kind of the device, and name of its sections in snapshot files.
    pub kind: &'static str,
    /// Number among the devices of its kind.
    pub number: u16,
    /// The port from which offsets count.
    pub base: u16,
    /// The ports.
    pub ports: &'static [RangeInclusive<u16>],
    /// Window in guest-physical memory.
    pub mmio: Option<Range<u64>>,
    /// ISA interrupt line, 0 to 15.
    pub interrupt: Option<u8>,
    /// Its second ISA interrupt line, of a device that has two.
    pub second_interrupt: Option<u8>,
    /// The PCI function that it is: its ports, its window in memory and its interrupt line are where the guest has put
    /// those of the function, and [`Self::mmio`] and [`Self::interrupt`] are not used; the display adapter has ports of its own, too. Offsets count
    /// from the first base address register of each kind.
    pub pci: Option<PciAddress>,
    /// When it is told the time.
    pub timing: Timing,
    /// What the machine does for it.
    pub role: Role,
    /// True if it has a section in snapshot files.
    pub has_state: bool,
    /// Snapshot files of earlier versions lack the section: the device then is in its state after power-on.
    pub may_be_missing: bool,
    /// Creates the device in its state after power-on.
    pub create: fn() -> Box<dyn BoardDevice>,
}

impl Registration {
    /// True if the user chooses whether the machine has the device.
    pub fn is_optional(&self) -> bool {
        matches!(
            self.role,
            Role::DebuggerPort
                | Role::TestPort
                | Role::VirtioDisk
                | Role::BiosPort
                | Role::Firmware
                | Role::Framebuffer
        )
    }

    /// The device `D`, number 0, attached to nothing.
    pub const fn of<D: Device + Snapshot + Default + Debug + Send + 'static>() -> Registration {
        Registration {
            kind: D::KIND,
            number: 0,
            base: 0,
            ports: &[],
            mmio: None,
            interrupt: None,
            second_interrupt: None,
            pci: None,
            timing: Timing::None,
            role: Role::Plain,
            has_state: D::HAS_STATE,
            may_be_missing: false,
            create: || Box::new(D::default()),
        }
    }
}

/// A serial port.
const fn serial(number: u8, ports: &'static [RangeInclusive<u16>], interrupt: u8) -> Registration {
    Registration {
        number: number as u16,
        base: serial::BASE_PORTS[number as usize],
        ports,
        interrupt: Some(interrupt),
        timing: Timing::Deadlines,
        role: Role::Serial(number),
        ..Registration::of::<SerialPort>()
    }
}

/// An IDE channel.
const fn ide(channel: u8, ports: &'static [RangeInclusive<u16>], interrupt: u8) -> Registration {
    Registration {
        number: channel as u16,
        base: ide::BASE_PORTS[channel as usize],
        ports,
        interrupt: Some(interrupt),
        role: Role::Ide,
        may_be_missing: true,
        ..Registration::of::<IdeChannel>()
    }
}

/// A disk with the virtio interface.
const fn virtio_disk(number: u8) -> Registration {
    Registration {
        number: number as u16,
        pci: Some(pci::virtio_disk::address(number as usize)),
        role: Role::VirtioDisk,
        ..Registration::of::<VirtioDisk>()
    }
}

/// All devices of the machine. The order is that of the sections in snapshot files.
pub const TABLE: &[Registration] = &[
    serial(0, &[0x3F8..=0x3FF], 4),
    serial(1, &[0x2F8..=0x2FF], 3),
    serial(2, &[0x3E8..=0x3EF], 4),
    serial(3, &[0x2E8..=0x2EF], 3),
    Registration {
        base: 0x60,
        ports: &[0x60..=0x60, 0x64..=0x64],
        interrupt: Some(1),
        second_interrupt: Some(12),
        role: Role::Keyboard,
        ..Registration::of::<I8042>()
    },
    Registration {
        base: vga::FIRST_PORT,
        ports: &[0x3B4..=0x3B5, 0x3BA..=0x3BA, 0x3C0..=0x3CF, 0x3D4..=0x3D5, 0x3DA..=0x3DA],
        role: Role::Display,
        ..Registration::of::<Vga>()
    },
    Registration { base: post::PORT, ports: &[post::PORT..=post::PORT], ..Registration::of::<PostPort>() },
    Registration {
        base: reset::RESET_CONTROL,
        ports: &[reset::RESET_CONTROL..=reset::RESET_CONTROL],
        ..Registration::of::<ResetControl>()
    },
    Registration {
        base: reset::SYSTEM_CONTROL_A,
        ports: &[reset::SYSTEM_CONTROL_A..=reset::SYSTEM_CONTROL_A],
        ..Registration::of::<SystemControlA>()
    },
    Registration {
        mmio: Some(lapic::BASE..lapic::BASE + lapic::LENGTH),
        timing: Timing::Accesses,
        ..Registration::of::<LocalApics>()
    },
    Registration {
        base: debug_exit::PORT,
        ports: &[debug_exit::PORT..=debug_exit::LAST_PORT],
        ..Registration::of::<DebugExit>()
    },
    Registration {
        base: debug_console::PORT,
        ports: &[debug_console::PORT..=debug_console::PORT],
        role: Role::DebugConsole,
        ..Registration::of::<DebugConsole>()
    },
    Registration {
        base: debugger_port::PORT,
        ports: &[debugger_port::PORT..=debugger_port::LAST_PORT],
        role: Role::DebuggerPort,
        ..Registration::of::<DebuggerPort>()
    },
    Registration {
        base: test_port::PORT,
        ports: &[test_port::PORT..=test_port::LAST_PORT],
        role: Role::TestPort,
        ..Registration::of::<TestPort>()
    },
    // Port 0xCF9 in their middle is the reset control register.
    Registration {
        base: pci::configuration::ADDRESS_PORT,
        ports: &[0xCF8..=0xCF8, 0xCFA..=0xCFF],
        role: Role::PciBus,
        may_be_missing: true,
        ..Registration::of::<PciBus>()
    },
    Registration { ports: &[0x00..=0x0F], ..Registration::of::<Dma>() },
    Registration {
        ports: &[0x20..=0x21, 0xA0..=0xA1, 0x4D0..=0x4D1],
        may_be_missing: true,
        ..Registration::of::<DualPic>()
    },
    Registration {
        ports: &[0x40..=0x43, 0x61..=0x61],
        interrupt: Some(0),
        timing: Timing::Accesses,
        may_be_missing: true,
        ..Registration::of::<Pit>()
    },
    Registration {
        base: 0x70,
        ports: &[0x70..=0x71],
        interrupt: Some(8),
        timing: Timing::Accesses,
        may_be_missing: true,
        ..Registration::of::<Rtc>()
    },
    Registration {
        mmio: Some(ioapic::BASE..ioapic::BASE + ioapic::LENGTH),
        may_be_missing: true,
        ..Registration::of::<IoApic>()
    },
    Registration {
        mmio: Some(hpet::BASE..hpet::BASE + hpet::LENGTH),
        timing: Timing::Accesses,
        may_be_missing: true,
        ..Registration::of::<Hpet>()
    },
    Registration {
        ports: &[
            acpi_pm::PM1_EVENT..=acpi_pm::LAST_PM_PORT,
            acpi_pm::GPE0..=acpi_pm::GPE0 + 3,
            acpi_pm::OLD_PM1_CONTROL..=acpi_pm::OLD_PM1_CONTROL + 1,
            acpi_pm::SHUTDOWN_PORT..=acpi_pm::SHUTDOWN_PORT,
        ],
        interrupt: Some(9),
        timing: Timing::Accesses,
        may_be_missing: true,
        ..Registration::of::<AcpiPm>()
    },
    ide(0, &[0x1F0..=0x1F7, 0x3F6..=0x3F6], 14),
    ide(1, &[0x170..=0x177, 0x376..=0x376], 15),
    Registration {
        pci: Some(PciAddress::IDE),
        role: Role::Ide,
        may_be_missing: true,
        ..Registration::of::<BusMaster>()
    },
    virtio_disk(0),
    virtio_disk(1),
    virtio_disk(2),
    virtio_disk(3),
    Registration {
        base: bios_port::PORT,
        ports: &[bios_port::PORT..=bios_port::PORT],
        role: Role::BiosPort,
        ..Registration::of::<BiosPort>()
    },
    Registration {
        base: fw_cfg::PORT,
        ports: &[fw_cfg::PORT..=fw_cfg::LAST_PORT],
        role: Role::Firmware,
        ..Registration::of::<FirmwareConfiguration>()
    },
    Registration {
        base: firmware_log::PORT,
        ports: &[
            firmware_log::PORT..=firmware_log::LAST_PORT,
            firmware_log::VGA_PORT..=firmware_log::VGA_PORT,
        ],
        role: Role::Firmware,
        ..Registration::of::<FirmwareLog>()
    },
    Registration {
        base: vbe::INDEX_PORT,
        ports: &[vbe::INDEX_PORT..=vbe::LAST_PORT],
        pci: Some(PciAddress::DISPLAY),
        role: Role::Framebuffer,
        ..Registration::of::<BochsVbe>()
    },
    // Answers wherever no other device does; offsets are port numbers and addresses.
    Registration::of::<UnassignedAccesses>(),
];

/// True if snapshot files have sections of this name for devices.
pub fn is_device_section(name: &str) -> bool {
    TABLE.iter().any(|entry| entry.has_state && entry.kind == name)
}

#[cfg(test)]
#[path = "table_test.rs"]
mod tests;

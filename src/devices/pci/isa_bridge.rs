//! The ISA bridge, 8086:7000 at 00:01.0, and its routing of PCI interrupts to ISA interrupt lines.
//!
//! Manual: Intel 82371SB PCI ISA IDE Xcelerator (PIIX3), 2.2. The other registers of the function read back what was
//! written and have no effect: recovery times of the ISA bus, chip selects of the X-bus, top of memory, routing of
//! the motherboard's own interrupt.

use super::PciAddress;
use super::function::PciFunction;
use super::space::{
    COMMAND, COMMAND_IO, COMMAND_MASTER, COMMAND_MEMORY, ConfigurationSpace, HEADER_TYPE, PciIdentity,
};

const IDENTITY: PciIdentity =
    PciIdentity { vendor: 0x8086, device: 0x7000, revision: 0x00, class: 0x06_01_00 };

/// Command register: special cycles, SERR#.
const COMMAND_WRITABLE: u16 = 0x0108;
/// Status register: medium DEVSEL# timing.
const STATUS_INITIAL: u16 = 0x0200;
/// Status register: SERR# signaled, master and target aborts.
const STATUS_ERRORS: u16 = 0x7800;
/// Header type: the device has several functions.
const MULTI_FUNCTION: u8 = 0x80;
/// ISA I/O recovery timer.
const RECOVERY: u8 = 0x4C;
/// X-bus chip select, 16 bits.
const CHIP_SELECT: u8 = 0x4E;
/// PIRQ route control, a byte each for PIRQA# to PIRQD#.
pub const ROUTE_CONTROL: u8 = 0x60;
/// Top of memory.
const TOP_OF_MEMORY: u8 = 0x69;
/// Motherboard device IRQ route control.
const MOTHERBOARD_ROUTE: u8 = 0x70;

/// Route control: the interrupt is not routed.
const NOT_ROUTED: u8 = 0x80;
/// Route control: the ISA interrupt line.
const LINE: u8 = 0x0F;
/// Lines that can be routed to; the others are reserved.
const ROUTABLE: u16 = 0b1101_1110_1111_1000;

/// An interrupt input of the ISA bridge: 0 is PIRQA#, 3 is PIRQD#.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pirq(u8);

/// Number of interrupt inputs of the bridge, and of interrupt pins of a PCI device.
pub const PINS: u8 = 4;

impl Pirq {
    /// The input that interrupt pin `pin` (0 is INTA#, 3 is INTD#) of device `device` is wired to. The wiring turns by
    /// one from device to device, and INTA# of the ISA bridge itself is at PIRQA#.
    pub const fn of(device: u8, pin: u8) -> Pirq {
        Pirq((device % PINS + PINS - PciAddress::ISA_BRIDGE.device % PINS + pin % PINS) % PINS)
    }

    /// 0 for PIRQA# to 3 for PIRQD#.
    pub const fn number(self) -> u8 {
        self.0
    }
}

/// The ISA bridge.
#[derive(Clone, Debug)]
pub struct IsaBridge(ConfigurationSpace);

impl Default for IsaBridge {
    fn default() -> IsaBridge {
        IsaBridge(
            ConfigurationSpace::new(IDENTITY)
                .word(COMMAND, COMMAND_IO | COMMAND_MEMORY | COMMAND_MASTER, COMMAND_WRITABLE)
                .status(STATUS_INITIAL, STATUS_ERRORS)
                .byte(HEADER_TYPE, MULTI_FUNCTION, 0)
                .byte(RECOVERY, 0x4D, 0xFF)
                .word(CHIP_SELECT, 0x0003, 0x01FF)
                .bytes(ROUTE_CONTROL..ROUTE_CONTROL + PINS, NOT_ROUTED, NOT_ROUTED | LINE)
                .byte(TOP_OF_MEMORY, 0x02, 0xFE)
                .byte(MOTHERBOARD_ROUTE, NOT_ROUTED, 0xEF),
        )
    }
}

impl IsaBridge {
    /// The ISA interrupt line that an input is routed to.
    pub fn line(&self, Pirq(input): Pirq) -> Option<u8> {
        let control = self.0.read(ROUTE_CONTROL + input, 1) as u8;
        let line = control & LINE;
        (control & NOT_ROUTED == 0 && ROUTABLE >> line & 1 == 1).then_some(line)
    }
}

impl PciFunction for IsaBridge {
    fn space(&self) -> &ConfigurationSpace {
        &self.0
    }

    fn space_mut(&mut self) -> &mut ConfigurationSpace {
        &mut self.0
    }
}

//! The IDE function, 8086:7010 at 00:01.1: its configuration space.
//!
//! Manual: Intel 82371SB PCI ISA IDE Xcelerator (PIIX3), 2.3. The function is in compatibility mode: its channels are
//! at the ports and interrupt lines of a PC whatever base address registers 0 to 3 say, which read as zero. Unlike
//! on the chip, all address bits of base address register 4 are writable, as on QEMU: a guest that computes the
//! size with 32 bits finds 16.

use super::bar::BarKind;
use super::function::PciFunction;
use super::space::{COMMAND, COMMAND_IO, COMMAND_MASTER, ConfigurationSpace, LATENCY_TIMER, PciIdentity};

/// Bus master, compatibility mode on both channels.
const IDENTITY: PciIdentity =
    PciIdentity { vendor: 0x8086, device: 0x7010, revision: 0x00, class: 0x01_01_80 };

/// Status register: fast back-to-back, medium DEVSEL# timing.
const STATUS_INITIAL: u16 = 0x0280;
/// Status register: master and target aborts.
const STATUS_ERRORS: u16 = 0x3800;
/// The base address register of the bus master registers, and how many ports it maps.
const BUS_MASTER_BAR: u8 = 4;
const BUS_MASTER_PORTS: u32 = 16;
/// Timing of the primary and the secondary channel, 16 bits each. Bit 15 enables the channel.
const TIMING: u8 = 0x40;
const TIMING_WRITABLE: u16 = 0xF3FF;
/// Timing of the drives 1.
const DRIVE_1_TIMING: u8 = 0x44;

/// Base address registers 0 and 1 of a function with flat BARs: command and control ports of the primary channel.
const FLAT: [(u8, u32); 2] = [(0x10, 0x1F0), (0x14, 0x3F6)];

/// The IDE function.
#[derive(Clone, Debug)]
pub struct IdeFunction(ConfigurationSpace);

impl IdeFunction {
    /// The function after power-on. With `flat_bars`, base address registers 0 and 1 read as the bare port numbers of
    /// the primary channel, without the bit that says that they are ports: guests exist that use what they read there
    /// as a port. These registers ignore writes.
    pub fn new(flat_bars: bool) -> IdeFunction {
        let space = ConfigurationSpace::new(IDENTITY)
            .word(COMMAND, 0, COMMAND_IO | COMMAND_MASTER)
            .status(STATUS_INITIAL, STATUS_ERRORS)
            .byte(LATENCY_TIMER, 0, 0xF0)
            .bar(BUS_MASTER_BAR, BarKind::Io { size: BUS_MASTER_PORTS })
            .word(TIMING, 0, TIMING_WRITABLE)
            .word(TIMING + 2, 0, TIMING_WRITABLE)
            .byte(DRIVE_1_TIMING, 0, 0xFF);
        let flat = if flat_bars { &FLAT[..] } else { &[] };
        IdeFunction(flat.iter().fold(space, |space, (register, port)| space.dword(*register, *port, 0)))
    }
}

impl PciFunction for IdeFunction {
    fn space(&self) -> &ConfigurationSpace {
        &self.0
    }

    fn space_mut(&mut self) -> &mut ConfigurationSpace {
        &mut self.0
    }
}

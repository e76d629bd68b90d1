//! The host bridge, 8086:1237 at 00:00.0.
//!
//! Manual: Intel 440FX PCIset, 82441FX PCI and Memory Controller (PMC), 3.2. The registers of the memory controller
//! read back what was written, with their reserved bits zero. What they control on the chip has no effect: RAM
//! answers everywhere below 1 MiB whatever the attribute registers (PAM) say, there is no system management mode,
//! and errors do not occur.

use super::function::PciFunction;
use super::space::{COMMAND, COMMAND_MASTER, COMMAND_MEMORY, ConfigurationSpace, LATENCY_TIMER, PciIdentity};

const IDENTITY: PciIdentity =
    PciIdentity { vendor: 0x8086, device: 0x1237, revision: 0x02, class: 0x06_00_00 };

/// Command register: enables of parity errors and of SERR#.
const COMMAND_ERRORS: u16 = 0x0140;
/// Status register: fast back-to-back, medium DEVSEL# timing.
const STATUS_INITIAL: u16 = 0x0280;
/// Status register: error bits.
const STATUS_ERRORS: u16 = 0xF100;
/// Programmable attribute map: read and write enable of the BIOS area, in the high half of the first byte.
pub const FIRST_ATTRIBUTES: u8 = 0x59;
/// Programmable attribute map: the other areas between 0xC0000 and 0xEFFFF, two in each byte.
pub const LAST_ATTRIBUTES: u8 = 0x5F;
/// DRAM row boundaries, 8 bytes.
const ROW_BOUNDARIES: u8 = 0x60;
/// System management RAM control.
const SMRAM: u8 = 0x72;

/// The host bridge.
#[derive(Clone, Debug)]
pub struct HostBridge(ConfigurationSpace);

impl Default for HostBridge {
    fn default() -> HostBridge {
        HostBridge(
            ConfigurationSpace::new(IDENTITY)
                .word(COMMAND, COMMAND_MEMORY | COMMAND_MASTER, COMMAND_ERRORS)
                .status(STATUS_INITIAL, STATUS_ERRORS)
                .byte(LATENCY_TIMER, 0, 0xF8)
                .byte(FIRST_ATTRIBUTES, 0, 0x30)
                .bytes(FIRST_ATTRIBUTES + 1..LAST_ATTRIBUTES + 1, 0, 0x33)
                .bytes(ROW_BOUNDARIES..ROW_BOUNDARIES + 8, 0x01, 0xFF)
                .byte(SMRAM, 0x02, 0),
        )
    }
}

impl PciFunction for HostBridge {
    fn space(&self) -> &ConfigurationSpace {
        &self.0
    }

    fn space_mut(&mut self) -> &mut ConfigurationSpace {
        &mut self.0
    }
}

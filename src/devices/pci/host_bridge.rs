//! The host bridge, 8086:1237 at 00:00.0.
//!
//! Manual: Intel 440FX PCIset, 82441FX PCI and Memory Controller (PMC), 3.2. The registers of the memory controller
//! read back what was written, with their reserved bits zero. In a machine with firmware the attribute registers (PAM)
//! decide where ROM is read and where RAM ([`shadow_control`]); in one without, RAM answers everywhere below 1 MiB
//! whatever they say. There is no system management mode, and errors do not occur.

use super::super::Action;
use super::function::PciFunction;
use super::space::{COMMAND, COMMAND_MASTER, COMMAND_MEMORY, ConfigurationSpace, LATENCY_TIMER, PciIdentity};
use crate::memory::ShadowControl;

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
/// The first of the four areas of 16 KiB of the BIOS area, from 0xF0000 on.
const BIOS_AREA: usize = 12;
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

/// What the attribute registers say of each area from 0xC0000 to 1 MiB (PMC, 3.2.18). Bit 0 of an attribute directs
/// reads to RAM, bit 1 writes.
pub fn shadow_control(space: &ConfigurationSpace) -> ShadowControl {
    let mut control = ShadowControl::default();
    let mut set = |area: usize, attribute: u32| {
        control.read_ram |= ((attribute & 1) as u16) << area;
        control.write_ram |= ((attribute >> 1 & 1) as u16) << area;
    };
    let bios = space.read(FIRST_ATTRIBUTES, 1) >> 4;
    (BIOS_AREA..BIOS_AREA + 4).for_each(|area| set(area, bios));
    for (index, register) in (FIRST_ATTRIBUTES + 1..=LAST_ATTRIBUTES).enumerate() {
        let both = space.read(register, 1);
        set(2 * index, both);
        set(2 * index + 1, both >> 4);
    }
    control
}

impl PciFunction for HostBridge {
    fn write(&mut self, register: u8, size: u8, value: u32) -> Action {
        self.0.write(register, size, value);
        let last = register.saturating_add(size.saturating_sub(1));
        Action { memory: register <= LAST_ATTRIBUTES && FIRST_ATTRIBUTES <= last, ..Action::NONE }
    }

    fn space(&self) -> &ConfigurationSpace {
        &self.0
    }

    fn space_mut(&mut self) -> &mut ConfigurationSpace {
        &mut self.0
    }
}

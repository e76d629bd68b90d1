//! The display adapter, 1234:1111: its configuration space.
//!
//! As QEMU's stdvga: base address register 0 maps video memory, and 2 the window with the registers of
//! [`BochsVbe`](crate::devices::vbe::BochsVbe). Only machines with a linear framebuffer have it.

use super::PciFunction;
use super::bar::BarKind;
use super::space::{COMMAND, COMMAND_IO, COMMAND_MASTER, COMMAND_MEMORY, ConfigurationSpace, PciIdentity};
use crate::memory::VIDEO_MEMORY;

/// A VGA.
const IDENTITY: PciIdentity =
    PciIdentity { vendor: 0x1234, device: 0x1111, revision: 0x02, class: 0x03_00_00 };

/// Bytes of the window with registers.
const WINDOW: u32 = 0x1000;

/// The function.
#[derive(Clone, Debug)]
pub struct DisplayFunction(ConfigurationSpace);

impl Default for DisplayFunction {
    fn default() -> DisplayFunction {
        let memory = (VIDEO_MEMORY.end - VIDEO_MEMORY.start) as u32;
        DisplayFunction(
            ConfigurationSpace::new(IDENTITY)
                .word(COMMAND, 0, COMMAND_IO | COMMAND_MEMORY | COMMAND_MASTER)
                .dword(super::space::SUBSYSTEM, super::MACHINE_SUBSYSTEM, 0)
                .bar(0, BarKind::Memory { size: memory, prefetchable: true })
                .bar(2, BarKind::Memory { size: WINDOW, prefetchable: false }),
        )
    }
}

impl PciFunction for DisplayFunction {
    fn space(&self) -> &ConfigurationSpace {
        &self.0
    }

    fn space_mut(&mut self) -> &mut ConfigurationSpace {
        &mut self.0
    }
}

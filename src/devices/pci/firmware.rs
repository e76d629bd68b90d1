//! What firmware does with the bus before it starts an operating system. There is none, so the machine does it.
//!
//! PCI interrupts are routed to ISA lines, every base address register gets an address, and functions with addresses
//! answer there and may act as bus masters, as SeaBIOS leaves those that it could have booted from. The interrupt line
//! register of a function has the line that its pin is routed to.

use super::bar::BarKind;
use super::isa_bridge::{PINS, ROUTE_CONTROL};
use super::space::{self, COMMAND, COMMAND_IO, COMMAND_MASTER, COMMAND_MEMORY, INTERRUPT_LINE};
use super::{PciAddress, PciBus, PciFunction};
use crate::memory::VIDEO_MEMORY;

/// The ISA lines that PIRQA# to PIRQD# are routed to. They are level-triggered.
pub const PIRQ_LINES: [u8; PINS as usize] = [10, 10, 11, 11];

/// One bit for each interrupt line of [`PIRQ_LINES`]: they are level-triggered.
pub fn level_triggered_lines() -> u16 {
    PIRQ_LINES.iter().fold(0, |lines, line| lines | 1 << line)
}

/// The ports of base address registers.
const PORTS: std::ops::Range<u32> = 0xC000..0x1_0000;
/// Their memory, up to the IOAPIC.
pub const MEMORY: std::ops::Range<u32> = 0xFEA0_0000..0xFEC0_0000;

impl PciBus {
    /// Sets the bus up.
    pub fn set_up(&mut self) {
        for (register, line) in (ROUTE_CONTROL..).zip(PIRQ_LINES) {
            let _ = self.isa_bridge.write(register, 1, line.into());
        }
        let functions: Vec<PciAddress> = self.functions().into_iter().map(|(at, _)| at).collect();
        let (mut ports, mut memory) = (PORTS, MEMORY);
        let mut video = VIDEO_MEMORY.start as u32..VIDEO_MEMORY.end as u32;
        for at in functions {
            let pin = self.function(at).and_then(|function| function.space().interrupt());
            let line = pin.and_then(|(pin, _)| self.route(at, pin));
            if let Some(function) = self.function_mut(at) {
                assign_addresses(function, &mut ports, &mut memory, &mut video);
                if let Some(line) = line {
                    let _ = function.write(INTERRUPT_LINE, 1, line.into());
                }
            }
        }
    }
}

/// Gives each base address register of `function` an address of those that are left.
fn assign_addresses(
    function: &mut dyn PciFunction,
    ports: &mut std::ops::Range<u32>,
    memory: &mut std::ops::Range<u32>,
    video: &mut std::ops::Range<u32>,
) {
    let bars: Vec<(u8, BarKind)> = function.space().mappings().map(|bar| (bar.index, bar.kind)).collect();
    let mut command = function.space().command();
    for (index, kind) in bars {
        let (left, enable) = match kind {
            BarKind::Io { .. } => (&mut *ports, COMMAND_IO),
            BarKind::Memory { prefetchable: true, .. } => (&mut *video, COMMAND_MEMORY),
            BarKind::Memory { .. } => (&mut *memory, COMMAND_MEMORY),
        };
        let base = left.start.next_multiple_of(kind.size());
        if base + kind.size() <= left.end {
            left.start = base + kind.size();
            let _ = function.write(space::bar_register(index), 4, base);
            command |= enable | COMMAND_MASTER;
        }
    }
    let _ = function.write(COMMAND, 2, command.into());
}

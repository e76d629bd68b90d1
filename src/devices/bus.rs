//! Which chip answers at which port.

use super::{debug_exit, post, reset, vga};

/// Something that answers port accesses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chip {
    /// A serial port, counted from 0.
    Serial(u8),
    /// Keyboard controller.
    I8042,
    /// VGA registers.
    Vga,
    /// Debug exit port.
    DebugExit,
    /// Debug console.
    DebugConsole,
    /// Diagnostics port.
    Post,
    /// Reset control register.
    ResetControl,
    /// System control port A.
    SystemControlA,
    /// PCI configuration mechanism of a machine without PCI devices.
    PciConfiguration,
    /// The first DMA controller's page, which is empty.
    Dma,
    /// Nobody.
    Nobody,
}

/// First port of COM1 to COM4.
pub const SERIAL_PORTS: [u16; 4] = [0x3F8, 0x2F8, 0x3E8, 0x2E8];

/// What a byte read from a port that nobody claims gives: an ISA bus that nobody drives.
pub const UNCLAIMED_PORT: u8 = 0xFF;

/// What a read from an address that nobody claims gives.
pub const UNCLAIMED_MEMORY: u64 = 0;

/// The chip at `port`, and the port's offset within the chip's range.
#[inline]
pub fn route(port: u16) -> (Chip, u16) {
    match port {
        0x3F8..=0x3FF => (Chip::Serial(0), port - 0x3F8),
        0x2F8..=0x2FF => (Chip::Serial(1), port - 0x2F8),
        0x3E8..=0x3EF => (Chip::Serial(2), port - 0x3E8),
        0x2E8..=0x2EF => (Chip::Serial(3), port - 0x2E8),
        0x60 | 0x64 => (Chip::I8042, port - 0x60),
        0x3B4 | 0x3B5 | 0x3BA | 0x3C0..=0x3CF | 0x3D4 | 0x3D5 | 0x3DA => (Chip::Vga, port - vga::FIRST_PORT),
        debug_exit::PORT..=debug_exit::LAST_PORT => (Chip::DebugExit, port - debug_exit::PORT),
        0xE9 => (Chip::DebugConsole, 0),
        post::PORT => (Chip::Post, 0),
        reset::RESET_CONTROL => (Chip::ResetControl, 0),
        reset::SYSTEM_CONTROL_A => (Chip::SystemControlA, 0),
        0xCF8..=0xCFF => (Chip::PciConfiguration, port - 0xCF8),
        0x00..=0x0F => (Chip::Dma, port),
        _ => (Chip::Nobody, 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ports_guests_know_by_heart_lead_to_their_chips() {
        for (number, base) in SERIAL_PORTS.into_iter().enumerate() {
            assert_eq!(route(base), (Chip::Serial(number as u8), 0));
            assert_eq!(route(base + 7), (Chip::Serial(number as u8), 7));
        }
        assert_eq!(route(0x64), (Chip::I8042, 4));
        assert_eq!(route(0x3D5), (Chip::Vga, 0x25));
        assert_eq!(route(0xCF9), (Chip::ResetControl, 0));
        assert_eq!(route(0xCFC), (Chip::PciConfiguration, 4));
        assert_eq!(route(0x61).0, Chip::Nobody);
    }
}

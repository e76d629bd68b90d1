//! The board: all chips, and how an access reaches the right one.

use tracing::debug;

use super::output::OutputQueue;
use super::unclaimed::Unclaimed;
use crate::devices::bus::{self, Chip};
use crate::devices::i8042::I8042;
use crate::devices::lapic::{self, LocalApic};
use crate::devices::post::PostPort;
use crate::devices::reset::{ResetControl, SystemControlA};
use crate::devices::serial::SerialPort;
use crate::devices::vga::Vga;
use crate::devices::{Action, PortDevice, Request, debug_exit};

/// What a read of the debug console's port gives, by which guests detect it.
const DEBUG_CONSOLE_PRESENT: u8 = 0xE9;

/// What an access leaves to be done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Effect {
    /// A byte that leaves the machine, and where.
    pub output: Option<(OutputQueue, u8)>,
    /// Something the whole machine has to do.
    pub request: Option<Request>,
}

/// All chips of the machine.
#[derive(Debug, Default)]
pub struct Board {
    /// COM1 to COM4.
    pub serial: [SerialPort; 4],
    /// Keyboard controller, with the keyboard.
    pub i8042: I8042,
    /// VGA registers.
    pub vga: Vga,
    /// Diagnostics port.
    pub post: PostPort,
    /// Port 0xCF9.
    pub reset_control: ResetControl,
    /// Port 0x92.
    pub system_control_a: SystemControlA,
    /// Local APIC.
    pub lapic: LocalApic,
    /// What nobody answered.
    pub unclaimed: Unclaimed,
}

impl Board {
    /// The guest writes `size` (1, 2 or 4) bytes to `port`; wide accesses reach byte-wide chips
    /// byte by byte, lowest first.
    #[inline]
    pub fn port_out(&mut self, port: u16, size: u8, value: u32) -> Effect {
        let (chip, offset) = bus::route(port);
        if size == 1 {
            return self.write_byte(chip, offset, port, value as u8);
        }
        match chip {
            Chip::DebugExit => return effect(chip, debug_exit::write(value)),
            // The PCI address register is one 32-bit register; the reset control register shares
            // its second byte's port and must not be hit by it.
            Chip::PciConfiguration => return Effect::default(),
            _ => {}
        }
        let mut all = Effect::default();
        for (port, byte) in (port..=u16::MAX).zip(&value.to_le_bytes()[..usize::from(size.min(4))]) {
            let (chip, offset) = bus::route(port);
            let one = self.write_byte(chip, offset, port, *byte);
            all = Effect { output: all.output.or(one.output), request: all.request.or(one.request) };
        }
        all
    }

    /// The guest reads `size` (1, 2 or 4) bytes from `port`.
    #[inline]
    pub fn port_in(&mut self, port: u16, size: u8) -> (u32, Effect) {
        let mut value = [0xFF; 4];
        let mut all = Effect::default();
        for (port, byte) in (port..=u16::MAX).zip(&mut value[..usize::from(size.min(4))]) {
            let (chip, offset) = bus::route(port);
            let (read, one) = self.read_byte(chip, offset, port);
            *byte = read;
            all = Effect { output: all.output.or(one.output), request: all.request.or(one.request) };
        }
        (u32::from_le_bytes(value), all)
    }

    /// The guest writes to an address that is not RAM.
    pub fn memory_write(&mut self, address: u64, size: u8, value: u64) {
        if is_lapic(address, size) {
            self.lapic.write(address - lapic::BASE, value as u32);
        } else {
            self.unclaimed.memory_write(address);
        }
    }

    /// The guest reads from an address that is not RAM.
    pub fn memory_read(&mut self, address: u64, size: u8) -> u64 {
        if is_lapic(address, size) {
            u64::from(self.lapic.read(address - lapic::BASE))
        } else {
            self.unclaimed.memory_read(address);
            bus::UNCLAIMED_MEMORY
        }
    }

    #[inline]
    fn write_byte(&mut self, chip: Chip, offset: u16, port: u16, value: u8) -> Effect {
        let action = match chip {
            Chip::Serial(number) => self.serial[usize::from(number)].write(offset, value),
            Chip::I8042 => self.i8042.write(offset, value),
            Chip::Vga => self.vga.write(offset, value),
            Chip::DebugExit => debug_exit::write(u32::from(value)),
            Chip::DebugConsole => Action::output(value),
            Chip::Post => {
                debug!("POST code {value:#04x}");
                self.post.write(offset, value)
            }
            Chip::ResetControl => self.reset_control.write(offset, value),
            Chip::SystemControlA => self.system_control_a.write(offset, value),
            Chip::PciConfiguration | Chip::Dma => Action::NONE,
            Chip::Nobody => {
                self.unclaimed.port_write(port);
                Action::NONE
            }
        };
        effect(chip, action)
    }

    #[inline]
    fn read_byte(&mut self, chip: Chip, offset: u16, port: u16) -> (u8, Effect) {
        let (value, action) = match chip {
            Chip::Serial(number) => self.serial[usize::from(number)].read(offset),
            Chip::I8042 => self.i8042.read(offset),
            Chip::Vga => self.vga.read(offset),
            Chip::DebugExit => (0, Action::NONE),
            Chip::DebugConsole => (DEBUG_CONSOLE_PRESENT, Action::NONE),
            Chip::Post => self.post.read(offset),
            Chip::ResetControl => self.reset_control.read(offset),
            Chip::SystemControlA => self.system_control_a.read(offset),
            // No device answers a configuration cycle: all ones.
            Chip::PciConfiguration => (0xFF, Action::NONE),
            Chip::Dma => (0, Action::NONE),
            Chip::Nobody => {
                self.unclaimed.port_read(port);
                (bus::UNCLAIMED_PORT, Action::NONE)
            }
        };
        (value, effect(chip, action))
    }
}

/// Only aligned 32-bit accesses to the local APIC are defined.
fn is_lapic(address: u64, size: u8) -> bool {
    size == 4 && (lapic::BASE..lapic::BASE + lapic::LENGTH).contains(&address)
}

#[inline]
fn effect(chip: Chip, action: Action) -> Effect {
    // Interrupt lines lead nowhere: the machine has no interrupt controller yet.
    let queue = match chip {
        Chip::Serial(number) => OutputQueue::Serial(number),
        _ => OutputQueue::DebugConsole,
    };
    Effect { output: action.output.map(|byte| (queue, byte)), request: action.request }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_leave_through_the_outlet_of_their_chip() {
        let mut board = Board::default();
        assert_eq!(board.port_out(0x2F8, 1, 0x41).output, Some((OutputQueue::Serial(1), b'A')));
        assert_eq!(board.port_out(0xE9, 1, 0x42).output, Some((OutputQueue::DebugConsole, b'B')));
    }

    #[test]
    fn the_debug_exit_port_takes_all_widths() {
        let mut board = Board::default();
        for (size, value) in [(1, 0x10), (2, 0x1010), (4, 0x1010_1010)] {
            assert_eq!(board.port_out(0xF4, size, value).request, Some(Request::Exit(value)));
        }
    }

    #[test]
    fn what_nobody_claims_reads_as_documented_every_time() {
        let mut board = Board::default();
        for _ in 0..2 {
            assert_eq!(board.port_in(0x1234, 1).0, 0xFFFF_FFFF);
            assert_eq!(board.port_in(0x1234, 4).0, 0xFFFF_FFFF);
            assert_eq!(board.port_in(0x08, 1).0 & 0xFF, 0);
            assert_eq!(board.port_in(0xCFC, 4).0, 0xFFFF_FFFF);
            assert_eq!(board.memory_read(0xFEC0_0010, 4), 0);
        }
        assert_eq!(board.port_in(0xFFFF, 4).0, 0xFFFF_FFFF);
    }

    #[test]
    fn a_dword_to_the_pci_address_port_is_no_reset() {
        let mut board = Board::default();
        assert_eq!(board.port_out(0xCF8, 4, 0x8000_0004).request, None);
        assert_eq!(board.port_out(0xCF9, 1, 0x06).request, Some(Request::Reset));
    }

    #[test]
    fn the_local_apic_answers_in_its_page() {
        let mut board = Board::default();
        board.memory_write(0xFEE0_0080, 4, 0x20);
        assert_eq!(board.memory_read(0xFEE0_0080, 4), 0x20);
    }
}

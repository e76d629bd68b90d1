//! The text screen, which other threads can read while the guest runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::devices::vga::{BUFFER_CELLS, TEXT_BUFFER, TextView};
use crate::memory::GuestMemory;

/// The contents of the text screen. Reading it never disturbs the guest.
#[derive(Clone, Debug)]
pub struct Screen {
    memory: Arc<GuestMemory>,
    view: Arc<AtomicU64>,
}

impl Screen {
    /// The screen with the text buffer in `memory`, with the registers of a reset VGA.
    pub fn new(memory: Arc<GuestMemory>, view: TextView) -> Screen {
        Screen { memory, view: Arc::new(AtomicU64::new(view.to_bits())) }
    }

    /// Publishes the current registers of the VGA.
    pub(super) fn publish(&self, view: TextView) {
        self.view.store(view.to_bits(), Ordering::Relaxed);
    }

    /// Where the screen starts in the text buffer, and its cursor.
    pub fn view(&self) -> TextView {
        TextView::from_bits(self.view.load(Ordering::Relaxed))
    }

    /// The cells on the screen, row by row: character in the low byte, attribute in the high one.
    pub fn cells(&self) -> Vec<u16> {
        let mut bytes = vec![0; BUFFER_CELLS * 2];
        // Fails only on a machine with less RAM than the text buffer needs; there is none.
        let _ = self.memory.read(TEXT_BUFFER, &mut bytes);
        self.view().cells(&bytes)
    }

    /// True if the guest has put anything on the screen.
    pub fn in_use(&self) -> bool {
        self.cells().iter().any(|cell| *cell & 0xFF != 0 && *cell & 0xFF != 0x20)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::devices::vga::Vga;

    #[test]
    fn the_screen_starts_where_the_registers_say_and_wraps_around() {
        let memory = Arc::new(GuestMemory::new(1 << 20).unwrap());
        let screen = Screen::new(memory.clone(), Vga::default().view());
        assert!(!screen.in_use());
        memory.write(TEXT_BUFFER + 160, b"A\x07").unwrap();
        assert_eq!(screen.cells()[80], 0x0741);
        assert!(screen.in_use());
        screen.publish(TextView { start: 0x3FFF, ..screen.view() });
        assert_eq!(screen.cells()[81], 0x0741);
    }
}

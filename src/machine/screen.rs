//! The screen, which other threads can read while the guest runs: text, or a picture.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::devices::vga::{BUFFER_CELLS, GraphicsView, TEXT_BUFFER, TextView, VideoFrame};
use crate::memory::GuestMemory;

/// The contents of the screen. Reading it never disturbs the guest.
#[derive(Clone, Debug)]
pub struct Screen {
    memory: Arc<GuestMemory>,
    view: Arc<AtomicU64>,
    /// How a picture is shown in place of text.
    graphics: Arc<Graphics>,
}

#[derive(Debug, Default)]
struct Graphics {
    shown: AtomicBool,
    view: Mutex<Option<Arc<GraphicsView>>>,
}

impl Screen {
    /// The screen with the text buffer in `memory`, with the registers of a reset VGA.
    pub fn new(memory: Arc<GuestMemory>, view: TextView) -> Screen {
        Screen { memory, view: Arc::new(AtomicU64::new(view.to_bits())), graphics: Arc::default() }
    }

    /// Publishes the current registers of the VGA.
    pub(super) fn publish(&self, view: TextView) {
        self.view.store(view.to_bits(), Ordering::Relaxed);
    }

    /// Publishes how a picture is shown; `None` if text is.
    pub(super) fn publish_graphics(&self, view: Option<GraphicsView>) {
        if view.is_none() && !self.shows_picture() {
            return;
        }
        let mut shown = self.graphics.view.lock().unwrap_or_else(PoisonError::into_inner);
        self.graphics.shown.store(view.is_some(), Ordering::Relaxed);
        *shown = view.map(Arc::new);
    }

    /// True if a picture is shown, not text.
    #[inline]
    pub fn shows_picture(&self) -> bool {
        self.graphics.shown.load(Ordering::Relaxed)
    }

    /// The picture that is shown, if one is.
    pub fn picture(&self) -> Option<VideoFrame> {
        if !self.shows_picture() {
            return None;
        }
        let view = self.graphics.view.lock().unwrap_or_else(PoisonError::into_inner).clone()?;
        let (start, length) = view.memory();
        let mut bytes = vec![0; length];
        // Fails only in a mode that uses memory which the machine does not have: its picture is black.
        let _ = self.memory.read(start, &mut bytes);
        Some(view.frame(&bytes))
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
        self.shows_picture() || self.cells().iter().any(|cell| *cell & 0xFF != 0 && *cell & 0xFF != 0x20)
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

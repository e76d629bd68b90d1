//! What the display adapter does outside of its registers: video memory is cleared, and shown below 1 MiB or where the
//! guest has moved it; and the picture is published.
//!
//! Where video memory is accessed is decided by [`Machine::display_changed`], which follows every change of the
//! registers that matter. Accesses below 1 MiB to planes or banks exit, as do those to video memory that is not at
//! [`VIDEO_MEMORY`]; instructions that KVM refuses see RAM there.

use super::Machine;
use crate::boot::Framebuffer;
use crate::devices::vga::{GraphicsView, Planes};
use crate::kvm::HostError;
use crate::memory::{VIDEO_MEMORY, VIDEO_WINDOW};

/// What an access outside of RAM, or to the window, reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Target {
    /// Video memory, at this guest-physical address.
    Linear(u64),
    /// Planes: the offset in the window, and that of the bank in video memory.
    Planes(u32, u32),
}

impl Machine {
    /// Registers of the display may have changed that decide what memory shows, or how it is drawn.
    #[cold]
    pub(super) fn display_changed(&mut self) -> Result<(), HostError> {
        if self.memory.has_video_memory() {
            if let Some(length) = self.board.vbe_mut().take_clear() {
                // All of it is memory.
                let _ = self.memory.zero(VIDEO_MEMORY.start, length.into());
            }
            let trapped = self.board.vbe().mode().is_some() || self.board.vga().maps_planes();
            if self.memory.trap_video_window(trapped) {
                self.ram.map_rom()?;
            }
        }
        self.screen.publish_graphics(self.graphics_view());
        Ok(())
    }

    /// The guest has written to a port of the VGA.
    #[inline]
    pub(super) fn display_written(&mut self) -> Result<(), HostError> {
        let vga = self.board.vga();
        self.screen.publish(vga.view());
        if vga.is_graphics() || self.screen.shows_picture() || self.memory.has_video_memory() {
            return self.display_changed();
        }
        Ok(())
    }

    /// Sets the mode that a guest expects which was just loaded.
    pub(super) fn set_boot_mode(&mut self, framebuffer: Option<Framebuffer>) -> Result<(), HostError> {
        let Some(Framebuffer { width, height }) = framebuffer else { return Ok(()) };
        self.board.vbe_mut().set_mode(width, height, Framebuffer::BITS);
        self.display_changed()
    }

    /// Follows the registers of the display after they were reset or restored.
    pub(super) fn display_replaced(&mut self) -> Result<(), HostError> {
        self.screen.publish(self.board.vga().view());
        self.display_changed()
    }

    fn graphics_view(&self) -> Option<GraphicsView> {
        let vga = self.board.vga();
        self.board.vbe().mode().map_or_else(|| vga.graphics_view(), |mode| Some(vga.linear_view(mode)))
    }

    /// What an access of the guest to `address` reaches that is not RAM at this address.
    fn video_target(&self, address: u64) -> Option<Target> {
        if self.memory.is_video_window(address) {
            let offset = (address - VIDEO_WINDOW.start) as u32;
            let vbe = self.board.vbe();
            return Some(match (vbe.bank(), vbe.mode()) {
                (Some(bank), Some(mode)) if mode.bits != 4 => {
                    Target::Linear(VIDEO_MEMORY.start + u64::from(bank) + u64::from(offset))
                }
                (bank, _) => Target::Planes(offset, bank.unwrap_or(0)),
            });
        }
        let base = self.board.video_base().filter(|base| *base != VIDEO_MEMORY.start)?;
        let offset = address.checked_sub(base).filter(|at| *at < VIDEO_MEMORY.end - VIDEO_MEMORY.start)?;
        Some(Target::Linear(VIDEO_MEMORY.start + offset))
    }

    /// Carries out a write of the guest to video memory elsewhere; false if it is none.
    #[cold]
    pub(super) fn video_write(&mut self, address: u64, size: u8, value: u64) -> bool {
        let Some(target) = self.video_target(address) else { return false };
        for (at, byte) in (0..).zip(&value.to_le_bytes()[..usize::from(size.min(8))]) {
            match target {
                // What lies behind the end of memory is ignored.
                Target::Linear(address) => _ = self.memory.write(address + u64::from(at), &[*byte]),
                Target::Planes(offset, bank) => {
                    let (access, offset) = (self.board.vga().plane_access(), offset + at);
                    let cell = VIDEO_MEMORY.start + (u64::from(bank) + u64::from(access.cell(offset))) * 4;
                    let new = access.write(self.board.vbe().latches(), self.planes(cell), offset, *byte);
                    let _ = self.memory.write(cell, &new);
                }
            }
        }
        true
    }

    /// Carries out such a read; `None` if it is none.
    #[inline]
    pub(super) fn video_read(&mut self, address: u64, size: u8) -> Option<u64> {
        if self.memory.has_video_memory() { self.read_video(address, size) } else { None }
    }

    #[cold]
    fn read_video(&mut self, address: u64, size: u8) -> Option<u64> {
        let target = self.video_target(address)?;
        let mut bytes = [0; 8];
        for (at, byte) in (0..).zip(&mut bytes[..usize::from(size.min(8))]) {
            match target {
                Target::Linear(address) => {
                    let _ = self.memory.read(address + u64::from(at), std::slice::from_mut(byte));
                }
                Target::Planes(offset, bank) => {
                    let (access, offset) = (self.board.vga().plane_access(), offset + at);
                    let cell = VIDEO_MEMORY.start + (u64::from(bank) + u64::from(access.cell(offset))) * 4;
                    let planes = self.planes(cell);
                    self.board.vbe_mut().set_latches(planes);
                    *byte = access.read(planes, offset);
                }
            }
        }
        Some(u64::from_le_bytes(bytes))
    }

    /// The planes at a place in video memory; zeros behind its end.
    fn planes(&self, cell: u64) -> Planes {
        let mut planes = Planes::default();
        let _ = self.memory.read(cell, &mut planes);
        planes
    }
}

//! The ports of the first DMA controller (0x00 to 0x0F), which this machine does not have.
//!
//! They read as zero and ignore writes, without being counted as unassigned: guests clear them out of habit.

use super::snapshot::Stateless;
use super::{Action, Device};

/// The absent DMA controller.
#[derive(Clone, Copy, Debug, Default)]
pub struct Dma;

impl Device for Dma {
    fn read(&mut self, _offset: u16) -> (u8, Action) {
        (0, Action::NONE)
    }
}

impl Stateless for Dma {
    const NAME: &'static str = "dma";
}

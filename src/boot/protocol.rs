//! Chooses the boot protocol for a guest file.

use super::{BootError, BootOptions, Image, LoadedGuest, ResetAction, long_mode_elf};
use crate::memory::GuestMemory;

/// How a guest file is loaded and started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// A 64-bit ELF executable, started in long mode.
    LongModeElf,
}

impl Protocol {
    /// The protocol for a file. A file without a protocol gets [`Protocol::LongModeElf`], whose error names
    /// what the file is.
    pub fn of(_image: &dyn Image) -> Protocol {
        Protocol::LongModeElf
    }

    /// The effect of a machine reset on a guest of this protocol.
    pub fn reset(self) -> ResetAction {
        match self {
            Protocol::LongModeElf => ResetAction::Reload,
        }
    }
}

/// Loads the guest in `image` into `memory`, with everything it needs to start.
///
/// `memory` has to be zero, as it is when new and after a reset of the machine: zero pages (`.bss`)
/// are not written, so that they cost nothing however large they are. The same guest, options and
/// memory size always give the same result.
///
/// # Errors
///
/// [`BootError`], if the guest cannot be started; `memory` may then have been
/// written to. No input makes this panic, loop, or use more host memory than a small
/// multiple of the file's headers and the page tables of the guest.
pub fn load(
    image: &dyn Image,
    memory: &GuestMemory,
    options: &BootOptions,
) -> Result<LoadedGuest, BootError> {
    match Protocol::of(image) {
        Protocol::LongModeElf => long_mode_elf::load(image, memory, options),
    }
}

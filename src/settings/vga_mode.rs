//! The display adapter, and how its pictures are shown, as the user chooses it.

/// The display adapter of a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VgaMode {
    /// The one that the kind of guest needs.
    Auto,
    /// A VGA without video memory: text, and mode 13h.
    Text,
    /// One with video memory, with planes, and with a linear framebuffer.
    Std,
}

impl VgaMode {
    /// The value of `--vga`.
    pub fn name(self) -> &'static str {
        match self {
            VgaMode::Auto => "auto",
            VgaMode::Text => "text",
            VgaMode::Std => "std",
        }
    }
}

/// How a terminal shows the guest's pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PictureMode {
    /// As it can, by its environment and its own answer.
    Auto,
    /// By kitty's graphics protocol.
    Kitty,
    /// As sixels.
    Sixel,
    /// As half blocks of 24-bit colours.
    Blocks,
    /// Not at all: a line says that there is a picture.
    Off,
}

impl PictureMode {
    /// The value of `--pictures`.
    pub fn name(self) -> &'static str {
        match self {
            PictureMode::Auto => "auto",
            PictureMode::Kitty => "kitty",
            PictureMode::Sixel => "sixel",
            PictureMode::Blocks => "blocks",
            PictureMode::Off => "off",
        }
    }

    /// The mode of this name.
    pub(super) fn named(name: &str) -> Option<PictureMode> {
        use PictureMode::{Auto, Blocks, Kitty, Off, Sixel};
        [Auto, Kitty, Sixel, Blocks, Off].into_iter().find(|mode| mode.name() == name)
    }
}

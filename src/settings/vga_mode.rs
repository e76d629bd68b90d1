//! The display adapter, as the user chooses it.

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

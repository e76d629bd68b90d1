//! Who gives a command.

/// Who gives a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Front {
    /// A debugger, by its `monitor`.
    Debugger,
    /// A user at a console.
    Console,
}

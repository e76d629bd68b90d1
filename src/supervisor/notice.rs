//! What the guest or a migration reports while no command is carried out: to all consoles, and to the one whose
//! command waits for it.

/// Whole lines for the user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notice {
    /// The lines.
    pub text: String,
    /// The number of the stop that they report, counted from 1 over the run. All consoles get it, and those that
    /// wait for the stop get it as their answer, too.
    pub stop: Option<u64>,
}

impl From<&str> for Notice {
    /// Text that reports no stop.
    fn from(text: &str) -> Notice {
        Notice { text: text.to_owned(), stop: None }
    }
}

//! What `kvm check` has to tell, before it is a table or JSON.

/// Everything that is told.
#[derive(Debug, PartialEq)]
pub(super) struct Report {
    /// Guests can run here.
    pub(super) usable: bool,
    /// The rows, under their headings.
    pub(super) groups: Vec<Group>,
    /// What it comes to, in a sentence or two.
    pub(super) conclusion: String,
}

/// Rows about one thing.
#[derive(Debug, PartialEq)]
pub(super) struct Group {
    /// Its name for programs.
    pub(super) key: &'static str,
    /// Its heading for people.
    pub(super) title: &'static str,
    /// Its rows.
    pub(super) rows: Vec<Row>,
}

/// One thing that is told.
#[derive(Debug, PartialEq)]
pub(super) struct Row {
    /// Its name for programs, unique in its group.
    pub(super) key: &'static str,
    /// Its name for people.
    pub(super) what: &'static str,
    /// The answer for programs.
    pub(super) value: Value,
    /// The answer for people.
    pub(super) words: String,
    /// Whether that is good for guests.
    pub(super) mark: Mark,
}

/// An answer for programs.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    /// One of a few words, or a name.
    Text(String),
    /// A count.
    Count(i64),
    /// A measured number.
    Measured(f64),
    /// Yes or no.
    Flag(bool),
}

/// Whether something is good for guests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    /// It is as it should be.
    Good,
    /// Guests or their debuggers miss it.
    Bad,
    /// It just is so.
    Plain,
}

impl Row {
    /// A row.
    pub(super) fn new(
        key: &'static str,
        what: &'static str,
        value: Value,
        (mark, words): (Mark, impl Into<String>),
    ) -> Row {
        Row { key, what, value, words: words.into(), mark }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Value {
        Value::Text(text.to_owned())
    }
}

//! What `kvm check` has to tell, before it is a table or JSON.

use std::borrow::Cow;

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
    pub(super) words: Cow<'static, str>,
    /// Whether that is good for guests.
    pub(super) mark: Mark,
}

/// An answer for programs.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    /// One of a few words.
    Word(&'static str),
    /// A name or a sentence.
    Text(String),
    /// A count.
    Count(i64),
    /// A measured time in picoseconds, told in nanoseconds; `None` if it could not be measured.
    Time(Option<u64>),
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
    /// KVM does not do it, but this program does in its place.
    Helped,
    /// It just is so.
    Plain,
}

impl Row {
    /// A row.
    pub(super) fn new(
        key: &'static str,
        what: &'static str,
        value: Value,
        mark: Mark,
        words: Cow<'static, str>,
    ) -> Row {
        Row { key, what, value, words, mark }
    }
}

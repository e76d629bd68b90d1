//! The contents of a `kvm check` report, independent of its format.

use std::borrow::Cow;

/// The complete report.
#[derive(Debug, PartialEq)]
pub(super) struct Report {
    /// Guests can run here.
    pub(super) usable: bool,
    /// The rows, under their headings.
    pub(super) groups: Vec<Group>,
    /// The conclusion, in a sentence or two.
    pub(super) conclusion: String,
}

/// Rows about one subject.
#[derive(Debug, PartialEq)]
pub(super) struct Group {
    /// Its key in JSON.
    pub(super) key: &'static str,
    /// Its heading in the table.
    pub(super) title: &'static str,
    /// Its rows.
    pub(super) rows: Vec<Row>,
}

/// One property.
#[derive(Debug, PartialEq)]
pub(super) struct Row {
    /// Its key in JSON, unique in its group.
    pub(super) key: &'static str,
    /// Its name in the table.
    pub(super) what: Cow<'static, str>,
    /// The value in JSON.
    pub(super) value: Value,
    /// The value in the table.
    pub(super) words: Cow<'static, str>,
    /// Whether that is good for guests.
    pub(super) mark: Mark,
}

/// A value in JSON.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    /// One of a few words.
    Word(&'static str),
    /// A name or a sentence.
    Text(String),
    /// A count.
    Count(i64),
    /// A measured time in picoseconds, reported in nanoseconds; `None` if it could not be measured.
    Time(Option<u64>),
    /// Yes or no.
    Flag(bool),
}

/// Whether something is good for guests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    /// It is as it should be.
    Good,
    /// It is missing, which affects guests or their debuggers.
    Bad,
    /// KVM does not support it, but this program emulates it.
    Helped,
    /// It is neither good nor bad.
    Plain,
}

impl Row {
    /// A row.
    pub(super) fn new(
        key: &'static str,
        what: impl Into<Cow<'static, str>>,
        value: Value,
        mark: Mark,
        words: Cow<'static, str>,
    ) -> Row {
        Row { key, what: what.into(), value, words, mark }
    }
}

//! The report as a table.

use super::report::{Mark, Report};
use crate::frontends::messages::escaped;

/// How good and bad answers are marked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    /// By words: for pipes and files.
    Words,
    /// By marks.
    Marks,
    /// By coloured marks.
    Colours,
}

impl Style {
    /// The mark, as wide as all others of the style.
    fn mark(self, mark: Mark) -> &'static str {
        match (self, mark) {
            (Style::Words, Mark::Good) => "yes",
            (Style::Words, Mark::Bad) => "no ",
            (Style::Words, Mark::Helped) => "kvm",
            (Style::Words, Mark::Plain) => "   ",
            (Style::Marks, Mark::Good) => "✓",
            (Style::Marks, Mark::Bad) => "✗",
            (Style::Marks, Mark::Helped) => "~",
            (Style::Colours, Mark::Good) => "\x1b[32m✓\x1b[0m",
            (Style::Colours, Mark::Bad) => "\x1b[31m✗\x1b[0m",
            (Style::Colours, Mark::Helped) => "\x1b[33m~\x1b[0m",
            (Style::Marks | Style::Colours, Mark::Plain) => " ",
        }
    }

    fn heading(self, title: &str) -> String {
        match self {
            Style::Colours => format!("\x1b[1m{title}\x1b[0m"),
            Style::Words | Style::Marks => title.to_owned(),
        }
    }
}

/// The rows under their headings, in columns, and the conclusion.
pub(super) fn table(report: &Report, style: Style) -> String {
    let rows = report.groups.iter().flat_map(|group| &group.rows);
    let width = rows.map(|row| row.what.len()).max().unwrap_or_default();
    let mut text = String::new();
    for group in &report.groups {
        text += &format!("{}\n", style.heading(group.title));
        for row in &group.rows {
            // The host's own names must not control the terminal.
            let words = escaped(&row.words, &[]);
            let what = escaped(&row.what, &[]);
            text += &format!("  {} {:width$}  {words}\n", style.mark(row.mark), what);
        }
        text.push('\n');
    }
    text + &escaped(&report.conclusion, &[]) + "\n"
}

#[cfg(test)]
mod tests {
    use super::super::report::{Group, Row, Value};
    use super::*;

    fn report() -> Report {
        let rows = vec![
            Row::new("a", "good thing", Value::Flag(true), Mark::Good, "works".into()),
            Row::new("b", "bad", Value::Flag(false), Mark::Bad, "does not \x1b[2J".into()),
            Row::new("c", "fact", Value::Flag(false), Mark::Plain, "so".into()),
        ];
        Report {
            usable: true,
            groups: vec![Group { key: "k", title: "Title", rows }],
            conclusion: "Fine.".to_owned(),
        }
    }

    #[test]
    fn a_pipe_gets_plain_words() {
        let expected = "Title\n  yes good thing  works\n  no  bad         does not \\u{1b}[2J\n      \
                        fact        so\n\nFine.\n";
        assert_eq!(table(&report(), Style::Words), expected);
    }

    #[test]
    fn a_terminal_gets_marks_and_colours() {
        let marks = table(&report(), Style::Marks);
        assert!(marks.contains("\n  ✓ good thing  works\n  ✗ bad         does not"), "{marks}");
        assert!(!marks.contains('\x1b'));
        let colours = table(&report(), Style::Colours);
        assert!(colours.starts_with("\x1b[1mTitle\x1b[0m\n  \x1b[32m✓\x1b[0m good thing  works\n"));
        let plain = colours.replace("\x1b[1m", "").replace("\x1b[0m", "");
        assert_eq!(plain.replace("\x1b[32m", "").replace("\x1b[31m", ""), marks);
    }
}

//! Messages for the user on standard error, and text that must not control a terminal.

use std::io::{IsTerminal, Write};

/// `text` with its control characters escaped, except those in `kept`: file names, guest symbols and serial
/// output may contain any, and must not control the terminal that shows them.
pub fn escaped(text: &str, kept: &[char]) -> String {
    let mut words = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() && !kept.contains(&c) {
            words.extend(c.escape_default());
        } else {
            words.push(c);
        }
    }
    words
}

/// Prints `message` on standard error in one write, so that other output cannot split it.
pub fn tell(message: &str) {
    let text = format!("kvm: {}\n", escaped(message, &['\n']));
    // Without standard error there is no place to report to.
    let _ = std::io::stderr().write_all(text.as_bytes());
}

/// The same while the guest runs: a terminal may be in raw mode, in which a line feed does not return the carriage.
pub fn tell_during_run(message: &str) {
    let end = if std::io::stderr().is_terminal() { "\r\n" } else { "\n" };
    let text = format!("kvm: {}{end}", escaped(message, &[]));
    let _ = std::io::stderr().write_all(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_become_visible() {
        assert_eq!(escaped("a\x1b[31m\tb\n", &['\t']), "a\\u{1b}[31m\tb\\n");
    }
}

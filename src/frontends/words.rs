//! Words for the user: sentences on standard error, and text that must not drive a terminal.

use std::io::Write;

/// `text` with its control characters as escapes, but for those in `kept`: names of files, symbols of
/// guests and serial output may hold any, and must not drive the terminal that shows them.
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

/// Tells the user `message` on standard error, in one write, so that other output cannot cut it.
pub fn tell(message: &str) {
    let text = format!("kvm: {}\n", escaped(message, &['\n']));
    // Who runs without standard error does not want to be told.
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

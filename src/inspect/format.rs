//! What a log point prints: a text with places for values, as for C's `printf`.

use super::expression::{EvaluationError, Expression, ExpressionError, SymbolLookup, Values, character_at};

/// Values a log point may print.
const MOST_VALUES: usize = 16;
/// Widest column.
const WIDEST: usize = 64;
/// Bytes of a string of the guest's that are printed.
const LONGEST_STRING: usize = 256;
/// Bytes a log point prints at most.
const LONGEST: usize = 2048;

/// How a value is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Style {
    Signed,
    Unsigned,
    Hexadecimal,
    Pointer,
    Character,
    String,
}

/// A text before a value, and the value.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    before: String,
    value: Expression,
    style: Style,
    width: usize,
    zeros: bool,
    left: bool,
}

/// A text with its values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Format {
    places: Vec<Place>,
    end: String,
}

/// Why a text with values cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// It does not begin and end with a quotation mark.
    #[error("the text stands between quotation marks, as in \"n is %d\\n\"")]
    NoText,
    /// A conversion that there is not.
    #[error("`%{found}` is not known; there are %d %u %x %c %s %p and %%, with a width such as %08x")]
    Conversion {
        /// What stands there.
        found: String,
    },
    /// A backslash with something that makes no character.
    #[error("an escape in the text is not known; there are \\n \\t \\r \\0 \\\\ \\\" and \\x1b")]
    Escape,
    /// Not as many values as conversions.
    #[error("the text has places for {places} values, and {values} follow it")]
    Count {
        /// Conversions in the text.
        places: usize,
        /// Expressions behind it.
        values: usize,
    },
    /// More values than one line can have.
    #[error("the text has places for more than {MOST_VALUES} values; use two log points")]
    TooMany,
    /// A value that cannot be read.
    #[error(transparent)]
    Expression(#[from] ExpressionError),
}

/// A conversion that still lacks its value.
struct Conversion {
    before: String,
    style: Style,
    width: usize,
    zeros: bool,
    left: bool,
}

impl Format {
    /// Reads `"text" [, EXPRESSION]...`, all of it.
    ///
    /// # Errors
    ///
    /// [`FormatError`].
    pub fn parse(text: &str, symbols: SymbolLookup<'_>) -> Result<Format, FormatError> {
        let mut rest = text.trim().strip_prefix('"').ok_or(FormatError::NoText)?;
        let mut conversions = Vec::new();
        let mut before = String::new();
        loop {
            if let Some(behind) = rest.strip_prefix('"') {
                rest = behind.trim_start();
                break;
            }
            if rest.is_empty() {
                return Err(FormatError::NoText);
            }
            if let Some(behind) = rest.strip_prefix("%%") {
                before.push('%');
                rest = behind;
            } else if let Some(behind) = rest.strip_prefix('%') {
                let (conversion, behind) = conversion(behind, std::mem::take(&mut before))?;
                conversions.push(conversion);
                rest = behind;
            } else {
                let (letter, behind) = character_at(rest).ok_or(FormatError::Escape)?;
                before.push(letter);
                rest = behind;
            }
        }
        if conversions.len() > MOST_VALUES {
            return Err(FormatError::TooMany);
        }
        let mut values = Vec::new();
        while let Some(behind) = rest.strip_prefix(',') {
            let (value, behind) = Expression::parse_start(behind, symbols)?;
            values.push(value);
            rest = behind;
        }
        if !rest.is_empty() {
            return Err(ExpressionError::new(rest, "a comma is missing before the next value").into());
        }
        if values.len() != conversions.len() {
            return Err(FormatError::Count { places: conversions.len(), values: values.len() });
        }
        if !before.ends_with('\n') {
            before.push('\n');
        }
        let place = |(Conversion { before, style, width, zeros, left }, value)| Place {
            before,
            value,
            style,
            width,
            zeros,
            left,
        };
        Ok(Format { places: conversions.into_iter().zip(values).map(place).collect(), end: before })
    }

    /// The text with the values of now, with a line end. A value that cannot be had is replaced by
    /// the reason.
    pub fn print(&self, values: &mut dyn Values, hits: u64) -> String {
        let mut text = String::new();
        for place in &self.places {
            text.push_str(&place.before);
            match place.print(values, hits) {
                Ok(value) => text.push_str(&value),
                Err(error) => text.push_str(&format!("<{error}>")),
            }
            if text.len() > LONGEST {
                text.push_str("...\n");
                return text;
            }
        }
        text.push_str(&self.end);
        text
    }
}

impl Place {
    fn print(&self, values: &mut dyn Values, hits: u64) -> Result<String, EvaluationError> {
        let value = self.value.evaluate(values, hits)?;
        // Printed as wide as its type: the sign of a narrow number is not part of it.
        let unused = 64 - 8 * u32::from(self.value.size().clamp(1, 8));
        let own = value << unused >> unused;
        let digits = match self.style {
            Style::Signed => ((value << unused) as i64 >> unused).to_string(),
            Style::Unsigned => own.to_string(),
            Style::Hexadecimal => format!("{own:x}"),
            Style::Pointer => format!("{value:#x}"),
            Style::Character => shown(&[value as u8]),
            Style::String => string_at(values, value)?,
        };
        let missing = self.width.saturating_sub(digits.chars().count());
        Ok(match (self.left, self.zeros, digits.strip_prefix('-')) {
            (true, ..) => format!("{digits}{}", " ".repeat(missing)),
            (_, true, Some(digits)) => format!("-{}{digits}", "0".repeat(missing)),
            (_, true, None) => format!("{}{digits}", "0".repeat(missing)),
            _ => format!("{}{digits}", " ".repeat(missing)),
        })
    }
}

/// The conversion behind a per cent sign, and what follows it.
fn conversion(text: &str, before: String) -> Result<(Conversion, &str), FormatError> {
    let flags = text.trim_start_matches(['0', '-']);
    let flag = &text[..text.len() - flags.len()];
    let behind = flags.trim_start_matches(|letter: char| letter.is_ascii_digit());
    let digits = &flags[..flags.len() - behind.len()];
    // All values have their own widths; what says it in C is taken and not needed.
    let behind = behind.trim_start_matches(['l', 'h', 'z', 'j']);
    let mut letters = behind.chars();
    let letter = letters.next();
    let unknown =
        || FormatError::Conversion { found: text[..text.len() - letters.as_str().len()].to_owned() };
    let width = if digits.is_empty() { 0 } else { digits.parse().map_err(|_| unknown())? };
    let style = match letter {
        Some('d' | 'i') => Style::Signed,
        Some('u') => Style::Unsigned,
        Some('x') => Style::Hexadecimal,
        Some('p') => Style::Pointer,
        Some('c') => Style::Character,
        Some('s') => Style::String,
        _ => return Err(unknown()),
    };
    if width > WIDEST {
        return Err(unknown());
    }
    let zeros = flag.contains('0') && !matches!(style, Style::Character | Style::String);
    let conversion = Conversion { before, style, width, zeros, left: flag.contains('-') };
    Ok((conversion, letters.as_str()))
}

/// The text at `address`, up to a byte 0 or the end of what is mapped.
fn string_at(values: &mut dyn Values, address: u64) -> Result<String, EvaluationError> {
    let mut bytes = Vec::new();
    let mut end = "";
    loop {
        match values.load(address.wrapping_add(bytes.len() as u64), 1) {
            Some(0) => break,
            _ if bytes.len() == LONGEST_STRING => {
                end = "...";
                break;
            }
            Some(byte) => bytes.push(byte as u8),
            None if bytes.is_empty() => return Err(EvaluationError::Unreadable { address, size: 1 }),
            None => {
                end = "<end of memory>";
                break;
            }
        }
    }
    Ok(shown(&bytes) + end)
}

/// Bytes of the guest's as text. It goes to terminals: nothing in it may drive one.
fn shown(bytes: &[u8]) -> String {
    let mut text = String::new();
    for letter in String::from_utf8_lossy(bytes).chars() {
        if letter.is_control() && letter != '\n' && letter != '\t' {
            text.extend(letter.escape_default());
        } else {
            text.push(letter);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::expression::Register;
    use super::*;

    struct Known;

    impl Values for Known {
        fn register(&mut self, register: Register) -> u64 {
            if register == Register::General(7) { 0xFFFF_FFFF_FFFF_FFFB } else { 0x41 }
        }

        fn load(&mut self, address: u64, size: u8) -> Option<u64> {
            let text = b"hi\x1b[2J\0";
            match address {
                0x100..0x107 if size == 1 => Some(text[(address - 0x100) as usize].into()),
                0x200.. if size == 1 => Some(b'x'.into()),
                _ => None,
            }
        }
    }

    fn printed(text: &str) -> String {
        Format::parse(text, &|_| None).unwrap_or_else(|error| panic!("{text}: {error}")).print(&mut Known, 3)
    }

    #[test]
    fn values_are_printed_as_printf_does() {
        for (text, wanted) in [
            (r#""plain""#, "plain\n"),
            (r#""a\tb\\\"\x41\n""#, "a\tb\\\"A\n"),
            (r#""n=%d", $rdi"#, "n=-5\n"),
            (r#""%u", $rdi"#, "18446744073709551611\n"),
            (r#""%x %lx %llu", $edi, $rdi, $al"#, "fffffffb fffffffffffffffb 65\n"),
            (r#""%d %u", $dil, $dil"#, "-5 251\n"),
            (r#""%p|%c|%%", $rax, $rax"#, "0x41|A|%\n"),
            (r#""%5d|%-5d|%05d|%04x", $rdi, $rdi, $rdi, $rax"#, "   -5|-5   |-0005|0041\n"),
            (r#""%s.", 0x100"#, "hi\\u{1b}[2J.\n"),
            (r#""%5s|%-4s|", 0x105, 0x105"#, "    J|J   |\n"),
            (r#""hit %d", $hits"#, "hit 3\n"),
            (r#""%s", 0x10"#, "<1 bytes at 0x10 cannot be read: no RAM is mapped there>\n"),
            (r#""%d", 1/0"#, "<it divides by 0>\n"),
        ] {
            assert_eq!(printed(text), wanted, "{text}");
        }
    }

    #[test]
    fn strings_without_an_end_are_cut() {
        assert_eq!(printed(r#""%s", 0x200"#), format!("{}...\n", "x".repeat(LONGEST_STRING)));
        let many = format!("\"{}\"{}", "%s".repeat(16), ", 0x200".repeat(16));
        assert!(printed(&many).len() < LONGEST + 2 * LONGEST_STRING);
    }

    #[test]
    fn mistakes_in_the_text_are_named() {
        for (text, message) in [
            ("plain", "the text stands between quotation marks, as in \"n is %d\\n\""),
            (r#""open"#, "the text stands between quotation marks, as in \"n is %d\\n\""),
            (
                r#""%f", 1"#,
                "`%f` is not known; there are %d %u %x %c %s %p and %%, with a width such as %08x",
            ),
            (
                r#""%99d", 1"#,
                "`%99d` is not known; there are %d %u %x %c %s %p and %%, with a width such as %08x",
            ),
            (r#""\q""#, "an escape in the text is not known; there are \\n \\t \\r \\0 \\\\ \\\" and \\x1b"),
            (r#""%d""#, "the text has places for 1 values, and 0 follow it"),
            (r#""x", 1"#, "the text has places for 0 values, and 1 follow it"),
            (r#""%d" 1"#, "at `1`: a comma is missing before the next value"),
            (r#""%d","#, "at the end: a value is missing here: a number, a register or a symbol"),
            (r#""%99999999999999999999d", 1"#, ""),
            (r#""%""#, ""),
        ] {
            let error = Format::parse(text, &|_| None).unwrap_err().to_string();
            assert!(message.is_empty() || error == message, "{text}: {error}");
        }
        let many = format!("\"{}\"{}", "%d".repeat(17), ", 1".repeat(17));
        assert_eq!(Format::parse(&many, &|_| None), Err(FormatError::TooMany));
    }
}

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

/// Bytes of the guest as text that cannot control a terminal.
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
#[path = "format_test.rs"]
mod tests;

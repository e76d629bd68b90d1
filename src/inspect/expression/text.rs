//! The smallest pieces of expressions and formats: names, numbers, characters.

/// True for what a name begins with.
fn begins_name(letter: char) -> bool {
    letter.is_ascii_alphabetic() || letter == '_' || letter == '.'
}

/// The name that `text` begins with, as compilers write symbols; empty if it begins with none.
pub(super) fn name_at(text: &str) -> &str {
    if !text.starts_with(begins_name) {
        return "";
    }
    let end = text.find(|letter: char| !(begins_name(letter) || letter.is_ascii_digit() || letter == '$'));
    &text[..end.unwrap_or(text.len())]
}

/// The number that `text` begins with, as C writes it (decimal, 0x, 0b, and octal after a 0), and
/// what follows. `None` if it is none or has more than 64 bits.
pub(super) fn number_at(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|letter: char| !letter.is_ascii_alphanumeric()).unwrap_or(text.len());
    let (word, rest) = text.split_at(end);
    let digits = word.trim_end_matches(['u', 'U', 'l', 'L']);
    let lower = digits.to_ascii_lowercase();
    let number = if let Some(hex) = lower.strip_prefix("0x") {
        u64::from_str_radix(hex, 16)
    } else if let Some(binary) = lower.strip_prefix("0b") {
        u64::from_str_radix(binary, 2)
    } else if let Some(octal) = lower.strip_prefix('0').filter(|octal| !octal.is_empty()) {
        u64::from_str_radix(octal, 8)
    } else {
        lower.parse()
    };
    number.ok().map(|number| (number, rest))
}

/// The character that `text` begins with, with a backslash and what belongs to it taken as in C, and
/// what follows. `None` at the end of the text, and for an escape that is none.
pub(crate) fn character_at(text: &str) -> Option<(char, &str)> {
    let mut letters = text.chars();
    let first = letters.next()?;
    if first != '\\' {
        return Some((first, letters.as_str()));
    }
    let meant = match letters.next()? {
        'n' => '\n',
        't' => '\t',
        'r' => '\r',
        '0' => '\0',
        'x' => {
            let digits = letters.as_str().get(..2)?;
            let code = u8::from_str_radix(digits, 16).ok()?;
            return Some((char::from(code), &letters.as_str()[2..]));
        }
        other @ ('\\' | '\'' | '"') => other,
        _ => return None,
    };
    Some((meant, letters.as_str()))
}

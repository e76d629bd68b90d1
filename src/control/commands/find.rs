//! The command that searches memory.

use super::super::command::invalid;
use super::super::error::CommandError;
use super::values::number;
use crate::inspect::expression::character_at;
use crate::inspect::find::{find_physical, find_virtual};
use crate::supervisor::stopped_machine::{GuestNames, StoppedMachine};

/// Most bytes that are searched for.
const MOST: usize = 256;

/// Searches mapped memory, or guest-physical memory, for bytes or a text.
pub(in crate::control) fn find(
    guest: &mut dyn StoppedMachine,
    arguments: &str,
) -> Result<String, CommandError> {
    let (is_physical, arguments) = match arguments.strip_prefix("-p") {
        Some(rest) if rest.starts_with(char::is_whitespace) => (true, rest.trim_start()),
        _ => (false, arguments),
    };
    let (range, wanted) = match wanted(arguments)? {
        Some(wanted) => (0..=u64::MAX, wanted),
        None => {
            let (start, rest) = number(guest, arguments)?;
            let (length, rest) = number(guest, rest)?;
            let last = length.checked_sub(1).ok_or_else(|| invalid("the length is 0"))?;
            let wanted = wanted(rest)?;
            let wanted = wanted.ok_or_else(|| invalid("what to search for is missing"))?;
            (start..=start.saturating_add(last), wanted)
        }
    };
    if !(1..=MOST).contains(&wanted.len()) {
        return Err(invalid(format!("1 to {MOST} bytes are searched for, and these are {}", wanted.len())));
    }
    let registers = guest.registers()?;
    let found = match is_physical {
        true => find_physical(guest.memory(), range, &wanted),
        false => find_virtual(guest.memory(), &registers, &GuestNames(guest), range, &wanted),
    };
    Ok(found.to_string())
}

/// The bytes that `text` stands for: pairs of hexadecimal digits without a prefix, or a text in quotation marks. `None` if
/// it begins with something else.
fn wanted(text: &str) -> Result<Option<Vec<u8>>, CommandError> {
    if let Some(mut rest) = text.strip_prefix('"') {
        let mut bytes = Vec::new();
        while !rest.starts_with('"') {
            let (character, behind) = character_at(rest)
                .ok_or_else(|| invalid("the text ends with a quotation mark, and has escapes as in C"))?;
            match rest.starts_with("\\x") {
                // One byte, whatever it would be as a character.
                true => bytes.push(character as u8),
                false => bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
            }
            rest = behind;
        }
        return match rest.trim() {
            "\"" => Ok(Some(bytes)),
            _ => Err(invalid("nothing follows the text")),
        };
    }
    let is_byte =
        |word: &str| word.len().is_multiple_of(2) && word.bytes().all(|digit| digit.is_ascii_hexdigit());
    let mut words = text.split_whitespace().peekable();
    if !words.peek().is_some_and(|word| is_byte(word)) {
        return Ok(None);
    }
    if let Some(odd) = words.clone().find(|word| !is_byte(word)) {
        return Err(invalid(format!("`{}` is no byte: two hexadecimal digits", odd.escape_debug())));
    }
    let digits: Vec<u8> =
        words.flat_map(str::bytes).map(|digit| char::from(digit).to_digit(16).unwrap_or(0) as u8).collect();
    Ok(Some(digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_and_texts_are_told_from_addresses() {
        assert_eq!(wanted("48 8Bc3").unwrap(), Some(vec![0x48, 0x8B, 0xC3]));
        assert_eq!(wanted("\"a\\n\\\"\" ").unwrap(), Some(b"a\n\"".to_vec()));
        assert_eq!(wanted("\"\\xff\u{e8}\"").unwrap(), Some(vec![0xFF, 0xC3, 0xA8]));
        assert_eq!(wanted("0x48 8b").unwrap(), None);
        assert_eq!(wanted("main 8b").unwrap(), None);
        assert_eq!(wanted("").unwrap(), None);
        for text in ["48 8", "48 0x8b", "\"open", "\"a\" b"] {
            assert!(wanted(text).is_err(), "{text}");
        }
    }
}

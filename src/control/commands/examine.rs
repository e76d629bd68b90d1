//! Commands that show values and memory in the formats of gdb and QEMU.

use super::super::command::{invalid, no_more};
use super::super::error::CommandError;
use super::memory;
use super::values::{expression, number, place, symbol};
use crate::inspect::disassembly::{self, LONGEST_INSTRUCTION};
use crate::inspect::translate::read_virtual;
use crate::inspect::values::Known;
use crate::supervisor::stopped_machine::StoppedMachine;

/// Maximum number of elements.
const MOST: u64 = 4096;
/// Maximum length of a string, in bytes.
const LONGEST_STRING: usize = 200;

/// How values are shown: `8xb`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Format {
    count: u64,
    /// `x`, `d`, `u`, `o`, `t`, `a`, `c`, `s` or `i`.
    letter: char,
    /// Size of an element in bytes.
    size: u8,
    /// The size was given.
    sized: bool,
}

impl Format {
    /// Parses the format at the start of `text` if there is one; returns it with the remaining text.
    fn parse(text: &str) -> Result<(Option<Format>, &str), CommandError> {
        let Some(text) = text.strip_prefix('/') else { return Ok((None, text)) };
        let (format, rest) = text.split_at(text.find(char::is_whitespace).unwrap_or(text.len()));
        let digits = format.len() - format.trim_start_matches(|digit: char| digit.is_ascii_digit()).len();
        let (count, letters) = format.split_at(digits);
        let mut parsed = Format { count: 1, letter: 'x', size: 4, sized: false };
        if !count.is_empty() {
            parsed.count = count
                .parse()
                .ok()
                .filter(|count| (1..=MOST).contains(count))
                .ok_or_else(|| invalid(format!("the count is {count}; it must be from 1 to {MOST}")))?;
        }
        let mut size = None;
        for letter in letters.chars() {
            match letter {
                'x' | 'd' | 'u' | 'o' | 't' | 'a' | 'c' | 's' | 'i' => parsed.letter = letter,
                'b' => size = Some(1),
                'h' => size = Some(2),
                'w' => size = Some(4),
                'g' => size = Some(8),
                other => {
                    return Err(invalid(format!(
                        "`{}` is no format; there is x d u o t a c s i, and b h w g for the size",
                        other.escape_debug()
                    )));
                }
            }
        }
        parsed.sized = size.is_some();
        parsed.size = size.unwrap_or(match parsed.letter {
            'a' => 8,
            'c' => 1,
            _ => 4,
        });
        Ok((Some(parsed), rest.trim_start()))
    }

    /// Elements in a line.
    fn per_line(self) -> u64 {
        match (self.letter, self.size) {
            ('t', 4) => 2,
            ('t', 8) => 1,
            (_, 1 | 2) => 8,
            (_, 4) => 4,
            _ => 2,
        }
    }

    /// `value` as text.
    fn show(self, guest: &dyn StoppedMachine, value: u64) -> String {
        let unused = 64 - 8 * u32::from(self.size);
        let (digits, signed) = (usize::from(self.size), (value << unused) as i64 >> unused);
        let value = value << unused >> unused;
        match self.letter {
            'd' => signed.to_string(),
            'u' => value.to_string(),
            'o' => format!("{value:#o}"),
            't' => format!("{value:0width$b}", width = 8 * digits),
            'a' => place(guest, value),
            'c' => format!("{signed} {:?}", char::from(value as u8)),
            _ => format!("{value:#0width$x}", width = 2 + 2 * digits),
        }
    }
}

/// The value of an expression.
pub(in crate::control) fn print(
    guest: &mut dyn StoppedMachine,
    arguments: &str,
) -> Result<String, CommandError> {
    let (format, text) = Format::parse(arguments)?;
    if text.is_empty() {
        return Err(invalid("an expression is missing"));
    }
    let (parsed, rest) = expression(guest, text)?;
    no_more(rest)?;
    let registers = guest.registers()?;
    let mut known = Known { registers: &registers, memory: guest.memory() };
    let value = parsed
        .evaluate(&mut known, 0)
        .map_err(|error| CommandError::Evaluation { text: text.trim().to_owned(), error })?;
    Ok(match format {
        Some(Format { letter: 's' | 'i', .. }) => {
            return Err(invalid("s and i show memory; use `x`"));
        }
        Some(format) => {
            let size = if format.sized || format.letter == 'c' { format.size } else { parsed.size() };
            let shown = Format { size, ..format }.show(guest, value);
            // gdb shows no leading zeros here.
            match format.letter {
                'x' => format!("{value:#x}\n"),
                't' => format!("{value:b}\n"),
                _ => format!("{shown}\n"),
            }
        }
        None => {
            let unused = 64 - 8 * u32::from(parsed.size().clamp(1, 8));
            match parsed.is_signed() {
                true => format!("{} ({value:#x})\n", (value << unused) as i64 >> unused),
                false => format!("{value} ({value:#x})\n"),
            }
        }
    })
}

/// Memory at a virtual address.
pub(in crate::control) fn virtual_memory(
    guest: &mut dyn StoppedMachine,
    arguments: &str,
) -> Result<String, CommandError> {
    let (format, text) = Format::parse(arguments)?;
    let format = format.unwrap_or(Format { count: 1, letter: 'x', size: 4, sized: false });
    examine(guest, format, text, true)
}

/// Memory at a guest-physical address; without a format a dump.
pub(in crate::control) fn physical_memory(
    guest: &mut dyn StoppedMachine,
    arguments: &str,
) -> Result<String, CommandError> {
    match Format::parse(arguments)? {
        (None, text) => memory::dump(guest, text),
        (Some(format), text) => examine(guest, format, text, false),
    }
}

/// Where elements are read from.
struct Source<'g> {
    guest: &'g dyn StoppedMachine,
    registers: crate::arch::Registers,
    is_virtual: bool,
}

impl Source<'_> {
    /// Fills `bytes`; returns how many there were.
    fn read(&self, address: u64, bytes: &mut [u8]) -> usize {
        let memory = self.guest.memory();
        if self.is_virtual {
            return read_virtual(memory, &self.registers, address, bytes);
        }
        (0..bytes.len())
            .take_while(|at| {
                let next = address.checked_add(*at as u64);
                next.is_some_and(|next| memory.read(next, &mut bytes[*at..=*at]).is_ok())
            })
            .count()
    }

    fn nothing_at(&self, address: u64) -> CommandError {
        match self.is_virtual {
            true => CommandError::NotMapped { address },
            false => CommandError::NotRam { address },
        }
    }

    /// The start of a line.
    fn label(&self, address: u64) -> String {
        let symbol = if self.is_virtual { symbol(self.guest, address) } else { None };
        match symbol {
            Some(symbol) => format!("{address:#x} <{symbol}>:"),
            None => format!("{address:#x}:"),
        }
    }
}

fn examine(
    guest: &mut dyn StoppedMachine,
    format: Format,
    text: &str,
    is_virtual: bool,
) -> Result<String, CommandError> {
    if text.is_empty() {
        return Err(invalid("an address is missing"));
    }
    let (start, rest) = number(guest, text)?;
    no_more(rest)?;
    let source = Source { registers: guest.registers()?, guest, is_virtual };
    match format.letter {
        's' => strings(&source, start, format.count),
        'i' => instructions(&source, start, format.count),
        _ => elements(&source, start, format),
    }
}

/// Adds a line which says that memory ends at `address`, or fails if that is where it would begin.
fn end(source: &Source<'_>, mut text: String, address: u64) -> Result<String, CommandError> {
    if text.is_empty() {
        return Err(source.nothing_at(address));
    }
    if !text.ends_with('\n') {
        text.push('\n');
    }
    Ok(text + &format!("{}\n", source.nothing_at(address)))
}

fn elements(source: &Source<'_>, start: u64, format: Format) -> Result<String, CommandError> {
    let (mut text, mut address) = (String::new(), start);
    for index in 0..format.count {
        let mut bytes = [0; 8];
        if source.read(address, &mut bytes[..usize::from(format.size)]) < usize::from(format.size) {
            return end(source, text, address);
        }
        if index % format.per_line() == 0 {
            if index > 0 {
                text.push('\n');
            }
            text.push_str(&source.label(address));
        }
        text.push('\t');
        text.push_str(&format.show(source.guest, u64::from_le_bytes(bytes)));
        address = address.wrapping_add(u64::from(format.size));
    }
    text.push('\n');
    Ok(text)
}

fn strings(source: &Source<'_>, start: u64, count: u64) -> Result<String, CommandError> {
    let (mut text, mut address) = (String::new(), start);
    for _ in 0..count {
        let mut bytes = [0; LONGEST_STRING];
        let found = source.read(address, &mut bytes);
        if found == 0 {
            return end(source, text, address);
        }
        let ended = bytes[..found].iter().position(|byte| *byte == 0);
        let length = ended.unwrap_or(found);
        let shown = bytes[..length].escape_ascii();
        text.push_str(&format!("{}\t\"{shown}\"", source.label(address)));
        text.push_str(if ended.is_some() { "\n" } else { "...\n" });
        address = address.wrapping_add((length + usize::from(ended.is_some())) as u64);
    }
    Ok(text)
}

fn instructions(source: &Source<'_>, start: u64, count: u64) -> Result<String, CommandError> {
    let (bitness, here) = (source.registers.bitness(), source.registers.next_instruction());
    // Jumps are relative to the instruction pointer, which counts from the base of CS.
    let base = here.wrapping_sub(source.registers.general.rip);
    let (mut text, mut address) = (String::new(), start);
    for _ in 0..count {
        let mut bytes = [0; LONGEST_INSTRUCTION];
        let found = source.read(address, &mut bytes);
        if found == 0 {
            return end(source, text, address);
        }
        let mark = if source.is_virtual && address == here { "=> " } else { "   " };
        let (what, length) = match disassembly::decode(&bytes[..found], bitness, address.wrapping_sub(base)) {
            Some(decoded) => (decoded.text, decoded.length),
            None => ("(bad)".to_owned(), 1),
        };
        text.push_str(&format!("{mark}{}\t{what}\n", source.label(address)));
        address = address.wrapping_add(length as u64);
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_format_has_a_count_a_letter_and_a_size_in_any_order() {
        let format = |text| Format::parse(text).unwrap();
        let wanted = |count, letter, size, sized| Some(Format { count, letter, size, sized });
        assert_eq!(format("/8xb 0x10"), (wanted(8, 'x', 1, true), "0x10"));
        assert_eq!(format("/gd 1"), (wanted(1, 'd', 8, true), "1"));
        assert_eq!(format("/3i  $pc"), (wanted(3, 'i', 4, false), "$pc"));
        assert_eq!(format("/c 1"), (wanted(1, 'c', 1, false), "1"));
        assert_eq!(format("0x10"), (None, "0x10"));
        for text in ["/0x 1", "/4097x 1", "/q 1", "/99999999999999999999x 1"] {
            assert!(Format::parse(text).is_err(), "{text}");
        }
    }
}

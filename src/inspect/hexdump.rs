//! Bytes in hexadecimal and ASCII.

use std::fmt::Write;

/// Bytes in a line.
pub const LINE: usize = 16;

/// Adds a line for `bytes`, of which the first is at `address`; those beyond [`LINE`] are not shown.
pub fn add_line(text: &mut String, address: u64, bytes: &[u8]) {
    // Writing to a String cannot fail.
    let _ = write!(text, "{address:010x} ");
    for column in 0..LINE {
        if column % 8 == 0 {
            text.push(' ');
        }
        match bytes.get(column) {
            Some(byte) => {
                // Whole gigabytes are shown so: formatting each byte would take several times as long.
                text.extend(
                    [byte >> 4, byte & 0xF].iter().filter_map(|value| char::from_digit((*value).into(), 16)),
                );
                text.push(' ');
            }
            None => text.push_str("   "),
        }
    }
    text.push_str(" |");
    let shown = |byte: &u8| if (0x20..0x7F).contains(byte) { char::from(*byte) } else { '.' };
    text.extend(bytes.iter().take(LINE).map(shown));
    text.push_str("|\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_line_keeps_its_columns() {
        let mut text = String::new();
        add_line(&mut text, 0xBF000, b"0123456789abcde\x1b");
        add_line(&mut text, 1 << 44, b"\xFFA");
        assert_eq!(
            text,
            "00000bf000  30 31 32 33 34 35 36 37  38 39 61 62 63 64 65 1b  |0123456789abcde.|\n\
             100000000000  ff 41                                             |.A|\n"
        );
    }
}

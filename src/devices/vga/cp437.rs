//! Code page 437: what a character of VGA text looks like.

/// The character that looks like glyph `byte` of the VGA's font.
///
/// Every byte has a glyph, those below 0x20 too, so none becomes a control character. The two blank
/// glyphs beside the space, 0x00 and 0xFF, are given as spaces, so that text copied from the screen
/// holds nothing invisible but spaces.
pub const fn glyph(byte: u8) -> char {
    GLYPHS[byte as usize]
}

#[rustfmt::skip]
const GLYPHS: [char; 256] = [
    ' ', '☺', '☻', '♥', '♦', '♣', '♠', '•', '◘', '○', '◙', '♂', '♀', '♪', '♫', '☼',
    '►', '◄', '↕', '‼', '¶', '§', '▬', '↨', '↑', '↓', '→', '←', '∟', '↔', '▲', '▼',
    ' ', '!', '"', '#', '$', '%', '&', '\'', '(', ')', '*', '+', ',', '-', '.', '/',
    '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', ':', ';', '<', '=', '>', '?',
    '@', 'A', 'B', 'C', 'D', 'E', 'F', 'G', 'H', 'I', 'J', 'K', 'L', 'M', 'N', 'O',
    'P', 'Q', 'R', 'S', 'T', 'U', 'V', 'W', 'X', 'Y', 'Z', '[', '\\', ']', '^', '_',
    '`', 'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j', 'k', 'l', 'm', 'n', 'o',
    'p', 'q', 'r', 's', 't', 'u', 'v', 'w', 'x', 'y', 'z', '{', '|', '}', '~', '⌂',
    'Ç', 'ü', 'é', 'â', 'ä', 'à', 'å', 'ç', 'ê', 'ë', 'è', 'ï', 'î', 'ì', 'Ä', 'Å',
    'É', 'æ', 'Æ', 'ô', 'ö', 'ò', 'û', 'ù', 'ÿ', 'Ö', 'Ü', '¢', '£', '¥', '₧', 'ƒ',
    'á', 'í', 'ó', 'ú', 'ñ', 'Ñ', 'ª', 'º', '¿', '⌐', '¬', '½', '¼', '¡', '«', '»',
    '░', '▒', '▓', '│', '┤', '╡', '╢', '╖', '╕', '╣', '║', '╗', '╝', '╜', '╛', '┐',
    '└', '┴', '┬', '├', '─', '┼', '╞', '╟', '╚', '╔', '╩', '╦', '╠', '═', '╬', '╧',
    '╨', '╤', '╥', '╙', '╘', '╒', '╓', '╫', '╪', '┘', '┌', '█', '▄', '▌', '▐', '▀',
    'α', 'ß', 'Γ', 'π', 'Σ', 'σ', 'µ', 'τ', 'Φ', 'Θ', 'Ω', 'δ', '∞', 'φ', 'ε', '∩',
    '≡', '±', '≥', '≤', '⌠', '⌡', '÷', '≈', '°', '∙', '·', '√', 'ⁿ', '²', '■', ' ',
];

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn ascii_is_itself() {
        for byte in 0x20..0x7F {
            assert_eq!(glyph(byte), char::from(byte));
        }
    }

    #[test]
    fn no_byte_becomes_a_control_character() {
        for byte in 0..=255 {
            assert!(!glyph(byte).is_control(), "{byte:#x}");
        }
    }

    #[test]
    fn different_glyphs_stay_different() {
        let distinct: HashSet<char> = (0..=255).map(glyph).collect();
        assert_eq!(distinct.len(), 254, "only the three blanks are the same");
    }

    #[test]
    fn the_glyphs_of_frames_and_accents_are_where_they_belong() {
        let known = [(0x01, '☺'), (0x1F, '▼'), (0x7F, '⌂'), (0x82, 'é'), (0xB3, '│'), (0xC4, '─')];
        for (byte, character) in known.into_iter().chain([(0xDB, '█'), (0xE1, 'ß'), (0xFE, '■')]) {
            assert_eq!(glyph(byte), character, "{byte:#x}");
        }
    }
}

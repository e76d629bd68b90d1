//! The codes that INT 16h reports for keys of a US keyboard: scan code in the high byte, character in the low one.
//!
//! Manual: IBM PS/2 and PC BIOS Interface Technical Reference, "Keyboard Scan Code/Character Code Combinations".

/// What a key reports, alone and with Shift, Ctrl and Alt; 0 for nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct KeyCodes {
    pub plain: u16,
    pub shift: u16,
    pub control: u16,
    pub alt: u16,
}

const fn codes(plain: u16, shift: u16, control: u16, alt: u16) -> KeyCodes {
    KeyCodes { plain, shift, control, alt }
}

/// A letter: its scan code is its number.
const fn letter(scan: u16, letter: u8) -> KeyCodes {
    let high = scan << 8;
    codes(high | letter as u16, high | (letter - 0x20) as u16, high | (letter & 0x1F) as u16, high)
}

/// A key of the number pad: plain is the cursor key, Shift (or Num Lock) the digit.
const fn pad(scan: u16, digit: u8, control: u16) -> KeyCodes {
    codes(scan << 8, scan << 8 | digit as u16, control, 0)
}

/// A key behind the prefix E0h.
const fn grey(scan: u16, control: u16, alt: u16) -> KeyCodes {
    codes(scan << 8 | 0xE0, scan << 8 | 0xE0, control, alt)
}

/// The codes of a scan code of set 1; `None` for keys that report nothing by themselves.
pub(super) fn of(scan: u8) -> Option<KeyCodes> {
    let scan16 = u16::from(scan);
    Some(match scan {
        0x01 => codes(0x011B, 0x011B, 0x011B, 0x0100),
        0x02 => codes(0x0231, 0x0221, 0, 0x7800),
        0x03 => codes(0x0332, 0x0340, 0x0300, 0x7900),
        0x04 => codes(0x0433, 0x0423, 0, 0x7A00),
        0x05 => codes(0x0534, 0x0524, 0, 0x7B00),
        0x06 => codes(0x0635, 0x0625, 0, 0x7C00),
        0x07 => codes(0x0736, 0x075E, 0x071E, 0x7D00),
        0x08 => codes(0x0837, 0x0826, 0, 0x7E00),
        0x09 => codes(0x0938, 0x092A, 0, 0x7F00),
        0x0A => codes(0x0A39, 0x0A28, 0, 0x8000),
        0x0B => codes(0x0B30, 0x0B29, 0, 0x8100),
        0x0C => codes(0x0C2D, 0x0C5F, 0x0C1F, 0x8200),
        0x0D => codes(0x0D3D, 0x0D2B, 0, 0x8300),
        0x0E => codes(0x0E08, 0x0E08, 0x0E7F, 0x0E00),
        0x0F => codes(0x0F09, 0x0F00, 0x9400, 0xA500),
        0x10..=0x19 => letter(scan16, b"qwertyuiop"[usize::from(scan - 0x10)]),
        0x1A => codes(0x1A5B, 0x1A7B, 0x1A1B, 0x1A00),
        0x1B => codes(0x1B5D, 0x1B7D, 0x1B1D, 0x1B00),
        0x1C => codes(0x1C0D, 0x1C0D, 0x1C0A, 0x1C00),
        0x1E..=0x26 => letter(scan16, b"asdfghjkl"[usize::from(scan - 0x1E)]),
        0x27 => codes(0x273B, 0x273A, 0, 0x2700),
        0x28 => codes(0x2827, 0x2822, 0, 0x2800),
        0x29 => codes(0x2960, 0x297E, 0, 0x2900),
        0x2B => codes(0x2B5C, 0x2B7C, 0x2B1C, 0x2B00),
        0x2C..=0x32 => letter(scan16, b"zxcvbnm"[usize::from(scan - 0x2C)]),
        0x33 => codes(0x332C, 0x333C, 0, 0x3300),
        0x34 => codes(0x342E, 0x343E, 0, 0x3400),
        0x35 => codes(0x352F, 0x353F, 0, 0x3500),
        0x37 => codes(0x372A, 0x372A, 0x9600, 0x3700),
        0x39 => codes(0x3920, 0x3920, 0x3920, 0x3920),
        // F1 to F10.
        0x3B..=0x44 => codes(scan16 << 8, (scan16 + 0x19) << 8, (scan16 + 0x23) << 8, (scan16 + 0x2D) << 8),
        0x47 => pad(scan16, b'7', 0x7700),
        0x48 => pad(scan16, b'8', 0x8D00),
        0x49 => pad(scan16, b'9', 0x8400),
        0x4A => codes(0x4A2D, 0x4A2D, 0x8E00, 0x4A00),
        0x4B => pad(scan16, b'4', 0x7300),
        0x4C => pad(scan16, b'5', 0x8F00),
        0x4D => pad(scan16, b'6', 0x7400),
        0x4E => codes(0x4E2B, 0x4E2B, 0x9000, 0x4E00),
        0x4F => pad(scan16, b'1', 0x7500),
        0x50 => pad(scan16, b'2', 0x9100),
        0x51 => pad(scan16, b'3', 0x7600),
        0x52 => pad(scan16, b'0', 0x9200),
        0x53 => pad(scan16, b'.', 0x9300),
        0x56 => codes(0x565C, 0x567C, 0, 0),
        0x57 => codes(0x8500, 0x8700, 0x8900, 0x8B00),
        0x58 => codes(0x8600, 0x8800, 0x8A00, 0x8C00),
        _ => return None,
    })
}

/// The codes of a scan code behind the prefix E0h.
pub(super) fn of_extended(scan: u8) -> Option<KeyCodes> {
    let scan16 = u16::from(scan);
    Some(match scan {
        0x1C => codes(0xE00D, 0xE00D, 0xE00A, 0xA600),
        0x35 => codes(0xE02F, 0xE02F, 0x9500, 0xA400),
        0x47 => grey(scan16, 0x77E0, 0x9700),
        0x48 => grey(scan16, 0x8DE0, 0x9800),
        0x49 => grey(scan16, 0x84E0, 0x9900),
        0x4B => grey(scan16, 0x73E0, 0x9B00),
        0x4D => grey(scan16, 0x74E0, 0x9D00),
        0x4F => grey(scan16, 0x75E0, 0x9F00),
        0x50 => grey(scan16, 0x91E0, 0xA000),
        0x51 => grey(scan16, 0x76E0, 0xA100),
        0x52 => grey(scan16, 0x92E0, 0xA200),
        0x53 => grey(scan16, 0x93E0, 0xA300),
        _ => return None,
    })
}

/// The digit that a key of the number pad gives while Alt is held.
pub(super) fn pad_digit(scan: u8) -> Option<u8> {
    let digit = b"789-456+1230".get(usize::from(scan.checked_sub(0x47)?))?;
    digit.is_ascii_digit().then(|| digit - b'0')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_have_lower_case_upper_case_and_control_codes() {
        assert_eq!(of(0x1E), Some(codes(0x1E61, 0x1E41, 0x1E01, 0x1E00)));
        assert_eq!(of(0x32), Some(codes(0x326D, 0x324D, 0x320D, 0x3200)));
        assert_eq!(of(0x19).unwrap().plain, 0x1970);
    }

    #[test]
    fn function_keys_count_up_in_each_shift_state() {
        assert_eq!(of(0x3B), Some(codes(0x3B00, 0x5400, 0x5E00, 0x6800)));
        assert_eq!(of(0x44), Some(codes(0x4400, 0x5D00, 0x6700, 0x7100)));
    }

    #[test]
    fn keys_of_the_number_pad_are_digits_with_alt() {
        assert_eq!(
            [0x47, 0x4C, 0x52, 0x4A, 0x53, 0x46].map(pad_digit),
            [Some(7), Some(5), Some(0), None, None, None]
        );
        assert_eq!((of(0x2A), of(0x1D), of_extended(0x2A)), (None, None, None));
    }
}

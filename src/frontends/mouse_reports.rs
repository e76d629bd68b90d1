//! The terminal's mouse: reports of xterm's SGR mode (1006) as movements of the guest's mouse.
//!
//! A terminal reports the cell under its pointer, and a PS/2 mouse reports how far it was moved. A column counts as
//! [`COLUMN`] and a row as [`ROW`], the pixels of a character of the VGA. The first report only says where the pointer
//! is. A guest that accelerates its pointer, or stops it at an edge, shows it elsewhere than the terminal.

use crate::machine::inputs::Input;

/// Counts of the mouse for a column of the terminal.
pub const COLUMN: i16 = 8;
/// Counts of the mouse for a row of the terminal.
pub const ROW: i16 = 16;

const START: &[u8] = b"\x1b[<";
/// Longest report, in bytes: three numbers of five digits.
const LONGEST: usize = 24;

/// Bits of the first number of a report.
mod code {
    pub const BUTTON: u16 = 0x03;
    pub const MOTION: u16 = 1 << 5;
    pub const WHEEL: u16 = 1 << 6;
    pub const EXTRA: u16 = 1 << 7;
    /// Value of the button bits without a button.
    pub const NONE: u16 = 3;
}

/// A piece of a terminal's input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Bytes that are no report of the mouse.
    Bytes(Vec<u8>),
    /// What a report means for the guest.
    Mouse(Input),
}

/// Takes the mouse reports out of a terminal's input.
#[derive(Debug, Default)]
pub struct MouseReports {
    /// Bytes that may be the beginning of a report.
    pending: Vec<u8>,
    /// Column and row of the pointer, once they are known.
    position: Option<(u16, u16)>,
    /// The buttons that are down, as the machine counts them.
    buttons: u8,
    /// The reports are for the guest.
    on: bool,
}

/// How the input begins.
enum Beginning {
    /// A report of this length, of a button or movement, a column and a row.
    Report {
        length: usize,
        code: u16,
        at: (u16, u16),
        pressed: bool,
    },
    /// A report may become complete.
    Incomplete,
    Other,
}

impl MouseReports {
    /// Reports are for the guest from now on, or are dropped. Returns what releases the buttons, if any is down.
    pub fn set_on(&mut self, on: bool) -> Option<Input> {
        if on == self.on {
            return None;
        }
        self.on = on;
        self.position = None;
        let held = std::mem::take(&mut self.buttons) != 0;
        held.then_some(Input::Mouse { dx: 0, dy: 0, wheel: 0, buttons: Some(0) })
    }

    /// Takes the next bytes of the input.
    pub fn feed(&mut self, bytes: &[u8]) -> Vec<Piece> {
        self.pending.extend_from_slice(bytes);
        let input = std::mem::take(&mut self.pending);
        let mut pieces = Vec::new();
        let mut other = Vec::new();
        let mut rest = input.as_slice();
        while let Some((&first, behind)) = rest.split_first() {
            match beginning(rest) {
                Beginning::Report { length, code, at, pressed } => {
                    rest = &rest[length..];
                    if let Some(input) = self.report(code, at, pressed) {
                        if !other.is_empty() {
                            pieces.push(Piece::Bytes(std::mem::take(&mut other)));
                        }
                        pieces.push(Piece::Mouse(input));
                    }
                }
                Beginning::Incomplete => {
                    self.pending = rest.to_vec();
                    break;
                }
                Beginning::Other => {
                    other.push(first);
                    rest = behind;
                }
            }
        }
        if !other.is_empty() {
            pieces.push(Piece::Bytes(other));
        }
        pieces
    }

    /// The beginning of a report whose rest has not arrived in time: it is something else.
    pub fn flush(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.pending)
    }

    fn report(&mut self, code: u16, at: (u16, u16), pressed: bool) -> Option<Input> {
        if !self.on {
            return None;
        }
        let before = self.position.replace(at).unwrap_or(at);
        let counts = |now: u16, before: u16, factor: i16| {
            let cells = i32::from(now) - i32::from(before);
            (cells * i32::from(factor)).clamp(i16::MIN.into(), i16::MAX.into()) as i16
        };
        let (dx, dy) = (counts(at.0, before.0, COLUMN), counts(at.1, before.1, ROW));
        let buttons = self.buttons;
        let mut wheel = 0;
        match (code & code::WHEEL != 0, code & code::BUTTON) {
            (true, 0) => wheel = -1,
            (true, 1) => wheel = 1,
            // A wheel that turns sideways.
            (true, _) => {}
            _ if code & code::MOTION != 0 => {}
            (false, button) => {
                let bit = match (code & code::EXTRA != 0, button) {
                    (false, 0) => 1 << 0,
                    (false, 1) => 1 << 2,
                    (false, 2) => 1 << 1,
                    (true, 0) => 1 << 3,
                    (true, 1) => 1 << 4,
                    _ => 0,
                };
                self.buttons = if pressed { buttons | bit } else { buttons & !bit };
            }
        }
        // A release outside the window is not reported.
        if code & (code::MOTION | code::BUTTON) == code::MOTION | code::NONE {
            self.buttons = 0;
        }
        let changed = (self.buttons != buttons).then_some(self.buttons);
        ((dx, dy, wheel) != (0, 0, 0) || changed.is_some()).then_some(Input::Mouse {
            dx,
            dy,
            wheel,
            buttons: changed,
        })
    }
}

fn beginning(input: &[u8]) -> Beginning {
    let common = input.len().min(START.len());
    if input[..common] != START[..common] {
        return Beginning::Other;
    }
    let body = &input[common..];
    let Some(end) = body.iter().position(|byte| !byte.is_ascii_digit() && *byte != b';') else {
        return if input.len() < LONGEST { Beginning::Incomplete } else { Beginning::Other };
    };
    let text = std::str::from_utf8(&body[..end]).unwrap_or_default();
    let numbers: Option<Vec<u16>> = text.split(';').map(|number| number.parse().ok()).collect();
    match (numbers.as_deref(), body[end]) {
        (Some(&[code, column, row]), last @ (b'M' | b'm')) => Beginning::Report {
            length: START.len() + end + 1,
            code,
            at: (column, row),
            pressed: last == b'M',
        },
        _ => Beginning::Other,
    }
}

#[cfg(test)]
#[path = "mouse_reports_test.rs"]
mod tests;

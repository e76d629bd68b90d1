//! INT 09h: scan codes become keys in the keyboard buffer of the data area; INT 16h: they are taken from there.
//!
//! A caller that waits for a key sleeps in HLT in the ROM, which asks again after each interrupt. The key comes as it
//! does on a PC: through the input queue to the keyboard, and from there by IRQ 1 and INT 09h. So nothing polls, and a
//! recording of the input queue holds everything.

use super::call::{BiosCall, BiosPlatform, Served};
use super::data_areas::{KEY_BUFFER, bda};
use super::key_codes;

/// Segment of the data area, from which the pointers of the buffer count.
const DATA_AREA: u64 = 0x400;
/// A break code of set 1.
const BREAK: u8 = 0x80;
const PREFIX_E0: u8 = 0xE0;
const PREFIX_E1: u8 = 0xE1;

/// Shift flags, 40h:17h.
mod shift {
    pub const RIGHT: u16 = 1 << 0;
    pub const LEFT: u16 = 1 << 1;
    pub const CONTROL: u16 = 1 << 2;
    pub const ALT: u16 = 1 << 3;
    pub const SCROLL: u16 = 1 << 4;
    pub const NUM: u16 = 1 << 5;
    pub const CAPS: u16 = 1 << 6;
    pub const INSERT: u16 = 1 << 7;
    /// 40h:18h.
    pub const LEFT_CONTROL: u16 = 1 << 8;
    pub const LEFT_ALT: u16 = 1 << 9;
    pub const SCROLL_DOWN: u16 = 1 << 12;
    pub const NUM_DOWN: u16 = 1 << 13;
    pub const CAPS_DOWN: u16 = 1 << 14;
    pub const INSERT_DOWN: u16 = 1 << 15;
}

/// Keyboard flags, 40h:96h.
mod keyboard {
    pub const AFTER_E1: u8 = 1 << 0;
    pub const AFTER_E0: u8 = 1 << 1;
    pub const RIGHT_CONTROL: u8 = 1 << 2;
    pub const RIGHT_ALT: u8 = 1 << 3;
}

/// INT 09h: AL is the scan code, of set 1.
pub(super) fn key(call: &BiosCall, platform: &mut dyn BiosPlatform) -> Served {
    let scan = call.al();
    let flags = platform.byte(bda::KEYBOARD);
    let before = flags & !(keyboard::AFTER_E0 | keyboard::AFTER_E1);
    match scan {
        PREFIX_E0 => platform.set_byte(bda::KEYBOARD, before | keyboard::AFTER_E0),
        PREFIX_E1 => platform.set_byte(bda::KEYBOARD, before | keyboard::AFTER_E1),
        // Pause is E1 1D 45 and its break codes: it does nothing.
        0x1D | 0x9D if flags & keyboard::AFTER_E1 != 0 => {}
        0x45 | 0xC5 if flags & keyboard::AFTER_E1 != 0 => platform.set_byte(bda::KEYBOARD, before),
        _ => {
            platform.set_byte(bda::KEYBOARD, before);
            let extended = flags & keyboard::AFTER_E0 != 0;
            let (key, down) = (scan & !BREAK, scan & BREAK == 0);
            if !shift_key(key, extended, down, platform) && down {
                press(key, extended, platform);
            }
        }
    }
    Served::Done
}

/// A key that changes the shift flags; false if it is no such key.
fn shift_key(key: u8, extended: bool, down: bool, platform: &mut dyn BiosPlatform) -> bool {
    let mut flags = platform.word(bda::SHIFT);
    let mut right = platform.byte(bda::KEYBOARD);
    let mut set = |bits: u16| flags = if down { flags | bits } else { flags & !bits };
    match (key, extended) {
        // Prefixed shift codes belong to cursor keys.
        (0x2A | 0x36, true) => return true,
        (0x2A, false) => set(shift::LEFT),
        (0x36, false) => set(shift::RIGHT),
        (0x1D | 0x38, _) => {
            let (left_bit, right_bit, both) = match key {
                0x1D => (shift::LEFT_CONTROL, keyboard::RIGHT_CONTROL, shift::CONTROL),
                _ => (shift::LEFT_ALT, keyboard::RIGHT_ALT, shift::ALT),
            };
            if extended {
                right = if down { right | right_bit } else { right & !right_bit };
            } else {
                set(left_bit);
            }
            let held = flags & left_bit != 0 || right & right_bit != 0;
            flags = if held { flags | both } else { flags & !both };
        }
        (0x3A, false) => toggle(&mut flags, shift::CAPS, shift::CAPS_DOWN, down),
        (0x45, false) => toggle(&mut flags, shift::NUM, shift::NUM_DOWN, down),
        (0x46, false) => toggle(&mut flags, shift::SCROLL, shift::SCROLL_DOWN, down),
        (0x52, true) => toggle(&mut flags, shift::INSERT, shift::INSERT_DOWN, down),
        _ => return false,
    }
    platform.set_word(bda::SHIFT, flags);
    platform.set_byte(bda::KEYBOARD, right);
    if (key, down) == (0x38, false) {
        end_of_alt_number(platform);
    }
    // Insert is a key, too.
    key != 0x52
}

/// A key with a state that each press changes, but not its repetitions.
fn toggle(flags: &mut u16, state: u16, held: u16, down: bool) {
    if down && *flags & held == 0 {
        *flags ^= state;
    }
    *flags = if down { *flags | held } else { *flags & !held };
}

/// A character was composed of digits while Alt was held.
fn end_of_alt_number(platform: &mut dyn BiosPlatform) {
    let number = platform.byte(bda::ALT_NUMBER);
    platform.set_byte(bda::ALT_NUMBER, 0);
    if number != 0 {
        store(number.into(), platform);
    }
}

fn press(key: u8, extended: bool, platform: &mut dyn BiosPlatform) {
    let flags = platform.word(bda::SHIFT);
    let codes = if extended { key_codes::of_extended(key) } else { key_codes::of(key) };
    let Some(codes) = codes else { return };
    if flags & shift::ALT != 0
        && !extended
        && let Some(digit) = key_codes::pad_digit(key)
    {
        let number = platform.byte(bda::ALT_NUMBER).wrapping_mul(10).wrapping_add(digit);
        platform.set_byte(bda::ALT_NUMBER, number);
        return;
    }
    let mut shifted = flags & (shift::LEFT | shift::RIGHT) != 0;
    let is_letter = !extended && (codes.plain as u8).is_ascii_lowercase();
    let is_pad = !extended && matches!(key, 0x47..=0x53) && !matches!(key, 0x4A | 0x4E);
    if is_letter && flags & shift::CAPS != 0 || is_pad && flags & shift::NUM != 0 {
        shifted = !shifted;
    }
    let code = match flags {
        _ if flags & shift::ALT != 0 => codes.alt,
        _ if flags & shift::CONTROL != 0 => codes.control,
        _ if shifted => codes.shift,
        _ => codes.plain,
    };
    if code != 0 {
        store(code, platform);
    }
}

/// The ends of the buffer; those of the data area as it is after power-on, if a program has set impossible ones.
fn buffer(platform: &dyn BiosPlatform) -> std::ops::Range<u16> {
    let buffer = platform.word(bda::KEYS_START)..platform.word(bda::KEYS_END);
    if buffer.end > buffer.start && (buffer.end - buffer.start).is_multiple_of(2) {
        buffer
    } else {
        KEY_BUFFER
    }
}

fn next(pointer: u16, platform: &dyn BiosPlatform) -> u16 {
    let buffer = buffer(platform);
    let next = pointer.wrapping_add(2);
    if buffer.contains(&next) { next } else { buffer.start }
}

/// Appends a key; false if the buffer is full.
fn store(code: u16, platform: &mut dyn BiosPlatform) -> bool {
    let tail = platform.word(bda::KEY_TAIL);
    let after = next(tail, platform);
    if after == platform.word(bda::KEY_HEAD) {
        return false;
    }
    platform.set_word(DATA_AREA + u64::from(tail), code);
    platform.set_word(bda::KEY_TAIL, after);
    true
}

/// True if a key that is pressed now finds room in the buffer, and so does one whose scan code is already on its way.
/// A buffer that a program has made smaller than that has room when it is empty.
pub(super) fn has_room(platform: &dyn BiosPlatform) -> bool {
    let after = next(platform.word(bda::KEY_TAIL), platform);
    first(platform).is_none() || ![after, next(after, platform)].contains(&platform.word(bda::KEY_HEAD))
}

/// The first key of the buffer.
fn first(platform: &dyn BiosPlatform) -> Option<u16> {
    let head = platform.word(bda::KEY_HEAD);
    (head != platform.word(bda::KEY_TAIL)).then(|| platform.word(DATA_AREA + u64::from(head)))
}

fn remove(platform: &mut dyn BiosPlatform) {
    let head = platform.word(bda::KEY_HEAD);
    let after = next(head, platform);
    platform.set_word(bda::KEY_HEAD, after);
}

/// A key as the functions for a keyboard of 83 keys report it; `None` if such a keyboard does not have it.
fn for_old_keyboard(code: u16) -> Option<u16> {
    match code.to_be_bytes() {
        [0xE0, 0x2F] => Some(0x352F),
        [0xE0, character] => Some(0x1C00 | u16::from(character)),
        [scan, 0xE0] if scan != 0 => Some(u16::from(scan) << 8),
        [scan, 0] if scan > 0x84 => None,
        _ => Some(code),
    }
}

/// The first key for a function: one of the old functions (`old`) skips what an old keyboard does not have.
fn available(old: bool, platform: &mut dyn BiosPlatform) -> Option<u16> {
    loop {
        let code = first(platform)?;
        match if old { for_old_keyboard(code) } else { Some(code) } {
            Some(code) => return Some(code),
            None => remove(platform),
        }
    }
}

/// True if the keyboard interrupts as soon as interrupts are on, which they are while the ROM waits. A boot loader that
/// polls from protected mode has them on for so few instructions that KVM, where it interprets the guest, rarely finds a
/// place to deliver one.
fn interrupt_is_due(platform: &mut dyn BiosPlatform) -> bool {
    const STATUS: u16 = 0x64;
    const OUTPUT_BUFFER_FULL: u8 = 1 << 0;
    /// Commands of the master PIC: its command port reads as the requests, or as what is in service.
    const READ_REQUESTS: u8 = 0x0A;
    const READ_IN_SERVICE: u8 = 0x0B;
    const KEYBOARD: u8 = 1 << 1;
    const TIMER: u8 = 1 << 0;
    if platform.port_in(STATUS) & OUTPUT_BUFFER_FULL == 0 || !platform.reaches_interrupt_controllers() {
        return false;
    }
    let masked = platform.port_in(0x21);
    platform.port_out(0x20, READ_IN_SERVICE);
    let in_service = platform.port_in(0x20);
    platform.port_out(0x20, READ_REQUESTS);
    let requested = platform.port_in(0x20);
    in_service & (TIMER | KEYBOARD) == 0 && requested & !masked & KEYBOARD != 0
}

pub(super) fn serve(call: &mut BiosCall, platform: &mut dyn BiosPlatform) -> Served {
    match call.ah() {
        0x00 | 0x10 => {
            let Some(code) = available(call.ah() == 0x00, platform) else { return Served::Wait };
            remove(platform);
            call.set_ax(code);
        }
        0x01 | 0x11 => {
            let code = available(call.ah() == 0x01, platform);
            if code.is_none() && interrupt_is_due(platform) {
                return Served::Wait;
            }
            call.set_zero(code.is_none());
            call.set_ax(code.unwrap_or(0));
        }
        0x02 => call.set_al(platform.byte(bda::SHIFT)),
        0x05 => {
            let stored = store(call.cx(), platform);
            call.set_al(u8::from(!stored));
        }
        // Functions 0Ah and 10h to 12h are there.
        0x09 => call.set_al(0x60),
        // A keyboard of 101 keys.
        0x0A => call.set_bx(0x41AB),
        0x12 => {
            let [low, high] = platform.word(bda::SHIFT).to_le_bytes();
            let right = platform.byte(bda::KEYBOARD);
            let right = (right & (keyboard::RIGHT_CONTROL | keyboard::RIGHT_ALT)) >> 2;
            call.set_al(low);
            // Left and right Ctrl and Alt, then the locks that are held.
            call.set_ah(high & 0x73 | right << 2 | (high & 0x80));
        }
        // Asked by programs that look for the functions of newer keyboards.
        0x92 => call.set_ah(0x80),
        _ => {}
    }
    Served::Done
}

#[cfg(test)]
#[path = "int16_keyboard_test.rs"]
mod tests;

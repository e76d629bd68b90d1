//! The keys of a PC keyboard, by place and not by what is printed on them.

use serde::{Deserialize, Serialize};

/// A physical key of a 105-key PC keyboard.
///
/// A key is named after what it types on a US keyboard, whatever the layout in use: `Key::Q` is the
/// key right of Tab, also where it types `a`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Key {
    /// The key that types `a` on a US keyboard.
    A,
    /// The key that types `b` on a US keyboard.
    B,
    /// The key that types `c` on a US keyboard.
    C,
    /// The key that types `d` on a US keyboard.
    D,
    /// The key that types `e` on a US keyboard.
    E,
    /// The key that types `f` on a US keyboard.
    F,
    /// The key that types `g` on a US keyboard.
    G,
    /// The key that types `h` on a US keyboard.
    H,
    /// The key that types `i` on a US keyboard.
    I,
    /// The key that types `j` on a US keyboard.
    J,
    /// The key that types `k` on a US keyboard.
    K,
    /// The key that types `l` on a US keyboard.
    L,
    /// The key that types `m` on a US keyboard.
    M,
    /// The key that types `n` on a US keyboard.
    N,
    /// The key that types `o` on a US keyboard.
    O,
    /// The key that types `p` on a US keyboard.
    P,
    /// The key that types `q` on a US keyboard.
    Q,
    /// The key that types `r` on a US keyboard.
    R,
    /// The key that types `s` on a US keyboard.
    S,
    /// The key that types `t` on a US keyboard.
    T,
    /// The key that types `u` on a US keyboard.
    U,
    /// The key that types `v` on a US keyboard.
    V,
    /// The key that types `w` on a US keyboard.
    W,
    /// The key that types `x` on a US keyboard.
    X,
    /// The key that types `y` on a US keyboard.
    Y,
    /// The key that types `z` on a US keyboard.
    Z,
    /// `0` on the main block.
    Digit0,
    /// `1` on the main block.
    Digit1,
    /// `2` on the main block.
    Digit2,
    /// `3` on the main block.
    Digit3,
    /// `4` on the main block.
    Digit4,
    /// `5` on the main block.
    Digit5,
    /// `6` on the main block.
    Digit6,
    /// `7` on the main block.
    Digit7,
    /// `8` on the main block.
    Digit8,
    /// `9` on the main block.
    Digit9,
    /// Function key 1.
    F1,
    /// Function key 2.
    F2,
    /// Function key 3.
    F3,
    /// Function key 4.
    F4,
    /// Function key 5.
    F5,
    /// Function key 6.
    F6,
    /// Function key 7.
    F7,
    /// Function key 8.
    F8,
    /// Function key 9.
    F9,
    /// Function key 10.
    F10,
    /// Function key 11.
    F11,
    /// Function key 12.
    F12,
    /// The main Enter key.
    Enter,
    /// Esc.
    Escape,
    /// Backspace, above Enter.
    Backspace,
    /// Tab.
    Tab,
    /// The space bar.
    Space,
    /// `-` right of `0`.
    Minus,
    /// `=` left of Backspace.
    Equal,
    /// `[` right of `P`.
    LeftBracket,
    /// `]` right of `[`.
    RightBracket,
    /// `\` above Enter; left of a tall Enter on 105-key keyboards.
    Backslash,
    /// `;` right of `L`.
    Semicolon,
    /// `'` right of `;`.
    Quote,
    /// The grave accent, left of `1`.
    Backquote,
    /// `,` right of `M`.
    Comma,
    /// `.` right of `,`.
    Period,
    /// `/` left of the right Shift.
    Slash,
    /// The extra key between the left Shift and `Z` on 105-key keyboards.
    IntlBackslash,
    /// Caps Lock.
    CapsLock,
    /// Num Lock.
    NumLock,
    /// Scroll Lock.
    ScrollLock,
    /// Print Screen; System Request together with Alt.
    PrintScreen,
    /// Pause; Break together with Control.
    Pause,
    /// Insert of the middle block.
    Insert,
    /// Delete of the middle block.
    Delete,
    /// Home of the middle block.
    Home,
    /// End of the middle block.
    End,
    /// Page Up of the middle block.
    PageUp,
    /// Page Down of the middle block.
    PageDown,
    /// Cursor up.
    Up,
    /// Cursor down.
    Down,
    /// Cursor left.
    Left,
    /// Cursor right.
    Right,
    /// `0` on the keypad.
    Keypad0,
    /// `1` on the keypad.
    Keypad1,
    /// `2` on the keypad.
    Keypad2,
    /// `3` on the keypad.
    Keypad3,
    /// `4` on the keypad.
    Keypad4,
    /// `5` on the keypad.
    Keypad5,
    /// `6` on the keypad.
    Keypad6,
    /// `7` on the keypad.
    Keypad7,
    /// `8` on the keypad.
    Keypad8,
    /// `9` on the keypad.
    Keypad9,
    /// `/` on the keypad.
    KeypadDivide,
    /// `*` on the keypad.
    KeypadMultiply,
    /// `-` on the keypad.
    KeypadSubtract,
    /// `+` on the keypad.
    KeypadAdd,
    /// Enter on the keypad.
    KeypadEnter,
    /// `.` on the keypad.
    KeypadDecimal,
    /// The left Shift.
    LeftShift,
    /// The right Shift.
    RightShift,
    /// The left Control.
    LeftControl,
    /// The right Control.
    RightControl,
    /// The left Alt.
    LeftAlt,
    /// The right Alt, AltGr on many layouts.
    RightAlt,
    /// The left logo key.
    LeftMeta,
    /// The right logo key.
    RightMeta,
    /// The context menu key.
    Menu,
}

/// A key goes down or comes up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyEvent {
    /// Which key.
    pub key: Key,
    /// True when it goes down, false when it comes up.
    pub down: bool,
}

impl KeyEvent {
    /// `key` goes down.
    pub const fn press(key: Key) -> KeyEvent {
        KeyEvent { key, down: true }
    }

    /// `key` comes up.
    pub const fn release(key: Key) -> KeyEvent {
        KeyEvent { key, down: false }
    }

    /// The keys go down one after the other and come up in the opposite order.
    pub fn chord(keys: &[Key]) -> Vec<KeyEvent> {
        let down = keys.iter().copied().map(KeyEvent::press);
        down.chain(keys.iter().rev().copied().map(KeyEvent::release)).collect()
    }
}

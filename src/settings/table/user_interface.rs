//! Options for the user interface: screen, keyboard and serial ports.

use super::super::draft::Draft;
use super::super::values;
use super::{Key, OptionArgument, OptionSpec, YES_NO};

const SERIAL_BACKEND: &str = "stdio, log, file:PATH, unix:PATH (at most 107 bytes), pty, null";

/// Screen, keyboard and serial ports.
pub(super) static USER_INTERFACE: &[OptionSpec] = &[
    OptionSpec {
        long: "display",
        takes: OptionArgument::Value("auto|vga|serial|none"),
        repeatable: false,
        default: Some("auto"),
        allowed: "auto, vga, serial, none",
        help: "What to display; auto: serial, then VGA once used",
        set: |draft, text| values::display(text).map(|display| draft.settings.display = display),
        keys: &[Key::same("screen", "display")],
    },
    OptionSpec {
        long: "dashboard",
        takes: OptionArgument::Maybe("yes|no|paused"),
        repeatable: false,
        default: Some("no"),
        allowed: "yes, no, paused",
        help: "Show guest and registers full-screen; paused: from the start",
        set: |draft, text| values::dashboard(text).map(|mode| draft.settings.dashboard = mode),
        keys: &[Key::same("screen", "dashboard")],
    },
    OptionSpec {
        long: "dump-screen",
        takes: OptionArgument::Maybe("yes|no"),
        repeatable: false,
        default: Some("no"),
        allowed: YES_NO,
        help: "Print the final VGA text screen when the run is over",
        set: |draft, text| values::boolean(text).map(|on| draft.settings.dump_screen = on),
        keys: &[],
    },
    OptionSpec {
        long: "pictures",
        takes: OptionArgument::Value("HOW"),
        repeatable: false,
        default: Some("auto"),
        allowed: "auto, kitty, sixel, blocks, off",
        help: "How the terminal shows pictures; auto: as it can",
        set: |draft, text| values::pictures(text).map(|pictures| draft.settings.pictures = pictures),
        keys: &[Key::same("screen", "pictures")],
    },
    OptionSpec {
        long: "mouse",
        takes: OptionArgument::Value("auto|off"),
        repeatable: false,
        default: Some("auto"),
        allowed: "auto, off",
        help: "Terminal's mouse for the guest; auto: once enabled",
        set: |draft, text| values::mouse(text).map(|mouse| draft.settings.mouse = mouse),
        keys: &[Key::same("screen", "mouse")],
    },
    OptionSpec {
        long: "keys",
        takes: OptionArgument::Value("auto|keyboard|serial"),
        repeatable: false,
        default: Some("auto"),
        allowed: "auto, keyboard, serial",
        help: "Target of key input; auto: the first device read",
        set: |draft, text| values::keys(text).map(|keys| draft.settings.keys = keys),
        keys: &[Key::same("keyboard", "keys")],
    },
    OptionSpec {
        long: "layout",
        takes: OptionArgument::Value("us|it"),
        repeatable: false,
        default: Some("us"),
        allowed: "us, it",
        help: "Keyboard layout the guest expects",
        set: |draft, text| values::layout(text).map(|layout| draft.settings.layout = layout),
        keys: &[Key::same("keyboard", "layout")],
    },
    OptionSpec {
        long: "serial",
        takes: OptionArgument::Value("N=BACKEND"),
        repeatable: true,
        default: None,
        allowed: "N from 1 to 4, `=`, and stdio, log, file:PATH, unix:PATH (at most 107 bytes), pty or null",
        help: "Backend of COMN: stdio, log, file:PATH, unix:PATH, pty, null",
        set: Draft::set_serial,
        keys: &[
            Key::own("serial", "com1", "stdio", SERIAL_BACKEND, "Backend of COM1", |draft, text| {
                values::serial_backend(text).map(|end| draft.settings.serial[0] = end)
            }),
            Key::own("serial", "com2", "log", SERIAL_BACKEND, "Backend of COM2", |draft, text| {
                values::serial_backend(text).map(|end| draft.settings.serial[1] = end)
            }),
            Key::own("serial", "com3", "log", SERIAL_BACKEND, "Backend of COM3", |draft, text| {
                values::serial_backend(text).map(|end| draft.settings.serial[2] = end)
            }),
            Key::own("serial", "com4", "log", SERIAL_BACKEND, "Backend of COM4", |draft, text| {
                values::serial_backend(text).map(|end| draft.settings.serial[3] = end)
            }),
        ],
    },
    OptionSpec {
        long: "debugcon",
        takes: OptionArgument::Value("BACKEND"),
        repeatable: false,
        default: Some("stdio"),
        allowed: SERIAL_BACKEND,
        help: "Backend of the debug console at port 0xE9",
        set: |draft, text| values::serial_backend(text).map(|end| draft.settings.debug_console = end),
        keys: &[Key::same("serial", "debugcon")],
    },
];

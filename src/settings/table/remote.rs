//! Options for remote access to a running guest.

use super::super::draft::{Draft, ValueSource};
use super::super::values;
use super::{ADDRESS, Key, OptionArgument, OptionSpec, YES_NO};

const PORT: &str = "a TCP port from 1 to 65535";
const LISTENS_HERE: &str = "ADDRESS:PORT, ADDRESS, PORT, unix:PATH (at most 107 bytes), yes, no; PORT from 1 to \
                            65535, ADDRESS a loopback address";
const PORT_OR_NONE: &str = "a TCP port from 1 to 65535, none";

/// Debugger, console, debug server.
pub(super) static REMOTE: &[OptionSpec] = &[
    OptionSpec {
        long: "gdb",
        takes: OptionArgument::Maybe(ADDRESS),
        repeatable: false,
        default: None,
        allowed: "ADDRESS:PORT, ADDRESS, PORT, unix:PATH (at most 107 bytes), yes, no; PORT from 1 to 65535, \
                  ADDRESS an IP address",
        help: "Wait for gdb before the guest's first instruction",
        set: Draft::set_gdb,
        keys: &[
            Key::own(
                "gdb-server",
                "enable",
                "no",
                YES_NO,
                "Wait for gdb before the guest's first instruction",
                |draft, text| values::boolean(text).map(|on| draft.gdb = on),
            ),
            Key::own(
                "gdb-server",
                "address",
                "127.0.0.1",
                "an IP address, localhost, unix:PATH (at most 107 bytes)",
                "Address gdb connects to, or a unix socket, which has no port",
                |draft, text| draft.gdb_address.set_address(text),
            ),
            Key::own("gdb-server", "port", "1234", PORT, "TCP port gdb connects to", |draft, text| {
                draft.gdb_address.set_port(text)
            }),
        ],
    },
    OptionSpec {
        long: "gdb-nowait",
        takes: OptionArgument::Maybe("yes|no"),
        repeatable: false,
        default: None,
        allowed: YES_NO,
        help: "Run the guest at once; gdb can connect later (implies --gdb)",
        set: Draft::set_gdb_nowait,
        keys: &[Key::own(
            "gdb-server",
            "nowait",
            "no",
            YES_NO,
            "Run the guest at once; gdb can connect at any time",
            |draft, text| values::boolean(text).map(|on| draft.gdb_nowait = on),
        )],
    },
    OptionSpec {
        long: "gdb-arch",
        takes: OptionArgument::Value("ARCH"),
        repeatable: false,
        default: Some("auto"),
        allowed: "auto, x86-64, i386, i8086, x86-64-linux",
        help: "Architecture for gdb: i386, i8086, x86-64[-linux]",
        set: |draft, text| values::gdb_arch(text).map(|arch| draft.settings.gdb_arch = arch),
        keys: &[Key::same("gdb-server", "arch")],
    },
    OptionSpec {
        long: "debug-server",
        takes: OptionArgument::Maybe(ADDRESS),
        repeatable: false,
        default: None,
        allowed: LISTENS_HERE,
        help: "Serve memory and registers over TCP while the guest runs",
        set: Draft::set_debug_server,
        keys: &[
            Key::own(
                "debug-server",
                "enable",
                "no",
                YES_NO,
                "Serve memory and registers over TCP while the guest runs",
                |draft, text| values::boolean(text).map(|on| draft.debug_server = on),
            ),
            Key::own(
                "debug-server",
                "address",
                "127.0.0.1",
                "a loopback address, localhost, unix:PATH (at most 107 bytes)",
                "Listening address, or a unix socket, which has no port",
                |draft, text| draft.debug_server_address.set_address(text),
            ),
            Key::own("debug-server", "port", "5553", PORT, "Listening TCP port", |draft, text| {
                draft.debug_server_address.set_port(text)
            }),
            Key::own(
                "debug-server",
                "passw",
                "",
                "at most 52 bytes, or nothing",
                "Password that clients must send; none if it is empty",
                |draft, text| {
                    values::password(text).map(|password| draft.settings.debug_server_password = password)
                },
            ),
        ],
    },
    OptionSpec {
        long: "console",
        takes: OptionArgument::Maybe(ADDRESS),
        repeatable: false,
        default: None,
        allowed: "ADDRESS:PORT, ADDRESS, PORT, unix:PATH (at most 107 bytes), yes, no; PORT from 1 to 65535, \
                  ADDRESS an IP address of the loopback",
        help: "Accept commands about the machine while the guest runs",
        set: Draft::set_console,
        keys: &[
            Key::own(
                "console",
                "enable",
                "no",
                YES_NO,
                "Accept commands about the machine while the guest runs",
                |draft, text| {
                    let on = values::boolean(text)?;
                    if draft.source != ValueSource::Default {
                        draft.console_explicit = Some(on);
                    }
                    Ok(())
                },
            ),
            Key::own(
                "console",
                "address",
                "127.0.0.1",
                "an IP address of the loopback, localhost, unix:PATH (at most 107 bytes)",
                "Address of the console, or a unix socket, which has no port; without `enable` it implies yes",
                Draft::set_console_address,
            ),
        ],
    },
    OptionSpec {
        long: "consoleport",
        takes: OptionArgument::Value("PORT"),
        repeatable: false,
        default: None,
        allowed: PORT_OR_NONE,
        help: "TCP port of the console; implies --console",
        set: Draft::set_console_port,
        keys: &[Key::own(
            "console",
            "port",
            "9000",
            PORT_OR_NONE,
            "TCP port of the console; without `enable` it implies yes, and `none` no",
            Draft::set_console_port,
        )],
    },
    OptionSpec {
        long: "magic-break",
        takes: OptionArgument::Maybe("yes|no"),
        repeatable: false,
        default: Some("no"),
        allowed: YES_NO,
        help: "Stop at `xchg bx, bx` and by port 0x8A00, as Bochs does",
        set: |draft, text| values::boolean(text).map(|on| draft.settings.magic_break = on),
        keys: &[Key::same("debug", "magic-break")],
    },
    OptionSpec {
        long: "explain",
        takes: OptionArgument::Maybe("yes|no"),
        repeatable: false,
        default: Some("no"),
        allowed: YES_NO,
        help: "Run again in steps to a triple fault that hides its cause",
        set: |draft, text| values::boolean(text).map(|on| draft.settings.explain = on),
        keys: &[Key::same("debug", "explain")],
    },
    OptionSpec {
        long: "report",
        takes: OptionArgument::Value("FILE"),
        repeatable: false,
        default: Some("none"),
        allowed: "the path of a file, none",
        help: "Write a report as JSON after a crash, time-out or reset",
        set: |draft, text| values::file_or_none(text).map(|file| draft.settings.crash_files.report = file),
        keys: &[Key::same("debug", "report")],
    },
    OptionSpec {
        long: "core",
        takes: OptionArgument::Value("FILE"),
        repeatable: false,
        default: Some("none"),
        allowed: "the path of a file, none",
        help: "Write a core file for gdb after a crash, time-out or reset",
        set: |draft, text| values::file_or_none(text).map(|file| draft.settings.crash_files.core = file),
        keys: &[Key::same("debug", "core")],
    },
];

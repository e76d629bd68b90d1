//! Every option there is: the only place that says what an option is called, what it can be, what it
//! is when nobody says, and what it is good for.
//!
//! The command line, the reader of the config file, `--help`, `docs/options.md` and the check of the
//! documented `config.ini` are all made from [`OPTIONS`].

use super::draft::{Draft, Source};
use super::values::{self, Read};

/// How the program is called; stands in every message about the command line's form.
pub(super) const USE: &str = "Use: kvm <elf file> [OPTIONS]";

/// Name of the guest file in help texts.
pub(super) const GUEST: &str = "GUEST";

/// The log file when nobody names one.
pub(super) const DEFAULT_LOG_FILE: &str = "console.log";

/// Writes a value into the draft, or says what is wrong with it.
pub(super) type Set = fn(&mut Draft, &str) -> Read<()>;

/// One option.
pub(super) struct Opt {
    /// Its name on the command line, without dashes.
    pub(super) long: &'static str,
    /// What follows the name on the command line.
    pub(super) takes: Takes,
    /// Under which heading it is explained.
    pub(super) group: &'static str,
    /// True if it can be given several times, each time adding to the ones before.
    pub(super) repeatable: bool,
    /// The value when nobody gives one; none if its keys say it, or if nothing stands for it.
    pub(super) default: Option<&'static str>,
    /// What the value can be.
    pub(super) allowed: &'static str,
    /// What it is good for, in one line.
    pub(super) help: &'static str,
    /// What a value does.
    pub(super) set: Set,
    /// The keys in the config file that do the same.
    pub(super) keys: &'static [Key],
}

/// What follows an option's name on the command line.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Takes {
    /// A value with this name.
    Value(&'static str),
    /// A value with this name may be attached with `=`; without one it is `yes`.
    Maybe(&'static str),
    /// Nothing: the help text is the answer.
    Help,
    /// Nothing: the version is the answer.
    Version,
}

impl Takes {
    /// The letter that, after one dash, does the same as the option's name.
    pub(super) fn short(self) -> Option<char> {
        match self {
            Takes::Help => Some('h'),
            Takes::Version => Some('V'),
            Takes::Value(_) | Takes::Maybe(_) => None,
        }
    }
}

/// A key in the config file.
pub(super) struct Key {
    /// The section it stands in.
    pub(super) section: &'static str,
    /// Its name.
    pub(super) name: &'static str,
    /// What distinguishes it from its option; none if it says the same.
    own: Option<Meaning>,
}

/// What a key says.
#[derive(Clone, Copy)]
pub(super) struct Meaning {
    /// The value when nobody gives one.
    pub(super) default: Option<&'static str>,
    /// What the value can be.
    pub(super) allowed: &'static str,
    /// What it is good for, in one line.
    pub(super) help: &'static str,
    /// What a value does.
    pub(super) set: Set,
}

impl Key {
    const fn same(section: &'static str, name: &'static str) -> Key {
        Key { section, name, own: None }
    }

    const fn own(
        section: &'static str,
        name: &'static str,
        default: &'static str,
        allowed: &'static str,
        help: &'static str,
        set: Set,
    ) -> Key {
        Key { section, name, own: Some(Meaning { default: Some(default), allowed, help, set }) }
    }
}

impl Opt {
    /// What `key`, one of this option's, says.
    pub(super) fn meaning(&self, key: &Key) -> Meaning {
        key.own.unwrap_or(Meaning {
            default: self.default,
            allowed: self.allowed,
            help: self.help,
            set: self.set,
        })
    }

    /// True if `key`, one of this option's, can stand on several lines.
    pub(super) fn repeats(&self, key: &Key) -> bool {
        self.repeatable && key.own.is_none()
    }

    /// The default values and what sets them.
    pub(super) fn defaults(&self) -> impl Iterator<Item = (&'static str, Set)> {
        let of_keys = self.keys.iter().filter_map(|key| key.own).map(|own| (own.default, own.set));
        std::iter::once((self.default, self.set))
            .chain(of_keys)
            .filter_map(|(default, set)| Some((default?, set)))
    }
}

/// All keys, each with its option, in the order of the table.
pub(super) fn keys() -> impl Iterator<Item = (&'static Opt, &'static Key)> {
    OPTIONS.iter().flat_map(|option| option.keys.iter().map(move |key| (option, key)))
}

/// All sections of the config file, each once, in the order of the table.
pub(super) fn sections() -> Vec<&'static str> {
    let mut sections = Vec::new();
    for (_, key) in keys() {
        if !sections.contains(&key.section) {
            sections.push(key.section);
        }
    }
    sections
}

const MACHINE: &str = "Machine";
const GUEST_FILES: &str = "Guest";
const PEOPLE: &str = "Screen, keyboard and serial ports";
const LOG: &str = "Log";
const REMOTE: &str = "Debugging and remote control";
const OTHER: &str = "Other";

const YES_NO: &str = "yes, no (or true, false, on, off, 1, 0)";
const PORT: &str = "a TCP port from 1 to 65535";
const LISTENS_HERE: &str = "ADDRESS:PORT, ADDRESS, PORT, unix:PATH (at most 107 bytes), yes, no; PORT from 1 to \
                            65535, ADDRESS a loopback address";
const PORT_OR_NONE: &str = "a TCP port from 1 to 65535, none";
const SERIAL_END: &str = "stdio, log, file:PATH, unix:PATH (at most 107 bytes), pty, null";

/// Every option.
pub(super) static OPTIONS: &[Opt] = &[
    Opt {
        long: "memory",
        takes: Takes::Value("SIZE"),
        group: MACHINE,
        repeatable: false,
        default: Some("64"),
        allowed: "a number of MiB, or one with K, M or G: a multiple of 1M from 1M to 32768G",
        help: "RAM of the guest, in MiB unless K, M or G follows",
        set: |draft, text| values::memory(text).map(|size| draft.settings.memory = size),
        keys: &[Key::same("vm-spec", "memsize")],
    },
    Opt {
        long: "timeout",
        takes: Takes::Value("TIME"),
        group: MACHINE,
        repeatable: false,
        default: Some("none"),
        allowed: "seconds such as 10 or 0.5, or with a unit: 500ms, 10s, 2m, 1h; at most a year; none",
        help: "End the run after this long, in seconds unless ms, m or h follows",
        set: |draft, text| values::timeout(text).map(|time| draft.settings.timeout = time),
        keys: &[Key::same("vm-spec", "timeout")],
    },
    Opt {
        long: "no-reboot",
        takes: Takes::Maybe("yes|no"),
        group: MACHINE,
        repeatable: false,
        default: Some("no"),
        allowed: YES_NO,
        help: "End the run when the guest resets the machine",
        set: |draft, text| values::boolean(text).map(|on| draft.settings.no_reboot = on),
        keys: &[Key::same("vm-spec", "no-reboot")],
    },
    Opt {
        long: "append",
        takes: Takes::Value("TEXT"),
        group: GUEST_FILES,
        repeatable: false,
        default: Some(""),
        allowed: "any text",
        help: "Command line handed to the guest",
        set: |draft, text| {
            draft.settings.append = text.to_owned();
            Ok(())
        },
        keys: &[Key::same("guest", "append")],
    },
    Opt {
        long: "module",
        takes: Takes::Value("PATH[=ARGUMENTS]"),
        group: GUEST_FILES,
        repeatable: true,
        default: None,
        allowed: "the path of a file without `=` in it, and after an `=` its arguments if it has some",
        help: "Hand a file to the guest; can be repeated",
        set: Draft::add_module,
        keys: &[Key::same("guest", "module")],
    },
    Opt {
        long: "strict",
        takes: Takes::Maybe("yes|no"),
        group: GUEST_FILES,
        repeatable: false,
        default: Some("no"),
        allowed: YES_NO,
        help: "Unmap page 0, enforce segment permissions, guard the boot stack",
        set: |draft, text| values::boolean(text).map(|on| draft.settings.strict = on),
        keys: &[Key::same("guest", "strict")],
    },
    Opt {
        long: "display",
        takes: Takes::Value("auto|vga|serial|none"),
        group: PEOPLE,
        repeatable: false,
        default: Some("auto"),
        allowed: "auto, vga, serial, none",
        help: "What is shown; auto: serial, then VGA once it is used",
        set: |draft, text| values::display(text).map(|display| draft.settings.display = display),
        keys: &[Key::same("screen", "display")],
    },
    Opt {
        long: "dump-screen",
        takes: Takes::Maybe("yes|no"),
        group: PEOPLE,
        repeatable: false,
        default: Some("no"),
        allowed: YES_NO,
        help: "Print the final VGA text screen when the run is over",
        set: |draft, text| values::boolean(text).map(|on| draft.settings.dump_screen = on),
        keys: &[],
    },
    Opt {
        long: "keys",
        takes: Takes::Value("auto|keyboard|serial"),
        group: PEOPLE,
        repeatable: false,
        default: Some("auto"),
        allowed: "auto, keyboard, serial",
        help: "Who gets what is typed; auto: whoever asks first",
        set: |draft, text| values::keys(text).map(|keys| draft.settings.keys = keys),
        keys: &[Key::same("keyboard", "keys")],
    },
    Opt {
        long: "layout",
        takes: Takes::Value("us|it"),
        group: PEOPLE,
        repeatable: false,
        default: Some("us"),
        allowed: "us, it",
        help: "Keyboard layout the guest expects",
        set: |draft, text| values::layout(text).map(|layout| draft.settings.layout = layout),
        keys: &[Key::same("keyboard", "layout")],
    },
    Opt {
        long: "serial",
        takes: Takes::Value("N=END"),
        group: PEOPLE,
        repeatable: true,
        default: None,
        allowed: "N from 1 to 4, `=`, and stdio, log, file:PATH, unix:PATH (at most 107 bytes), pty or null",
        help: "Far end of COMN: stdio, log, file:PATH, unix:PATH, pty, null",
        set: Draft::set_serial,
        keys: &[
            Key::own("serial", "com1", "stdio", SERIAL_END, "Far end of COM1", |draft, text| {
                values::serial_end(text).map(|end| draft.settings.serial[0] = end)
            }),
            Key::own("serial", "com2", "log", SERIAL_END, "Far end of COM2", |draft, text| {
                values::serial_end(text).map(|end| draft.settings.serial[1] = end)
            }),
            Key::own("serial", "com3", "log", SERIAL_END, "Far end of COM3", |draft, text| {
                values::serial_end(text).map(|end| draft.settings.serial[2] = end)
            }),
            Key::own("serial", "com4", "log", SERIAL_END, "Far end of COM4", |draft, text| {
                values::serial_end(text).map(|end| draft.settings.serial[3] = end)
            }),
        ],
    },
    Opt {
        long: "debugcon",
        takes: Takes::Value("END"),
        group: PEOPLE,
        repeatable: false,
        default: Some("stdio"),
        allowed: SERIAL_END,
        help: "Far end of the debug console at port 0xE9",
        set: |draft, text| values::serial_end(text).map(|end| draft.settings.debug_console = end),
        keys: &[Key::same("serial", "debugcon")],
    },
    Opt {
        long: "logfile",
        takes: Takes::Value("FILE"),
        group: LOG,
        repeatable: false,
        default: Some(DEFAULT_LOG_FILE),
        allowed: "the path of a file or of a FIFO",
        help: "The log file, emptied at the start; can be a FIFO",
        set: Draft::set_log_file,
        keys: &[Key::same("log", "file")],
    },
    Opt {
        long: "log-level",
        takes: Takes::Value("LEVEL"),
        group: LOG,
        repeatable: false,
        default: Some("info"),
        allowed: "error, warn, info, debug, trace",
        help: "Least severe level logged: error, warn, info, debug or trace",
        set: |draft, text| values::log_level(text).map(|level| draft.settings.log.level = level),
        keys: &[Key::same("log", "level")],
    },
    Opt {
        long: "log-filter",
        takes: Takes::Value("TARGETS"),
        group: LOG,
        repeatable: false,
        default: Some(""),
        allowed: "a list such as kvm::devices=debug,kvm::boot=trace; levels: off, error to trace",
        help: "Levels of single parts, such as kvm::devices=debug,kvm::boot=trace",
        set: |draft, text| values::log_filter(text).map(|filter| draft.settings.log.filter = filter),
        keys: &[Key::same("log", "filter")],
    },
    Opt {
        long: "gdb",
        takes: Takes::Maybe("ADDRESS:PORT"),
        group: REMOTE,
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
                |draft, text| draft.gdb_place.set_address(text),
            ),
            Key::own("gdb-server", "port", "1234", PORT, "TCP port gdb connects to", |draft, text| {
                draft.gdb_place.set_port(text)
            }),
        ],
    },
    Opt {
        long: "gdb-nowait",
        takes: Takes::Maybe("yes|no"),
        group: REMOTE,
        repeatable: false,
        default: None,
        allowed: YES_NO,
        help: "Run the guest at once; gdb can connect at any time (implies --gdb)",
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
    Opt {
        long: "gdb-arch",
        takes: Takes::Value("ARCH"),
        group: REMOTE,
        repeatable: false,
        default: Some("x86-64"),
        allowed: "x86-64, i386, i8086",
        help: "What gdb takes the processor for: x86-64, i386 or i8086",
        set: |draft, text| values::gdb_arch(text).map(|arch| draft.settings.gdb_arch = arch),
        keys: &[Key::same("gdb-server", "arch")],
    },
    Opt {
        long: "debug-server",
        takes: Takes::Maybe("PLACE"),
        group: REMOTE,
        repeatable: false,
        default: None,
        allowed: LISTENS_HERE,
        help: "Tell memory and registers to programs that ask",
        set: Draft::set_debug_server,
        keys: &[
            Key::own(
                "debug-server",
                "enable",
                "no",
                YES_NO,
                "Tell memory and registers to programs that ask",
                |draft, text| values::boolean(text).map(|on| draft.debug_server = on),
            ),
            Key::own(
                "debug-server",
                "address",
                "127.0.0.1",
                "a loopback address, localhost, unix:PATH (at most 107 bytes)",
                "Address they ask at, or a unix socket, which has no port",
                |draft, text| draft.debug_place.set_address(text),
            ),
            Key::own("debug-server", "port", "5553", PORT, "TCP port they ask on", |draft, text| {
                draft.debug_place.set_port(text)
            }),
        ],
    },
    Opt {
        long: "console",
        takes: Takes::Maybe("ADDRESS:PORT"),
        group: REMOTE,
        repeatable: false,
        default: None,
        allowed: "ADDRESS:PORT, ADDRESS, PORT, unix:PATH (at most 107 bytes), yes, no; PORT from 1 to 65535, \
                  ADDRESS an IP address of the loopback",
        help: "Take commands about the machine while the guest runs",
        set: Draft::set_console,
        keys: &[
            Key::own(
                "console",
                "enable",
                "no",
                YES_NO,
                "Take commands about the machine while the guest runs",
                |draft, text| {
                    let on = values::boolean(text)?;
                    if draft.source != Source::Default {
                        draft.console_said = Some(on);
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
    Opt {
        long: "consoleport",
        takes: Takes::Value("PORT"),
        group: REMOTE,
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
    Opt {
        long: "restore",
        takes: Takes::Value("FILE"),
        group: REMOTE,
        repeatable: false,
        default: None,
        allowed: "the path of a snapshot",
        help: "Continue the machine saved in FILE, instead of a guest file",
        set: |draft, text| values::file(text).map(|file| draft.settings.restore = Some(file)),
        keys: &[],
    },
    Opt {
        long: "migr",
        takes: Takes::Maybe("yes|no"),
        group: REMOTE,
        repeatable: false,
        default: Some("no"),
        allowed: YES_NO,
        help: "Receive a running guest from another kvm",
        set: |draft, text| values::boolean(text).map(|on| draft.receive = on),
        keys: &[],
    },
    Opt {
        long: "migrport",
        takes: Takes::Value("PORT"),
        group: REMOTE,
        repeatable: false,
        default: Some("8000"),
        allowed: "ADDRESS:PORT, ADDRESS, PORT; PORT from 1 to 65535, ADDRESS an IP address",
        help: "Where --migr waits: PORT (of 127.0.0.1) or ADDRESS:PORT",
        set: Draft::set_receive_port,
        keys: &[],
    },
    Opt {
        long: "downtime",
        takes: Takes::Value("MS"),
        group: REMOTE,
        repeatable: false,
        default: Some("30"),
        allowed: "milliseconds from 1 to 60000",
        help: "For how long a guest that moves away is stopped, about",
        set: |draft, text| values::downtime(text).map(|time| draft.settings.downtime = time),
        keys: &[Key::same("migration", "downtime_ms")],
    },
    Opt {
        long: "tls-cert",
        takes: Takes::Value("FILE"),
        group: REMOTE,
        repeatable: false,
        default: None,
        allowed: "the path of a file in PEM",
        help: "This side's certificate, for moving guests over a network",
        set: |draft, text| values::file(text).map(|file| draft.tls[0] = Some(file)),
        keys: &[Key::same("migration", "tls-cert")],
    },
    Opt {
        long: "tls-key",
        takes: Takes::Value("FILE"),
        group: REMOTE,
        repeatable: false,
        default: None,
        allowed: "the path of a file in PEM that only its owner can read",
        help: "The private key of --tls-cert",
        set: |draft, text| values::file(text).map(|file| draft.tls[1] = Some(file)),
        keys: &[Key::same("migration", "tls-key")],
    },
    Opt {
        long: "tls-ca",
        takes: Takes::Value("FILE"),
        group: REMOTE,
        repeatable: false,
        default: None,
        allowed: "the path of a file in PEM",
        help: "The authority that the other side's certificate must be from",
        set: |draft, text| values::file(text).map(|file| draft.tls[2] = Some(file)),
        keys: &[Key::same("migration", "tls-ca")],
    },
    Opt {
        long: "migr-key",
        takes: Takes::Value("FILE"),
        group: REMOTE,
        repeatable: false,
        default: None,
        allowed: "the path of a file of at least 32 bytes that only its owner can read",
        help: "A key that both sides have, in place of certificates",
        set: |draft, text| values::file(text).map(|file| draft.shared_key = Some(file)),
        keys: &[Key::same("migration", "key")],
    },
    Opt {
        long: "config",
        takes: Takes::Value("FILE"),
        group: OTHER,
        repeatable: false,
        default: None,
        allowed: "the path of a file",
        help: "Config file; without it, config.ini in the working directory if there is one",
        // Read before any value is set, since it is the weaker source.
        set: |_, _| Ok(()),
        keys: &[],
    },
    Opt {
        long: "help",
        takes: Takes::Help,
        group: OTHER,
        repeatable: false,
        default: None,
        allowed: "",
        help: "Print this and end",
        set: |_, _| Ok(()),
        keys: &[],
    },
    Opt {
        long: "version",
        takes: Takes::Version,
        group: OTHER,
        repeatable: false,
        default: None,
        allowed: "",
        help: "Print the version and end",
        set: |_, _| Ok(()),
        keys: &[],
    },
];

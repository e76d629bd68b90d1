//! Options for the guest, the log and `kvm` itself.

use super::super::draft::Draft;
use super::super::values;
use super::{DEFAULT_LOG_FILE, Key, OptionArgument, OptionSpec, YES_NO};

/// The machine.
pub(super) static MACHINE: &[OptionSpec] = &[
    OptionSpec {
        long: "memory",
        takes: OptionArgument::Value("SIZE"),
        repeatable: false,
        default: Some("64"),
        allowed: "a number of MiB, or one with K, M or G, decimal or hexadecimal after 0x: a multiple of 1M from 1M to 32768G",
        help: "RAM of the guest, in MiB unless K, M or G follows",
        set: |draft, text| values::memory(text).map(|size| draft.settings.memory = size),
        keys: &[Key::same("vm-spec", "memsize")],
    },
    OptionSpec {
        long: "timeout",
        takes: OptionArgument::Value("TIME"),
        repeatable: false,
        default: Some("none"),
        allowed: "seconds such as 10 or 0.5, or with a unit: 500ms, 10s, 2m, 1h; at most a year; none",
        help: "End the run after this long, in seconds unless ms, m or h follows",
        set: |draft, text| values::timeout(text).map(|time| draft.settings.timeout = time),
        keys: &[Key::same("vm-spec", "timeout")],
    },
    OptionSpec {
        long: "cpus",
        takes: OptionArgument::Value("N"),
        repeatable: false,
        default: Some("1"),
        allowed: "1 to 64",
        help: "Number of processors; the first one starts the others",
        set: |draft, text| values::cpus(text).map(|cpus| draft.settings.cpus = cpus),
        keys: &[Key::same("vm-spec", "cpus")],
    },
    OptionSpec {
        long: "schedule",
        takes: OptionArgument::Value("HOW"),
        repeatable: false,
        default: Some("parallel"),
        allowed: "parallel (a thread for each processor), serial (by turns on one thread)",
        help: "Several processors at the same time, or by turns",
        set: |draft, text| values::schedule(text).map(|schedule| draft.settings.schedule = schedule),
        keys: &[Key::same("vm-spec", "schedule")],
    },
    OptionSpec {
        long: "clock",
        takes: OptionArgument::Value("CLOCK"),
        repeatable: false,
        default: Some("host"),
        allowed: "host, virtual",
        help: "Guest's clock: the host's, or one that stops with it",
        set: |draft, text| values::clock(text).map(|clock| draft.settings.clock = clock),
        keys: &[Key::same("vm-spec", "clock")],
    },
    OptionSpec {
        long: "irqchip",
        takes: OptionArgument::Value("IRQCHIP"),
        repeatable: false,
        default: Some("user"),
        allowed: "user, kernel",
        help: "Interrupt controllers and timer: in user space or in KVM",
        set: |draft, text| values::irqchip(text).map(|irqchip| draft.settings.irqchip = irqchip),
        keys: &[Key::same("vm-spec", "irqchip")],
    },
    OptionSpec {
        long: "rtc",
        takes: OptionArgument::Value("TIME"),
        repeatable: false,
        default: Some("host"),
        allowed: "host, or seconds since 1970 UTC: 0 to 4294967295 (`date +%s -d 2030-01-31` prints them)",
        help: "Time of day at the start: the host's, or a fixed one",
        set: |draft, text| values::rtc(text).map(|rtc| draft.settings.rtc = rtc),
        keys: &[Key::same("vm-spec", "rtc")],
    },
    OptionSpec {
        long: "no-reboot",
        takes: OptionArgument::Maybe("yes|no"),
        repeatable: false,
        default: Some("no"),
        allowed: YES_NO,
        help: "End the run when the guest resets the machine",
        set: |draft, text| values::boolean(text).map(|on| draft.settings.no_reboot = on),
        keys: &[Key::same("vm-spec", "no-reboot")],
    },
    OptionSpec {
        long: "disk",
        takes: OptionArgument::Value("FILE[,MODE]"),
        repeatable: true,
        default: None,
        allowed: "the path of a raw disk image; after it `,ro` refuses writes, `,snapshot` keeps \
                  them in memory, and `,virtio` makes it a virtio disk on the PCI bus",
        help: "Connect an IDE or virtio disk with a raw image; up to four each",
        set: Draft::add_disk,
        keys: &[Key::same("disk", "image")],
    },
    OptionSpec {
        long: "flat-ide-bars",
        takes: OptionArgument::Maybe("yes|no"),
        repeatable: false,
        default: Some("no"),
        allowed: YES_NO,
        help: "BARs 0 and 1 of the IDE function are bare ports: 0x1F0, 0x3F6",
        set: |draft, text| values::boolean(text).map(|on| draft.settings.flat_ide_bars = on),
        keys: &[Key::same("pci", "flat_ide_bars")],
    },
];

/// The guest's files.
pub(super) static GUEST: &[OptionSpec] = &[
    OptionSpec {
        long: "append",
        takes: OptionArgument::Value("TEXT"),
        repeatable: false,
        default: Some(""),
        allowed: "any text",
        help: "Command line passed to the guest",
        set: |draft, text| {
            draft.settings.append = text.to_owned();
            Ok(())
        },
        keys: &[Key::same("guest", "append")],
    },
    OptionSpec {
        long: "module",
        takes: OptionArgument::Value("PATH[=ARGUMENTS]"),
        repeatable: true,
        default: None,
        allowed: "the path of a file without `=` in it, and after an `=` its arguments if it has some",
        help: "Pass a file to the guest as a module; can be repeated",
        set: Draft::add_module,
        keys: &[Key::same("guest", "module")],
    },
    OptionSpec {
        long: "strict",
        takes: OptionArgument::Maybe("yes|no"),
        repeatable: false,
        default: Some("no"),
        allowed: YES_NO,
        help: "Enforce the permissions of segments",
        set: |draft, text| values::boolean(text).map(|on| draft.settings.strict = on),
        keys: &[Key::same("guest", "strict")],
    },
    OptionSpec {
        long: "no-guards",
        takes: OptionArgument::Maybe("yes|no"),
        repeatable: false,
        default: Some("no"),
        allowed: YES_NO,
        help: "Map page 0, and the page below the boot stack",
        set: |draft, text| values::boolean(text).map(|on| draft.settings.no_guards = on),
        keys: &[Key::same("guest", "no-guards")],
    },
];

/// The log.
pub(super) static LOG: &[OptionSpec] = &[
    OptionSpec {
        long: "logfile",
        takes: OptionArgument::Value("FILE"),
        repeatable: false,
        default: Some(DEFAULT_LOG_FILE),
        allowed: "the path of a file or of a FIFO",
        help: "The log file, emptied at the start; can be a FIFO",
        set: Draft::set_log_file,
        keys: &[Key::same("log", "file")],
    },
    OptionSpec {
        long: "log-level",
        takes: OptionArgument::Value("LEVEL"),
        repeatable: false,
        default: Some("info"),
        allowed: "error, warn, info, debug, trace",
        help: "Least severe level logged: error, warn, info, debug or trace",
        set: |draft, text| values::log_level(text).map(|level| draft.settings.log.level = level),
        keys: &[Key::same("log", "level")],
    },
    OptionSpec {
        long: "log-filter",
        takes: OptionArgument::Value("TARGETS"),
        repeatable: false,
        default: Some(""),
        allowed: "a list such as kvm::devices=debug,kvm::boot=trace; levels: off, error to trace",
        help: "Levels of single modules, such as kvm::devices=debug,kvm::boot=trace",
        set: |draft, text| values::log_filter(text).map(|filter| draft.settings.log.filter = filter),
        keys: &[Key::same("log", "filter")],
    },
    OptionSpec {
        long: "log-format",
        takes: OptionArgument::Value("text|json"),
        repeatable: false,
        default: Some("text"),
        allowed: "text, json",
        help: "Format of the log: lines of text, or one JSON object per line",
        set: |draft, text| values::log_format(text).map(|format| draft.settings.log.format = format),
        keys: &[Key::same("log", "format")],
    },
];

/// Options about `kvm` itself.
pub(super) static OTHER: &[OptionSpec] = &[
    OptionSpec {
        long: "config",
        takes: OptionArgument::Value("FILE"),
        repeatable: false,
        default: None,
        allowed: "the path of a file",
        help: "Config file; without it, config.ini in the working directory if there is one",
        // Read before any value is set, because it has lower precedence.
        set: |_, _| Ok(()),
        keys: &[],
    },
    OptionSpec {
        long: "help",
        takes: OptionArgument::Help,
        repeatable: false,
        default: None,
        allowed: "",
        help: "Print this help and exit",
        set: |_, _| Ok(()),
        keys: &[],
    },
    OptionSpec {
        long: "version",
        takes: OptionArgument::Version,
        repeatable: false,
        default: None,
        allowed: "",
        help: "Print the version and exit",
        set: |_, _| Ok(()),
        keys: &[],
    },
];

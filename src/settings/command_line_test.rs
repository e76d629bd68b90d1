use std::os::unix::ffi::OsStringExt;

use tracing::Level;

use super::*;

const MIB: u64 = 1 << 20;

#[test]
fn a_guest_alone_runs_with_the_defaults() {
    let expected = Settings {
        guest: "hello.elf".into(),
        device: "/dev/kvm".into(),
        memory: 64 * MIB,
        memory_is_default: true,
        boot: BootSpec::default(),
        strict: false,
        no_guards: false,
        append: String::new(),
        modules: vec![],
        display: DisplayMode::Auto,
        dashboard: DashboardMode::Off,
        config: None,
        dump_screen: false,
        serial: [SerialBackend::Stdio, SerialBackend::Log, SerialBackend::Log, SerialBackend::Log],
        debug_console: SerialBackend::Stdio,
        mouse: MouseMode::Auto,
        keys: KeyTarget::Auto,
        cpus: 1,
        schedule: Schedule::Parallel,
        clock: ClockMode::Host,
        irqchip: IrqchipMode::User,
        vga: VgaMode::Auto,
        pictures: PictureMode::Auto,
        rtc: None,
        disks: Vec::new(),
        guest_disk: DiskMode::ReadWrite,
        cdrom: None,
        flat_ide_bars: false,
        overwrite_disks: false,
        layout: LayoutName::Us,
        log: LogSpec {
            file: "console.log".into(),
            file_chosen: false,
            level: Level::INFO,
            filter: String::new(),
            format: LogFormat::Text,
            trace: TraceSpec::default(),
        },
        timeout: None,
        no_reboot: false,
        gdb: None,
        magic_break: false,
        explain: false,
        crash_files: CrashFiles::default(),
        gdb_arch: None,
        debug_server: None,
        debug_server_password: None,
        console: None,
        restore: None,
        snapshot_at_exit: None,
        migration: None,
        downtime: Duration::from_millis(30),
        security: MigrationSecurity::Plain,
        notes: vec![],
    };
    assert_eq!(settings(&["hello.elf"]), expected);
}

#[test]
fn memory_is_in_mib_or_has_a_unit() {
    for (text, size) in [
        ("1", MIB),
        ("10", 10 * MIB),
        ("2048K", 2 * MIB),
        ("7m", 7 * MIB),
        ("3G", 3072 * MIB),
        ("32768G", 1 << 45),
    ] {
        assert_eq!(settings(&["a.elf", "--memory", text]).memory, size, "{text}");
    }
    for (text, why) in [
        ("0", "is too small"),
        ("1023K", "is not a multiple of 1 MiB"),
        ("32769G", "is too large"),
        ("99999999999999999999", "is too large"),
        ("20000000000000G", "is too large"),
        ("-1", "is not a size"),
        ("0x", "is not a size"),
        ("0xG", "is not a size"),
        ("0x10m4", "is not a size"),
        ("4A", "is not a size"),
        ("0x0", "is too small"),
        ("", "is not a size"),
        ("G", "is not a size"),
        ("1.5G", "is not a size"),
        ("ten", "is not a size"),
        ("1€", "is not a size"),
    ] {
        let message = message(&["a.elf", &format!("--memory={text}")]);
        assert!(message.starts_with(&format!("--memory: `{text}` {why}; allowed: a number")), "{message}");
    }
}

#[test]
fn a_run_can_have_a_timeout() {
    for (text, millis) in [("10", 10_000), ("0.5", 500), ("500ms", 500), ("3s", 3000), ("2m", 120_000)] {
        let expected = Some(Duration::from_millis(millis));
        assert_eq!(settings(&["a.elf", "--timeout", text]).timeout, expected, "{text}");
    }
    assert_eq!(settings(&["a.elf", "--timeout", "none"]).timeout, None);
    for (text, why) in [
        ("0", "is zero"),
        ("0.0000000000001", "is zero"),
        ("-1", "is not a duration"),
        ("inf", "is not a duration"),
        ("nan", "is not a duration"),
        ("1e9", "is not a duration"),
        ("5 minutes", "is not a duration"),
        ("1.2.3", "is not a duration"),
        ("", "is not a duration"),
        ("9000h", "is too long"),
        (&"9".repeat(400), "is too long"),
    ] {
        let message = message(&["a.elf", &format!("--timeout={text}")]);
        assert!(message.starts_with(&format!("--timeout: `{text}` {why}; allowed: ")), "{message}");
    }
}

#[test]
fn options_for_the_guest_are_parsed() {
    let settings = settings(&[
        "a.elf",
        "--append",
        "root=ram quiet",
        "--module",
        "initrd.img",
        "--module=data.bin=name=x y",
        "--strict",
    ]);
    assert_eq!(settings.append, "root=ram quiet");
    let module = |path: &str, arguments: &str| ModuleSpec { path: path.into(), arguments: arguments.into() };
    assert_eq!(settings.modules, [module("initrd.img", ""), module("data.bin", "name=x y")]);
    assert!(settings.strict);
    assert!(
        message(&["a.elf", "--module", "=x"]).starts_with("--module: `=x` does not name a file; allowed: ")
    );
}

#[test]
fn text_that_starts_with_a_dash_is_attached() {
    assert_eq!(settings(&["a.elf", "--append=-config"]).append, "-config");
    let short = message(&["a.elf", "--append", "-v"]);
    assert!(short.contains("There is no option `-v`."), "{short}");
    assert!(short.contains("a value that starts with a dash is attached with `=`"), "{short}");
    let long = message(&["a.elf", "--append", "-config"]);
    assert!(long.contains("--append needs a value: any text. "), "{long}");
    assert!(long.contains("attached with `=`, as in --append=-x"), "{long}");
    let unknown = message(&["a.elf", "--append", "-nosmp"]);
    assert!(unknown.contains("There is no option `--nosmp`."), "{unknown}");
}

#[test]
fn screen_and_keyboard() {
    for (text, display) in [
        ("auto", DisplayMode::Auto),
        ("vga", DisplayMode::Vga),
        ("serial", DisplayMode::Serial),
        ("none", DisplayMode::None),
    ] {
        assert_eq!(settings(&["a.elf", "--display", text]).display, display);
    }
    for (text, keys) in
        [("auto", KeyTarget::Auto), ("keyboard", KeyTarget::Keyboard), ("serial", KeyTarget::Serial)]
    {
        assert_eq!(settings(&["a.elf", "--keys", text]).keys, keys);
    }
    for (text, layout) in [("us", LayoutName::Us), ("it", LayoutName::It)] {
        assert_eq!(settings(&["a.elf", "--layout", text]).layout, layout);
    }
    assert!(settings(&["a.elf", "--dump-screen"]).dump_screen);
    assert_eq!(
        message(&["a.elf", "--display", "gtk"]),
        "--display: `gtk` is not a display; allowed: auto, vga, serial, none"
    );
    assert_eq!(
        message(&["a.elf", "--keys", "mouse"]),
        "--keys: `mouse` is not a target of key input; allowed: auto, keyboard, serial"
    );
    assert_eq!(
        message(&["a.elf", "--layout", "de"]),
        "--layout: `de` is not a keyboard layout; allowed: us, it"
    );
}

#[test]
fn serial_ports_end_where_the_user_says() {
    let ends = settings(&[
        "a.elf",
        "--serial",
        "1=file:out=1.txt",
        "--serial=2=unix:/tmp/s",
        "--serial=3=pty",
        "--serial=4=null",
    ]);
    assert_eq!(
        ends.serial,
        [
            SerialBackend::File("out=1.txt".into()),
            SerialBackend::Unix("/tmp/s".into()),
            SerialBackend::Pty,
            SerialBackend::Null
        ]
    );
    let moved = settings(&["a.elf", "--serial", "1=log", "--serial", "2=stdio"]);
    assert_eq!(moved.serial[..2], [SerialBackend::Log, SerialBackend::Stdio]);
    let long = format!("1=unix:{}", "s".repeat(108));
    for (text, why) in [
        ("log", "has no `=`"),
        ("0=log", "does not name a serial port from 1 to 4"),
        ("5=log", "does not name a serial port from 1 to 4"),
        ("com1=log", "does not name a serial port from 1 to 4"),
        ("1=tcp:9", "is not a serial backend"),
        ("1=file:", "does not name a file"),
        ("1=unix:", "does not name a file"),
        (&long, "names a socket with 108 bytes, and Linux takes 107"),
    ] {
        let message = message(&["a.elf", "--serial", text]);
        assert!(message.starts_with(&format!("--serial: `{text}` {why}; allowed: N from")), "{message}");
    }
}

#[test]
fn two_serial_ports_cannot_share_an_end_that_has_input() {
    let text = message(&["a.elf", "--serial", "3=stdio"]);
    assert!(
        text.starts_with("serial ports 1 and 3 cannot both be stdio: add --serial 1=log or --serial 3=log"),
        "{text}"
    );
    let text = message(&["a.elf", "--serial", "2=unix:x", "--serial", "4=unix:x"]);
    assert!(text.starts_with("serial ports 2 and 4 cannot both be unix:x"), "{text}");
    let text = message(&["a.elf", "--serial", "2=unix:x", "--debugcon", "unix:x"]);
    assert!(text.starts_with("the debug console and a serial port cannot both be unix:x"), "{text}");
    // A file has none.
    let shared = settings(&["a.elf", "--serial", "2=file:x", "--serial", "4=file:x", "--debugcon", "file:x"]);
    assert_eq!((&shared.serial[1], &shared.serial[3]), (&shared.debug_console, &shared.debug_console));
    let text = message(&["a.elf", "--serial", "2=file:console.log"]);
    assert!(text.starts_with("`console.log` is the log file"), "{text}");
    let text = message(&["a.elf", "--debugcon", "file:l", "-logfile", "l"]);
    assert!(text.starts_with("`l` is the log file"), "{text}");
}

#[test]
fn the_log_file_and_level_are_configurable() {
    let log = settings(&["a.elf", "--logfile", "x.log", "--log-level", "trace"]).log;
    assert_eq!((log.file.to_str(), log.file_chosen, log.level), (Some("x.log"), true, Level::TRACE));
    assert!(settings(&["a.elf", "--logfile", "console.log"]).log.file_chosen, "named on purpose");
    let filter = "kvm::devices=debug,kvm::boot=off";
    assert_eq!(settings(&["a.elf", "--log-filter", filter]).log.filter, filter);
    for level in ["error", "warn", "info", "debug", "trace"] {
        let set = settings(&["a.elf", "--log-level", level]).log.level;
        assert!(set.to_string().eq_ignore_ascii_case(level));
    }
    assert_eq!(
        message(&["a.elf", "--log-level", "3"]),
        "--log-level: `3` is not a log level; allowed: error, warn, info, debug, trace"
    );
    let text = message(&["a.elf", "--log-filter", "kvm::boot=loud"]);
    assert!(text.starts_with("--log-filter: `kvm::boot=loud` is not a filter ("), "{text}");
    let text = message(&["a.elf", "--log-filter", "debug"]);
    assert!(text.contains("sets a level for everything, which is what --log-level does"), "{text}");
    assert!(message(&["a.elf", "--logfile="]).starts_with("--logfile: `` does not name a file"));
}

#[test]
fn one_dash_is_as_good_as_two() {
    let old = settings(&["-logfile", "fifo", "a.elf", "-consoleport", "9001"]);
    let new = settings(&["a.elf", "--consoleport=9001", "--logfile=fifo"]);
    assert_eq!(old, new);
    assert_eq!(settings(&["-memory=10", "a.elf", "-no-reboot"]).memory, 10 * MIB);
    assert_eq!(settings(&["--strict", "--", "-logfile"]).guest.to_str(), Some("-logfile"));
    assert_eq!(settings(&["-"]).guest.to_str(), Some("-"), "a dash alone is a name");
}

#[test]
fn words_behind_two_dashes_are_the_command_line_of_the_guest() {
    let with_words = settings(&["a.elf", "--strict", "--", "root=/dev/ram0", "--quiet"]);
    assert_eq!(with_words, settings(&["a.elf", "--strict", "--append=root=/dev/ram0 --quiet"]));
    let guest_behind = settings(&["--", "--a.elf", "x"]);
    assert_eq!((guest_behind.guest.to_str(), guest_behind.append.as_str()), (Some("--a.elf"), "x"));
    assert_eq!(settings(&["a.elf", "--"]), settings(&["a.elf"]));
}

#[test]
fn a_guest_may_have_any_name() {
    let name = OsString::from_vec(b"caf\xe9.elf".to_vec());
    let args = [OsString::from("kvm"), name.clone()].into_iter();
    assert_eq!(run(from_args_and_config(args, Path::new(NO_CONFIG))).guest.as_os_str(), name);
    let args = ["kvm", "a.elf", "--logfile"].map(OsString::from).into_iter().chain([name]);
    let text = from_args_and_config(args, Path::new(NO_CONFIG)).unwrap_err().to_string();
    assert!(text.starts_with("--logfile: `caf\u{fffd}.elf` is not UTF-8 text"), "{text}");
}

#[test]
fn the_form_of_the_command_line() {
    for args in [&[][..], &[""], &["-logfile", "x"]] {
        let text = message(args);
        assert!(
            text.starts_with("No guest file is named: ")
                && text.ends_with("\nUnspecified elf file. Use: kvm <elf file> [OPTIONS]"),
            "{text}"
        );
    }
    for (args, reason) in [
        (&["a.elf", "b.elf"][..], "`b.elf` is a second guest file: only one can be run"),
        (&["a.elf", "--gdb", "1234"], "`1234` is a second guest file"),
        (&["a.elf", "-logfile"], "--logfile needs a value: the path of a file"),
        (&["a.elf", "-logfile", "--strict"], "--logfile needs a value: the path of a file"),
        (&["-logfile", "x", "a.elf", "-logfile", "y"], "--logfile is given twice"),
        (&["-migr", "-migr"], "--migr is given twice"),
        (&["--memory=1", "--memory=1", "a.elf"], "--memory is given twice"),
        (&["a.elf", "--gdb", "--gdb=1"], "--gdb is given twice"),
        (&["a.elf", "-logfle", "x"], "There is no option `--logfle`, did you mean `--logfile`?"),
        (&["a.elf", "--frobnicate"], "There is no option `--frobnicate`. `kvm --help` lists"),
        (&["a.elf", "-x"], "There is no option `-x`. `kvm --help` lists"),
        (&["a.elf", "--append", "--"], "--append needs a value: any text"),
        (&["a.elf", "--append=x", "--", "y"], "--append is given twice"),
        (&["a.elf", "-memory", "x", "-memory"], "--memory needs a value: a number of MiB"),
        (&["a.elf", "-frob=1"], "There is no option `--frob`. `kvm --help` lists"),
        (&["a.elf", "-x=1"], "There is no option `-x`. `kvm --help` lists"),
        (&["a.elf", "--=1"], "There is no option `--`. `kvm --help` lists"),
        (&["a.elf", "--help=me"], "--help takes no value: leave out `=me`."),
        (&["-V=2"], "--version takes no value: leave out `=2`."),
    ] {
        let text = message(args);
        assert!(text.ends_with("\nIncorrect Format. Use: kvm <elf file> [OPTIONS]"), "{args:?}: {text}");
        assert!(text.contains(reason), "{args:?}: {text}");
    }
}

#[test]
fn help_names_every_option_and_ends_with_examples() {
    for flag in ["--help", "-help", "-h"] {
        let Ok(Invocation::Help(text)) = invoke(&[flag]) else { panic!("{flag} is no help") };
        for group in super::super::table::GROUPS {
            assert!(text.contains(&format!("\n{}:\n", group.name)), "{}: {text}", group.name);
        }
        for option in super::super::table::options() {
            assert!(text.contains(&format!("--{}", option.long)), "{}: {text}", option.long);
            assert!(text.contains(option.help), "{}: {text}", option.help);
        }
        let (_, examples) = text.split_once("Examples:\n").unwrap();
        assert!(examples.lines().filter(|line| line.starts_with("  kvm ")).count() >= 4, "{examples}");
        assert!(text.lines().all(|line| line.len() <= 100), "{text}");
    }
}

#[test]
fn vscode_takes_a_folder_and_a_flag() {
    let vscode = |folder: &str, force| Invocation::Vscode { folder: folder.into(), force };
    assert_eq!(invoke(&["vscode"]).unwrap(), vscode(".", false));
    assert_eq!(invoke(&["vscode", "--force"]).unwrap(), vscode(".", true));
    assert_eq!(invoke(&["vscode", "-force", "over there"]).unwrap(), vscode("over there", true));
    let Ok(Invocation::Help(text)) = invoke(&["vscode", "--help"]) else { panic!("that is help") };
    assert!(text.contains(".vscode/launch.json"), "{text}");
    for args in [&["vscode", "a", "b"][..], &["vscode", "--memory=1"], &["vscode", "-x"], &["vscode", ""]] {
        let text = message(args);
        assert!(
            text.starts_with('`') && text.ends_with("\nIncorrect Format. Use: kvm vscode [DIR] [--force]"),
            "{args:?}: {text}"
        );
    }
    assert_eq!(run(invoke(&["./vscode"])).guest, Path::new("./vscode"));
}

#[test]
fn version_names_the_program_and_its_version() {
    for flag in ["--version", "-version", "-V"] {
        let expected = format!("kvm {}\n", env!("CARGO_PKG_VERSION"));
        assert_eq!(invoke(&[flag]).unwrap(), Invocation::Version(expected));
    }
}

#[test]
fn check_is_a_command_only_where_it_stands_first() {
    let check = |device: &str, json| Invocation::Check { device: device.into(), json };
    assert_eq!(invoke(&["check"]).unwrap(), check("/dev/kvm", false));
    assert_eq!(invoke(&["check", "--json"]).unwrap(), check("/dev/kvm", true));
    assert_eq!(invoke(&["check", "-json"]).unwrap(), check("/dev/kvm", true));
    assert_eq!(invoke(&["check", "--device", "/dev/yakvm"]).unwrap(), check("/dev/yakvm", false));
    assert_eq!(settings(&["./check"]).guest, PathBuf::from("./check"));
    assert_eq!(settings(&["--strict", "--", "check"]).guest, PathBuf::from("check"));
    let Ok(Invocation::Help(help)) = invoke(&["check", "--help"]) else { panic!("no help") };
    assert!(help.starts_with("Report what KVM supports"), "{help}");
}

#[test]
fn check_takes_nothing_but_its_options() {
    for (args, named) in [
        (["check", "guest.elf"], "`guest.elf`"),
        (["check", "--memory"], "`--memory`"),
        (["check", "-v"], "`-v`"),
    ] {
        let message = message(&args);
        assert!(
            message.ends_with("\nIncorrect Format. Use: kvm check [--json] [--device PATH]"),
            "{message}"
        );
        assert!(message.contains(named) && message.contains("`kvm ./check`"), "{message}");
    }
    assert!(message(&["check", "--json=yes"]).contains("--json"));
    assert!(message(&["check", "--device=kvm"]).contains("is no absolute path"));
}

#[test]
fn a_device_of_kvm_is_a_path_and_one_of_qemu_is_not() {
    assert_eq!(settings(&["a.elf", "--device", "/dev/yakvm"]).device, PathBuf::from("/dev/yakvm"));
    assert_eq!(settings(&["a.elf", "-device=/dev/yakvm"]).device, PathBuf::from("/dev/yakvm"));
    assert_eq!(
        settings(&["a.elf", "-device", "isa-debug-exit,iobase=0xf4"]).device,
        PathBuf::from("/dev/kvm")
    );
    assert!(message(&["a.elf", "-device", "virtio-net-pci"]).contains("README.md lists them"));
}

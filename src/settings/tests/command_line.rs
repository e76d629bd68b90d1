use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::ffi::OsStringExt;

use tracing::Level;

use super::*;

const MIB: u64 = 1 << 20;

#[test]
fn a_guest_alone_runs_with_the_defaults() {
    let expected = Settings {
        guest: "hello.elf".into(),
        memory: 64 * MIB,
        strict: false,
        append: String::new(),
        modules: vec![],
        display: Display::Auto,
        dump_screen: false,
        serial: [SerialEnd::Stdio, SerialEnd::Log, SerialEnd::Log, SerialEnd::Log],
        debug_console: SerialEnd::Stdio,
        keys: Keys::Auto,
        layout: LayoutName::Us,
        log: LogSpec {
            file: "console.log".into(),
            file_chosen: false,
            level: Level::INFO,
            filter: String::new(),
        },
        timeout: None,
        no_reboot: false,
        gdb: None,
        gdb_arch: GdbArch::X86_64,
        debug_server: None,
        console: None,
        restore: None,
        snapshot_at_exit: None,
        migration: None,
        downtime: Duration::from_millis(30),
        security: Security::Plain,
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
        ("1023K", "is no multiple of 1 MiB"),
        ("32769G", "is too large"),
        ("99999999999999999999", "is too large"),
        ("20000000000000G", "is too large"),
        ("-1", "is no size"),
        ("", "is no size"),
        ("G", "is no size"),
        ("1.5G", "is no size"),
        ("ten", "is no size"),
        ("1€", "is no size"),
    ] {
        let message = message(&["a.elf", &format!("--memory={text}")]);
        assert!(message.starts_with(&format!("--memory: `{text}` {why}; allowed: a number")), "{message}");
    }
}

#[test]
fn a_run_can_be_given_a_time() {
    for (text, millis) in [("10", 10_000), ("0.5", 500), ("500ms", 500), ("3s", 3000), ("2m", 120_000)] {
        let expected = Some(Duration::from_millis(millis));
        assert_eq!(settings(&["a.elf", "--timeout", text]).timeout, expected, "{text}");
    }
    assert_eq!(settings(&["a.elf", "--timeout", "none"]).timeout, None);
    for (text, why) in [
        ("0", "is no time at all"),
        ("0.0000000000001", "is no time at all"),
        ("-1", "is no length of time"),
        ("inf", "is no length of time"),
        ("nan", "is no length of time"),
        ("1e9", "is no length of time"),
        ("5 minutes", "is no length of time"),
        ("1.2.3", "is no length of time"),
        ("", "is no length of time"),
        ("9000h", "is too long"),
        (&"9".repeat(400), "is too long"),
    ] {
        let message = message(&["a.elf", &format!("--timeout={text}")]);
        assert!(message.starts_with(&format!("--timeout: `{text}` {why}; allowed: ")), "{message}");
    }
}

#[test]
fn what_the_guest_is_handed() {
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
    assert!(message(&["a.elf", "--module", "=x"]).starts_with("--module: `=x` names no file; allowed: "));
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
    for (text, display) in
        [("auto", Display::Auto), ("vga", Display::Vga), ("serial", Display::Serial), ("none", Display::None)]
    {
        assert_eq!(settings(&["a.elf", "--display", text]).display, display);
    }
    for (text, keys) in [("auto", Keys::Auto), ("keyboard", Keys::Keyboard), ("serial", Keys::Serial)] {
        assert_eq!(settings(&["a.elf", "--keys", text]).keys, keys);
    }
    for (text, layout) in [("us", LayoutName::Us), ("it", LayoutName::It)] {
        assert_eq!(settings(&["a.elf", "--layout", text]).layout, layout);
    }
    assert!(settings(&["a.elf", "--dump-screen"]).dump_screen);
    assert_eq!(
        message(&["a.elf", "--display", "gtk"]),
        "--display: `gtk` is no display; allowed: auto, vga, serial, none"
    );
    assert_eq!(
        message(&["a.elf", "--keys", "mouse"]),
        "--keys: `mouse` is nobody who takes keys; allowed: auto, keyboard, serial"
    );
    assert_eq!(
        message(&["a.elf", "--layout", "de"]),
        "--layout: `de` is no keyboard layout; allowed: us, it"
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
            SerialEnd::File("out=1.txt".into()),
            SerialEnd::Unix("/tmp/s".into()),
            SerialEnd::Pty,
            SerialEnd::Null
        ]
    );
    let moved = settings(&["a.elf", "--serial", "1=log", "--serial", "2=stdio"]);
    assert_eq!(moved.serial[..2], [SerialEnd::Log, SerialEnd::Stdio]);
    let long = format!("1=unix:{}", "s".repeat(108));
    for (text, why) in [
        ("stdio", "has no `=`"),
        ("0=log", "names no serial port from 1 to 4"),
        ("5=log", "names no serial port from 1 to 4"),
        ("com1=log", "names no serial port from 1 to 4"),
        ("1=tcp:9", "is no far end of a serial port"),
        ("1=file:", "names no file"),
        ("1=unix:", "names no file"),
        (&long, "names a socket with 108 bytes, and Linux takes 107"),
    ] {
        let message = message(&["a.elf", "--serial", text]);
        assert!(message.starts_with(&format!("--serial: `{text}` {why}; allowed: N from")), "{message}");
    }
}

#[test]
fn two_serial_ports_cannot_share_an_end() {
    let text = message(&["a.elf", "--serial", "3=stdio"]);
    assert!(
        text.starts_with("serial ports 1 and 3 cannot both be stdio: add --serial 1=log or --serial 3=log"),
        "{text}"
    );
    let text = message(&["a.elf", "--serial", "2=file:x", "--serial", "4=file:x"]);
    assert!(text.starts_with("serial ports 2 and 4 cannot both be file:x"), "{text}");
    let text = message(&["a.elf", "--serial", "2=unix:x", "--serial", "4=unix:x"]);
    assert!(text.starts_with("serial ports 2 and 4 cannot both be unix:x"), "{text}");
    let text = message(&["a.elf", "--serial", "2=file:x", "--debugcon", "file:x"]);
    assert!(text.starts_with("the debug console and a serial port cannot both be file:x"), "{text}");
    let text = message(&["a.elf", "--serial", "2=file:console.log"]);
    assert!(text.starts_with("`console.log` is the log file"), "{text}");
    let text = message(&["a.elf", "--debugcon", "file:l", "-logfile", "l"]);
    assert!(text.starts_with("`l` is the log file"), "{text}");
}

#[test]
fn the_log_is_where_and_as_detailed_as_the_user_says() {
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
        "--log-level: `3` is no log level; allowed: error, warn, info, debug, trace"
    );
    let text = message(&["a.elf", "--log-filter", "kvm::boot=loud"]);
    assert!(text.starts_with("--log-filter: `kvm::boot=loud` is no filter ("), "{text}");
    let text = message(&["a.elf", "--log-filter", "debug"]);
    assert!(text.contains("sets a level for everything, which is what --log-level does"), "{text}");
    assert!(message(&["a.elf", "--logfile="]).starts_with("--logfile: `` names no file"));
}

#[test]
fn gdb_listens_where_the_user_says() {
    let at = |place| Some(GdbSpec { place, wait: true });
    let gdb = |address: IpAddr, port| at(Place::Tcp(SocketAddr::new(address, port)));
    let local = Ipv4Addr::LOCALHOST.into();
    let six = Ipv6Addr::LOCALHOST.into();
    for (option, expected) in [
        ("--gdb", gdb(local, 1234)),
        ("--gdb=yes", gdb(local, 1234)),
        ("--gdb=no", None),
        ("--gdb=1", gdb(local, 1)),
        ("--gdb=4321", gdb(local, 4321)),
        ("--gdb=localhost:99", gdb(local, 99)),
        ("--gdb=0.0.0.0", gdb(Ipv4Addr::UNSPECIFIED.into(), 1234)),
        ("--gdb=::1", gdb(six, 1234)),
        ("--gdb=[::1]:99", gdb(six, 99)),
        ("--gdb=unix:/run/gdb", at(Place::Unix("/run/gdb".into()))),
        ("--gdb=unix:1234", at(Place::Unix("1234".into()))),
    ] {
        assert_eq!(settings(&["a.elf", option]).gdb, expected, "{option}");
    }
    let not_swallowed = settings(&["--gdb", "a.elf"]);
    assert_eq!((not_swallowed.guest.to_str(), not_swallowed.gdb.is_some()), (Some("a.elf"), true));
    for (text, why) in [
        ("0", "is neither an IP address nor a TCP port"),
        ("65536", "is neither an IP address nor a TCP port"),
        ("127.0.0.1:0", "is no TCP port"),
        ("somewhere:1234", "is no IP address"),
        ("", "is neither an IP address nor a TCP port"),
        ("unix:", "names no file"),
        (&format!("unix:/{}", "x".repeat(107)), "names a socket with 108 bytes, and Linux takes 107"),
    ] {
        let message = message(&["a.elf", &format!("--gdb={text}")]);
        assert!(message.starts_with(&format!("--gdb: `{text}` {why}; allowed: ADDRESS:PORT")), "{message}");
    }
}

#[test]
fn who_does_not_want_to_wait_for_gdb_wants_gdb() {
    let waits = |args: &[&str]| settings(&[&["a.elf"], args].concat()).gdb.map(|gdb| gdb.wait);
    for (args, expected) in [
        (&["--gdb"][..], Some(true)),
        (&["--gdb-nowait"], Some(false)),
        (&["--gdb=99", "--gdb-nowait"], Some(false)),
        (&["--gdb-nowait=no"], None),
        (&["--gdb-nowait=no", "--gdb"], Some(true)),
        (&["--gdb-nowait", "--gdb=no"], None),
        (&["--gdb=no", "--gdb-nowait"], None),
    ] {
        assert_eq!(waits(args), expected, "{args:?}");
    }
    let place = settings(&["a.elf", "--gdb-nowait"]).gdb.map(|gdb| gdb.place.to_string());
    assert_eq!(place.as_deref(), Some("127.0.0.1:1234"));
}

#[test]
fn the_console_port_is_a_port() {
    assert!(message(&["a.elf", "--consoleport", "0"]).starts_with("--consoleport: `0` is no TCP port"));
}

#[test]
fn a_console_listens_where_it_is_said_and_only_on_this_host() {
    let console = |args: &[&str]| settings(&[&["a.elf"], args].concat()).console;
    let at = |place: &str, chosen| Some((place.to_owned(), chosen));
    for (args, expected) in [
        (&[][..], None),
        (&["--console"], at("127.0.0.1:9000", false)),
        (&["--console=no"], None),
        (&["--console=9001"], at("127.0.0.1:9001", true)),
        (&["--console=[::1]:9001"], at("[::1]:9001", true)),
        (&["--console=unix:/tmp/c"], at("/tmp/c", true)),
        (&["-consoleport", "9000"], at("127.0.0.1:9000", true)),
        (&["-consoleport", "none"], None),
        (&["--console=127.0.0.2", "-consoleport", "9002"], at("127.0.0.2:9002", true)),
    ] {
        let found = console(args).map(|spec| (spec.place.to_string(), spec.chosen));
        assert_eq!(found, expected, "{args:?}");
    }
    let text = message(&["a.elf", "--console=0.0.0.0:9000"]);
    assert!(text.starts_with("--console: `0.0.0.0:9000` can be reached from other hosts"), "{text}");
}

#[test]
fn a_console_is_asked_for_with_its_place() {
    let place = |args: &[&str]| match invoke(args) {
        Ok(Invocation::Console { place }) => place.to_string(),
        other => panic!("{args:?}: {other:?}"),
    };
    assert_eq!(place(&["console"]), "127.0.0.1:9000");
    assert_eq!(place(&["console", "9001"]), "127.0.0.1:9001");
    assert_eq!(place(&["console", "10.0.0.1:99"]), "10.0.0.1:99");
    assert_eq!(place(&["console", "unix:here"]), "here");
    let text = message(&["console", "nowhere at all"]);
    assert!(
        text.starts_with("kvm console: `nowhere at all` is neither an IP address nor a TCP port"),
        "{text}"
    );
    for wrong in [["console", "--fast"], ["console", "-x"]] {
        assert!(message(&wrong).contains("Use: kvm console [ADDRESS:PORT|unix:PATH]"));
    }
    assert!(message(&["console", "1", "2"]).contains("`2` cannot stand there"));
    assert!(
        matches!(invoke(&["console", "--help"]), Ok(Invocation::Help(text)) if text.contains("kvm console"))
    );
}

#[test]
fn a_guest_can_arrive_from_elsewhere() {
    let place = |text: &str| Some(text.parse::<SocketAddr>().unwrap());
    let received = settings(&["-migr"]);
    assert_eq!((received.guest.to_str(), received.migration), (Some(""), place("127.0.0.1:8000")));
    assert_eq!(settings(&["--migrport", "8001", "--migr"]).migration, place("127.0.0.1:8001"));
    assert_eq!(settings(&["--migrport", "[::1]:8001", "--migr"]).migration, place("[::1]:8001"));
    assert!(
        message(&["-migr", "-migrport", "x"]).starts_with("--migrport: `x` is neither an IP address nor")
    );
    let text = message(&["a.elf", "-migr"]);
    assert!(text.starts_with("Elf file cannot be specified together with -migr. Use: kvm <elf"), "{text}");
    assert!(text.contains("leave out either -migr or `a.elf`"), "{text}");
    let text = message(&["a.elf", "-migrport", "8001"]);
    assert!(text.starts_with("-migrport used without -migr. Use: kvm <elf"), "{text}");
    assert!(text.contains("add -migr or leave out -migrport"), "{text}");
}

#[test]
fn a_guest_arrives_over_a_network_only_from_somebody_who_is_known() {
    let text = message(&["-migr", "-migrport", "0.0.0.0:8000"]);
    assert!(text.starts_with("-migrport 0.0.0.0: other hosts can reach this address"), "{text}");
    let known = settings(&["-migr", "-migrport", "0.0.0.0:8000", "--migr-key", "k"]);
    assert_eq!(known.security, Security::Key("k".into()));
    let tls = ["-migr", "-migrport", "192.0.2.1", "--tls-cert=a", "--tls-key=b", "--tls-ca=c"];
    let (cert, key, ca) = ("a".into(), "b".into(), "c".into());
    assert_eq!(settings(&tls).security, Security::Tls { cert, key, ca });
    assert!(message(&tls[..5]).starts_with("--tls-cert, --tls-key and --tls-ca belong together"));
    let both = [&tls[..], &["--migr-key", "k"]].concat();
    assert!(message(&both).starts_with("--migr-key takes the place of --tls-cert"));
}

#[test]
fn a_guest_can_come_from_a_snapshot_which_decides_what_its_machine_is() {
    let restored = settings(&["--restore", "a.kvmstate", "--display=none", "--gdb"]);
    assert_eq!(
        (restored.guest.to_str(), restored.restore.as_deref()),
        (Some(""), Some(Path::new("a.kvmstate")))
    );
    let text = message(&["a.elf", "--restore=a.kvmstate"]);
    assert!(text.starts_with("`a.elf` cannot be run together with --restore. Use: kvm <elf"), "{text}");
    for option in ["--memory=64", "--append=x", "--module=x", "--strict", "--migr"] {
        let text = message(&["--restore=a.kvmstate", option]);
        let name = option.split('=').next().unwrap();
        assert!(text.starts_with(&format!("{name} cannot be given together with --restore.")), "{text}");
        assert!(text.contains("leave") && text.contains("out"), "{text}");
    }
}

#[test]
fn a_snapshot_can_be_checked() {
    assert_eq!(invoke(&["check-snapshot", "x"]), Ok(Invocation::CheckSnapshot { file: "x".into() }));
    let Ok(Invocation::Help(help)) = invoke(&["check-snapshot", "--help"]) else { panic!("no help") };
    assert!(help.starts_with("Tell what is in a snapshot"), "{help}");
    for args in [&["check-snapshot"][..], &["check-snapshot", "a", "b"], &["check-snapshot", "a", "--json"]] {
        let text = message(args);
        assert!(text.starts_with("Incorrect Format. Use: kvm check-snapshot FILE\n"), "{text}");
    }
    assert_eq!(settings(&["./check-snapshot"]).guest, PathBuf::from("./check-snapshot"));
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
        assert!(text.starts_with("Unspecified elf file. Use: kvm <elf file> [OPTIONS]\nName the"), "{text}");
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
        (&["--", "a.elf", "b.elf"], "`b.elf` is a second guest file"),
        (&["a.elf", "-memory", "x", "-memory"], "--memory needs a value: a number of MiB"),
        (&["a.elf", "-frob=1"], "There is no option `--frob`. `kvm --help` lists"),
        (&["a.elf", "-x=1"], "There is no option `-x`. `kvm --help` lists"),
        (&["a.elf", "--=1"], "There is no option `--`. `kvm --help` lists"),
        (&["a.elf", "--help=me"], "--help takes no value: leave out `=me`."),
        (&["-V=2"], "--version takes no value: leave out `=2`."),
    ] {
        let text = message(args);
        assert!(text.starts_with("Incorrect Format. Use: kvm <elf file> [OPTIONS]\n"), "{args:?}: {text}");
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
    let vscode = |folder: &str, force| Ok(Invocation::Vscode { folder: folder.into(), force });
    assert_eq!(invoke(&["vscode"]), vscode(".", false));
    assert_eq!(invoke(&["vscode", "--force"]), vscode(".", true));
    assert_eq!(invoke(&["vscode", "-force", "over there"]), vscode("over there", true));
    let Ok(Invocation::Help(text)) = invoke(&["vscode", "--help"]) else { panic!("that is help") };
    assert!(text.contains(".vscode/launch.json"), "{text}");
    for args in [&["vscode", "a", "b"][..], &["vscode", "--memory=1"], &["vscode", "-x"], &["vscode", ""]] {
        let text = message(args);
        assert!(text.starts_with("Incorrect Format. Use: kvm vscode [DIR] [--force]\n`"), "{args:?}: {text}");
    }
    assert_eq!(run(invoke(&["./vscode"])).guest, Path::new("./vscode"));
}

#[test]
fn version_names_the_program_and_its_version() {
    for flag in ["--version", "-version", "-V"] {
        let expected = format!("kvm {}\n", env!("CARGO_PKG_VERSION"));
        assert_eq!(invoke(&[flag]), Ok(Invocation::Version(expected)));
    }
}

#[test]
fn check_is_a_command_only_where_it_stands_first() {
    assert_eq!(invoke(&["check"]), Ok(Invocation::Check { json: false }));
    assert_eq!(invoke(&["check", "--json"]), Ok(Invocation::Check { json: true }));
    assert_eq!(invoke(&["check", "-json"]), Ok(Invocation::Check { json: true }));
    assert_eq!(settings(&["./check"]).guest, PathBuf::from("./check"));
    assert_eq!(settings(&["--strict", "--", "check"]).guest, PathBuf::from("check"));
    let Ok(Invocation::Help(help)) = invoke(&["check", "--help"]) else { panic!("no help") };
    assert!(help.starts_with("Tell what KVM really does"), "{help}");
}

#[test]
fn check_takes_nothing_but_its_option() {
    for (args, named) in [
        (["check", "guest.elf"], "`guest.elf`"),
        (["check", "--memory"], "`--memory`"),
        (["check", "-v"], "`-v`"),
    ] {
        let message = message(&args);
        assert!(message.starts_with("Incorrect Format. Use: kvm check [--json]\n"), "{message}");
        assert!(message.contains(named) && message.contains("`kvm ./check`"), "{message}");
    }
    assert!(message(&["check", "--json=yes"]).contains("--json"));
}

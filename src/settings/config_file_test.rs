use super::*;

#[test]
fn every_key_does_what_its_option_does() {
    let config = Config::new(
        "all",
        "[vm-spec]\nmemsize=10\ntimeout=2m\nno-reboot=on\n\
         [guest]\nappend=root=ram quiet\nmodule=a\nmodule=b=c d\nstrict=true\n\
         [screen]\ndisplay=vga\n[keyboard]\nkeys=serial\nlayout=it\n\
         [serial]\ncom1=log\ncom2=stdio\ncom3=file:/x\ncom4=unix:/y\n\
         [log]\nfile=x.log\nlevel=debug\nfilter=kvm::boot=trace\n\
         [gdb-server]\nenable=1\naddress=::1\nport=99\nnowait=on\narch=i8086\n\
         [debug-server]\nenable=yes\nport=98\n[console]\nenable=yes\naddress=127.0.0.9\nport=97\n",
    );
    let same = settings(&[
        "a.elf",
        "--memory=10",
        "--timeout=2m",
        "--no-reboot",
        "--append=root=ram quiet",
        "--module=a",
        "--module=b=c d",
        "--strict",
        "--display=vga",
        "--keys=serial",
        "--layout=it",
        "--serial=1=log",
        "--serial=2=stdio",
        "--serial=3=file:/x",
        "--serial=4=unix:/y",
        "--logfile=x.log",
        "--log-level=debug",
        "--log-filter=kvm::boot=trace",
        "--gdb=[::1]:99",
        "--gdb-nowait",
        "--gdb-arch=i8086",
        "--debug-server=98",
        "--console=127.0.0.9:97",
    ]);
    assert_eq!(config.settings(&["a.elf"]), same);
}

#[test]
fn a_console_section_enables_the_console_by_default() {
    for (text, args, expected) in [
        ("[console]\nport=9001\n", &["a.elf"][..], Some(("127.0.0.1:9001", true))),
        ("[console]\nport=9000\n", &["a.elf"], Some(("127.0.0.1:9000", false))),
        ("[console]\nport=none\n", &["a.elf"], None),
        ("[console]\nenable=no\nport=9001\n", &["a.elf"], None),
        ("[console]\nport=9001\nenable=no\n", &["a.elf", "--console"], Some(("127.0.0.1:9001", true))),
        ("[console]\nenable=no\n", &["a.elf", "-consoleport", "9002"], Some(("127.0.0.1:9002", true))),
        ("[console]\naddress=unix:sock\n", &["a.elf"], Some(("sock", true))),
        ("[console]\naddress=unix:sock\n", &["a.elf", "--console=no"], None),
        ("[console]\naddress=unix:sock\n", &["a.elf", "-consoleport=9"], Some(("127.0.0.1:9", true))),
    ] {
        let console = Config::new("console", text).settings(args).console;
        let found = console.map(|spec| (spec.address.to_string(), spec.chosen));
        assert_eq!(found, expected.map(|(address, chosen)| (address.to_owned(), chosen)), "{text}{args:?}");
    }
}

#[test]
fn an_old_file_is_accepted_as_it_is() {
    let config = Config::new(
        "old",
        "[vm-spec]\nmemsize=10 ; MB\n\n[debug-server]\nenable=no\nport=5553\n\n\
         # served to gdb\n[gdb-server]\nenable=no\naddress=127.0.0.1\nport=1234\n",
    );
    assert_eq!(config.settings(&["a.elf"]), settings(&["a.elf", "--memory", "10"]));
}

#[test]
fn blanks_capitals_comments_quotes_and_line_ends_of_all_kinds_are_understood() {
    let config = Config::new(
        "forms",
        "\u{feff}; settings\r\n  [VM-Spec] ; the machine\r\n\tMemSize : 32\r\n[guest]\n\
         append = \"a ; b\" # and no more\n[keyboard]\nlayout='it'\n[log]\nfilter = ; none\n\
         [serial]\ncom2=file:C:\\dir\n[vm-spec]\ntimeout=1",
    );
    let settings = config.settings(&["a.elf"]);
    assert_eq!(settings.memory, 32 << 20);
    assert_eq!(settings.append, "a ; b");
    assert_eq!(settings.layout, LayoutName::It);
    assert_eq!(settings.log.filter, "");
    assert_eq!(settings.serial[1], SerialBackend::File("C:\\dir".into()));
    assert_eq!(settings.timeout, Some(Duration::from_secs(1)));
}

#[test]
fn switches_understand_all_old_words() {
    for (word, on) in [
        ("true", true),
        ("YES", true),
        ("On", true),
        ("1", true),
        ("false", false),
        ("No", false),
        ("OFF", false),
        ("0", false),
    ] {
        let config = Config::new("switch", format!("[guest]\nstrict={word}\n[gdb-server]\nenable={word}\n"));
        let settings = config.settings(&["a.elf"]);
        assert_eq!((settings.strict, settings.gdb.is_some()), (on, on), "{word}");
    }
}

#[test]
fn the_command_line_overrides_the_file() {
    let config = Config::new(
        "weaker",
        "[vm-spec]\nmemsize=10\nno-reboot=yes\n[guest]\nmodule=a\nmodule=b\nstrict=yes\n\
         [serial]\ncom1=log\ncom2=stdio\n[gdb-server]\nenable=yes\naddress=0.0.0.0\nport=99\n",
    );
    let both = config.settings(&["a.elf", "--memory=20", "--strict=no", "--module=c", "--serial=3=null"]);
    assert_eq!((both.memory, both.strict, both.no_reboot), (20 << 20, false, true));
    assert_eq!(both.modules, [ModuleSpec { path: "c".into(), arguments: String::new() }]);
    assert_eq!(
        both.serial,
        [SerialBackend::Log, SerialBackend::Stdio, SerialBackend::Null, SerialBackend::Log],
        "only the port that is named changes"
    );
    let gdb = |option| config.settings(&["a.elf", option]).gdb.map(|gdb| gdb.address.to_string());
    assert_eq!(gdb("--gdb").as_deref(), Some("0.0.0.0:99"));
    assert_eq!(gdb("--gdb=127.0.0.1").as_deref(), Some("127.0.0.1:99"));
    assert_eq!(gdb("--gdb=unix:/x").as_deref(), Some("/x"));
    assert_eq!(gdb("--gdb=no"), None);
    let config = Config::new("socket", "[gdb-server]\naddress=unix:/y\nport=99\nnowait=yes\n");
    let gdb = |option| config.settings(&["a.elf", option]).gdb.map(|gdb| (gdb.address.to_string(), gdb.wait));
    assert_eq!(gdb("--strict"), None, "how gdb is served does not say that it is");
    assert_eq!(gdb("--gdb"), Some(("/y".to_owned(), false)));
    assert_eq!(gdb("--gdb-nowait=no"), None);
    assert_eq!(gdb("--gdb=98"), Some(("127.0.0.1:98".to_owned(), false)));
}

#[test]
fn the_config_option_replaces_the_default_file() {
    let (usual, named) = (Config::new("usual", "[vm-spec]\nmemsize=10\n"), Config::new("named", ""));
    let name = named.0.to_str().unwrap();
    assert_eq!(usual.settings(&["a.elf"]).memory, 10 << 20);
    assert_eq!(usual.settings(&["a.elf", "--config", name]).memory, 64 << 20);
    assert_eq!(usual.settings(&["a.elf", "-config", name]).memory, 64 << 20);
}

#[test]
fn an_unreadable_file_is_reported_with_the_reason() {
    let missing = message(&["a.elf", "--config", "/nowhere/x.ini"]);
    assert!(missing.starts_with("cannot read the config file `/nowhere/x.ini`: No such file"), "{missing}");
    let directory = message(&["a.elf", "--config", "/"]);
    assert!(directory.contains("`/`: Is a directory"), "{directory}");
    let endless = message(&["a.elf", "--config", "/dev/zero"]);
    assert!(endless.contains("`/dev/zero`: it is larger than 1 MiB"), "{endless}");
    let binary = Config::new("binary", b"[vm-spec]\nmemsize=\xff\n").message();
    assert_eq!(binary, "cannot read the config file `config.ini`: line 2 is not UTF-8 text");
}

#[test]
fn an_unreadable_default_file_is_an_error() {
    let dangling = std::env::temp_dir().join(format!("kvm-settings-{}-dangling", std::process::id()));
    let _ = std::fs::remove_file(&dangling);
    std::os::unix::fs::symlink("/nowhere/config.ini", &dangling).unwrap();
    let result = from_args_and_config(["kvm", "a.elf"].map(OsString::from).into_iter(), &dangling);
    std::fs::remove_file(&dangling).unwrap();
    assert!(matches!(result, Err(SettingsError::ConfigUnreadable { .. })), "{result:?}");
}

#[test]
fn an_invalid_key_is_reported_with_its_line() {
    for (text, expected) in [
        (
            "[vm-spce]\n",
            "config.ini:1: there is no section [vm-spce], did you mean [vm-spec]?; sections: vm-spec, disk, pci, guest, \
             screen, keyboard, serial, log, gdb-server, debug-server, console",
        ),
        ("\n[network]\n", "config.ini:2: there is no section [network]; sections: vm-spec, "),
        (
            "[gdb-server]\nadress=::1\n",
            "config.ini:2: [gdb-server] has no key `adress`, did you mean `address`?; keys: enable, address, \
             port, nowait, arch",
        ),
        (
            "[vm-spec]\nlayout=it\n",
            "config.ini:2: [vm-spec] has no key `layout`, did you mean `layout` in [keyboard]?; keys: memsize",
        ),
        ("[screen]\nwidth=80\n", "config.ini:2: [screen] has no key `width`; keys: display"),
        (
            "memsize=10\n",
            "config.ini:1: the part before the first section has no key `memsize`, did you mean `memsize` in \
             [vm-spec]?; keys: [vm-spec] memsize, ",
        ),
        (
            "[vm-spec]\nmemsize=10\n\nmemsize=10\n",
            "config.ini:4: [vm-spec] memsize is given for the second time, after line 2: leave out one",
        ),
        (
            "[serial]\ncom1=log\n[vm-spec]\n[serial]\ncom1=log\n",
            "config.ini:5: [serial] com1 is given for the second time, after line 2",
        ),
        ("[vm-spec]\nmemsize=0\n", "config.ini:2: [vm-spec] memsize: `0` is too small; allowed: a number"),
        (
            "[screen]\ndisplay=gtk\n",
            "config.ini:2: [screen] display: `gtk` is not a display; allowed: auto, vga, serial, none",
        ),
        (
            "[gdb-server]\nenable=maybe\n",
            "config.ini:2: [gdb-server] enable: `maybe` is neither yes nor no; allowed: yes, no (or true",
        ),
        (
            "[gdb-server]\nport=-1\n",
            "config.ini:2: [gdb-server] port: `-1` is not a TCP port; allowed: a TCP port from 1 to 65535",
        ),
        (
            "[gdb-server]\naddress=here\n",
            "config.ini:2: [gdb-server] address: `here` is not an IP address; allowed: an IP address, localhost",
        ),
        (
            "[serial]\ncom3=tcp\n",
            "config.ini:2: [serial] com3: `tcp` is not a serial backend; allowed: stdio, log, file:",
        ),
        (
            "[guest]\nmodule=a\nmodule=\n",
            "config.ini:3: [guest] module: `` does not name a file; allowed: the path of a file",
        ),
        (
            "[vm-spec]\nmemsize\ntimeout=1\n",
            "config.ini:2: `memsize` is neither `[section]` nor `key = value` nor a comment (`; ...`): `=` is \
             missing",
        ),
        ("[vm-spec\nmemsize=1\n", "config.ini:1: `[vm-spec` is neither"),
        ("[vm-spec] memsize=1\n", "config.ini:1: `[vm-spec] memsize=1` is neither"),
        ("[guest]\n=x\n", "config.ini:2: `=x` is neither"),
        ("[guest]\nappend=\"x\n", "config.ini:2: `append=\"x` is neither"),
        ("[guest]\nappend=x\0y\n", "config.ini:2: `append=x\0y` is neither"),
        ("[serial]\ncom2=stdio\n", "serial ports 1 and 2 cannot both be stdio"),
    ] {
        let message = Config::new("wrong", text).message();
        assert!(message.starts_with(expected), "{text:?}\n got: {message}\nwant: {expected}");
    }
}

#[test]
fn an_invalid_line_is_reported_with_the_reason() {
    for (line, why) in [
        ("[vm-spec", "`]` is missing"),
        ("[vm-spec] memsize=1", "there is more on it"),
        ("=x", "the key is missing"),
        ("append=\"x", "a quotation mark is not closed"),
        ("append=x\0y", "it contains a NUL character"),
    ] {
        let message = Config::new("line", line).message();
        assert!(message.ends_with(&format!("(`; ...`): {why}")), "{message}");
    }
    let long = Config::new("long", "x".repeat(100_000)).message();
    assert!(long.len() < 300, "{}", long.len());
}

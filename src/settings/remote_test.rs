//! Remote access to a guest, and guests received from other hosts.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::*;

#[test]
fn gdb_listens_where_the_user_says() {
    let at = |address| Some(GdbSpec { address, wait: true });
    let gdb = |address: IpAddr, port| at(ListenAddress::Tcp(SocketAddr::new(address, port)));
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
        ("--gdb=unix:/run/gdb", at(ListenAddress::Unix("/run/gdb".into()))),
        ("--gdb=unix:1234", at(ListenAddress::Unix("1234".into()))),
    ] {
        assert_eq!(settings(&["a.elf", option]).gdb, expected, "{option}");
    }
    let not_swallowed = settings(&["--gdb", "a.elf"]);
    assert_eq!((not_swallowed.guest.to_str(), not_swallowed.gdb.is_some()), (Some("a.elf"), true));
    for (text, why) in [
        ("0", "is neither an IP address nor a TCP port"),
        ("65536", "is neither an IP address nor a TCP port"),
        ("127.0.0.1:0", "is not a TCP port"),
        ("somewhere:1234", "is not an IP address"),
        ("", "is neither an IP address nor a TCP port"),
        ("unix:", "does not name a file"),
        (&format!("unix:/{}", "x".repeat(107)), "names a socket with 108 bytes, and Linux takes 107"),
    ] {
        let message = message(&["a.elf", &format!("--gdb={text}")]);
        assert!(message.starts_with(&format!("--gdb: `{text}` {why}; allowed: ADDRESS:PORT")), "{message}");
    }
}

#[test]
fn gdb_nowait_implies_gdb() {
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
    let address = settings(&["a.elf", "--gdb-nowait"]).gdb.map(|gdb| gdb.address.to_string());
    assert_eq!(address.as_deref(), Some("127.0.0.1:1234"));
}

#[test]
fn the_console_port_is_a_port() {
    assert!(message(&["a.elf", "--consoleport", "0"]).starts_with("--consoleport: `0` is not a TCP port"));
}

#[test]
fn a_console_listens_on_the_given_address_of_this_host() {
    let console = |args: &[&str]| settings(&[&["a.elf"], args].concat()).console;
    let at = |address: &str, chosen| Some((address.to_owned(), chosen));
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
        let found = console(args).map(|spec| (spec.address.to_string(), spec.chosen));
        assert_eq!(found, expected, "{args:?}");
    }
    let text = message(&["a.elf", "--console=0.0.0.0:9000"]);
    assert!(text.starts_with("--console: `0.0.0.0:9000` can be reached from other hosts"), "{text}");
}

#[test]
fn the_console_command_takes_an_address() {
    let address = |args: &[&str]| match invoke(args) {
        Ok(Invocation::Console { address, keep_going: false }) => address.to_string(),
        other => panic!("{args:?}: {other:?}"),
    };
    assert_eq!(address(&["console"]), "127.0.0.1:9000");
    for args in [["console", "--keep-going", "9001"], ["console", "9001", "--keep-going"]] {
        let invocation = invoke(&args);
        assert!(matches!(invocation, Ok(Invocation::Console { keep_going: true, .. })), "{invocation:?}");
    }
    assert_eq!(address(&["console", "9001"]), "127.0.0.1:9001");
    assert_eq!(address(&["console", "10.0.0.1:99"]), "10.0.0.1:99");
    assert_eq!(address(&["console", "unix:here"]), "here");
    let text = message(&["console", "nowhere at all"]);
    assert!(
        text.starts_with("kvm console: `nowhere at all` is neither an IP address nor a TCP port"),
        "{text}"
    );
    for wrong in [["console", "--fast"], ["console", "-x"]] {
        assert!(message(&wrong).contains("Use: kvm console [ADDRESS:PORT|unix:PATH]"));
    }
    assert!(message(&["console", "1", "2"]).contains("`2` is not expected there"));
    assert!(
        matches!(invoke(&["console", "--help"]), Ok(Invocation::Help(text)) if text.contains("kvm console"))
    );
}

#[test]
fn a_guest_can_be_received_from_another_host() {
    let address = |text: &str| Some(text.parse::<SocketAddr>().unwrap());
    let received = settings(&["-migr"]);
    assert_eq!((received.guest.to_str(), received.migration), (Some(""), address("127.0.0.1:8000")));
    assert_eq!(settings(&["--migrport", "8001", "--migr"]).migration, address("127.0.0.1:8001"));
    assert_eq!(settings(&["--migrport", "[::1]:8001", "--migr"]).migration, address("[::1]:8001"));
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
fn a_guest_from_the_network_needs_an_authenticated_source() {
    let text = message(&["-migr", "-migrport", "0.0.0.0:8000"]);
    assert!(text.starts_with("-migrport 0.0.0.0: other hosts can reach this address"), "{text}");
    let known = settings(&["-migr", "-migrport", "0.0.0.0:8000", "--migr-key", "k"]);
    assert_eq!(known.security, MigrationSecurity::Key("k".into()));
    let tls = ["-migr", "-migrport", "192.0.2.1", "--tls-cert=a", "--tls-key=b", "--tls-ca=c"];
    let (cert, key, ca) = ("a".into(), "b".into(), "c".into());
    assert_eq!(settings(&tls).security, MigrationSecurity::Tls { cert, key, ca });
    assert!(message(&tls[..5]).starts_with("--tls-cert, --tls-key and --tls-ca belong together"));
    let both = [&tls[..], &["--migr-key", "k"]].concat();
    assert!(message(&both).starts_with("--migr-key takes the place of --tls-cert"));
}

#[test]
fn a_restored_snapshot_determines_the_machine() {
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
fn a_machine_is_saved_at_exit_if_a_file_is_given() {
    assert_eq!(settings(&["a.elf", "--snapshot-at-exit", "x"]).snapshot_at_exit, Some("x".into()));
    assert_eq!(settings(&["--restore=x", "--snapshot-at-exit=x"]).snapshot_at_exit, Some("x".into()));
    assert_eq!(settings(&["a.elf", "--snapshot-at-exit=none"]).snapshot_at_exit, None);
    assert!(message(&["a.elf", "--snapshot-at-exit="]).contains("does not name a file"));
}

#[test]
fn a_snapshot_can_be_checked() {
    assert_eq!(invoke(&["check-snapshot", "x"]).unwrap(), Invocation::CheckSnapshot { file: "x".into() });
    let Ok(Invocation::Help(help)) = invoke(&["check-snapshot", "--help"]) else { panic!("no help") };
    assert!(help.starts_with("Describe and verify a snapshot"), "{help}");
    for args in [&["check-snapshot"][..], &["check-snapshot", "a", "b"], &["check-snapshot", "a", "--json"]] {
        let text = message(args);
        assert!(text.ends_with("\nIncorrect Format. Use: kvm check-snapshot FILE"), "{text}");
    }
    assert_eq!(settings(&["./check-snapshot"]).guest, PathBuf::from("./check-snapshot"));
}

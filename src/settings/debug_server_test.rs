//! The debug server and its client.

use super::*;

#[test]
fn the_debug_server_listens_on_this_host_only() {
    let address = |option: &str| settings(&["a.elf", option]).debug_server.map(|address| address.to_string());
    for (option, expected) in [
        ("--debug-server", Some("127.0.0.1:5553")),
        ("--debug-server=yes", Some("127.0.0.1:5553")),
        ("--debug-server=99", Some("127.0.0.1:99")),
        ("--debug-server=127.0.0.9", Some("127.0.0.9:5553")),
        ("--debug-server=[::1]:99", Some("[::1]:99")),
        ("--debug-server=localhost:99", Some("127.0.0.1:99")),
        ("--debug-server=unix:here", Some("here")),
        ("--debug-server=no", None),
    ] {
        assert_eq!(address(option).as_deref(), expected, "{option}");
    }
    for (text, why) in [
        ("x", "is neither an IP address nor a TCP port"),
        ("0", "is neither an IP address nor a TCP port"),
        ("0.0.0.0", "can be reached from other hosts"),
        ("192.168.1.1:5553", "can be reached from other hosts"),
        ("[::]:5553", "can be reached from other hosts"),
    ] {
        let message = message(&["a.elf", &format!("--debug-server={text}")]);
        assert!(message.starts_with(&format!("--debug-server: `{text}` {why}")), "{message}");
    }
}

#[test]
fn the_command_line_overrides_the_debug_server_of_the_config_file() {
    let text = "[debug-server]\nenable = yes\naddress = ::1\nport = 99\n";
    let config = Config::new("debug-server", text);
    let address = |args: &[&str]| {
        config.settings(&[&["a.elf"], args].concat()).debug_server.map(|address| address.to_string())
    };
    assert_eq!(address(&[]).as_deref(), Some("[::1]:99"));
    assert_eq!(address(&["--debug-server=127.0.0.1"]).as_deref(), Some("127.0.0.1:99"));
    assert_eq!(address(&["--debug-server=no"]), None);
    let open = Config::new("debug-server-open", "[debug-server]\naddress = 0.0.0.0\n");
    let message = open.message();
    assert!(message.contains("`0.0.0.0` can be reached from other hosts"), "{message}");
}

#[test]
fn the_debug_server_has_a_password_only_in_the_config_file() {
    let config = Config::new("debug-server-passw", "[debug-server]\npassw = open sesame\n");
    let settings = config.settings(&["a.elf"]);
    assert_eq!(settings.debug_server_password, Some(Password("open sesame".to_owned())));
    assert!(!format!("{settings:?}").contains("sesame"), "the password is never printed");
    let long = format!("[debug-server]\npassw = {}\n", "x".repeat(53));
    assert!(
        Config::new("debug-server-long", &long).message().contains("is too long; allowed: at most 52 bytes")
    );
}

#[test]
fn the_debug_client_takes_an_address_and_optional_memory() {
    let wanted = |args: &[&str]| match invoke(&[&["debug-client"], args].concat()) {
        Ok(Invocation::DebugClient(wanted)) => (wanted.address.to_string(), wanted.start, wanted.end),
        other => panic!("{args:?}: {other:?}"),
    };
    assert_eq!(wanted(&["127.0.0.1", "5553"]), ("127.0.0.1:5553".into(), 0xBF000, 0xBF000 + 2000));
    assert_eq!(wanted(&["::1", "5553", "0x10", "4096"]), ("[::1]:5553".into(), 16, 4096));
    assert_eq!(wanted(&["localhost", "1", "7", "7"]), ("127.0.0.1:1".into(), 7, 7));
    assert_eq!(wanted(&["unix:a", "0xFFFFFFFFFFFFFFFF", "0Xffffffffffffffff"]).1, u64::MAX);
    let Ok(Invocation::Help(text)) = invoke(&["debug-client", "--help"]) else { panic!("that is help") };
    assert!(text.contains("Usage: kvm debug-client ADDRESS PORT [START END]"), "{text}");
    assert_eq!(run(invoke(&["./debug-client"])).guest, Path::new("./debug-client"));
    let Ok(Invocation::DebugClient(spec)) = invoke(&["debug-client", "--password-file", "p", "unix:a"])
    else {
        panic!("the file of a password is taken")
    };
    assert_eq!(spec.password_file.as_deref(), Some(Path::new("p")));
    for (args, why) in [
        (&["--password-file"][..], "`--password-file` needs the name of a file"),
        (&[][..], "ADDRESS is missing"),
        (&["127.0.0.1"], "PORT is missing"),
        (&["127.0.0.1", "5553", "0x10"], "END is missing"),
        (&["unix:a", "0x10"], "END is missing"),
        (&["nowhere", "5553"], "`nowhere` is not an IP address"),
        (&["127.0.0.1", "0"], "`0` is not a TCP port from 1 to 65535"),
        (&["127.0.0.1", "5553", "0x", "1"], "`0x` is not a number"),
        (&["127.0.0.1", "5553", "1", "+2"], "`+2` is not a number"),
        (&["127.0.0.1", "5553", "1", "0x10000000000000000"], "`0x10000000000000000` has more than 64 bits"),
        (&["127.0.0.1", "5553", "2", "1"], "`1` is an END below START"),
        (&["127.0.0.1", "5553", "1", "0x100000001"], "`0x100000001` is too far from START"),
        (&["127.0.0.1", "5553", "1", "2", "3"], "`3` is an unexpected argument"),
        (&["127.0.0.1", "5553", "--json"], "`--json` is not an option of this command"),
    ] {
        let text = message(&[&["debug-client"], args].concat());
        assert!(text.contains("\nIncorrect Format. Use: kvm debug-client ADDRESS PORT"), "{args:?}: {text}");
        assert!(text.starts_with(why), "{args:?}: {text}");
    }
}

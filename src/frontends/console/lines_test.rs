use super::*;
use crate::fuzzing::FuzzDriver;

#[test]
fn any_input_is_split_into_lines() {
    FuzzDriver::new("console")
        .dictionary(&[b"\xFF\xFA", b"\xFF\xF0", b"\xFF\xFF", b"\r\0", b"\x7F"])
        .delimiters(b"\n\xFF")
        .run(check);
}

/// The lines in `bytes`, and the error that ends them.
fn lines(bytes: &[u8]) -> (Vec<String>, Option<InvalidInput>) {
    let (mut lines, mut found) = (Lines::default(), Vec::new());
    for &byte in bytes {
        match lines.take(byte) {
            Ok(line) => found.extend(line),
            Err(error) => return (found, Some(error)),
        }
    }
    (found, None)
}

#[track_caller]
fn expect(bytes: &[u8], expected: &[&str]) {
    assert_eq!(lines(bytes), (expected.iter().map(|line| (*line).to_owned()).collect(), None));
}

#[test]
fn line_ends_of_nc_and_telnet_are_equivalent() {
    expect(b"regs\nhelp\n", &["regs", "help"]);
    expect(b"regs\r\nhelp\r\0\nrest", &["regs", "help"]);
    expect(b"regs\n\0help\n", &["regs", "help"]);
    expect("\u{e8}\x7F\x7F\x7Fregx\x08s\n".as_bytes(), &["regs"]);
    expect(b"a\xC3\n", &["a\u{FFFD}"]);
}

#[test]
fn telnet_negotiation_is_discarded() {
    let hello = b"\xFF\xFD\x03\xFF\xFB\x18\xFF\xFA\x18\x00xterm\n\xFF\xFF\xFF\xF0re\xFF\xF1gs\xFF\xFF\r\n";
    expect(hello, &["regs"]);
}

#[test]
fn the_status_of_commands_is_sent_only_on_request() {
    for (bytes, expected) in [
        (&REQUEST_STATUS[..], true),
        (b"\xFF\xFD\x03", false),
        (b"\xFF\xFB\xC8", false),
        (b"\xFF\xFA\xC8\x01\xFF\xF0", false),
        (b"\xC8", false),
    ] {
        let mut lines = Lines::default();
        for &byte in bytes {
            assert_eq!(lines.take(byte), Ok(None));
        }
        assert_eq!(lines.wants_status(), expected, "{bytes:?}");
    }
}

#[test]
fn a_line_that_is_too_long_ends_the_input_before_its_end() {
    let long = [b'x'; LONGEST + 1];
    let whole = [b"regs\n", &long[..LONGEST], b"\nquit\n"].concat();
    assert_eq!(lines(&whole).0.len(), 3);
    assert_eq!(lines(&whole).1, None);
    assert_eq!(
        lines(&[b"regs\n", &long[..]].concat()),
        (vec!["regs".to_owned()], Some(InvalidInput::TooLong))
    );
}

#[test]
fn bytes_that_no_terminal_sends_end_the_input() {
    // The first bytes of STUN and of TLS, and a zero byte within a line.
    for (bytes, byte) in
        [(&b"\0\x01\0\0"[..], 0), (b"\x16\x03\x01\nquit\n", 0x16), (b"re\0gs\n", 0), (b"a\x05", 5)]
    {
        assert_eq!(lines(bytes), (Vec::new(), Some(InvalidInput::Byte(byte))), "{bytes:?}");
    }
}

use super::*;
use crate::fuzzing::FuzzDriver;

#[test]
fn any_input_is_split_into_lines() {
    FuzzDriver::new("console")
        .dictionary(&[b"\xFF\xFA", b"\xFF\xF0", b"\xFF\xFF", b"\r\0", b"\x7F"])
        .delimiters(b"\n\xFF")
        .run(check);
}

fn lines(bytes: &[u8]) -> Vec<Line> {
    let mut lines = Lines::default();
    bytes.iter().filter_map(|&byte| lines.take(byte)).collect()
}

fn text(text: &str) -> Line {
    Line::Text(text.to_owned())
}

#[test]
fn line_ends_of_nc_and_telnet_are_equivalent() {
    assert_eq!(lines(b"regs\nhelp\n"), [text("regs"), text("help")]);
    assert_eq!(lines(b"regs\r\nhelp\r\0\nrest"), [text("regs"), text("help")]);
    assert_eq!(lines("è\x7F\x7F\x7Fregx\x08s\n".as_bytes()), [text("regs")]);
    assert_eq!(lines(b"a\xC3\n"), [text("a\u{FFFD}")]);
}

#[test]
fn telnet_negotiation_is_discarded() {
    let hello = b"\xFF\xFD\x03\xFF\xFB\x18\xFF\xFA\x18\x00xterm\n\xFF\xFF\xFF\xF0re\xFF\xF1gs\xFF\xFF\r\n";
    assert_eq!(lines(hello), [text("regs")]);
}

#[test]
fn a_line_without_end_is_not_stored() {
    let mut lines = Lines::default();
    for _ in 0..10 * LONGEST {
        assert_eq!(lines.take(b'x'), None);
        assert!(lines.line.capacity() <= 2 * LONGEST);
    }
    assert_eq!(lines.take(b'\n'), Some(Line::TooLong));
    assert_eq!(lines.take(b'\n'), Some(text("")), "the next line is accepted");
}

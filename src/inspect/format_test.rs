use super::super::expression::Register;
use super::*;

struct Known;

impl Values for Known {
    fn register(&mut self, register: Register) -> u64 {
        if register == Register::General(7) { 0xFFFF_FFFF_FFFF_FFFB } else { 0x41 }
    }

    fn load(&mut self, address: u64, size: u8) -> Option<u64> {
        let text = b"hi\x1b[2J\0";
        match address {
            0x100..0x107 if size == 1 => Some(text[(address - 0x100) as usize].into()),
            0x200.. if size == 1 => Some(b'x'.into()),
            _ => None,
        }
    }
}

fn printed(text: &str) -> String {
    Format::parse(text, &|_| None).unwrap_or_else(|error| panic!("{text}: {error}")).print(&mut Known, 3)
}

#[test]
fn values_are_printed_as_printf_does() {
    for (text, wanted) in [
        (r#""plain""#, "plain\n"),
        (r#""a\tb\\\"\x41\n""#, "a\tb\\\"A\n"),
        (r#""n=%d", $rdi"#, "n=-5\n"),
        (r#""%u", $rdi"#, "18446744073709551611\n"),
        (r#""%x %lx %llu", $edi, $rdi, $al"#, "fffffffb fffffffffffffffb 65\n"),
        (r#""%d %u", $dil, $dil"#, "-5 251\n"),
        (r#""%p|%c|%%", $rax, $rax"#, "0x41|A|%\n"),
        (r#""%5d|%-5d|%05d|%04x", $rdi, $rdi, $rdi, $rax"#, "   -5|-5   |-0005|0041\n"),
        (r#""%s.", 0x100"#, "hi\\u{1b}[2J.\n"),
        (r#""%5s|%-4s|", 0x105, 0x105"#, "    J|J   |\n"),
        (r#""hit %d", $hits"#, "hit 3\n"),
        (r#""%s", 0x10"#, "<1 bytes at 0x10 cannot be read: no RAM is mapped there>\n"),
        (r#""%d", 1/0"#, "<it divides by 0>\n"),
    ] {
        assert_eq!(printed(text), wanted, "{text}");
    }
}

#[test]
fn strings_without_an_end_are_cut() {
    assert_eq!(printed(r#""%s", 0x200"#), format!("{}...\n", "x".repeat(LONGEST_STRING)));
    let many = format!("\"{}\"{}", "%s".repeat(16), ", 0x200".repeat(16));
    assert!(printed(&many).len() < LONGEST + 2 * LONGEST_STRING);
}

#[test]
fn mistakes_in_the_text_are_named() {
    for (text, message) in [
        ("plain", "the text stands between quotation marks, as in \"n is %d\\n\""),
        (r#""open"#, "the text stands between quotation marks, as in \"n is %d\\n\""),
        (r#""%f", 1"#, "`%f` is not known; there are %d %u %x %c %s %p and %%, with a width such as %08x"),
        (
            r#""%99d", 1"#,
            "`%99d` is not known; there are %d %u %x %c %s %p and %%, with a width such as %08x",
        ),
        (r#""\q""#, "an escape in the text is not known; there are \\n \\t \\r \\0 \\\\ \\\" and \\x1b"),
        (r#""%d""#, "the text has places for 1 values, and 0 follow it"),
        (r#""x", 1"#, "the text has places for 0 values, and 1 follow it"),
        (r#""%d" 1"#, "at `1`: a comma is missing before the next value"),
        (r#""%d","#, "at the end: a value is missing here: a number, a register or a symbol"),
        (r#""%99999999999999999999d", 1"#, ""),
        (r#""%""#, ""),
    ] {
        let error = Format::parse(text, &|_| None).unwrap_err().to_string();
        assert!(message.is_empty() || error == message, "{text}: {error}");
    }
    let many = format!("\"{}\"{}", "%d".repeat(17), ", 1".repeat(17));
    assert_eq!(Format::parse(&many, &|_| None), Err(FormatError::TooMany));
}

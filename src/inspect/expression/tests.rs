use super::*;

/// A guest of which everything is known.
struct Known {
    asked: Vec<Register>,
}

impl Values for Known {
    fn register(&mut self, register: Register) -> u64 {
        self.asked.push(register);
        match register {
            Register::General(0) => 0xFFFF_FFFF_FFFF_FFFE,
            Register::General(3) => 0x1122_3344_5566_7788,
            Register::General(4) => 0x1000,
            Register::General(12) => 12,
            Register::Rip => 0xFFFF_FFFF_8000_0010,
            Register::Control(3) => 0x5000,
            Register::Selector(1) => 8,
            _ => 0,
        }
    }

    /// From 0x1000 on each byte is 0xF0 and its distance from there; 0x1010 points to 0x1000.
    fn load(&mut self, address: u64, size: u8) -> Option<u64> {
        if address == 0x1010 && size == 8 {
            return Some(0x1000);
        }
        let first = address.checked_sub(0x1000).filter(|first| first + u64::from(size) <= 16)?;
        Some((0..u64::from(size)).fold(0, |value, byte| value | (0xF0 + first + byte) << (8 * byte)))
    }
}

fn parse(text: &str) -> Result<Expression, ExpressionError> {
    let symbols = |name: &str| match name {
        "counter" => Some(0x1004),
        "_ZN4core3fmt17h0$u20$E" => Some(0x2000),
        "rax" => Some(0x3000),
        _ => None,
    };
    Expression::parse(text, &symbols)
}

fn value(text: &str) -> Result<u64, EvaluationError> {
    let expression = parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    expression.evaluate(&mut Known { asked: Vec::new() }, 7)
}

#[test]
fn expressions_have_the_values_they_have_in_c() {
    for (text, wanted) in [
        ("12", 12),
        ("0x1F", 31),
        ("0b101", 5),
        ("010", 8),
        ("10UL", 10),
        ("'a'", 97),
        ("'\\n'", 10),
        ("'\\x1b'", 27),
        ("18446744073709551615", u64::MAX),
        ("1 + 2 * 3", 7),
        ("(1 + 2) * 3", 9),
        ("10 - 3 - 2", 5),
        ("1 << 4 | 3", 19),
        ("1 << 64", 0),
        ("-1 >> 70", u64::MAX),
        ("0xffffffffffffffff >> 60", 15),
        ("7 / 2 % 2", 1),
        ("-7 / 2", -3_i64 as u64),
        ("-7 % 2", -1_i64 as u64),
        ("~0", u64::MAX),
        ("!5", 0),
        ("!!5", 1),
        ("- -5", 5),
        ("3 == 3 && 4 > 3", 1),
        ("0 && 1 / 0", 0),
        ("2 || 1 / 0", 1),
        ("0 || 2", 1),
        ("1 & 3 == 3", 1),
        ("6 ^ 3", 5),
        ("5 >= 5", 1),
        ("5 > 5", 0),
        ("5 <= 4", 0),
        ("4 != 5", 1),
        ("$hits % 7 == 0", 1),
        ("9223372036854775807 + 1", 1 << 63),
        ("(-9223372036854775807 - 1) / -1", 1 << 63),
    ] {
        assert_eq!(value(text), Ok(wanted), "{text}");
    }
}

#[test]
fn registers_are_what_gdb_says_they_are() {
    for (text, wanted) in [
        ("$rax == -2", 1),
        ("rax < 0", 1),
        ("$rip < 0", 0),
        ("$pc > 0x1000", 1),
        ("$eax", -2_i64 as u64),
        ("$al == 'a' - 99", 1),
        ("$rbx & 0xffff", 0x7788),
        ("$bx", 0x7788),
        ("$bh", 0x77),
        ("$bl", 0x88_u8 as i8 as u64),
        ("$r12d + r12w + $r12b + r12l", 48),
        ("$sp", 0x1000),
        ("$cr3", 0x5000),
        ("$cs", 8),
        ("&rax", 0x3000),
    ] {
        assert_eq!(value(text), Ok(wanted), "{text}");
    }
    for text in ["$r7", "$r16", "$r012", "$r", "$xmm0", "$", "$RAX"] {
        assert!(parse(text).is_err(), "{text}");
    }
}

#[test]
fn memory_is_read_by_pointers_and_by_names_of_types() {
    for (text, wanted) in [
        ("u8($rsp)", 0xF0),
        ("i8($rsp)", 0xF0_u8 as i8 as u64),
        ("u16($rsp + 2)", 0xF3F2),
        ("u32(counter)", 0xF7F6_F5F4),
        ("*(int*)counter < 0", 1),
        ("*(unsigned int *)counter > 0", 1),
        ("*(u64*)($rsp+8)", 0xFFFE_FDFC_FBFA_F9F8),
        ("*counter == u64(0x1004)", 1),
        ("*(unsigned char*)(counter + 1)", 0xF5),
        ("((u16*)0x1000)[1]", 0xF3F2),
        ("*((u16*)0x1000 + 1)", 0xF3F2),
        ("**(u32**)0x1010", 0xF3F2_F1F0),
        ("(char)0x180", -128_i64 as u64),
        ("(unsigned short)-1", 0xFFFF),
        ("(long unsigned int)-1 > 0", 1),
        ("_ZN4core3fmt17h0$u20$E", 0x2000),
    ] {
        assert_eq!(value(text), Ok(wanted), "{text}");
    }
}

#[test]
fn an_evaluation_error_has_a_reason() {
    assert_eq!(value("1 / ($cr3 - 0x5000)"), Err(EvaluationError::DivisionByZero));
    assert_eq!(value("5 % 0"), Err(EvaluationError::DivisionByZero));
    assert_eq!(value("u32(0x100e)"), Err(EvaluationError::Unreadable { address: 0x100E, size: 4 }));
}

#[test]
fn a_syntax_error_has_a_reason_and_a_position() {
    for (text, message) in [
        ("", "at the end: a value is missing here: a number, a register or a symbol"),
        ("1 +", "at the end: a value is missing here: a number, a register or a symbol"),
        ("(1 + 2", "at the end: `)` is missing here"),
        ("1 2", "at `2`: this is more than one expression; an operator is missing before it"),
        ("$foo", "at `$foo`: there is no such register; see docs/debugging.md for their names"),
        (
            "countr",
            "at `countr`: `countr` is neither a register nor a symbol of the guest file; `nm` lists its \
             symbols",
        ),
        ("12ab", "at `12ab`: this is no number of up to 64 bits; write it as 12, 0x1f, 0b101 or 'c'"),
        ("'ab'", "at `'ab'`: this is no character; write it as 'c', '\\n' or '\\x1b'"),
        ("5[0]", "at `0]`: an index needs a pointer before it, such as ((int*)0x1000)[2]"),
        ("0x1ffffffffffffffff", ""),
        ("(int*)1 - (int*)2", ""),
        ("= 5", ""),
        ("ä", ""),
    ] {
        let error = parse(text).unwrap_err().to_string();
        assert!(message.is_empty() || error == message, "{text}: {error}");
    }
}

#[test]
fn long_and_deep_expressions_are_refused_not_followed() {
    for text in ["(".repeat(100_000), "-".repeat(100_000), "1+(".repeat(1000), "*".repeat(1000)] {
        assert!(parse(&text).unwrap_err().to_string().contains("nested"));
    }
    let long = format!("1{}", "+1".repeat(1000));
    assert!(parse(&long).unwrap_err().to_string().contains("too long"));
    assert_eq!(value(&format!("1{}", "+1".repeat(100))), Ok(101));
    assert_eq!(value(&format!("{}1{}", "(".repeat(20), ")".repeat(20))), Ok(1));
}

#[test]
fn only_what_is_needed_is_asked_for() {
    let mut known = Known { asked: Vec::new() };
    let expression = parse("$rbx == 0 && $cr3 == 5").unwrap();
    assert_eq!(expression.evaluate(&mut known, 0), Ok(0));
    assert_eq!(known.asked, [Register::General(3)]);
}

#[test]
fn the_type_of_the_value_is_known() {
    for (text, size, signed) in
        [("$rdi", 8, true), ("$rsp", 8, false), ("$al", 1, true), ("u16(0)", 2, false), ("*(int*)0", 4, true)]
    {
        let expression = parse(text).unwrap();
        assert_eq!((expression.size(), expression.is_signed()), (size, signed), "{text}");
    }
}

#[test]
fn an_expression_ends_where_the_next_word_begins() {
    let symbols = |name: &str| (name == "main").then_some(0x10);
    let (expression, rest) = Expression::parse_start("main + 4 if $rdi == 3", &symbols).unwrap();
    assert_eq!(expression.evaluate(&mut Known { asked: Vec::new() }, 0), Ok(0x14));
    assert_eq!(rest, "if $rdi == 3");
}

//! Any text at all is given as an expression, as the words of a breakpoint and as those of a log
//! point: each must be refused or evaluated, without a panic, a hang or unbounded memory.
//!
//! `scripts/fuzz expression` starts from the expressions in `fuzz/seeds/expression`.
#![no_main]

use kvm::control::expression::{Expression, Register, Values};
use kvm::control::format::Format;
use kvm::control::points::{Kind, NewPoint, Points};
use libfuzzer_sys::fuzz_target;

/// Registers and memory that hold a little of everything.
struct Anything;

impl Values for Anything {
    fn register(&mut self, register: Register) -> u64 {
        match register {
            Register::General(number) => u64::MAX >> number,
            _ => 0,
        }
    }

    fn load(&mut self, address: u64, size: u8) -> Option<u64> {
        (address % 3 != 0).then_some(address >> (64 - 8 * u32::from(size)))
    }
}

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let symbols = |name: &str| (name.len() > 3).then_some(name.len() as u64);
    let expression = Expression::parse_start(text, &symbols);
    if let Ok((expression, rest)) = &expression {
        assert!(text.ends_with(rest));
        assert!(matches!(expression.size(), 1 | 2 | 4 | 8));
        let first = expression.evaluate(&mut Anything, 7);
        assert_eq!(first, expression.evaluate(&mut Anything, 7));
    }
    let format = Format::parse(text, &symbols);
    let kind = format.map_or(Kind::Break, Kind::Trace);
    let condition = expression.ok().map(|(expression, _)| expression);
    let mut points = Points::default();
    points.add(NewPoint { address: 1, place: "here".into(), words: text.into(), condition, kind });
    for _ in 0..2 {
        assert!(points.decide(1, &mut Anything).text.len() < (16 << 10) + text.len());
    }
});

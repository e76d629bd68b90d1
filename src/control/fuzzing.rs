//! Arbitrary text as expressions, formats and breakpoint conditions.

use crate::inspect::expression::{Expression, Register, Values};
use crate::inspect::format::Format;
use crate::supervisor::points::{Kind, NewPoint, Points};

/// Registers and memory with varied contents.
struct Anything;

impl Values for Anything {
    fn register(&mut self, register: Register) -> u64 {
        match register {
            Register::General(number) => u64::MAX >> number,
            _ => 0,
        }
    }

    fn load(&mut self, address: u64, size: u8) -> Option<u64> {
        (!address.is_multiple_of(3)).then_some(address >> (64 - 8 * u32::from(size)))
    }
}

/// Parses `bytes` as an expression, as a format and as the text of a breakpoint, and evaluates them.
///
/// # Panics
///
/// If two evaluations differ, or a text is longer than allowed.
pub fn evaluate_anything(bytes: &[u8]) {
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
        assert!(points.decide(1, None, &mut Anything).text.len() < (16 << 10) + text.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzzing::FuzzDriver;

    #[test]
    fn any_text_is_evaluated_or_refused() {
        FuzzDriver::new("expression")
            .dictionary(&[
                b"$rax",
                b"(",
                b")",
                b"*(u32*)",
                b"{",
                b"%",
                b"<<",
                b"&&",
                b"?",
                b"0xffffffffffffffff",
            ])
            .delimiters(b" ($%{")
            .run(evaluate_anything);
    }
}

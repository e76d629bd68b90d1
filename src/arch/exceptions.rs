//! The exceptions and their names.
//!
//! Manual: Intel SDM volume 3A, "Exception and Interrupt Vectors" and "Error Code".

/// Vectors that the processor keeps for exceptions, from 0 on.
pub const COUNT: u8 = 32;

/// Names by vector.
const NAMES: [Option<(&str, &str)>; 22] = [
    Some(("divide error", "#DE")),
    Some(("debug exception", "#DB")),
    Some(("non-maskable interrupt", "NMI")),
    Some(("breakpoint", "#BP")),
    Some(("overflow", "#OF")),
    Some(("bound range exceeded", "#BR")),
    Some(("invalid opcode", "#UD")),
    Some(("device not available", "#NM")),
    Some(("double fault", "#DF")),
    None,
    Some(("invalid task state segment", "#TS")),
    Some(("segment not present", "#NP")),
    Some(("stack-segment fault", "#SS")),
    Some(("general protection", "#GP")),
    Some(("page fault", "#PF")),
    None,
    Some(("x87 floating-point error", "#MF")),
    Some(("alignment check", "#AC")),
    Some(("machine check", "#MC")),
    Some(("SIMD floating-point exception", "#XM")),
    None,
    Some(("control protection", "#CP")),
];

/// The long name of an exception and its short one, `#PF`; `None` if the vector belongs to none.
pub fn names(vector: u8) -> Option<(&'static str, &'static str)> {
    NAMES.get(usize::from(vector)).copied().flatten()
}

/// The short name of a vector: `#PF`, or `vector 0x80` if it belongs to no exception.
pub fn short_name(vector: u8) -> String {
    names(vector).map_or_else(|| format!("vector {vector:#x}"), |(_, short)| short.to_owned())
}

/// The vector of an exception by its short name, with or without `#`, in upper or lower case.
pub fn vector_of(name: &str) -> Option<u8> {
    let name = name.strip_prefix('#').unwrap_or(name);
    (0..COUNT).find(|vector| {
        names(*vector).is_some_and(|(_, short)| short.trim_start_matches('#').eq_ignore_ascii_case(name))
    })
}

/// True if the exception pushes an error code. Software interrupts of the same number do not.
pub fn has_error_code(vector: u8) -> bool {
    matches!(vector, 8 | 10..=14 | 17 | 21)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exceptions_are_known_by_their_short_names() {
        for (name, vector) in [("pf", 14), ("#PF", 14), ("Gp", 13), ("de", 0), ("nmi", 2), ("xm", 19)] {
            assert_eq!(vector_of(name), Some(vector), "{name}");
        }
        assert_eq!(vector_of("zz"), None);
        assert_eq!(vector_of(""), None);
        assert_eq!((short_name(14).as_str(), short_name(9).as_str()), ("#PF", "vector 0x9"));
    }
}

//! Words for registers, as [`super::Device::explain`] uses them.

/// The names of the bits that are set in `value`; `none` if there are none.
pub(super) fn names_of(value: u64, bits: &[(u64, &str)]) -> String {
    list(bits.iter().filter(|(bit, _)| value & bit != 0).map(|(_, name)| *name))
}

/// Words with commas; `none` for no words.
pub(super) fn list<'a>(words: impl Iterator<Item = &'a str>) -> String {
    let words: Vec<&str> = words.collect();
    if words.is_empty() { "none".to_owned() } else { words.join(", ") }
}

/// Numbers in hexadecimal with commas; `none` for no numbers.
pub(super) fn numbers(numbers: impl Iterator<Item = u8>) -> String {
    let words: Vec<String> = numbers.map(|number| format!("{number:#x}")).collect();
    list(words.iter().map(String::as_str))
}

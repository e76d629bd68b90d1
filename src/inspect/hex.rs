//! Numbers in JSON: addresses, offsets and contents of registers are strings such as `"0x20005e"`, because JSON readers
//! round large numbers. For `#[serde(serialize_with)]` of views.

use serde::{Serialize, Serializer};

use super::report_json::Hex;

/// A number as hexadecimal digits.
pub(super) fn hex<S: Serializer, N: Copy + Into<u64>>(number: &N, serializer: S) -> Result<S::Ok, S::Error> {
    Hex((*number).into()).serialize(serializer)
}

/// The same for a number that may be missing, which is `null` then.
pub(super) fn optional<S: Serializer, N: Copy + Into<u64>>(
    number: &Option<N>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    number.map(|number| Hex(number.into())).serialize(serializer)
}

/// The same for two numbers, which are a list.
pub(super) fn pair<S: Serializer, A: Copy + Into<u64>, B: Copy + Into<u64>>(
    numbers: &Option<(A, B)>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    numbers.map(|(one, other)| [Hex(one.into()), Hex(other.into())]).serialize(serializer)
}

/// The same for several, which are an object with their names.
pub(super) fn named<S: Serializer>(
    numbers: &[(&'static str, u64)],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_map(numbers.iter().map(|(name, number)| (name.to_lowercase(), Hex(*number))))
}

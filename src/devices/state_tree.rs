//! The saved state of a device as a tree for people to read: every device that can be saved can be shown.
//!
//! The names are those of the fields of the saved state. Nothing is decoded here; [`super::Device::explain`] does that.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::{Serialize, Serializer};

/// Most elements of a list that are shown as text.
const MOST_SHOWN: usize = 64;
/// Bytes in a line.
const LINE: usize = 16;

/// A part of a device's state.
#[derive(Clone, Debug, PartialEq)]
pub enum StateTree {
    /// Nothing: an option that is not set.
    Nothing,
    /// A number.
    Number(u64),
    /// A negative number.
    Negative(i64),
    /// A word: a name, yes or no.
    Word(String),
    /// Elements in their order.
    List(Vec<StateTree>),
    /// Named parts in the order of their declaration.
    Fields(Vec<(String, StateTree)>),
}

impl StateTree {
    /// The tree of a saved state.
    pub fn of(state: &impl Serialize) -> StateTree {
        // Through JSON, which knows nothing but these kinds of values.
        let text = serde_json::to_vec(state);
        text.and_then(|text| serde_json::from_slice(&text))
            .unwrap_or_else(|error| StateTree::Word(format!("cannot be shown: {error}")))
    }

    /// The number of a list's or a field's parts; 0 for a value.
    fn parts(&self) -> usize {
        match self {
            StateTree::List(elements) => elements.len(),
            StateTree::Fields(fields) => fields.len(),
            _ => 0,
        }
    }

    fn write(&self, f: &mut fmt::Formatter<'_>, depth: usize) -> fmt::Result {
        match self {
            StateTree::Fields(fields) => {
                fields.iter().try_for_each(|(name, part)| part.write_named(f, name, depth))
            }
            StateTree::List(elements) => {
                let shown = elements.iter().take(MOST_SHOWN).enumerate();
                shown
                    .into_iter()
                    .try_for_each(|(at, part)| part.write_named(f, &format!("[{at}]"), depth))?;
                self.write_rest(f, depth)
            }
            value => writeln!(f, "{:1$}{value}", "", 2 * depth),
        }
    }

    fn write_named(&self, f: &mut fmt::Formatter<'_>, name: &str, depth: usize) -> fmt::Result {
        let indent = 2 * depth;
        match self {
            StateTree::List(elements) if elements.iter().all(|part| part.parts() == 0) => {
                self.write_values(f, elements, name, depth)
            }
            StateTree::List(_) | StateTree::Fields(_) => {
                writeln!(f, "{:indent$}{name}:", "")?;
                self.write(f, depth + 1)
            }
            value => writeln!(f, "{:indent$}{name}: {value}", ""),
        }
    }

    /// A list of plain values: bytes in hexadecimal without a prefix, many in a line.
    fn write_values(
        &self,
        f: &mut fmt::Formatter<'_>,
        elements: &[StateTree],
        name: &str,
        depth: usize,
    ) -> fmt::Result {
        let indent = 2 * depth;
        let are_bytes = elements.iter().all(|part| matches!(part, StateTree::Number(..=0xFF)));
        let text = |part: &StateTree| match part {
            StateTree::Number(number) if are_bytes => format!("{number:02x}"),
            other => other.to_string(),
        };
        let mut lines = elements[..elements.len().min(MOST_SHOWN)]
            .chunks(LINE)
            .map(|line| line.iter().map(text).collect::<Vec<_>>().join(" "));
        let first = lines.next().unwrap_or_else(|| "empty".to_owned());
        writeln!(f, "{:indent$}{name}: {first}", "")?;
        lines.try_for_each(|line| writeln!(f, "{:1$}{line}", "", indent + name.chars().count() + 2))?;
        self.write_rest(f, depth + 1)
    }

    fn write_rest(&self, f: &mut fmt::Formatter<'_>, depth: usize) -> fmt::Result {
        match self.parts().saturating_sub(MOST_SHOWN) {
            0 => Ok(()),
            more => writeln!(f, "{:1$}... and {more} more", "", 2 * depth),
        }
    }
}

impl fmt::Display for StateTree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StateTree::Nothing => f.write_str("none"),
            StateTree::Number(number @ 0..=9) => write!(f, "{number}"),
            StateTree::Number(number) => write!(f, "{number:#x}"),
            StateTree::Negative(number) => write!(f, "{number}"),
            StateTree::Word(word) => f.write_str(word),
            tree => tree.write(f, 0),
        }
    }
}

impl Serialize for StateTree {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            StateTree::Nothing => serializer.serialize_unit(),
            StateTree::Number(number) => serializer.serialize_u64(*number),
            StateTree::Negative(number) => serializer.serialize_i64(*number),
            StateTree::Word(word) => serializer.serialize_str(word),
            StateTree::List(elements) => serializer.collect_seq(elements),
            StateTree::Fields(fields) => {
                serializer.collect_map(fields.iter().map(|(name, part)| (name, part)))
            }
        }
    }
}

impl<'de> Deserialize<'de> for StateTree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<StateTree, D::Error> {
        deserializer.deserialize_any(TreeVisitor)
    }
}

struct TreeVisitor;

impl<'de> Visitor<'de> for TreeVisitor {
    type Value = StateTree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a part of a device's state")
    }

    fn visit_unit<E>(self) -> Result<StateTree, E> {
        Ok(StateTree::Nothing)
    }

    fn visit_bool<E>(self, value: bool) -> Result<StateTree, E> {
        Ok(StateTree::Word(if value { "yes" } else { "no" }.to_owned()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<StateTree, E> {
        Ok(StateTree::Number(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<StateTree, E> {
        Ok(StateTree::Negative(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<StateTree, E> {
        Ok(StateTree::Word(value.to_string()))
    }

    fn visit_str<E>(self, value: &str) -> Result<StateTree, E> {
        // Names may be the guest's: no control characters reach a terminal.
        Ok(StateTree::Word(value.escape_debug().to_string()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<StateTree, A::Error> {
        let mut list = Vec::new();
        while let Some(element) = elements.next_element()? {
            list.push(element);
        }
        Ok(StateTree::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<StateTree, A::Error> {
        let mut fields = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            fields.push(entry);
        }
        Ok(StateTree::Fields(fields))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize)]
    struct Inner {
        zero: Option<u8>,
        word: Kind,
        minus: i8,
    }

    #[derive(Serialize)]
    enum Kind {
        Plain,
        With(u8),
    }

    #[derive(Serialize)]
    struct Outer {
        last_first: u32,
        inner: Inner,
        bytes: Vec<u8>,
        words: [u16; 3],
        inners: Vec<Inner>,
        flag: bool,
        nothing: Vec<u8>,
    }

    #[test]
    fn a_state_is_shown_in_the_order_of_its_fields() {
        let inner = |word| Inner { zero: None, word, minus: -1 };
        let state = Outer {
            last_first: 0x3F8,
            inner: inner(Kind::Plain),
            bytes: (0..70).collect(),
            words: [1, 2, 0x1234],
            inners: vec![inner(Kind::With(3))],
            flag: true,
            nothing: Vec::new(),
        };
        let tree = StateTree::of(&state);
        assert_eq!(
            tree.to_string(),
            "last_first: 0x3f8\n\
             inner:\n  zero: none\n  word: Plain\n  minus: -1\n\
             bytes: 00 01 02 03 04 05 06 07 08 09 0a 0b 0c 0d 0e 0f\n       \
             10 11 12 13 14 15 16 17 18 19 1a 1b 1c 1d 1e 1f\n       \
             20 21 22 23 24 25 26 27 28 29 2a 2b 2c 2d 2e 2f\n       \
             30 31 32 33 34 35 36 37 38 39 3a 3b 3c 3d 3e 3f\n  \
             ... and 6 more\n\
             words: 1 2 0x1234\n\
             inners:\n  [0]:\n    zero: none\n    word:\n      With: 3\n    minus: -1\n\
             flag: yes\n\
             nothing: empty\n"
        );
        let json = serde_json::to_string(&tree).unwrap();
        assert!(json.starts_with("{\"last_first\":1016,\"inner\":{\"zero\":null,"), "{json}");
    }

    #[test]
    fn what_is_no_json_says_so() {
        let odd = std::collections::BTreeMap::from([((1, 2), 3)]);
        assert!(StateTree::of(&odd).to_string().starts_with("cannot be shown: "));
        assert_eq!(StateTree::of(&"a\x1b[2J"), StateTree::Word("a\\u{1b}[2J".to_owned()));
    }
}

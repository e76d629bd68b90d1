//! What RIP points to, where that is no code: zeros, or a part of the guest file that holds data.

use serde::Serialize;

use crate::boot::Contents;

/// Zeros at RIP that are taken for no code, in bytes. Two zeros are `add [rax], al`.
const ZEROS: usize = 8;

/// Why what RIP points to is no code.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CodeFinding {
    /// The bytes at RIP are zeros.
    pub zeros: bool,
    /// RIP lies in a section of the guest file that holds data; empty for a segment.
    pub data_section: Option<String>,
}

/// Compares what is executed, `code` at RIP, with `contents`, what the guest file has there. `None` if it may be code.
pub fn examine(code: &[u8], contents: Option<Contents>) -> Option<CodeFinding> {
    let zeros = code.len() >= ZEROS && code[..ZEROS] == [0; ZEROS];
    let data_section = contents.filter(|contents| !contents.executable).map(|contents| contents.section);
    (zeros || data_section.is_some()).then_some(CodeFinding { zeros, data_section })
}

impl CodeFinding {
    /// One sentence, without the full stop.
    pub fn sentence(&self) -> String {
        let place = match self.data_section.as_deref() {
            Some("") => Some("a segment that the guest file marks as data".to_owned()),
            Some(section) => Some(format!("section `{section}`, which the guest file marks as data")),
            None => None,
        };
        match (self.zeros, place) {
            (true, Some(place)) => format!("The bytes at RIP are zeros, in {place}"),
            (true, None) => "The bytes at RIP are zeros, no code".to_owned(),
            (false, Some(place)) => format!("RIP is in {place}"),
            (false, None) => String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_and_data_are_no_code() {
        let section = |name: &str, executable| Some(Contents { section: name.to_owned(), executable });
        let sentence = |code: &[u8], contents| examine(code, contents).map(|finding| finding.sentence());
        assert_eq!(sentence(&[0; 15], None).unwrap(), "The bytes at RIP are zeros, no code");
        assert_eq!(
            sentence(&[0; 15], section(".bss", false)).unwrap(),
            "The bytes at RIP are zeros, in section `.bss`, which the guest file marks as data"
        );
        assert_eq!(
            sentence(&[0x0F, 0x0B], section(".data", false)).unwrap(),
            "RIP is in section `.data`, which the guest file marks as data"
        );
        assert_eq!(
            sentence(&[0x90; 15], section("", false)).unwrap(),
            "RIP is in a segment that the guest file marks as data"
        );
        assert_eq!(sentence(&[0x90; 15], section(".text", true)), None);
        // Cut off by the end of memory, or the end of an instruction with zeros in it.
        assert_eq!(sentence(&[0; 4], None), None);
        assert_eq!(sentence(&[0, 0, 0, 0, 0, 0, 0, 0xC3], None), None);
    }
}

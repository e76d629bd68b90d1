//! Suggests the intended name for a misspelt one.

use strsim::levenshtein;

/// Maximum length of a name that is compared; a longer one is not a misspelling.
const LONGEST: usize = 32;

/// The name in `candidates` of which `name` is a likely misspelling: at most one typing error per three
/// letters. Case is ignored.
pub(crate) fn closest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    if name.len() > LONGEST {
        return None;
    }
    let name = name.to_lowercase();
    let allowed = (name.chars().count() / 3).max(1);
    candidates
        .map(|candidate| (levenshtein(&name, &candidate.to_lowercase()), candidate))
        .filter(|(slips, _)| *slips <= allowed)
        .min_by_key(|(slips, _)| *slips)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typing_error_finds_the_name_and_a_different_word_does_not() {
        let names = ["memsize", "address", "port"];
        for (typed, meant) in [
            ("memsiz", Some("memsize")),
            ("MemSize", Some("memsize")),
            ("adress", Some("address")),
            ("prot", None),
            ("volume", None),
            ("", None),
        ] {
            assert_eq!(closest(typed, names.into_iter()), meant, "{typed}");
        }
        assert_eq!(closest(&"p".repeat(1 << 20), names.into_iter()), None);
    }
}

//! Finds the name that was probably meant.

/// Longest name that is compared; a longer one is no slip of the keyboard.
const LONGEST: usize = 32;

/// The one of `candidates` that `name` is a likely misspelling of: at most one typing slip per three
/// letters away. Capitals do not count.
pub(crate) fn closest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    if name.len() > LONGEST {
        return None;
    }
    let name: Vec<char> = name.to_lowercase().chars().collect();
    let allowed = (name.len() / 3).max(1);
    candidates
        .map(|candidate| (slips(&name, &candidate.to_lowercase().chars().collect::<Vec<char>>()), candidate))
        .filter(|(slips, _)| *slips <= allowed)
        .min_by_key(|(slips, _)| *slips)
        .map(|(_, candidate)| candidate)
}

/// Levenshtein distance: how many letters must be inserted, removed or replaced to turn `from` into
/// `to`.
fn slips(from: &[char], to: &[char]) -> usize {
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.iter().enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, b) in to.iter().enumerate() {
            let replaced = diagonal + usize::from(a != b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_finds_the_name_and_a_different_word_does_not() {
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

    #[test]
    fn slips_are_counted() {
        let count = |a: &str, b: &str| slips(&a.chars().collect::<Vec<_>>(), &b.chars().collect::<Vec<_>>());
        assert_eq!(count("", "abc"), 3);
        assert_eq!(count("abc", "abc"), 0);
        assert_eq!(count("kitten", "sitting"), 3);
    }
}

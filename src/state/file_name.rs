//! Distinguishes names of snapshot files from names of snapshots in memory.

use std::path::PathBuf;

/// Suffix of a snapshot file's name; not needed in a name with a `/`.
pub(super) const ENDING: &str = ".kvmstate";

/// The file that `name` refers to: a name with a `/` in it, or one that ends in `.kvmstate`.
pub fn snapshot_path(name: &str) -> Option<PathBuf> {
    (name.contains('/') || name.ends_with(ENDING)).then(|| PathBuf::from(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_word_is_not_a_file_name() {
        assert_eq!(snapshot_path("before"), None);
        assert_eq!(snapshot_path("a.kvmstate"), Some("a.kvmstate".into()));
        assert_eq!(snapshot_path("./before"), Some("./before".into()));
    }
}

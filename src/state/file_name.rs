//! Which names of snapshots are those of files; all others are those of snapshots in memory.

use std::path::PathBuf;

/// What the name of a snapshot file ends with, unless there is a `/` in it.
pub(super) const ENDING: &str = ".kvmstate";

/// The file that `name` stands for: a name with a `/` in it, or one that ends in `.kvmstate`.
pub fn snapshot_path(name: &str) -> Option<PathBuf> {
    (name.contains('/') || name.ends_with(ENDING)).then(|| PathBuf::from(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_alone_is_no_file() {
        assert_eq!(snapshot_path("before"), None);
        assert_eq!(snapshot_path("a.kvmstate"), Some("a.kvmstate".into()));
        assert_eq!(snapshot_path("./before"), Some("./before".into()));
    }
}

//! Known inputs that are made by the code they are inputs of.

use std::fs;
use std::path::{Path, PathBuf};

/// The files in `fuzz/seeds/TARGET`.
pub(crate) struct Seeds {
    folder: PathBuf,
}

impl Seeds {
    /// Those of `target`.
    pub(crate) fn of(target: &str) -> Seeds {
        Seeds { folder: Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target) }
    }

    /// Where they are.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// They are written anew, because `KVM_BLESS` is set.
    pub(crate) fn are_blessed(&self) -> bool {
        std::env::var_os("KVM_BLESS").is_some()
    }

    /// What the file `name` holds.
    ///
    /// # Panics
    ///
    /// If it cannot be read.
    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        let file = self.folder.join(name);
        fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
    }

    /// The file `name` must hold `bytes`, and does once it is blessed.
    ///
    /// # Panics
    ///
    /// If it holds anything else, or cannot be read or written.
    pub(crate) fn must_hold(&self, name: &str, bytes: &[u8]) {
        if self.are_blessed() {
            let written =
                fs::create_dir_all(&self.folder).and_then(|()| fs::write(self.folder.join(name), bytes));
            written.unwrap_or_else(|error| panic!("{}: {error}", self.folder.join(name).display()));
        }
        let remedy = "if that is meant, renew it with KVM_BLESS=1 cargo test --lib seeds_of_";
        assert!(
            self.read(name) == bytes,
            "{} holds something else: {remedy}",
            self.folder.join(name).display()
        );
    }
}

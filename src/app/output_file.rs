//! Files that a run writes at its end: `--report`, `--core`, `--coverage`.

use std::io;
use std::path::Path;

use super::Failure;
use crate::control::may_be_overwritten;
use crate::machine::outcome::status;
use crate::os::replacement_file::{Readers, ReplacementFile};

/// Checks before the run that the file of `option` can be written: what a run of hours has found is not lost then.
/// `foreign` says what a file is that is kept, as in "and kvm has not written it".
///
/// # Errors
///
/// A file that the user may want to keep, or that cannot be written.
pub(super) fn check(option: &str, file: &Path, foreign: &str, readers: Readers) -> Result<(), Failure> {
    if !may_be_overwritten(file) {
        let file = file.display();
        let message = format!("{option}: `{file}` exists, and {foreign}; choose another name, or delete it.");
        return Err(Failure::new(status::USAGE, message));
    }
    ReplacementFile::new(file, readers).map(drop).map_err(|reason| failure(file, &reason))
}

/// The failure of a run whose file cannot be written.
pub(super) fn failure(file: &Path, reason: &io::Error) -> Failure {
    Failure::new(status::HOST, cannot_write(file, reason))
}

/// The sentence about it.
pub(super) fn cannot_write(file: &Path, reason: &io::Error) -> String {
    format!("cannot write `{}`: {reason}; choose another path.", file.display())
}

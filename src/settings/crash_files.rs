//! The files that a crash leaves behind.

use std::path::PathBuf;

/// What is written when the guest is stopped before it ends by itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CrashFiles {
    /// The report as JSON.
    pub report: Option<PathBuf>,
    /// The guest as an ELF core file.
    pub core: Option<PathBuf>,
}

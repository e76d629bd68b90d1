//! How commands start and cancel migrations.

use std::fmt::Debug;
use std::sync::mpsc::Receiver;

/// Migrates the guest of a run.
pub trait Migrator: Debug + Send + Sync {
    /// Starts to migrate the guest to a `kvm -migr` that listens on `port` of `host`. The guest goes on meanwhile;
    /// the channel carries progress, a line each, until it closes.
    ///
    /// # Errors
    ///
    /// The reason, for the user.
    fn start(&self, host: &str, port: u16) -> Result<Receiver<String>, String>;

    /// Cancels the migration in progress.
    ///
    /// # Errors
    ///
    /// The reason why it cannot be cancelled, for the user.
    fn cancel(&self) -> Result<(), String>;

    /// The progress of the migration or how it ended, in one line.
    fn status(&self) -> String;
}

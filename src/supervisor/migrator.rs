//! How commands start and cancel migrations.

use std::fmt::Debug;
use std::io;
use std::sync::mpsc::Receiver;

use super::notice::Notice;

/// Why a migration cannot be started or cancelled.
#[derive(Debug, thiserror::Error)]
pub enum MigratorError {
    /// This guest cannot be migrated at all.
    #[error("migration is not available for this guest")]
    Unavailable,
    /// A guest has one migration at a time.
    #[error("a migration is already in progress, {progress}; cancel it with `migrate cancel`")]
    AlreadyInProgress {
        /// Its progress, in one line.
        progress: String,
    },
    /// The destination may already run the guest.
    #[error("too late to cancel: the guest is paused and being handed over")]
    HandingOver,
    /// There is nothing to cancel.
    #[error("no migration is in progress")]
    NotInProgress,
    /// The thread cannot be created.
    #[error("the host provides no thread for the migration: {0}")]
    Thread(#[source] io::Error),
}

/// Migrates the guest of a run.
pub trait Migrator: Debug + Send + Sync {
    /// Starts to migrate the guest to a `kvm -migr` that listens on `port` of `host`. The guest goes on meanwhile;
    /// the channel carries progress, a line each, until it closes. With `with_disk` the contents of its disks are sent,
    /// otherwise both hosts use the same images.
    ///
    /// # Errors
    ///
    /// [`MigratorError::AlreadyInProgress`], [`MigratorError::Thread`].
    fn start(&self, host: &str, port: u16, with_disk: bool) -> Result<Receiver<Notice>, MigratorError>;

    /// Cancels the migration in progress.
    ///
    /// # Errors
    ///
    /// [`MigratorError::NotInProgress`], [`MigratorError::HandingOver`].
    fn cancel(&self) -> Result<(), MigratorError>;

    /// The progress of the migration or how it ended, in one line.
    fn status(&self) -> String;
}

//! A migrator without a network: it reports that a migration has started, and never completes it.

use std::sync::Mutex;
use std::sync::mpsc::{Receiver, channel};

use crate::supervisor::migrator::{Migrator, MigratorError};
use crate::supervisor::notice::Notice;

/// The migrator.
#[derive(Debug, Default)]
pub(crate) struct FakeMigrator {
    /// The destination of the migration in progress.
    destination: Mutex<Option<String>>,
}

impl Migrator for FakeMigrator {
    fn start(&self, host: &str, port: u16, _: bool) -> Result<Receiver<Notice>, MigratorError> {
        let mut current = self.destination.lock().expect("no panic while it is locked");
        if let Some(destination) = current.as_ref() {
            return Err(MigratorError::AlreadyInProgress { progress: format!("to {destination}") });
        }
        *current = Some(format!("{host}:{port}"));
        let (sender, progress) = channel();
        sender.send("-----> starting migration".into()).expect("the receiver is below");
        Ok(progress)
    }

    fn cancel(&self) -> Result<(), MigratorError> {
        let cancelled = self.destination.lock().expect("no panic while it is locked").take();
        cancelled.map(drop).ok_or(MigratorError::NotInProgress)
    }

    fn status(&self) -> String {
        format!("{:?}", self.destination)
    }
}

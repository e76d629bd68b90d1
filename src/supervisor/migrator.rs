//! How commands have a guest moved to another host.

use std::fmt::Debug;
use std::sync::mpsc::Receiver;

/// Moves guests to other hosts.
pub trait Migrator: Debug + Send + Sync {
    /// Begins to move the guest to a `kvm -migr` that waits on `port` of `host`. It goes on meanwhile; what
    /// comes of it is told line by line, until the other end of the channel is dropped.
    ///
    /// # Errors
    ///
    /// Why it does not, in words.
    fn start(&self, host: &str, port: u16) -> Result<Receiver<String>, String>;

    /// Calls it off.
    ///
    /// # Errors
    ///
    /// Why that cannot be, in words.
    fn cancel(&self) -> Result<(), String>;

    /// How far it has come, or how it ended, in one line.
    fn status(&self) -> String;
}

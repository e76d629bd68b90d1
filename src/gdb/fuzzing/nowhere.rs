//! What moves the guest to other hosts: it says that it begins to, and never gets there.

use std::sync::Mutex;
use std::sync::mpsc::{Receiver, channel};

use crate::supervisor::migrator::Migrator;

/// A mover without a network.
#[derive(Debug, Default)]
pub(crate) struct Nowhere {
    /// Where to, while it is on its way.
    to: Mutex<Option<String>>,
}

impl Migrator for Nowhere {
    fn start(&self, host: &str, port: u16) -> Result<Receiver<String>, String> {
        let mut to = self.to.lock().expect("nobody panics with it");
        if let Some(to) = to.as_ref() {
            return Err(format!("it is on its way to {to}"));
        }
        *to = Some(format!("{host}:{port}"));
        let (sender, story) = channel();
        sender.send("-----> starting migration".to_owned()).map_err(|e| e.to_string())?;
        Ok(story)
    }

    fn cancel(&self) -> Result<(), String> {
        let gone = self.to.lock().expect("nobody panics with it").take();
        gone.map(drop).ok_or_else(|| "it is not on its way".to_owned())
    }

    fn status(&self) -> String {
        format!("{:?}", self.to)
    }
}

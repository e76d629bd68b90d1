//! Where the guest's output goes: the destinations of serial ports and debug console, and who shares them.
//!
//! [`OutputRouter::pump`] takes bytes from the machine's output queue in the order in which the guest sent them and
//! stages them for their destinations. Devices that share standard output or a file share its destination, where a
//! [`LineMerger`] keeps their lines whole; in the log, each line names its device and appears when it is complete.
//! Two names of one file are one destination. Bytes stay staged while a peer is slow; when one destination has
//! staged its limit, the queue is not read, and the guest waits once it is full.
//!
//! The user-interface thread owns the router and calls all methods.

use std::io::stdout;
use std::os::fd::BorrowedFd;
use std::time::Instant;

use rustix::event::PollFlags;

use super::display::Display;
use super::file_id::FileId;
use super::line_merger::LineMerger;
use super::serial_backend::{Backend, BackendError};
use crate::machine::output::{OutputReader, OutputSource};
use crate::settings::{DisplayMode, SerialBackend, Settings};

/// Maximum number of bytes moved at a time.
const TAKE: usize = 16 << 10;
/// Number of bytes staged for one destination from which on the queue is not read.
const MOST_STAGED: usize = 64 << 10;
/// Maximum number of bytes pending for standard output before bytes stay staged.
const MOST_PENDING: usize = 64 << 10;

/// A backend and what is on the way to it.
#[derive(Debug)]
struct Destination {
    backend: Backend,
    /// Bytes that the backend has not taken yet.
    staged: Vec<u8>,
    /// Keeps lines whole if several devices send here.
    merger: Option<LineMerger>,
}

impl Destination {
    fn push(&mut self, source: OutputSource, byte: u8, now: Instant) {
        match (&mut self.backend, &mut self.merger) {
            (Backend::Null, _) => {}
            (Backend::Log(log), _) => log.push(source, byte),
            (_, Some(merger)) => merger.push(source, byte, now, &mut self.staged),
            (_, None) => self.staged.push(byte),
        }
    }

    fn is_full(&self, display: &mut Display) -> bool {
        match &self.backend {
            Backend::Stdio => display.output().pending() >= MOST_PENDING,
            backend => backend.is_full(),
        }
    }

    /// Passes staged bytes to the backend; true if there were any.
    fn deliver(&mut self, display: &mut Display) -> bool {
        let count = self.staged.len().min(TAKE);
        let bytes = &self.staged[..count];
        match &mut self.backend {
            _ if count == 0 => return false,
            Backend::Stdio => display.text(bytes),
            backend => backend.send(bytes),
        }
        self.staged.drain(..count);
        true
    }
}

/// What one round of [`OutputRouter::pump`] found.
#[derive(Default)]
pub struct Pumped {
    /// Bytes were moved.
    pub any: bool,
    /// Standard output had no room for what is staged.
    pub output_full: bool,
    /// A serial peer had no room for what is staged.
    pub peer_full: bool,
}

/// All destinations of the guest's output.
#[derive(Debug)]
pub struct OutputRouter {
    destinations: Vec<Destination>,
    /// The destination of each device, by [`OutputSource::index`].
    routes: [usize; OutputSource::ALL.len()],
}

impl OutputRouter {
    /// Opens all backends that the user has chosen.
    ///
    /// # Errors
    ///
    /// [`BackendError`] names the device, the path and the host's reason.
    pub fn open(settings: &Settings) -> Result<OutputRouter, BackendError> {
        let mut router = OutputRouter { destinations: Vec::new(), routes: Default::default() };
        let mut files: Vec<(FileId, usize)> = Vec::new();
        let mut shared: Vec<(&SerialBackend, usize)> = Vec::new();
        for source in OutputSource::ALL {
            let mut wanted = chosen_backend(settings, source);
            if let SerialBackend::File(path) = wanted {
                let id = FileId::at(path);
                if id.is_some() && id == FileId::at(&settings.log.file) {
                    return Err(BackendError::IsLog { port: source.name(), path: path.clone() });
                }
                let is_stdout = id.is_some() && id == FileId::of(stdout());
                if is_stdout && settings.display != DisplayMode::None {
                    wanted = &SerialBackend::Stdio;
                } else if let Some((_, destination)) = files.iter().find(|(file, _)| Some(*file) == id) {
                    router.routes[source.index()] = *destination;
                    continue;
                }
            }
            let exclusive =
                !matches!(wanted, SerialBackend::Stdio | SerialBackend::Log | SerialBackend::Null);
            let known = shared.iter().find(|(backend, _)| *backend == wanted).filter(|_| !exclusive);
            router.routes[source.index()] = match known {
                Some((_, destination)) => *destination,
                None => {
                    let backend = Backend::new(source, wanted)?;
                    let destination = router.destinations.len();
                    if let Backend::File(file) = &backend
                        && let Some(id) = FileId::of(file)
                    {
                        files.push((id, destination));
                    }
                    shared.push((wanted, destination));
                    router.destinations.push(Destination { backend, staged: Vec::new(), merger: None });
                    destination
                }
            };
        }
        for (index, destination) in router.destinations.iter_mut().enumerate() {
            let sources = router.routes.iter().filter(|route| **route == index).count();
            destination.merger = (sources > 1).then(|| LineMerger::new(Instant::now()));
        }
        Ok(router)
    }

    /// The devices on new pseudo-terminals, and the names of these.
    pub fn pseudo_terminals(&self) -> impl Iterator<Item = (OutputSource, &str)> {
        OutputSource::ALL.into_iter().filter_map(|source| Some((source, self.backend(source).pty_name()?)))
    }

    /// Moves bytes from the machine's output queue towards their destinations. At the end of a run (`last`) the
    /// whole queue is staged, whether or not there is room, and no line waits for the end of another.
    pub fn pump(&mut self, outputs: &mut OutputReader, display: &mut Display, last: bool) -> Pumped {
        let now = Instant::now();
        let mut pumped = Pumped::default();
        if last || self.destinations.iter().all(|destination| destination.staged.len() < MOST_STAGED) {
            let (destinations, routes) = (&mut self.destinations, &self.routes);
            pumped.any = outputs.receive(TAKE, |source, byte| {
                destinations[routes[source.index()]].push(source, byte, now);
            });
        }
        let finish = last && outputs.is_empty();
        for destination in &mut self.destinations {
            if let Some(merger) = &mut destination.merger {
                match finish {
                    true => merger.finish(&mut destination.staged),
                    false => merger.expire(now, &mut destination.staged),
                }
            }
            if !destination.staged.is_empty() && destination.is_full(display) {
                match destination.backend {
                    Backend::Stdio => pumped.output_full = true,
                    _ => pumped.peer_full = true,
                }
            } else {
                pumped.any |= destination.deliver(display);
            }
            destination.backend.flush();
        }
        pumped
    }

    /// When [`Self::pump`] is due although the machine sends nothing, if ever.
    pub fn deadline(&self) -> Option<Instant> {
        self.destinations.iter().filter_map(|destination| destination.merger.as_ref()?.deadline()).min()
    }

    /// Ends unfinished lines in the log.
    pub fn finish(&mut self) {
        self.destinations.iter_mut().for_each(|destination| destination.backend.finish());
    }

    /// Bytes that connected peers have not read yet.
    pub fn unread(&self) -> usize {
        self.destinations.iter().map(|destination| destination.backend.unread()).sum()
    }

    /// The descriptor and events to poll for input of a device. `wanted`: the guest has room for it.
    pub fn poll_target(&self, source: OutputSource, wanted: bool) -> Option<(BorrowedFd<'_>, PollFlags)> {
        self.backend(source).poll_target(wanted)
    }

    /// Reads what a device's peer sent, possibly nothing, once the polled descriptor is ready.
    pub fn receive(&mut self, source: OutputSource) -> Vec<u8> {
        self.destinations[self.routes[source.index()]].backend.receive()
    }

    fn backend(&self, source: OutputSource) -> &Backend {
        &self.destinations[self.routes[source.index()]].backend
    }
}

/// The backend that the user chose for `source`; with no display, standard output stays empty.
fn chosen_backend(settings: &Settings, source: OutputSource) -> &SerialBackend {
    let chosen = match source {
        OutputSource::Serial(port) => &settings.serial[usize::from(port)],
        OutputSource::DebugConsole => &settings.debug_console,
    };
    match chosen {
        SerialBackend::Stdio if settings.display == DisplayMode::None => &SerialBackend::Log,
        chosen => chosen,
    }
}

#[cfg(test)]
#[path = "output_router_test.rs"]
mod tests;

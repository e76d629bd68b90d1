//! A disk image that the thread of its disk and a migration use at the same time.
//!
//! A migration hands the image over to another process ([`SharedImage::hand_over`]): from then on the thread of the
//! disk waits, so that two processes never write. If the guest stays, [`SharedImage::take_back`] lets the thread go
//! on as soon as no other process has locked the image.

use std::io;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tracing::warn;

use super::disk_image::DiskImage;
use super::written_clusters::SavedWrites;
use crate::memory::PageSet;

/// Interval at which a lock that another process holds is tried again.
const RETRY: Duration = Duration::from_millis(20);

/// How long taking an image back waits for the lock: longer than a process takes to end.
const TAKE_BACK: Duration = Duration::from_secs(2);

/// Who uses the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    /// This process, which has locked it.
    Here,
    /// Perhaps another process.
    Elsewhere,
    /// This process, once it has the lock.
    Returning,
}

#[derive(Debug)]
struct State {
    image: DiskImage,
    owner: Owner,
    /// The machine is gone.
    closed: bool,
    /// Number of writes, and of all requests that are done.
    writes: u64,
    done: u64,
    /// The 4 KiB pages of the image that were written since it was last asked; `None` if nobody will ask.
    written: Option<PageSet>,
}

/// An image and who uses it.
#[derive(Debug)]
pub struct SharedImage {
    state: Mutex<State>,
    changed: Condvar,
}

impl SharedImage {
    /// An image that this process has locked, or with `elsewhere` one that another process may still use.
    pub fn new(image: DiskImage, elsewhere: bool) -> SharedImage {
        let owner = if elsewhere { Owner::Elsewhere } else { Owner::Here };
        let state = State { image, owner, closed: false, writes: 0, done: 0, written: None };
        SharedImage { state: Mutex::new(state), changed: Condvar::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The image, once this process may use it; `None` if the machine is gone before.
    pub fn for_use(&self) -> Option<ImageInUse<'_>> {
        let mut state = self.state();
        let mut reported = false;
        loop {
            let wait = match state.owner {
                Owner::Here => return Some(ImageInUse { state, changed: &self.changed }),
                Owner::Returning | Owner::Elsewhere if state.closed => return None,
                Owner::Elsewhere => Duration::from_secs(3600),
                Owner::Returning => match state.image.lock() {
                    Ok(()) => {
                        state.owner = Owner::Here;
                        continue;
                    }
                    Err(error) => {
                        if !std::mem::replace(&mut reported, true) {
                            warn!("{error} The guest waits for its disk until then.");
                        }
                        RETRY
                    }
                },
            };
            let waited = self.changed.wait_timeout(state, wait);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// The image, if this process may use it now and nothing else does: all of `requests` requests are done. It never
    /// waits.
    pub fn for_use_at_once(&self, requests: u64) -> Option<ImageInUse<'_>> {
        let state = self.state.try_lock().ok()?;
        let usable = state.owner == Owner::Here && !state.closed && state.done == requests;
        usable.then(|| ImageInUse { state, changed: &self.changed })
    }

    /// Hands the image over to another process once the request under way is done: nothing is written here from now
    /// on. With `release` everything written is durable, and the image is not locked any more.
    ///
    /// # Errors
    ///
    /// The host's reason why it is not durable; nothing is handed over then.
    pub fn hand_over(&self, release: bool) -> io::Result<()> {
        let mut state = self.state();
        if release {
            state.image.flush()?;
            state.image.unlock();
        }
        state.owner = Owner::Elsewhere;
        Ok(())
    }

    /// Takes the image back after [`Self::hand_over`]; without effect on one that is here.
    pub fn take_back(&self) {
        let start = Instant::now();
        let mut state = self.state();
        if state.owner == Owner::Here {
            return;
        }
        state.owner = Owner::Returning;
        while state.image.lock().is_err() {
            if start.elapsed() >= TAKE_BACK {
                // The thread of the disk tries on when the guest needs it, and reports it.
                self.changed.notify_all();
                return;
            }
            drop(state);
            std::thread::sleep(RETRY);
            state = self.state();
        }
        state.owner = Owner::Here;
        self.changed.notify_all();
    }

    /// Waits until `requests` requests are done, unless another process has the image.
    pub fn wait_for(&self, requests: u64) {
        let mut state = self.state();
        while state.done < requests && state.owner == Owner::Here && !state.closed {
            let waited = self.changed.wait_timeout(state, RETRY);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// The machine is gone: what waits for the image is given up.
    pub fn close(&self) {
        self.state().closed = true;
        self.changed.notify_all();
    }

    /// Number of writes so far.
    pub fn writes(&self) -> u64 {
        self.state().writes
    }

    /// Makes what was written so far durable, while the guest goes on.
    ///
    /// # Errors
    ///
    /// The host's reason.
    pub fn flush(&self) -> io::Result<()> {
        let file = self.state().image.clone_file()?;
        file.map_or(Ok(()), |file| file.sync_data())
    }

    /// Starts to note which pages are written, or stops.
    pub fn track(&self, on: bool) {
        self.state().written = on.then(PageSet::default);
    }

    /// The pages that were written since the last call.
    pub fn take_written(&self) -> PageSet {
        self.state().written.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// What was written so far, if it is in memory.
    pub fn save_writes(&self) -> Option<SavedWrites> {
        self.state().image.save_writes()
    }

    /// Goes back to what [`Self::save_writes`] returned. No request is under way.
    pub fn restore_writes(&self, saved: &SavedWrites) {
        let State { image, written, .. } = &mut *self.state();
        image.restore_writes(saved, |at| {
            if let Some(pages) = written {
                pages.insert(at);
            }
        });
    }

    /// Calls `look` with the image, whoever uses it.
    pub fn with<T>(&self, look: impl FnOnce(&DiskImage) -> T) -> T {
        look(&self.state().image)
    }
}

/// An image that this process may use, for one request.
#[derive(Debug)]
pub struct ImageInUse<'a> {
    state: MutexGuard<'a, State>,
    changed: &'a Condvar,
}

impl Drop for ImageInUse<'_> {
    fn drop(&mut self) {
        self.state.done += 1;
        self.changed.notify_all();
    }
}

impl ImageInUse<'_> {
    /// As [`DiskImage::read`].
    ///
    /// # Errors
    ///
    /// Those of [`DiskImage::read`].
    pub fn read(&self, lba: u64, data: &mut [u8]) -> Result<(), (u64, io::Error)> {
        self.state.image.read(lba, data)
    }

    /// As [`DiskImage::read`], but only if the host has the contents in memory: it never waits. False without an answer;
    /// `data` has no meaning then.
    pub fn read_cached(&self, lba: u64, data: &mut [u8]) -> bool {
        self.state.image.read_cached(lba, data)
    }

    /// As [`DiskImage::write`].
    ///
    /// # Errors
    ///
    /// Those of [`DiskImage::write`].
    pub fn write(&mut self, lba: u64, data: &[u8]) -> Result<(), (u64, io::Error)> {
        let state = &mut *self.state;
        state.writes += 1;
        let written = state.image.write(lba, data);
        if let Some(pages) = &mut state.written {
            let start = lba.saturating_mul(512).min(state.image.size());
            let end = start.saturating_add(data.len() as u64).min(state.image.size());
            pages.insert_range(start..end);
        }
        written
    }

    /// As [`DiskImage::flush`].
    ///
    /// # Errors
    ///
    /// Those of [`DiskImage::flush`].
    pub fn flush(&self) -> io::Result<()> {
        self.state.image.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{DiskInterface, DiskMode, DiskSpec};

    #[test]
    fn an_image_is_used_at_once_only_if_nothing_else_uses_it() {
        let path = std::env::temp_dir().join(format!("kvm-shared-image-{}", std::process::id()));
        std::fs::write(&path, [0; 512]).unwrap();
        let spec = DiskSpec { path: path.clone(), mode: DiskMode::Snapshot, interface: DiskInterface::Ide };
        let image = SharedImage::new(DiskImage::open(&spec).unwrap(), false);
        std::fs::remove_file(&path).unwrap();

        assert!(image.for_use_at_once(1).is_none(), "a request is under way");
        let in_use = image.for_use_at_once(0).unwrap();
        assert!(image.for_use_at_once(0).is_none(), "another thread uses it");
        drop(in_use);
        assert!(image.for_use_at_once(0).is_none(), "that was a request");
        assert!(image.for_use_at_once(1).is_some());

        image.hand_over(false).unwrap();
        assert!(image.for_use_at_once(2).is_none(), "another process uses it");
        image.take_back();
        assert!(image.for_use_at_once(2).is_some());
        image.close();
        assert!(image.for_use_at_once(3).is_none(), "the machine is gone");
    }
}

//! Dirty tracking: which pages of RAM have changed.
//!
//! Several trackers can be active. Each query returns all pages since the tracker's previous one: pages that
//! one tracker takes out of KVM's dirty log are queued for the others. Without a tracker nothing is recorded.
//!
//! KVM logs the guest's writes (KVM_MEM_LOG_DIRTY_PAGES): one bit per page, which KVM_GET_DIRTY_LOG returns
//! and clears with one system call per mapped memory slot. The guest has written nothing to unmapped slots;
//! they cost no system call. [`GuestMemory`](crate::memory::GuestMemory) records host writes: by devices,
//! emulated instructions, a debugger or a loader.
//!
//! Unchanged pages may be reported too: with two-dimensional paging the processor's own accesses to the
//! guest's page tables count as writes.
//!
//! Manual: KVM_SET_USER_MEMORY_REGION and KVM_GET_DIRTY_LOG in api.rst.

use super::Machine;
use crate::kvm::HostError;
use crate::memory::PageSet;

/// The consumers of dirty tracking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DirtyTracker {
    /// In-memory snapshots.
    Snapshots,
    /// An outgoing migration.
    Migration,
}

/// Pages not yet reported to each tracker; `None` for inactive ones.
#[derive(Debug, Default)]
pub(super) struct DirtyTrackers([Option<PageSet>; 2]);

impl DirtyTrackers {
    fn any(&self) -> bool {
        self.0.iter().any(Option::is_some)
    }

    fn add(&mut self, pages: &PageSet) {
        self.0.iter_mut().flatten().for_each(|waiting| waiting.extend(pages));
    }

    /// Pages not yet reported to `tracker`, with `fresh`, which is queued for the others, too.
    fn take(&mut self, tracker: DirtyTracker, fresh: PageSet) -> PageSet {
        match self.0[tracker as usize].take() {
            Some(mut pages) => {
                self.add(&fresh);
                self.0[tracker as usize] = Some(PageSet::default());
                if pages.is_empty() {
                    return fresh;
                }
                pages.extend(&fresh);
                pages
            }
            None => {
                self.add(&fresh);
                PageSet::default()
            }
        }
    }
}

impl Machine {
    /// Starts to record for `tracker` the pages that change from now on. Resets do not end it. An active
    /// tracker starts anew.
    ///
    /// # Errors
    ///
    /// [`HostError::Refused`] if the host cannot log writes; `tracker` stays inactive then.
    pub fn start_dirty_tracking(&mut self, tracker: DirtyTracker) -> Result<(), HostError> {
        if self.trackers.any() {
            let fresh = self.ram.take_dirty()?;
            self.trackers.add(&fresh);
        } else {
            self.memory.track_host_writes(true);
            if let Err(error) = self.ram.log_writes(true) {
                // The log may be on for some slots already.
                self.stop_logging()?;
                return Err(error);
            }
        }
        self.trackers.0[tracker as usize] = Some(PageSet::default());
        Ok(())
    }

    /// Stops the tracker. Without active trackers writes cost nothing extra.
    ///
    /// # Errors
    ///
    /// [`HostError::Refused`] with the host's reason.
    pub fn stop_dirty_tracking(&mut self, tracker: DirtyTracker) -> Result<(), HostError> {
        let was_active = self.trackers.0[tracker as usize].take().is_some();
        if was_active && !self.trackers.any() { self.stop_logging() } else { Ok(()) }
    }

    /// The pages that have changed since the last call for `tracker`, or since
    /// [`Self::start_dirty_tracking`]: written by the guest or the host, or discarded by a reset. Empty if the
    /// tracker is inactive.
    ///
    /// A running guest may write to a page while the caller reads its contents: the next call then reports
    /// the page again.
    ///
    /// # Errors
    ///
    /// [`HostError::Refused`] with the host's reason; the next call reports what has changed.
    pub fn take_dirty(&mut self, tracker: DirtyTracker) -> Result<PageSet, HostError> {
        let fresh = if self.trackers.any() { self.ram.take_dirty()? } else { PageSet::default() };
        Ok(self.trackers.take(tracker, fresh))
    }

    /// The last host writes were made by the owner of `tracker`, to which they need not be reported.
    pub(super) fn written_by(&mut self, tracker: DirtyTracker) {
        let written = self.memory.take_host_writes();
        let others = self.trackers.0.iter_mut().enumerate().filter(|(other, _)| *other != tracker as usize);
        others.filter_map(|(_, waiting)| waiting.as_mut()).for_each(|waiting| waiting.extend(&written));
    }

    /// Resumes dirty tracking in the new virtual machine after a reset. All previous memory contents count as
    /// changed.
    pub(super) fn resume_dirty_tracking(&mut self) -> Result<(), HostError> {
        if self.trackers.any() { self.ram.log_writes(true) } else { Ok(()) }
    }

    fn stop_logging(&mut self) -> Result<(), HostError> {
        self.memory.track_host_writes(false);
        self.ram.log_writes(false)
    }
}

#[cfg(test)]
#[path = "dirty_test.rs"]
mod tests;

//! Which pages of RAM have changed, for everybody who wants to know.
//!
//! There can be several followers, and each gets everything since its last query: what one of them
//! takes out of KVM's log is put aside for the others. Without followers nothing is recorded.
//!
//! What the guest writes is noted by KVM, by its log of dirty pages (KVM_MEM_LOG_DIRTY_PAGES): a bit for
//! each page, which KVM_GET_DIRTY_LOG takes and clears in one system call for each attached piece of RAM.
//! Pieces that are not attached hold nothing that the guest has written, and cost no system call. What is
//! written from this side (chips, instructions carried out in place of KVM, a debugger, a loader) is noted
//! by [`GuestMemory`](crate::memory::GuestMemory).
//!
//! Pages may be told that have not changed: where the processor has two levels of paging it counts its own
//! looks at the guest's page tables as writes.
//!
//! Manual: KVM_SET_USER_MEMORY_REGION and KVM_GET_DIRTY_LOG in api.rst.

use super::Machine;
use crate::kvm::HostError;
use crate::memory::PageSet;

/// Who wants to know which pages have changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Follower {
    /// Snapshots in memory.
    Snapshots,
    /// A migration that is under way.
    Migration,
}

/// Pages not yet reported to each follower; `None` for inactive ones.
#[derive(Debug, Default)]
pub(super) struct Followers([Option<PageSet>; 2]);

impl Followers {
    fn any(&self) -> bool {
        self.0.iter().any(Option::is_some)
    }

    fn add(&mut self, pages: &PageSet) {
        self.0.iter_mut().flatten().for_each(|waiting| waiting.extend(pages));
    }

    /// Pages not yet reported to `follower`, with `fresh`, which is queued for the others, too.
    fn take(&mut self, follower: Follower, fresh: PageSet) -> PageSet {
        match self.0[follower as usize].take() {
            Some(mut pages) => {
                self.add(&fresh);
                self.0[follower as usize] = Some(PageSet::default());
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
    /// Begins to note for `follower` which pages change, from now on; also after a reset. If it is
    /// followed already it begins anew.
    ///
    /// # Errors
    ///
    /// [`HostError::Refused`] if the host cannot note it; nothing is noted for `follower` then.
    pub fn follow_writes(&mut self, follower: Follower) -> Result<(), HostError> {
        if self.followers.any() {
            let fresh = self.ram.take_dirty()?;
            self.followers.add(&fresh);
        } else {
            self.memory.track_host_writes(true);
            if let Err(error) = self.ram.log_writes(true) {
                // Some pieces may be logged already.
                self.stop_noting()?;
                return Err(error);
            }
        }
        self.followers.0[follower as usize] = Some(PageSet::default());
        Ok(())
    }

    /// Ends what [`Self::follow_writes`] began. Without followers it costs nothing.
    ///
    /// # Errors
    ///
    /// [`HostError::Refused`] with the host's reason.
    pub fn unfollow_writes(&mut self, follower: Follower) -> Result<(), HostError> {
        let followed = self.followers.0[follower as usize].take().is_some();
        if followed && !self.followers.any() { self.stop_noting() } else { Ok(()) }
    }

    /// The pages that have changed since the last call for `follower`, or since
    /// [`Self::follow_writes`]: written by the guest, from this side, or thrown away by a reset. Empty if
    /// it does not follow.
    ///
    /// The guest may write to a page again while its contents are read, if it runs: the page is told
    /// again next time then.
    ///
    /// # Errors
    ///
    /// [`HostError::Refused`] with the host's reason; the next call reports what has changed.
    pub fn take_dirty(&mut self, follower: Follower) -> Result<PageSet, HostError> {
        let fresh = if self.followers.any() { self.ram.take_dirty()? } else { PageSet::default() };
        Ok(self.followers.take(follower, fresh))
    }

    /// The last host writes were made for `follower`, to which they need not be reported.
    pub(super) fn written_by(&mut self, follower: Follower) {
        let written = self.memory.take_host_writes();
        let others = self.followers.0.iter_mut().enumerate().filter(|(other, _)| *other != follower as usize);
        others.filter_map(|(_, waiting)| waiting.as_mut()).for_each(|waiting| waiting.extend(&written));
    }

    /// A reset has made a new virtual machine: follows what was followed. What was in memory before
    /// counts as changed.
    pub(super) fn follow_again(&mut self) -> Result<(), HostError> {
        if self.followers.any() { self.ram.log_writes(true) } else { Ok(()) }
    }

    fn stop_noting(&mut self) -> Result<(), HostError> {
        self.memory.track_host_writes(false);
        self.ram.log_writes(false)
    }
}

#[cfg(test)]
#[path = "dirty_test.rs"]
mod tests;

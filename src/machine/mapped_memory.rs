//! Guest RAM as KVM's virtual machine has it: memory slots, protected pages and the log of dirty pages.
//!
//! A block of RAM becomes a memory slot when the loader has written to it or when the guest first accesses
//! it ([`AttachedSlots`]). [`Machine`](super::Machine) maps blocks when an exit requires it, protects the
//! pages of watchpoints, and takes the dirty pages for snapshots and migration.

use std::sync::Arc;

use crate::kvm::{HostError, Vm};
use crate::memory::{AttachedSlots, GuestMemory, PageSet, ProtectedPages, SlotChange, SlotMapping};

/// A virtual machine and the memory slots it has.
#[derive(Debug)]
pub(super) struct MappedMemory {
    vm: Vm,
    slots: AttachedSlots,
    memory: Arc<GuestMemory>,
    /// The pages of watchpoints.
    watched: Vec<ProtectedPages>,
    /// The ROM below 4 GiB that is mapped.
    rom: Option<SlotMapping>,
    /// KVM logs dirty pages.
    logging: bool,
}

impl MappedMemory {
    /// The RAM of `vm`, none of which is mapped yet.
    pub(super) fn new(vm: Vm, memory: Arc<GuestMemory>) -> MappedMemory {
        MappedMemory {
            vm,
            slots: AttachedSlots::default(),
            memory,
            watched: Vec::new(),
            rom: None,
            logging: false,
        }
    }

    /// The virtual machine.
    #[inline]
    pub(super) fn vm(&self) -> &Vm {
        &self.vm
    }

    /// Maps ROM, and the blocks of RAM that have contents.
    pub(super) fn map_written(&mut self) -> Result<(), HostError> {
        if self.memory.has_rom() || self.memory.video_window_is_trapped() {
            self.map_rom()?;
        }
        self.slots.attach_written(&self.memory).into_iter().try_for_each(|part| self.map(part))
    }

    /// Maps the block of RAM that holds `address`, if that is RAM and not mapped yet.
    pub(super) fn map_at(&mut self, address: u64) -> Result<(), HostError> {
        self.slots.attach_at(&self.memory, address).into_iter().try_for_each(|part| self.map(part))
    }

    /// Maps all of RAM; false if it was already.
    pub(super) fn map_all(&mut self) -> Result<bool, HostError> {
        let rest = self.slots.attach_rest(&self.memory);
        for part in &rest {
            self.map(*part)?;
        }
        Ok(!rest.is_empty())
    }

    /// Protects `pages`, and no others.
    ///
    /// # Errors
    ///
    /// [`HostError::Refused`]. The pages protected before stay so, unless the host refuses that, too.
    pub(super) fn protect(&mut self, pages: Vec<ProtectedPages>) -> Result<(), HostError> {
        let shadow = self.memory.protected_areas();
        self.protect_exactly(combine(&shadow, &pages))?;
        self.watched = pages;
        Ok(())
    }

    /// Maps ROM and shadow RAM as they are now, and protects what the guest cannot write there; so it does the window of
    /// video memory.
    pub(super) fn map_rom(&mut self) -> Result<(), HostError> {
        let rom = self.memory.rom_slot();
        if self.rom != rom {
            if let Some(old) = self.rom.take() {
                self.vm.detach(old.slot)?;
            }
            rom.into_iter().try_for_each(|part| self.vm.attach(part, false))?;
            self.rom = rom;
        }
        let shadow = self.memory.protected_areas();
        self.protect_exactly(combine(&shadow, &self.watched))
    }

    fn protect_exactly(&mut self, pages: Vec<ProtectedPages>) -> Result<(), HostError> {
        let before = self.slots.clone();
        let changes = self
            .slots
            .protect(&self.memory, pages)
            .map_err(|e| HostError::because("watch guest memory", e))?;
        let mut done = 0;
        let failed = changes.iter().find_map(|change| {
            let result = self.apply(*change);
            done += usize::from(result.is_ok());
            result.err()
        });
        let Some(error) = failed else { return Ok(()) };
        for change in changes[..done].iter().rev() {
            self.apply(match *change {
                SlotChange::Detach(part) => SlotChange::Attach(part),
                SlotChange::Attach(part) => SlotChange::Detach(part),
            })?;
        }
        self.slots = before;
        Err(error)
    }

    fn apply(&self, change: SlotChange) -> Result<(), HostError> {
        match change {
            SlotChange::Detach(part) => {
                // KVM drops the log of a slot together with the slot.
                if self.logging {
                    self.memory.mark_written(&self.dirty_pages(&part)?);
                }
                self.vm.detach(part.slot)
            }
            SlotChange::Attach(part) => self.map(part),
        }
    }

    fn map(&self, part: SlotMapping) -> Result<(), HostError> {
        self.vm.attach(part, self.logging)
    }

    /// Turns the log of dirty pages on or off, for all of RAM: what is mapped and what will be.
    pub(super) fn log_writes(&mut self, on: bool) -> Result<(), HostError> {
        self.logging = on;
        let parts = self.slots.attached(&self.memory);
        parts.into_iter().filter(|part| !part.read_only).try_for_each(|part| self.map(part))
    }

    /// The pages written since the last call or [`Self::log_writes`], by the guest and by the host.
    pub(super) fn take_dirty(&self) -> Result<PageSet, HostError> {
        let mut found = self.memory.take_host_writes();
        if !self.logging {
            return Ok(found);
        }
        for part in self.slots.attached(&self.memory) {
            match self.dirty_pages(&part) {
                Ok(pages) => found.extend(&pages),
                Err(error) => {
                    self.memory.mark_written(&found);
                    return Err(error);
                }
            }
        }
        Ok(found)
    }

    /// The pages KVM has logged for a part.
    fn dirty_pages(&self, part: &SlotMapping) -> Result<PageSet, HostError> {
        let mut found = PageSet::default();
        if !part.read_only {
            found.insert_bits(part.slot.guest, &self.vm.take_dirty_pages(part.slot)?);
        }
        Ok(found)
    }
}

/// Both lists as one, ascending and without overlaps: where pages are in both, as `watched` has them.
fn combine(shadow: &[ProtectedPages], watched: &[ProtectedPages]) -> Vec<ProtectedPages> {
    if shadow.is_empty() {
        return watched.to_vec();
    }
    let mut all = watched.to_vec();
    for ProtectedPages { pages, how } in shadow {
        let mut start = pages.start;
        for other in
            watched.iter().map(|it| &it.pages).filter(|it| it.start < pages.end && pages.start < it.end)
        {
            if start < other.start {
                all.push(ProtectedPages { pages: start..other.start, how: *how });
            }
            start = start.max(other.end);
        }
        if start < pages.end {
            all.push(ProtectedPages { pages: start..pages.end, how: *how });
        }
    }
    all.sort_by_key(|it| it.pages.start);
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::Protection::{ReadOnly, Removed};

    #[test]
    fn watched_pages_are_cut_out_of_read_only_areas() {
        let pages = |pages, how| ProtectedPages { pages, how };
        let shadow = [pages(0xC_0000..0xC_4000, ReadOnly), pages(0xF_0000..0xF_4000, ReadOnly)];
        let watched = [
            pages(0x1000..0x2000, Removed),
            pages(0xC_1000..0xC_2000, Removed),
            pages(0xC_3000..0xC_5000, ReadOnly),
        ];
        let all = combine(&shadow, &watched);
        let expected = [
            pages(0x1000..0x2000, Removed),
            pages(0xC_0000..0xC_1000, ReadOnly),
            pages(0xC_1000..0xC_2000, Removed),
            pages(0xC_2000..0xC_3000, ReadOnly),
            pages(0xC_3000..0xC_5000, ReadOnly),
            pages(0xF_0000..0xF_4000, ReadOnly),
        ];
        assert_eq!(all, expected);
        assert_eq!(combine(&[], &watched), watched);
    }
}

//! Memory that is watched: pages of RAM are protected, so that accesses to them come out of the guest.
//! They are completed here, and those that touch watched bytes are reported.
//!
//! A page whose reads are watched is taken away from KVM. That cannot be done where the processor itself
//! has to read: code that runs, page tables, descriptor tables. Such a page is made read-only instead, and
//! reads of it are not seen.
//!
//! Manual: KVM_SET_USER_MEMORY_REGION in api.rst.

use std::collections::BTreeMap;
use std::ops::Range;

use tracing::info;

use super::Machine;
use super::cpu::{Cpu, CpuId};
use crate::arch::Registers;
use crate::arch::paging::Paging;
use crate::kvm::HostError;
use crate::memory::{GuestMemory, PAGE, ProtectedPages, Protection};

/// Most accesses of one instruction that are reported.
const MOST_TOUCHES: usize = 16;

/// Guest-physical memory that is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PhysicalWatch {
    /// First address.
    pub start: u64,
    /// Length in bytes.
    pub length: u64,
    /// Reads are reported.
    pub reads: bool,
    /// Writes are reported.
    pub writes: bool,
}

impl PhysicalWatch {
    /// True if `length` bytes from `start` and this have a byte in common.
    pub fn overlaps(&self, start: u64, length: u64) -> bool {
        start < self.start.saturating_add(self.length) && self.start < start.saturating_add(length)
    }
}

/// An access to watched memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Touch {
    /// Guest-physical address.
    pub physical: u64,
    /// Width in bytes.
    pub size: u64,
    /// Whether it was a write.
    pub write: bool,
}

/// A page whose reads are to be watched, but cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unseen {
    /// Its guest-physical address.
    pub page: u64,
    /// What the page holds that the processor has to read.
    pub why: &'static str,
}

/// What is watched, and what has been seen.
#[derive(Debug, Default)]
pub(super) struct WatchpointPages {
    watches: Vec<PhysicalWatch>,
    touches: Vec<Touch>,
    /// Pages that are read-only although their reads are to be watched, and what they hold.
    readable: BTreeMap<u64, &'static str>,
    /// Pages from which the guest has tried to run.
    code: Vec<u64>,
}

impl WatchpointPages {
    /// The guest is about to write to memory outside of KVM's own.
    #[inline]
    pub(super) fn write(&mut self, address: u64, size: u8) {
        self.accessed(address, u64::from(size), true);
    }

    /// The guest has read from memory outside of KVM's own.
    #[inline]
    pub(super) fn read(&mut self, address: u64, size: u8) {
        self.accessed(address, u64::from(size), false);
    }

    /// The guest accesses RAM: it writes there, or it reads.
    #[inline]
    pub(super) fn accessed(&mut self, address: u64, length: u64, write: bool) {
        let wanted = |watch: &PhysicalWatch| if write { watch.writes } else { watch.reads };
        if self.watches.iter().any(|watch| wanted(watch) && watch.overlaps(address, length)) {
            self.note(Touch { physical: address, size: length, write });
        }
    }

    /// Notes an access to what is watched.
    #[cold]
    pub(super) fn note(&mut self, touch: Touch) {
        if self.touches.len() < MOST_TOUCHES {
            self.touches.push(touch);
        }
    }

    /// True if anything is watched.
    pub(super) fn any(&self) -> bool {
        !self.watches.is_empty()
    }

    /// What is watched.
    pub(super) fn watches(&self) -> &[PhysicalWatch] {
        &self.watches
    }

    /// True if there is something to take.
    #[inline]
    pub(super) fn is_touched(&self) -> bool {
        !self.touches.is_empty()
    }

    /// The accesses to watched memory since the last call, oldest first.
    pub(super) fn take_touches(&mut self) -> Vec<Touch> {
        std::mem::take(&mut self.touches)
    }

    /// True if a page is unknown to KVM.
    fn is_removed(&self, page: u64) -> bool {
        !self.readable.contains_key(&page)
            && self.watches.iter().any(|watch| watch.reads && watch.overlaps(page, PAGE))
    }

    /// The pages to protect, ascending.
    fn protected(&self, memory: &GuestMemory) -> Vec<ProtectedPages> {
        let mut pages: BTreeMap<u64, Protection> = BTreeMap::new();
        for watch in &self.watches {
            for page in pages_of(watch.start..watch.start.saturating_add(watch.length)) {
                // A device's accesses come out anyway.
                if memory.is_ram(page, PAGE) {
                    let removed = watch.reads && !self.readable.contains_key(&page);
                    let how = if removed { Protection::Removed } else { Protection::ReadOnly };
                    let known = pages.entry(page).or_insert(how);
                    *known = how.max(*known);
                }
            }
        }
        let mut ranges: Vec<ProtectedPages> = Vec::new();
        for (page, how) in pages {
            match ranges.last_mut() {
                Some(last) if last.pages.end == page && last.how == how => last.pages.end += PAGE,
                _ => ranges.push(ProtectedPages { pages: page..page + PAGE, how }),
            }
        }
        ranges
    }

    /// Finds out which of the pages whose reads are watched a processor itself has to read; `cpus` are the
    /// registers of all CPUs.
    fn find_readable(&mut self, memory: &GuestMemory, cpus: &[Registers]) {
        self.readable = self.code.iter().map(|page| (*page, "code that runs")).collect();
        let reads = self.watches.iter().filter(|watch| watch.reads);
        let pages: Vec<u64> =
            reads.flat_map(|watch| pages_of(watch.start..watch.start.saturating_add(watch.length))).collect();
        if pages.is_empty() {
            return;
        }
        for registers in cpus {
            let paging = Paging::new(registers, Paging::WIDEST);
            let tables = paging.table_pages(memory);
            let special = descriptor_pages(memory, &paging, registers);
            let next = code_pages(memory, &paging, registers);
            for page in &pages {
                let why = if tables.as_ref().is_none_or(|tables| tables.contains(page)) {
                    "page tables"
                } else if special.contains(page) {
                    "descriptor tables"
                } else if next.contains(page) {
                    "code that runs"
                } else {
                    continue;
                };
                self.readable.insert(*page, why);
            }
        }
    }
}

impl Machine {
    /// Watches exactly the memory `watches`, also after a reset; the guest stops with
    /// [`super::Event::Touched`] after an access. Pages of it whose reads cannot be detected are reported.
    ///
    /// # Errors
    ///
    /// [`HostError::Refused`] if more separate ranges of pages would be protected than
    /// [`crate::memory::MAX_PROTECTED_RANGES`], or the host cannot protect them; what was watched before is
    /// watched then.
    pub fn watch(&mut self, watches: Vec<PhysicalWatch>) -> Result<Vec<Unseen>, HostError> {
        if watches.is_empty() && self.watchpoint_pages.watches.is_empty() {
            return Ok(Vec::new());
        }
        let same = watches == self.watchpoint_pages.watches;
        let before = std::mem::replace(&mut self.watchpoint_pages.watches, watches);
        // Where only writes are watched nothing depends on the state of the guest.
        if same && !before.iter().any(|watch| watch.reads) {
            return Ok(Vec::new());
        }
        self.watchpoint_pages.code.retain(|page| before.iter().any(|watch| watch.overlaps(*page, PAGE)));
        if let Err(error) = self.protect() {
            self.watchpoint_pages.watches = before;
            return Err(error);
        }
        Ok(self.watchpoint_pages.readable.iter().map(|(page, why)| Unseen { page: *page, why }).collect())
    }

    /// A reset has made a new virtual machine: watches what was watched.
    pub(super) fn watch_again(&mut self) -> Result<(), HostError> {
        self.watchpoint_pages.code.clear();
        if self.watchpoint_pages.watches.is_empty() { Ok(()) } else { self.protect() }
    }

    /// The guest may have been refused because its next instruction lies in a page that KVM does not know:
    /// gives that back, for good, except for writes. False if that is not it.
    #[cold]
    pub(super) fn uncover_code(&mut self, cpu: CpuId) -> Result<bool, HostError> {
        if !self.watchpoint_pages.watches.iter().any(|watch| watch.reads) {
            return Ok(false);
        }
        let registers = self.cpus[cpu].registers()?;
        let paging = Paging::new(&registers, Paging::WIDEST);
        let mut pages = code_pages(&self.memory, &paging, &registers);
        pages.retain(|page| self.watchpoint_pages.is_removed(*page));
        if pages.is_empty() {
            return Ok(false);
        }
        info!("reads of the page at {:#x} are not watched any more: the guest runs code there", pages[0]);
        self.watchpoint_pages.code.append(&mut pages);
        self.protect()?;
        Ok(true)
    }

    /// Protects the pages of what is watched.
    pub(super) fn protect(&mut self) -> Result<(), HostError> {
        let registers: Vec<Registers> = self.cpus.iter().map(Cpu::registers).collect::<Result<_, _>>()?;
        self.watchpoint_pages.find_readable(&self.memory, &registers);
        self.ram.protect(self.watchpoint_pages.protected(&self.memory))
    }
}

/// The pages that hold a piece of `range`.
fn pages_of(range: Range<u64>) -> impl Iterator<Item = u64> {
    (range.start / PAGE..range.end.div_ceil(PAGE)).map(|number| number * PAGE)
}

/// The pages that hold the next instruction.
fn code_pages(memory: &GuestMemory, paging: &Paging, registers: &Registers) -> Vec<u64> {
    let linear = registers.next_instruction();
    linear_pages(memory, paging, linear..linear.saturating_add(15)).collect()
}

/// The pages that hold the tables the processor looks descriptors up in.
fn descriptor_pages(memory: &GuestMemory, paging: &Paging, registers: &Registers) -> Vec<u64> {
    let system = &registers.system;
    [
        (system.gdt.base, u32::from(system.gdt.limit)),
        (system.idt.base, u32::from(system.idt.limit)),
        (system.ldt.base, if system.ldt.unusable == 1 { 0 } else { system.ldt.limit }),
        (system.tr.base, system.tr.limit),
    ]
    .into_iter()
    // No table has more than 64 KiB.
    .map(|(base, limit)| base..base.saturating_add(u64::from(limit.min(0xFFFF)) + 1))
    .flat_map(|table| linear_pages(memory, paging, table))
    .collect()
}

/// The guest-physical pages of a range of linear addresses, as far as it is mapped.
fn linear_pages(memory: &GuestMemory, paging: &Paging, range: Range<u64>) -> impl Iterator<Item = u64> {
    pages_of(range)
        .filter_map(|page| paging.find(memory, page).ok().map(|found| found.physical & !(PAGE - 1)))
}

#[cfg(test)]
#[path = "watchpoint_pages_test.rs"]
mod tests;

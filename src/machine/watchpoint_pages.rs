//! Watched memory: pages of RAM are protected, so that accesses to them cause MMIO exits. The machine
//! completes these accesses and reports those that overlap watched bytes.
//!
//! A page whose reads are watched is removed from KVM's memory slots. That is impossible for pages that the
//! processor itself must read: executing code, page tables, descriptor tables. Such a page becomes read-only
//! instead, and reads of it are not detected.
//!
//! Manual: KVM_SET_USER_MEMORY_REGION in api.rst.

use std::collections::BTreeMap;
use std::ops::Range;

use tracing::info;

use super::Machine;
use super::cpu::{Cpu, CpuId};
use crate::arch::PAGE_SIZE;
use crate::arch::Registers;
use crate::arch::paging::Paging;
use crate::kvm::HostError;
use crate::memory::{GuestMemory, ProtectedPages, Protection};

/// Maximum number of reported accesses of one instruction.
const MAX_ACCESSES: usize = 16;

/// A range of guest-physical memory to watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WatchRange {
    /// First address.
    pub start: u64,
    /// Length in bytes.
    pub length: u64,
    /// Whether reads are reported.
    pub reads: bool,
    /// Whether writes are reported.
    pub writes: bool,
}

impl WatchRange {
    /// True if the range overlaps `length` bytes from `start`.
    pub fn overlaps(&self, start: u64, length: u64) -> bool {
        start < self.start.saturating_add(self.length) && self.start < start.saturating_add(length)
    }
}

/// An access to watched memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WatchedAccess {
    /// Guest-physical address.
    pub physical: u64,
    /// Size in bytes.
    pub size: u64,
    /// Whether it was a write.
    pub write: bool,
}

/// A watched page whose reads cannot be detected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UndetectableReads {
    /// Its guest-physical address.
    pub page: u64,
    /// The contents of the page that the processor must read.
    pub why: &'static str,
}

/// The watched ranges and the accesses to them that have not been reported yet.
#[derive(Debug, Default)]
pub(super) struct WatchpointPages {
    watches: Vec<WatchRange>,
    accesses: Vec<WatchedAccess>,
    /// Pages that are read-only although their reads are watched, with the reason.
    readable: BTreeMap<u64, &'static str>,
    /// Pages that the guest has tried to execute from.
    code: Vec<u64>,
}

impl WatchpointPages {
    /// The guest is about to write to memory outside KVM's memory slots.
    #[inline]
    pub(super) fn write(&mut self, address: u64, size: u8) {
        self.accessed(address, u64::from(size), true);
    }

    /// The guest has read from memory outside KVM's memory slots.
    #[inline]
    pub(super) fn read(&mut self, address: u64, size: u8) {
        self.accessed(address, u64::from(size), false);
    }

    /// The guest writes to RAM, or reads it.
    #[inline]
    pub(super) fn accessed(&mut self, address: u64, length: u64, write: bool) {
        let reported = |watch: &WatchRange| if write { watch.writes } else { watch.reads };
        if self.watches.iter().any(|watch| reported(watch) && watch.overlaps(address, length)) {
            self.record(WatchedAccess { physical: address, size: length, write });
        }
    }

    /// Records an access to watched memory.
    #[cold]
    pub(super) fn record(&mut self, access: WatchedAccess) {
        if self.accesses.len() < MAX_ACCESSES {
            self.accesses.push(access);
        }
    }

    /// True if any memory is watched.
    pub(super) fn any(&self) -> bool {
        !self.watches.is_empty()
    }

    /// The watched ranges.
    pub(super) fn watches(&self) -> &[WatchRange] {
        &self.watches
    }

    /// True if accesses have been recorded since the last [`Self::take_accesses`].
    #[inline]
    pub(super) fn has_accesses(&self) -> bool {
        !self.accesses.is_empty()
    }

    /// The accesses to watched memory since the last call, oldest first.
    pub(super) fn take_accesses(&mut self) -> Vec<WatchedAccess> {
        std::mem::take(&mut self.accesses)
    }

    /// True if a page is removed from KVM's memory slots.
    fn is_removed(&self, page: u64) -> bool {
        !self.readable.contains_key(&page)
            && self.watches.iter().any(|watch| watch.reads && watch.overlaps(page, PAGE_SIZE))
    }

    /// The pages to protect, ascending.
    fn protected(&self, memory: &GuestMemory) -> Vec<ProtectedPages> {
        let mut pages: BTreeMap<u64, Protection> = BTreeMap::new();
        for watch in &self.watches {
            for page in pages_of(watch.start..watch.start.saturating_add(watch.length)) {
                // Accesses to devices cause exits anyway.
                if memory.is_ram(page, PAGE_SIZE) {
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
                Some(last) if last.pages.end == page && last.how == how => last.pages.end += PAGE_SIZE,
                _ => ranges.push(ProtectedPages { pages: page..page + PAGE_SIZE, how }),
            }
        }
        ranges
    }

    /// Determines the pages with watched reads that a processor itself must read; `cpus` are the registers of
    /// all CPUs.
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
    /// Replaces the watched ranges by `watches`, which stay in force after a reset. The guest stops with
    /// [`super::Event::WatchedAccess`] after an access. Returns the pages whose reads cannot be detected.
    ///
    /// # Errors
    ///
    /// [`HostError::Refused`] if more separate ranges of pages would be protected than
    /// [`crate::memory::MAX_PROTECTED_RANGES`], or the host cannot protect them; the previous ranges stay in
    /// force then.
    pub fn watch(&mut self, watches: Vec<WatchRange>) -> Result<Vec<UndetectableReads>, HostError> {
        if watches.is_empty() && self.watchpoint_pages.watches.is_empty() {
            return Ok(Vec::new());
        }
        let same = watches == self.watchpoint_pages.watches;
        let before = std::mem::replace(&mut self.watchpoint_pages.watches, watches);
        // The protection of pages with watched writes does not depend on the state of the guest.
        if same && !before.iter().any(|watch| watch.reads) {
            return Ok(Vec::new());
        }
        self.watchpoint_pages.code.retain(|page| before.iter().any(|watch| watch.overlaps(*page, PAGE_SIZE)));
        if let Err(error) = self.protect() {
            self.watchpoint_pages.watches = before;
            return Err(error);
        }
        Ok(self
            .watchpoint_pages
            .readable
            .iter()
            .map(|(page, why)| UndetectableReads { page: *page, why })
            .collect())
    }

    /// Protects the watched pages in the new virtual machine after a reset.
    pub(super) fn protect_after_reset(&mut self) -> Result<(), HostError> {
        self.watchpoint_pages.code.clear();
        if self.watchpoint_pages.watches.is_empty() { Ok(()) } else { self.protect() }
    }

    /// KVM may have refused an instruction because it lies in a page that is removed from the memory slots:
    /// makes that page read-only from now on. Returns false if that is not the cause.
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

    /// Protects the pages of the watched ranges.
    pub(super) fn protect(&mut self) -> Result<(), HostError> {
        let registers: Vec<Registers> = self.cpus.iter().map(Cpu::registers).collect::<Result<_, _>>()?;
        self.watchpoint_pages.find_readable(&self.memory, &registers);
        self.ram.protect(self.watchpoint_pages.protected(&self.memory))
    }
}

/// The pages that overlap `range`.
fn pages_of(range: Range<u64>) -> impl Iterator<Item = u64> {
    (range.start / PAGE_SIZE..range.end.div_ceil(PAGE_SIZE)).map(|number| number * PAGE_SIZE)
}

/// The pages that hold the next instruction.
fn code_pages(memory: &GuestMemory, paging: &Paging, registers: &Registers) -> Vec<u64> {
    let linear = registers.next_instruction();
    linear_pages(memory, paging, linear..linear.saturating_add(15)).collect()
}

/// The pages of the descriptor tables.
fn descriptor_pages(memory: &GuestMemory, paging: &Paging, registers: &Registers) -> Vec<u64> {
    let system = &registers.system;
    [
        (system.gdt.base, u32::from(system.gdt.limit)),
        (system.idt.base, u32::from(system.idt.limit)),
        (system.ldt.base, if system.ldt.unusable == 1 { 0 } else { system.ldt.limit }),
        (system.tr.base, system.tr.limit),
    ]
    .into_iter()
    // A descriptor table has at most 64 KiB.
    .map(|(base, limit)| base..base.saturating_add(u64::from(limit.min(0xFFFF)) + 1))
    .flat_map(|table| linear_pages(memory, paging, table))
    .collect()
}

/// The guest-physical pages of the mapped parts of a range of linear addresses.
fn linear_pages(memory: &GuestMemory, paging: &Paging, range: Range<u64>) -> impl Iterator<Item = u64> {
    pages_of(range)
        .filter_map(|page| paging.find(memory, page).ok().map(|found| found.physical & !(PAGE_SIZE - 1)))
}

#[cfg(test)]
#[path = "watchpoint_pages_test.rs"]
mod tests;

//! Watchpoints: data whose accesses stop the guest.
//!
//! Where debug registers really stop a guest (as the probe measures) the first ones that fit are given those that
//! no breakpoint uses. All others are watched by protected pages of guest memory ([`Machine::watch`]),
//! which works on every host, for any length, and through whatever mapping the memory is accessed. What a
//! watchpoint's addresses are mapped to is looked up whenever the guest goes on.
//!
//! x86 has no debug register for reads alone: where one is used for that, an access that has changed the
//! value is taken for a write, and passed over.
//!
//! [`Machine::watch`]: crate::machine::Machine::watch
//!
//! Manual: Intel SDM volume 3B, "Debug Registers"; "Packets", `Z2` to `Z4`, in *Debugging with gdb*.

use std::collections::{BTreeSet, VecDeque};

use super::breakpoints::Breakpoints;
use super::memory;
use super::run_control::Supervisor;
use crate::arch::paging::is_canonical;
use crate::arch::{PAGE_SIZE, Registers};
use crate::inspect::translate::piece;
use crate::kvm::probe::{DATA_WATCHPOINTS, HardwareBreakpoints};
use crate::kvm::{DebugStop, HostError, Kvm, WatchLength, Watchpoint};
use crate::machine::{Event, WatchRange, WatchedAccess};
use crate::memory::GuestMemory;

/// Watchpoints a client may set.
const MOST: usize = 64;

/// Pages they may lie in, together.
const MOST_PAGES: u64 = 1024;

/// Which accesses a watchpoint stops the guest for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WatchKind {
    /// Writes.
    Write,
    /// Reads.
    Read,
    /// Reads and writes.
    ReadWrite,
}

/// A watchpoint of the client's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Watch {
    address: u64,
    length: u64,
    kind: WatchKind,
    /// The address is guest-physical, as the client's addresses were when it was set.
    physical: bool,
}

/// What the client is notified of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hit {
    /// Which kind of watchpoint was hit.
    pub(crate) kind: WatchKind,
    /// The first address of it that was accessed, as far as that is known.
    pub(crate) address: u64,
}

/// What an event means for watchpoints.
pub(crate) enum Access {
    /// It is no access to watched data.
    Unwatched,
    /// It is one for which the guest does not stop.
    Ignored,
    /// The guest stops.
    Hit(Hit),
}

/// A watchpoint, or a part of one, in a debug register.
#[derive(Clone, Copy, Debug)]
struct InRegister {
    watch: Watch,
    setting: Watchpoint,
    /// What was there when the guest went on.
    value: [u8; 8],
}

/// A piece of a watchpoint in one page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct InPage {
    watch: Watch,
    physical: WatchRange,
    /// The client's address of its first byte.
    address: u64,
}

/// All watchpoints.
#[derive(Debug, Default)]
pub(crate) struct Watchpoints {
    set: Vec<Watch>,
    registers: [Option<InRegister>; 4],
    pages: Vec<InPage>,
    /// Hits that have not been reported to the client yet.
    hits: VecDeque<Hit>,
    /// Pages for which the client was warned that reads are not detected.
    warned: BTreeSet<u64>,
    /// Why they could not be enabled, as reported to the client.
    failure: String,
}

impl Watchpoints {
    fn add(&mut self, watch: Watch) -> Result<(), String> {
        let Watch { address, length, .. } = watch;
        if length == 0 || address.checked_add(length - 1).is_none() {
            return Err(format!("{length} bytes from {address:#x} are not a range of addresses"));
        }
        if self.set.contains(&watch) {
            return Ok(());
        }
        if self.set.len() >= MOST {
            return Err(format!("there are {MOST} watchpoints already; delete one"));
        }
        let pages: u64 = self.set.iter().chain([&watch]).map(Watch::pages).fold(0, u64::saturating_add);
        if pages > MOST_PAGES {
            let most = (MOST_PAGES * PAGE_SIZE) >> 20;
            return Err(format!(
                "with {length} bytes from {address:#x} there would be {pages} pages to watch; {MOST_PAGES} are \
                 possible ({most} MiB): watch less"
            ));
        }
        self.set.push(watch);
        Ok(())
    }

    /// Takes a watchpoint away; false if there was none.
    pub(crate) fn remove(&mut self, address: u64, length: u64, kind: WatchKind) -> bool {
        let same = |w: &Watch| (w.address, w.length, w.kind) == (address, length, kind);
        let found = self.set.iter().position(same);
        found.map(|at| self.set.remove(at)).is_some()
    }

    /// Takes all of them away.
    pub(crate) fn clear(&mut self) {
        *self = Watchpoints::default();
    }

    /// The machine was reset: what was accessed before is not reported any more.
    pub(crate) fn forget_hits(&mut self) {
        self.hits.clear();
    }

    /// The next hit to report, if its watchpoint still exists.
    pub(crate) fn next_hit(&mut self) -> Option<Hit> {
        while let Some(hit) = self.hits.pop_front() {
            if self.set.iter().any(|watch| watch.kind == hit.kind && watch.holds(hit.address)) {
                return Some(hit);
            }
        }
        None
    }

    /// The watchpoints in the debug registers that no breakpoint uses.
    pub(crate) fn in_registers(&self, breakpoints: &Breakpoints) -> [Option<Watchpoint>; 4] {
        let mut settings = [None; 4];
        for (number, setting) in settings.iter_mut().enumerate() {
            if !breakpoints.uses_register(number) {
                *setting = self.registers[number].map(|used| used.setting);
            }
        }
        settings
    }

    /// Assigns each watchpoint to debug registers, of which `free` are available, or to protected pages; returns
    /// the ranges to watch by pages.
    ///
    /// An instruction that accesses a protected page is carried out by KVM's emulator, which does not look at
    /// debug registers: what lies in such a page is watched by it, whether it would fit into a register or not.
    fn assign(&mut self, memory: &GuestMemory, registers: &Registers, free: [bool; 4]) -> Vec<WatchRange> {
        let mut by_page = Vec::new();
        loop {
            (self.registers, self.pages) = ([None; 4], Vec::new());
            let mut free = (0..4).filter(|number| free[*number]);
            for watch in &self.set {
                let settings = watch.for_registers();
                let fits = !settings.is_empty() && settings.len() <= free.clone().count();
                if !fits || by_page.contains(watch) {
                    self.pages.extend(watch.in_pages(memory, registers));
                    continue;
                }
                for (setting, number) in settings.into_iter().zip(free.by_ref()) {
                    let mut used = InRegister { watch: *watch, setting, value: [0; 8] };
                    used.value = used.look(memory, registers);
                    self.registers[number] = Some(used);
                }
            }
            if self.pages.is_empty() {
                return Vec::new();
            }
            let protected: BTreeSet<u64> =
                self.pages.iter().map(|page| page.physical.start / PAGE_SIZE).collect();
            let in_registers = self.registers.iter().flatten().map(|used| used.watch);
            let shared = in_registers.filter(|watch| {
                watch
                    .in_pages(memory, registers)
                    .any(|page| protected.contains(&(page.physical.start / PAGE_SIZE)))
            });
            let before = by_page.len();
            by_page.extend(shared);
            if by_page.len() == before {
                return self.pages.iter().map(|page| page.physical).collect();
            }
        }
    }

    /// The guest has accessed memory: notes the watchpoints that this means.
    fn accessed(&mut self, accesses: &[WatchedAccess]) {
        let mut seen: Vec<Watch> = Vec::new();
        for access in accesses {
            for page in &self.pages {
                let meant = match access.write {
                    true => page.physical.writes,
                    false => page.physical.reads,
                };
                if !meant
                    || !page.physical.overlaps(access.physical, access.size)
                    || seen.contains(&page.watch)
                {
                    continue;
                }
                seen.push(page.watch);
                let offset = access.physical.saturating_sub(page.physical.start);
                self.hits.push_back(Hit { kind: page.watch.kind, address: page.address + offset });
            }
        }
    }

    /// Debug registers have reported accesses, a bit each: notes the watchpoints that this means.
    fn reported(&mut self, memory: &GuestMemory, registers: &Registers, bits: u64) {
        let mut seen: Vec<Watch> = Vec::new();
        for (number, used) in self.registers.iter_mut().enumerate() {
            let Some(used) = used else { continue };
            if bits >> number & 1 == 0 {
                continue;
            }
            let now = used.look(memory, registers);
            let written = std::mem::replace(&mut used.value, now) != now;
            let kind = used.watch.kind;
            if (kind != WatchKind::Read || !written) && !seen.contains(&used.watch) {
                seen.push(used.watch);
                self.hits.push_back(Hit { kind, address: used.setting.address });
            }
        }
    }

    /// How they are implemented, for `info debug`: gdb removes them whenever the guest stops.
    pub(crate) fn describe(&self) -> String {
        let registers = self.registers.iter().flatten().count();
        let others: BTreeSet<u64> = self.pages.iter().map(|page| page.physical.start / PAGE_SIZE).collect();
        format!(
            "when the guest last went on, {registers} in debug registers and {} pages protected for others",
            others.len()
        )
    }
}

impl Watch {
    fn pages(&self) -> u64 {
        (self.address + (self.length - 1)) / PAGE_SIZE - self.address / PAGE_SIZE + 1
    }

    /// Its parts, one for each page. Unmapped pages are left out; they are looked up again when the guest goes on.
    fn in_pages<'a>(
        &self,
        memory: &'a GuestMemory,
        registers: &'a Registers,
    ) -> impl Iterator<Item = InPage> + 'a {
        let watch = *self;
        let mut done = 0;
        let parts = std::iter::from_fn(move || {
            let address = watch.address + done;
            let length = (PAGE_SIZE - address % PAGE_SIZE).min(watch.length - done);
            done += length;
            (length > 0).then_some((address, length))
        });
        parts.filter_map(move |(address, length)| {
            let start = match watch.physical {
                true => address,
                false => piece(memory, registers, address, length as usize)?.0,
            };
            let (reads, writes) = (watch.kind != WatchKind::Write, watch.kind != WatchKind::Read);
            let physical = WatchRange { start, length, reads, writes };
            Some(InPage { watch, physical, address })
        })
    }

    fn holds(&self, address: u64) -> bool {
        address.checked_sub(self.address).is_some_and(|offset| offset < self.length)
    }

    /// What debug registers would hold, which watch 1, 2, 4 or 8 aligned bytes each; nothing if there are
    /// too few of them.
    fn for_registers(&self) -> Vec<Watchpoint> {
        const LENGTHS: [(u64, WatchLength); 4] =
            [(8, WatchLength::Eight), (4, WatchLength::Four), (2, WatchLength::Two), (1, WatchLength::One)];
        let mut settings = Vec::new();
        let mut done = 0;
        while !self.physical && done < self.length {
            let (address, left) = (self.address + done, self.length - done);
            let fitting =
                LENGTHS.into_iter().find(|(size, _)| *size <= left && address.is_multiple_of(*size));
            let Some((size, length)) = fitting.filter(|_| settings.len() < 4) else { return Vec::new() };
            settings.push(Watchpoint { address, length, reads: self.kind != WatchKind::Write });
            done += size;
        }
        settings
    }
}

impl InRegister {
    /// What is there now.
    fn look(&self, memory: &GuestMemory, registers: &Registers) -> [u8; 8] {
        let mut value = [0; 8];
        let length = self.setting.length.bytes();
        memory::read(memory, Some(registers), self.setting.address, &mut value[..length]);
        value
    }
}

impl Supervisor<'_> {
    /// Sets a watchpoint; `cr4` is that of the vCPU whose addresses these are.
    ///
    /// # Errors
    ///
    /// The reason, for the user.
    pub(crate) fn add_watchpoint(
        &mut self,
        address: u64,
        length: u64,
        kind: WatchKind,
        cr4: u64,
    ) -> Result<(), String> {
        let physical = self.session.switches.physical;
        let last = address.saturating_add(length.saturating_sub(1));
        let possible = physical || [address, last].iter().all(|end| is_canonical(cr4, *end));
        if !possible {
            return Err(format!("{length} bytes from {address:#x} are not all canonical addresses"));
        }
        self.facilities.watchpoints.add(Watch { address, length, kind, physical })
    }

    /// The guest is about to go on: enables the watchpoints that exist, and no others.
    pub(crate) fn arm_watchpoints(&mut self) -> Result<(), HostError> {
        let is_empty = self.facilities.watchpoints.set.is_empty();
        let registers = if is_empty { Registers::default() } else { self.addressing_cpu()? };
        let watchpoints = &mut self.facilities.watchpoints;
        if is_empty {
            (watchpoints.registers, watchpoints.pages) = ([None; 4], Vec::new());
            return self.machine.watch(Vec::new()).map(drop);
        }
        let work = registers_work(self.machine.kvm());
        let free = [0, 1, 2, 3].map(|number| work && !self.facilities.breakpoints.uses_register(number));
        let pages = watchpoints.assign(self.machine.memory(), &registers, free);
        match self.machine.watch(pages) {
            Ok(unseen) => {
                watchpoints.failure.clear();
                for page in unseen {
                    if watchpoints.warned.insert(page.page) {
                        self.messages += &format!(
                            "kvm: reads of the page at guest-physical {:#x} are not detected, as it holds {}\n",
                            page.page, page.why
                        );
                    }
                }
            }
            // The guest can run all the same, and the client must be notified.
            Err(error) => {
                let failure = format!("kvm: cannot enable new watchpoints in protected pages: {error}\n");
                if watchpoints.failure != failure {
                    self.messages += &failure;
                    watchpoints.failure = failure;
                }
            }
        }
        Ok(())
    }

    /// A bit for each debug register that watches.
    fn watching(&self) -> u64 {
        let settings = self.facilities.watchpoints.in_registers(&self.facilities.breakpoints);
        let used = settings.iter().enumerate().filter(|(_, setting)| setting.is_some());
        used.fold(0, |bits, (number, _)| bits | 1 << number)
    }

    /// True if a debug register has reported an access to watched data.
    pub(crate) fn is_watched(&self, stop: &DebugStop) -> bool {
        stop.exception == DebugStop::DEBUG && stop.dr6 & self.watching() != 0
    }

    /// What `event` means for watchpoints.
    pub(crate) fn watched_access(&mut self, event: &Event) -> Result<Access, HostError> {
        match event {
            Event::WatchedAccess(accesses) => self.facilities.watchpoints.accessed(accesses),
            Event::Debug(stop) if self.is_watched(stop) => {
                let bits = stop.dr6 & self.watching();
                let registers = self.machine.cpu(self.cpu).registers()?;
                self.facilities.watchpoints.reported(self.machine.memory(), &registers, bits);
            }
            _ => return Ok(Access::Unwatched),
        }
        Ok(self.facilities.watchpoints.next_hit().map_or(Access::Ignored, Access::Hit))
    }
}

/// True if watchpoints in debug registers are known to stop the guest, in all rings.
fn registers_work(kvm: &Kvm) -> bool {
    [&DATA_WATCHPOINTS.ring0, &DATA_WATCHPOINTS.ring3].into_iter().all(|ring| {
        // What cannot be measured is not used.
        let found = ring.get(kvm).ok();
        found.is_some_and(|found| [found.write, found.read] == [HardwareBreakpoints::Stop; 2])
    })
}

#[cfg(test)]
#[path = "watchpoints_test.rs"]
mod tests;

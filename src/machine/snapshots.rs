//! In-memory snapshots: named machine states that can be restored any number of times.
//!
//! The first snapshot copies all of RAM except zero pages and starts dirty tracking (see [`super::dirty`]).
//! Each later snapshot copies only the pages that have changed since the baseline, the snapshot that was
//! taken or restored last, and shares the others. Restoring a snapshot writes the pages that have changed
//! since the baseline and those in which the snapshot differs from it. The cost of both depends on the
//! number of pages that the guest has written, not on the size of its memory.
//!
//! Restoring keeps the virtual machine and its vCPUs, and with them what a debugger has configured.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::board::Board;
use super::dirty::DirtyTracker;
use super::{Machine, MachineError, MachineState, PendingAction};
use crate::kvm::HostError;
use crate::memory::{ImageBudget, ImageError, MemoryImage, PageSet};
use crate::os::disk_image::DiskImage;
use crate::os::written_clusters::SavedWrites;
use crate::settings::closest::closest;

/// Maximum number of snapshots.
pub const MOST: usize = 100;

/// Maximum length of a name in bytes.
pub const LONGEST_NAME: usize = 60;

/// Why a snapshot could not be taken, restored or deleted.
#[derive(Debug, thiserror::Error)]
pub enum InMemorySnapshotError {
    /// The name is not allowed.
    #[error(
        "`{}` is no name for a snapshot: up to {LONGEST_NAME} letters, digits and signs other than `/`, \
         without spaces",
        .name.chars().take(LONGEST_NAME).flat_map(char::escape_debug).collect::<String>()
    )]
    Name {
        /// The name.
        name: String,
    },
    /// No snapshot has this name.
    #[error(
        "there is no snapshot `{name}`{}",
        match meant {
            Some(meant) => format!(" (there is `{meant}`); `snapshots` lists all"),
            None => "; `snapshots` lists all".to_owned(),
        }
    )]
    None {
        /// The name.
        name: String,
        /// The most similar name of an existing snapshot.
        meant: Option<String>,
    },
    /// There are [`MOST`] snapshots already.
    #[error("there are {MOST} snapshots, as many as there can be; `snapshots delete NAME` deletes one")]
    TooMany,
    /// The copies would need too much memory, or guest memory cannot be read.
    #[error("{0}; `snapshots delete NAME` deletes one")]
    Image(#[from] ImageError),
    /// The state of the machine cannot be read or changed.
    #[error(transparent)]
    Machine(#[from] MachineError),
    /// Restoring failed halfway: the machine is in a mixture of two states and cannot continue.
    #[error("{0}; the guest cannot continue")]
    Mixture(MachineError),
}

impl From<HostError> for InMemorySnapshotError {
    fn from(error: HostError) -> InMemorySnapshotError {
        InMemorySnapshotError::Machine(error.into())
    }
}

/// Description of an in-memory snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotInfo {
    /// Name of the snapshot.
    pub name: String,
    /// RIP of the bootstrap processor.
    pub rip: u64,
    /// Bytes that were copied for this snapshot and are not shared with earlier ones.
    pub new: u64,
    /// Number of pages that were copied or written back.
    pub pages: u64,
    /// Numbers of the disks whose images can be written, when it is taken; of those that have been written since, when
    /// it is restored. Their contents are not part of it.
    pub disks: Vec<u8>,
}

#[derive(Debug)]
struct Snapshot {
    /// Sequence number, which orders the list.
    number: u64,
    new: u64,
    memory: Arc<MemoryImage>,
    state: MachineState,
    /// How often each image had been written.
    disk_writes: Vec<(u8, u64)>,
    /// What had been written to the disks that keep it in memory.
    disk_contents: Vec<(u8, SavedWrites)>,
}

/// The memory contents of the snapshot that was taken or restored baseline.
#[derive(Debug)]
struct Baseline {
    memory: Arc<MemoryImage>,
    /// Pages that may differ from `memory`.
    changed: PageSet,
}

/// All snapshots of a machine.
#[derive(Debug, Default)]
pub struct Snapshots {
    by_name: BTreeMap<String, Snapshot>,
    budget: Arc<ImageBudget>,
    baseline: Option<Baseline>,
    taken: u64,
}

impl Snapshots {
    /// Takes a snapshot of `machine`; replaces an existing one of the same name. A pending exit of the guest is
    /// completed first. `pending` is the action before the guest continues, if the caller holds one.
    ///
    /// # Errors
    ///
    /// [`InMemorySnapshotError`]; the snapshots are unchanged then.
    pub fn take(
        &mut self,
        machine: &mut Machine,
        name: &str,
        pending: Option<PendingAction>,
    ) -> Result<SnapshotInfo, InMemorySnapshotError> {
        check_name(name)?;
        if self.by_name.len() >= MOST && !self.by_name.contains_key(name) {
            return Err(InMemorySnapshotError::TooMany);
        }
        let mut state = machine.state()?;
        state.pending_action = pending.or(state.pending_action);
        let budget = self.budget.clone();
        budget.allow(spare());
        let before = budget.held();
        let (memory, pages) = match self.update_baseline(machine)? {
            Some(baseline) => {
                let memory = baseline.memory.retake(machine.memory(), &baseline.changed, &budget)?;
                (memory, baseline.changed.len())
            }
            None => {
                machine.start_dirty_tracking(DirtyTracker::Snapshots)?;
                match MemoryImage::take(machine.memory(), &budget) {
                    Ok(memory) => {
                        let pages = memory.pages();
                        (memory, pages)
                    }
                    Err(error) => {
                        machine.stop_dirty_tracking(DirtyTracker::Snapshots)?;
                        return Err(error.into());
                    }
                }
            }
        };
        let memory = Arc::new(memory);
        self.baseline = Some(Baseline { memory: memory.clone(), changed: PageSet::default() });
        self.taken += 1;
        let new = budget.held() - before;
        let rip = state.boot_cpu().vcpu.rip();
        let disk_writes = disk_writes(machine);
        let disks = disk_writes.iter().map(|(unit, _)| *unit).collect();
        let disk_contents = disk_contents(machine);
        let snapshot = Snapshot { number: self.taken, new, memory, state, disk_writes, disk_contents };
        self.by_name.insert(name.to_owned(), snapshot);
        Ok(SnapshotInfo { name: name.to_owned(), rip, new, pages, disks })
    }

    /// Restores `machine` to the snapshot. Output that the guest has sent since is not taken back, and the
    /// host's time continues.
    ///
    /// # Errors
    ///
    /// [`InMemorySnapshotError`]. The machine is unchanged unless it is [`InMemorySnapshotError::Mixture`].
    pub fn restore(
        &mut self,
        machine: &mut Machine,
        name: &str,
    ) -> Result<SnapshotInfo, InMemorySnapshotError> {
        if !self.by_name.contains_key(name) {
            return Err(self.none(name));
        }
        machine.complete_exits()?;
        self.update_baseline(machine)?;
        let (Some(snapshot), Some(baseline)) = (self.by_name.get(name), &mut self.baseline) else {
            return Err(self.none(name));
        };
        let mut pages = std::mem::take(&mut baseline.changed);
        if !Arc::ptr_eq(&snapshot.memory, &baseline.memory) {
            pages.extend(&snapshot.memory.changed_pages(&baseline.memory));
        }
        let written = snapshot.memory.restore(machine.memory(), &pages);
        machine.written_by(DirtyTracker::Snapshots);
        if let Err(error) = written {
            baseline.changed = pages;
            return Err(InMemorySnapshotError::Mixture(error.into()));
        }
        baseline.memory = snapshot.memory.clone();
        machine.restore_devices_and_cpus(snapshot).map_err(InMemorySnapshotError::Mixture)?;
        let (rip, new) = (snapshot.state.boot_cpu().vcpu.rip(), snapshot.new);
        let written = disk_writes(machine).into_iter().filter(|disk| !snapshot.disk_writes.contains(disk));
        let disks = written.map(|(unit, _)| unit).collect();
        Ok(SnapshotInfo { name: name.to_owned(), rip, new, pages: pages.len(), disks })
    }

    /// Deletes a snapshot. Dirty tracking stops with the last one.
    ///
    /// # Errors
    ///
    /// [`InMemorySnapshotError::None`], or [`InMemorySnapshotError::Machine`] if the host cannot stop dirty tracking.
    pub fn delete(&mut self, machine: &mut Machine, name: &str) -> Result<(), InMemorySnapshotError> {
        if self.by_name.remove(name).is_none() {
            return Err(self.none(name));
        }
        if self.by_name.is_empty() { self.delete_all(machine) } else { Ok(()) }
    }

    /// Deletes all snapshots and stops dirty tracking.
    ///
    /// # Errors
    ///
    /// [`InMemorySnapshotError::Machine`] if the host cannot stop dirty tracking.
    pub fn delete_all(&mut self, machine: &mut Machine) -> Result<(), InMemorySnapshotError> {
        self.by_name.clear();
        self.baseline = None;
        Ok(machine.stop_dirty_tracking(DirtyTracker::Snapshots)?)
    }

    /// All snapshots, oldest first.
    pub fn list(&self) -> Vec<SnapshotInfo> {
        let mut all: Vec<(&String, &Snapshot)> = self.by_name.iter().collect();
        all.sort_by_key(|(_, snapshot)| snapshot.number);
        let info = |(name, snapshot): (&String, &Snapshot)| SnapshotInfo {
            name: name.clone(),
            rip: snapshot.state.boot_cpu().vcpu.rip(),
            new: snapshot.new,
            pages: snapshot.memory.pages(),
            disks: snapshot.disk_writes.iter().map(|(unit, _)| *unit).collect(),
        };
        all.into_iter().map(info).collect()
    }

    /// Bytes of guest memory that all snapshots hold together.
    pub fn bytes(&self) -> u64 {
        self.budget.held()
    }

    /// The baseline with all pages that have changed since.
    fn update_baseline(&mut self, machine: &mut Machine) -> Result<Option<&Baseline>, HostError> {
        let Some(baseline) = &mut self.baseline else { return Ok(None) };
        baseline.changed.extend(&machine.take_dirty(DirtyTracker::Snapshots)?);
        Ok(Some(baseline))
    }

    fn none(&self, name: &str) -> InMemorySnapshotError {
        let meant = closest(name, self.by_name.keys().map(String::as_str)).map(str::to_owned);
        let name = name.chars().take(LONGEST_NAME).flat_map(char::escape_debug).collect();
        InMemorySnapshotError::None { name, meant }
    }
}

/// How often each image that the guest can write was written, once all requests are done.
fn disk_writes(machine: &Machine) -> Vec<(u8, u64)> {
    machine.settle_disks();
    let is_written = |image: &DiskImage| !image.is_read_only() && !image.keeps_writes_in_memory();
    let writable = machine.disk_images().filter(|(_, image)| image.with(is_written));
    writable.map(|(unit, image)| (unit, image.writes())).collect()
}

/// What was written to the disks that keep it in memory, once all requests are done.
fn disk_contents(machine: &Machine) -> Vec<(u8, SavedWrites)> {
    machine.settle_disks();
    machine.disk_images().filter_map(|(unit, image)| Some((unit, image.save_writes()?))).collect()
}

fn check_name(name: &str) -> Result<(), InMemorySnapshotError> {
    let possible = |letter: char| !letter.is_whitespace() && !letter.is_control() && letter != '/';
    if name.is_empty() || name.len() > LONGEST_NAME || !name.chars().all(possible) {
        return Err(InMemorySnapshotError::Name { name: name.to_owned() });
    }
    Ok(())
}

/// Bytes that new copies may take: half of the host's available memory (`MemAvailable` in
/// Documentation/filesystems/proc.rst).
fn spare() -> u64 {
    let meminfo = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kib.map_or(SPARE_IF_UNKNOWN, |kib| kib * 1024 / 2)
}

/// Bytes that new copies may take on a host that does not report its available memory.
const SPARE_IF_UNKNOWN: u64 = 256 << 20;

impl Machine {
    /// Restores the processors and devices, and what disks keep in memory; memory has been restored already.
    fn restore_devices_and_cpus(&mut self, snapshot: &Snapshot) -> Result<(), MachineError> {
        let state = &snapshot.state;
        let board = Board::restored(&state.devices)?;
        self.disks.check(&board)?;
        // A write that is under way is over before, and drives that repeat theirs do so after it.
        self.settle_disks();
        for (unit, saved) in &snapshot.disk_contents {
            if let Some((_, image)) = self.disk_images().find(|(number, _)| number == unit) {
                image.restore_writes(saved);
            }
        }
        self.put_state(board, state)?;
        self.repeat_disk_requests()?;
        // The guest cannot notice which ports are coalesced, unless it has configured one otherwise.
        for number in 0..4 {
            self.coalescing.configured(number, self.board.serial(number), self.ram.vm())?;
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "snapshots_test.rs"]
mod tests;

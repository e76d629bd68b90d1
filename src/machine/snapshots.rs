//! Snapshots in memory: a machine as it was, under a name, to go back to as often as one likes.
//!
//! The first snapshot copies what is in RAM, without the zeros, and from then on the pages that change
//! are followed (see [`super::dirty`]). Every other snapshot copies the pages that have changed since the
//! last one was taken or gone back to, and shares the rest. Going back writes those that have changed
//! since, and those in which the snapshot differs from the last one. So what both cost depends on what
//! the guest has done, not on how much memory it has.
//!
//! Going back keeps the virtual machine and its vCPU: what a debugger has set stays.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::board::Board;
use super::dirty::Follower;
use super::{Machine, MachineError, MachineState, PendingAction};
use crate::kvm::HostError;
use crate::memory::{ImageBudget, ImageError, MemoryImage, PageSet};
use crate::settings::closest::closest;

/// Most snapshots that are kept.
pub const MOST: usize = 100;

/// Most bytes of a name.
pub const LONGEST_NAME: usize = 60;

/// Why a snapshot was not taken, or not gone back to.
#[derive(Debug, thiserror::Error)]
pub enum KeepError {
    /// It cannot be called that.
    #[error(
        "`{}` is no name for a snapshot: up to {LONGEST_NAME} letters, digits and signs other than `/`, \
         without spaces",
        .name.chars().take(LONGEST_NAME).flat_map(char::escape_debug).collect::<String>()
    )]
    Name {
        /// The name.
        name: String,
    },
    /// There is none of this name.
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
        /// What was probably meant.
        meant: Option<String>,
    },
    /// There are too many.
    #[error("there are {MOST} snapshots, as many as there can be; `snapshots delete NAME` forgets one")]
    TooMany,
    /// What they keep would be too much, or memory cannot be read.
    #[error("{0}; `snapshots delete NAME` forgets one")]
    Image(#[from] ImageError),
    /// The machine cannot be asked.
    #[error(transparent)]
    Machine(#[from] MachineError),
    /// The host has refused in the middle what it had given before: there is no guest that could go on.
    #[error("{0}; the guest cannot go on")]
    Mixture(MachineError),
}

impl From<HostError> for KeepError {
    fn from(error: HostError) -> KeepError {
        KeepError::Machine(error.into())
    }
}

/// Description of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Its name.
    pub name: String,
    /// RIP of the guest in it.
    pub rip: u64,
    /// Bytes of guest memory that were kept for it and that those before it do not have.
    pub new: u64,
    /// Pages that were copied, or written back.
    pub pages: u64,
}

#[derive(Debug)]
struct Snapshot {
    /// Which one it is, counted from the first.
    number: u64,
    new: u64,
    memory: Arc<MemoryImage>,
    state: MachineState,
}

/// What was in memory at a moment.
#[derive(Debug)]
struct Moment {
    memory: Arc<MemoryImage>,
    /// Pages that may have changed since.
    changed: PageSet,
}

/// All snapshots of a machine.
#[derive(Debug, Default)]
pub struct Snapshots {
    kept: BTreeMap<String, Snapshot>,
    budget: Arc<ImageBudget>,
    /// The last one that was taken or gone back to.
    last: Option<Moment>,
    taken: u64,
}

impl Snapshots {
    /// Takes a snapshot of `machine`; one of the same name is forgotten. An access of the guest's that
    /// has begun is completed first. `pending` is what happens before the guest goes on, if the caller knows of
    /// something.
    ///
    /// # Errors
    ///
    /// [`KeepError`]; all snapshots are what they were then.
    pub fn take(
        &mut self,
        machine: &mut Machine,
        name: &str,
        pending: Option<PendingAction>,
    ) -> Result<Kept, KeepError> {
        check_name(name)?;
        if self.kept.len() >= MOST && !self.kept.contains_key(name) {
            return Err(KeepError::TooMany);
        }
        let mut state = machine.state()?;
        state.pending_action = pending.or(state.pending_action);
        let budget = self.budget.clone();
        budget.allow(spare());
        let before = budget.held();
        let (memory, pages) = match self.look(machine)? {
            Some(last) => {
                let memory = last.memory.retake(machine.memory(), &last.changed, &budget)?;
                (memory, last.changed.len())
            }
            None => {
                machine.follow_writes(Follower::Snapshots)?;
                match MemoryImage::take(machine.memory(), &budget) {
                    Ok(memory) => {
                        let pages = memory.pages();
                        (memory, pages)
                    }
                    Err(error) => {
                        machine.unfollow_writes(Follower::Snapshots)?;
                        return Err(error.into());
                    }
                }
            }
        };
        let memory = Arc::new(memory);
        self.last = Some(Moment { memory: memory.clone(), changed: PageSet::default() });
        self.taken += 1;
        let new = budget.held() - before;
        let rip = state.boot_cpu().vcpu.rip();
        let snapshot = Snapshot { number: self.taken, new, memory, state };
        self.kept.insert(name.to_owned(), snapshot);
        Ok(Kept { name: name.to_owned(), rip, new, pages })
    }

    /// Has `machine` be what it was when the snapshot was taken. What the guest has sent since stays
    /// sent, and the time that others live in goes on.
    ///
    /// # Errors
    ///
    /// [`KeepError`]. Unless it is [`KeepError::Mixture`] the guest is where it was.
    pub fn go_back(&mut self, machine: &mut Machine, name: &str) -> Result<Kept, KeepError> {
        if !self.kept.contains_key(name) {
            return Err(self.none(name));
        }
        machine.complete_exits()?;
        self.look(machine)?;
        let (Some(snapshot), Some(last)) = (self.kept.get(name), &mut self.last) else {
            return Err(self.none(name));
        };
        let mut pages = std::mem::take(&mut last.changed);
        if !Arc::ptr_eq(&snapshot.memory, &last.memory) {
            pages.extend(&snapshot.memory.changed_pages(&last.memory));
        }
        let written = snapshot.memory.restore(machine.memory(), &pages);
        machine.written_by(Follower::Snapshots);
        if let Err(error) = written {
            last.changed = pages;
            return Err(KeepError::Mixture(error.into()));
        }
        last.memory = snapshot.memory.clone();
        machine.go_back(&snapshot.state).map_err(KeepError::Mixture)?;
        let (rip, new) = (snapshot.state.boot_cpu().vcpu.rip(), snapshot.new);
        Ok(Kept { name: name.to_owned(), rip, new, pages: pages.len() })
    }

    /// Forgets a snapshot. Nothing is followed any more once there is none.
    ///
    /// # Errors
    ///
    /// [`KeepError::None`], or [`KeepError::Machine`] if the host does not end following.
    pub fn forget(&mut self, machine: &mut Machine, name: &str) -> Result<(), KeepError> {
        if self.kept.remove(name).is_none() {
            return Err(self.none(name));
        }
        if self.kept.is_empty() { self.forget_all(machine) } else { Ok(()) }
    }

    /// Forgets all.
    ///
    /// # Errors
    ///
    /// [`KeepError::Machine`] if the host does not end following.
    pub fn forget_all(&mut self, machine: &mut Machine) -> Result<(), KeepError> {
        self.kept.clear();
        self.last = None;
        Ok(machine.unfollow_writes(Follower::Snapshots)?)
    }

    /// All snapshots, oldest first.
    pub fn list(&self) -> Vec<Kept> {
        let mut all: Vec<(&String, &Snapshot)> = self.kept.iter().collect();
        all.sort_by_key(|(_, snapshot)| snapshot.number);
        let told = |(name, snapshot): (&String, &Snapshot)| Kept {
            name: name.clone(),
            rip: snapshot.state.boot_cpu().vcpu.rip(),
            new: snapshot.new,
            pages: snapshot.memory.pages(),
        };
        all.into_iter().map(told).collect()
    }

    /// Bytes of guest memory that are kept for all together.
    pub fn kept(&self) -> u64 {
        self.budget.held()
    }

    /// The last moment, with all pages that may have changed since.
    fn look(&mut self, machine: &mut Machine) -> Result<Option<&Moment>, HostError> {
        let Some(last) = &mut self.last else { return Ok(None) };
        last.changed.extend(&machine.take_dirty(Follower::Snapshots)?);
        Ok(Some(last))
    }

    fn none(&self, name: &str) -> KeepError {
        let meant = closest(name, self.kept.keys().map(String::as_str)).map(str::to_owned);
        let name = name.chars().take(LONGEST_NAME).flat_map(char::escape_debug).collect();
        KeepError::None { name, meant }
    }
}

fn check_name(name: &str) -> Result<(), KeepError> {
    let possible = |letter: char| !letter.is_whitespace() && !letter.is_control() && letter != '/';
    if name.is_empty() || name.len() > LONGEST_NAME || !name.chars().all(possible) {
        return Err(KeepError::Name { name: name.to_owned() });
    }
    Ok(())
}

/// Bytes that may be kept besides what is: half of what the host has to spare, or nothing it does not
/// tell of (`MemAvailable` in Documentation/filesystems/proc.rst).
fn spare() -> u64 {
    let told = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = told.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kib.map_or(UNTOLD, |kib| kib * 1024 / 2)
}

/// Bytes that may be kept where the host does not report its available memory.
const UNTOLD: u64 = 256 << 20;

impl Machine {
    /// Puts `state` into the processor and the chips it was taken from; memory holds already what it held
    /// then.
    fn go_back(&mut self, state: &MachineState) -> Result<(), MachineError> {
        self.put_state(Board::restored(&state.devices)?, state)?;
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

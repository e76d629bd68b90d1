//! Snapshot files: written completely or not at all, and opened without reading memory.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::info;

use super::container::{self, SectionEntry};
use super::guest_file::{self, GuestFileCopy};
use super::memory_contents::{self, MemoryContents};
use super::saved_disks::{self, SavedDisk};
use super::saved_machine::{SavedMachine, UserInterface};
use super::{SnapshotError, error};
use crate::arch::PAGE_SIZE;
use crate::boot::{FileImage, Image};
use crate::kvm::HostError;
use crate::machine::inputs::Inputs;
use crate::machine::output::OutputQueue;
use crate::machine::{Machine, PendingAction};
use crate::memory::{CHUNK, GuestMemory, VIDEO_MEMORY};
use crate::os::replacement_file::{Readers, ReplacementFile};

/// Size of the write buffer, in bytes. An uncompressed chunk bypasses it.
const BUFFER: usize = CHUNK as usize;

/// Summary of a written file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SaveReport {
    /// The file.
    pub path: PathBuf,
    /// Its length in bytes.
    pub length: u64,
    /// Bytes of memory stored in it.
    pub memory: u64,
    /// True if memory is compressed.
    pub compressed: bool,
    /// True if the guest's file is stored in it.
    pub guest_file: bool,
    /// The disks, whose contents are not part of it.
    pub disks: Vec<SavedDisk>,
    /// Time taken.
    pub took: Duration,
}

/// Writes a machine to the file at `path`. An access in progress is completed first. `pending` is the action
/// that the caller has deferred until the guest resumes, if any.
///
/// An existing file is replaced once the new one is complete and synced to disk. It stays unchanged on any
/// earlier error.
///
/// # Errors
///
/// [`SnapshotError`]; no file has been changed then.
pub fn save(
    machine: &mut Machine,
    pending: Option<PendingAction>,
    path: &Path,
) -> Result<SaveReport, SnapshotError> {
    let start = Instant::now();
    let saved = SavedMachine::capture(machine, pending)?;
    let fail = |e: io::Error| SnapshotError::file("write", path, e);
    let replacement = ReplacementFile::new(path, Readers::Owner).map_err(fail)?;
    let saved = write(&saved, machine, replacement.file()).map_err(|e| match e {
        WriteError::Host(e) => fail(e),
        WriteError::Other(e) => e,
    })?;
    if let Some(lost) = machine.memory().file_failure() {
        return Err(HostError::MemoryLost(lost).into());
    }
    replacement.put_in_place().map_err(fail)?;
    let saved = SaveReport { path: path.to_owned(), took: start.elapsed(), ..saved };
    info!("saved the machine in {}: {saved:?}", path.display());
    Ok(saved)
}

/// Checks that a machine could be written to the file at `path` now. Changes nothing there.
///
/// # Errors
///
/// [`SnapshotError::File`] with the reason.
pub fn check_writable(path: &Path) -> Result<(), SnapshotError> {
    ReplacementFile::new(path, Readers::Owner).map(drop).map_err(|e| SnapshotError::file("write", path, e))
}

/// Why writing failed.
enum WriteError {
    Host(io::Error),
    Other(SnapshotError),
}

impl From<io::Error> for WriteError {
    fn from(error: io::Error) -> WriteError {
        WriteError::Host(error)
    }
}

/// Writes everything. Header and table come first in the file, but are written last.
fn write(saved: &SavedMachine, machine: &Machine, file: &File) -> Result<SaveReport, WriteError> {
    let disks = saved_disks::of_machine(machine).map_err(WriteError::Other)?;
    let mut sections = saved.to_sections();
    sections.extend(saved_disks::to_section(&disks));
    // The guest's file, `memory` and `memory-map`.
    let head = container::head_length(sections.len() + 3);
    let mut out = OffsetWriter { file: io::BufWriter::with_capacity(BUFFER, file), at: 0 };
    out.skip_to(head)?;
    let mut entries = Vec::new();
    for section in &sections {
        entries.push(container::entry(section, out.at));
        out.write(&section.bytes)?;
    }
    let offset = out.at;
    let copied = guest_file::copy(machine.image(), |piece| out.write(piece))?;
    if let Some((length, checksum)) = copied {
        let (name, version) = (guest_file::NAME.to_owned(), guest_file::VERSION);
        entries.push(SectionEntry { name, number: 0, version, checksum, offset, length });
    }
    out.skip_to(out.at.next_multiple_of(PAGE_SIZE))?;
    let offset = out.at;
    let (map, length) = memory_contents::write(machine.memory(), |bytes| out.write(bytes))?;
    let name = memory_contents::MEMORY.to_owned();
    // Each chunk has its own checksum.
    entries.push(SectionEntry {
        name,
        number: 0,
        version: memory_contents::VERSION,
        checksum: 0,
        offset,
        length,
    });
    let section = map.to_section();
    entries.push(container::entry(&section, out.at));
    out.write(&section.bytes)?;
    let length = out.at;
    out.file.flush()?;
    let head = container::head(&entries, length).map_err(WriteError::Other)?;
    file.write_all_at(&head, 0)?;
    Ok(SaveReport {
        path: PathBuf::new(),
        length,
        memory: map.in_use(),
        compressed: !map.is_mapped(),
        guest_file: copied.is_some(),
        disks,
        took: Duration::ZERO,
    })
}

/// A file that is written sequentially.
struct OffsetWriter<'f> {
    file: io::BufWriter<&'f File>,
    at: u64,
}

impl OffsetWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.at += bytes.len() as u64;
        self.file.write_all(bytes)
    }

    /// Writes zeros up to `offset`.
    fn skip_to(&mut self, offset: u64) -> io::Result<()> {
        let zeros = vec![0; offset.saturating_sub(self.at) as usize];
        self.write(&zeros)
    }
}

/// An opened and recognized snapshot file. Memory has not been read.
#[derive(Debug)]
pub struct SnapshotFile {
    file: Arc<FileImage>,
    saved: SavedMachine,
    disks: Vec<SavedDisk>,
    pages: MemoryContents,
    guest_file: GuestFileCopy,
}

impl SnapshotFile {
    /// Opens the file at `path`.
    ///
    /// # Errors
    ///
    /// [`SnapshotError`] if it is not a snapshot, newer, or damaged.
    pub fn open(path: &Path) -> Result<SnapshotFile, SnapshotError> {
        let file = FileImage::open(path).map_err(|e| SnapshotError::File {
            doing: "open",
            path: path.to_owned(),
            source: io::Error::other(error::in_words(&e)),
        })?;
        let file = Arc::new(file);
        let entries = container::read_table(file.as_ref())?;
        let saved = SavedMachine::read(file.as_ref(), &entries)?;
        let disks = saved_disks::read(file.as_ref(), &entries)?;
        let pages = find_pages(file.as_ref(), &entries, &saved)?;
        let guest_file = guest_file::in_file(&file, &entries)?;
        Ok(SnapshotFile { file, saved, disks, pages, guest_file })
    }

    /// The machine in it.
    pub fn saved(&self) -> &SavedMachine {
        &self.saved
    }

    /// Its disks.
    pub fn disks(&self) -> &[SavedDisk] {
        &self.disks
    }

    /// Bytes of memory stored in it.
    pub fn memory_in_use(&self) -> u64 {
        self.pages.map.in_use()
    }

    /// Reads all of it and verifies all checksums.
    ///
    /// # Errors
    ///
    /// [`SnapshotError::Damaged`] with the reason.
    pub fn verify(&self) -> Result<(), SnapshotError> {
        self.saved.verify(self.file.name())?;
        self.guest_file.verify()?;
        self.pages.verify(self.file.as_ref())
    }

    /// Restores the machine.
    ///
    /// # Errors
    ///
    /// [`SnapshotError::Machine`] if this host cannot run it.
    pub fn into_machine(
        self,
        user_interface: UserInterface,
        inputs: Inputs,
        outputs: OutputQueue,
    ) -> Result<Machine, SnapshotError> {
        let name = self.file.name();
        let memory = GuestMemory::new(self.saved.memory).map_err(|e| SnapshotError::machine(name, e))?;
        self.saved.prepare_memory(name, &memory)?;
        self.pages.fill(&self.file, &memory).map_err(|e| SnapshotError::machine(name, e))?;
        self.saved.build_machine(name, self.guest_file, Arc::new(memory), user_interface, inputs, outputs)
    }
}

fn find_pages(
    image: &dyn Image,
    entries: &[SectionEntry],
    saved: &SavedMachine,
) -> Result<MemoryContents, SnapshotError> {
    let damaged = |what| SnapshotError::Damaged { name: image.name().to_owned(), what };
    let mut ram = GuestMemory::ram_of(saved.memory)
        .ok_or_else(|| damaged(format!("its machine has {} bytes of memory", saved.memory)))?;
    if saved.machine.has_video_memory() {
        ram.push(VIDEO_MEMORY);
    }
    MemoryContents::find(image, entries, &ram)
}

/// Reads `image` as [`SnapshotFile::open`] and [`SnapshotFile::verify`] read a file; used by the fuzzer.
///
/// # Errors
///
/// [`SnapshotError`].
pub fn check_bytes(image: &dyn Image) -> Result<(), SnapshotError> {
    let entries = container::read_table(image)?;
    let saved = SavedMachine::read(image, &entries)?;
    saved_disks::read(image, &entries)?;
    let pages = find_pages(image, &entries, &saved)?;
    guest_file::from_bytes(image, &entries)?;
    saved.verify(image.name())?;
    pages.verify(image)
}

/// Restores a machine in place from the file at `path`; its memory must have the same size. Watchpoint pages
/// stay protected, debug facilities are off. Returns what the user has to know about the disks, in sentences.
///
/// # Errors
///
/// [`SnapshotError`]. The machine is unchanged, unless [`SnapshotError::is_fatal`].
pub fn restore(machine: &mut Machine, path: &Path) -> Result<Vec<String>, SnapshotError> {
    let SnapshotFile { file, saved, disks, pages, guest_file } = SnapshotFile::open(path)?;
    let name = file.name().to_owned();
    let (there, here) = (saved.memory, machine.memory().size());
    if there != here {
        return Err(SnapshotError::MemorySize { name, there, here });
    }
    // The virtual machine is a new one, too.
    saved.prepare_memory(&name, machine.memory())?;
    machine
        .revert(saved.restoration(guest_file), &saved.machine, &mut |memory| pages.fill(&file, memory))
        .map_err(|error| SnapshotError::machine(&name, error))?;
    Ok(saved_disks::differences(&disks, machine))
}

//! Memory contents, as two sections: `memory` holds the non-zero chunks, one after the other, and
//! `memory-map` lists them, with a checksum for each.
//!
//! If little memory is in use, the chunks are compressed; they are read and verified when the machine
//! starts. If much is in use, they are stored uncompressed and the file is mapped. A mapped file is neither
//! read nor verified before the guest accesses it. `kvm check-snapshot` verifies everything.

use std::error::Error;
use std::os::fd::AsFd;

use serde::{Deserialize, Serialize};

use super::SnapshotError;
use super::container::{self, Section, SectionEntry};
use super::saved_machine::check_version;
use crate::arch::PAGE_SIZE;
use crate::boot::{FileImage, Image};
use crate::memory::{CHUNK, GuestMemory, MemoryError};

/// The names of the sections.
pub(super) const NAMES: [&str; 2] = [MEMORY, MAP];
pub(super) const MEMORY: &str = "memory";
const MAP: &str = "memory-map";
/// Version of both sections.
pub(super) const VERSION: u16 = 1;

/// Maximum memory in use, in bytes, that is compressed. docs/snapshots.md has the measurements.
const COMPRESSED: u64 = 8 << 20;

/// Maximum number of file ranges that are mapped, the longest ones first; others are read. Each takes one of
/// the 65530 mappings that a process may have.
const MOST_MAPPED: usize = 4096;

/// The list of stored chunks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ChunkMap {
    /// Size of a chunk in bytes.
    chunk: u64,
    /// The stored chunks in ascending order, as runs: the number of the first chunk, counted from
    /// guest-physical address 0, and the number of chunks.
    runs: Vec<(u64, u64)>,
    /// CRC-32 of each chunk as stored.
    checksums: Vec<u32>,
    /// Compressed length of each chunk; empty if they are stored uncompressed.
    lengths: Vec<u32>,
}

/// Passes the chunks of `memory` to `write`, one after the other. Returns their map and the number of bytes
/// written.
pub(super) fn write<E>(
    memory: &GuestMemory,
    mut write: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<(ChunkMap, u64), E> {
    let compress = memory.committed().len() * PAGE_SIZE <= COMPRESSED;
    let mut map = ChunkMap { chunk: CHUNK, runs: Vec::new(), checksums: Vec::new(), lengths: Vec::new() };
    let mut compressed = vec![0; lz4_flex::block::get_maximum_output_size(CHUNK as usize)];
    let mut total = 0;
    memory.for_each_chunk(|address, bytes| {
        map.add(address / CHUNK);
        let bytes = match compress.then(|| lz4_flex::block::compress_into(bytes, &mut compressed)) {
            Some(Ok(length)) => {
                map.lengths.push(length as u32);
                &compressed[..length]
            }
            // Compression cannot fail: the buffer has the maximum compressed size.
            Some(Err(_)) | None => bytes,
        };
        map.checksums.push(crc32fast::hash(bytes));
        total += bytes.len() as u64;
        write(bytes)
    })?;
    Ok((map, total))
}

impl ChunkMap {
    fn add(&mut self, number: u64) {
        match self.runs.last_mut() {
            Some((first, count)) if *first + *count == number => *count += 1,
            _ => self.runs.push((number, 1)),
        }
    }

    pub(super) fn to_section(&self) -> Section {
        super::saved_machine::section((MAP, VERSION), self)
    }

    /// Number of bytes of memory that are stored.
    pub(super) fn in_use(&self) -> u64 {
        self.checksums.len() as u64 * CHUNK
    }

    /// True if the chunks are stored uncompressed.
    pub(super) fn is_mapped(&self) -> bool {
        self.lengths.is_empty()
    }
}

/// The contents of memory in a snapshot.
#[derive(Clone, Debug)]
pub(super) struct MemoryContents {
    pub(super) map: ChunkMap,
    offset: u64,
}

impl MemoryContents {
    /// Locates them in the sections of `image`, for a machine with `memory` bytes of RAM.
    pub(super) fn find(
        image: &dyn Image,
        entries: &[SectionEntry],
        memory: &[std::ops::Range<u64>],
    ) -> Result<MemoryContents, SnapshotError> {
        let damaged = |what: String| SnapshotError::Damaged { name: image.name().to_owned(), what };
        let find = |name: &str| {
            let entry = entries.iter().find(|entry| entry.name == name);
            let entry = entry.ok_or_else(|| damaged(format!("it has no section `{name}`")))?;
            check_version(image, entry, VERSION).map(|()| entry)
        };
        let (bulk, map) = (find(MEMORY)?, find(MAP)?);
        let section = container::read_section(image, map)?;
        let map: ChunkMap = postcard::from_bytes(&section.bytes)
            .map_err(|e| damaged(format!("section `{MAP}` cannot be read: {e}")))?;
        map.check(bulk, memory).map_err(|what| damaged(format!("section `{MAP}` {what}")))?;
        Ok(MemoryContents { map, offset: bulk.offset })
    }

    /// Writes them to memory, which must be zero.
    pub(super) fn fill(&self, file: &FileImage, memory: &GuestMemory) -> Result<(), MemoryError> {
        if !self.map.is_mapped() {
            return self.each(file, |address, bytes| write_pages(memory, address, bytes));
        }
        let mut lengths: Vec<u64> = self.map.runs.iter().map(|(_, count)| *count).collect();
        lengths.sort_unstable();
        let shortest = lengths.len().checked_sub(MOST_MAPPED).map_or(0, |at| lengths[at]);
        let (mut offset, mut left) = (self.offset, MOST_MAPPED);
        for (first, count) in &self.map.runs {
            let (start, length) = (first * CHUNK, count * CHUNK);
            if *count >= shortest && left > 0 {
                left -= 1;
                memory.map_file(start..start + length, file.name(), file.as_fd(), offset)?;
            } else {
                let mut bytes = vec![0; CHUNK as usize];
                for at in (0..length).step_by(CHUNK as usize) {
                    file.read_at(offset + at, &mut bytes).map_err(|e| unread(start + at, e))?;
                    write_pages(memory, start + at, &bytes)?;
                }
            }
            offset += length;
        }
        Ok(())
    }

    /// Reads all of them and verifies their checksums.
    pub(super) fn verify(&self, image: &dyn Image) -> Result<(), SnapshotError> {
        self.each(image, |_, _| Ok(()))
            .map_err(|e| SnapshotError::Damaged { name: image.name().to_owned(), what: e.to_string() })
    }

    /// Passes every chunk with its guest-physical address to `take`, after its checksum has been verified.
    fn each(
        &self,
        image: &dyn Image,
        mut take: impl FnMut(u64, &[u8]) -> Result<(), MemoryError>,
    ) -> Result<(), MemoryError> {
        let numbers = self.map.runs.iter().flat_map(|(first, count)| *first..first + count);
        let mut lengths = self.map.lengths.iter();
        let mut bytes = vec![0; CHUNK as usize];
        let mut stored = Vec::new();
        let mut offset = self.offset;
        for (number, checksum) in numbers.zip(&self.map.checksums) {
            let address = number * CHUNK;
            let length = lengths.next().map_or(CHUNK, |length| u64::from(*length));
            stored.resize(length as usize, 0);
            image.read_at(offset, &mut stored).map_err(|e| unread(address, e))?;
            if crc32fast::hash(&stored) != *checksum {
                return Err(unread(address, "the checksum is wrong"));
            }
            if self.map.is_mapped() {
                bytes.copy_from_slice(&stored);
            } else if !lz4_flex::block::decompress_into(&stored, &mut bytes).is_ok_and(|n| n == bytes.len()) {
                return Err(unread(address, "it cannot be decompressed"));
            }
            take(address, &bytes)?;
            offset += length;
        }
        Ok(())
    }
}

impl ChunkMap {
    /// Returns what is wrong with a map of chunks that are stored in `bulk` and belong in `ram`.
    fn check(&self, bulk: &SectionEntry, ram: &[std::ops::Range<u64>]) -> Result<(), String> {
        if self.chunk != CHUNK {
            return Err(format!("has chunks of {} bytes", self.chunk));
        }
        let (mut next, mut total) = (0, 0u64);
        for (first, count) in &self.runs {
            let end = first.checked_add(*count).and_then(|end| end.checked_mul(CHUNK));
            let fits = |end: u64| ram.iter().any(|ram| ram.start <= first * CHUNK && end <= ram.end);
            if *count == 0 || *first < next || !end.is_some_and(fits) {
                return Err(format!("has {count} chunks at chunk {first:#x}"));
            }
            next = first + count;
            total += count;
        }
        let most = lz4_flex::block::get_maximum_output_size(CHUNK as usize) as u32;
        let bytes = match self.is_mapped() {
            true => total * CHUNK,
            false => self.lengths.iter().map(|length| u64::from(*length)).sum(),
        };
        let counts = self.checksums.len() as u64 == total
            && (self.is_mapped() || self.lengths.len() as u64 == total)
            && self.lengths.iter().all(|length| (1..=most).contains(length));
        if !counts || bytes != bulk.length {
            return Err(format!("does not fit {} bytes of memory", bulk.length));
        }
        if self.is_mapped() && !bulk.offset.is_multiple_of(PAGE_SIZE) {
            return Err(format!("is of memory at {:#x} of the file, which is no page", bulk.offset));
        }
        Ok(())
    }
}

/// Writes the non-zero pages of `bytes`.
fn write_pages(memory: &GuestMemory, address: u64, bytes: &[u8]) -> Result<(), MemoryError> {
    const ZERO: [u8; PAGE_SIZE as usize] = [0; PAGE_SIZE as usize];
    let pages = (address..).step_by(PAGE_SIZE as usize).zip(bytes.as_chunks::<{ PAGE_SIZE as usize }>().0);
    for (address, page) in pages {
        if *page != ZERO {
            memory.write(address, page)?;
        }
    }
    Ok(())
}

fn unread(start: u64, reason: impl Into<Box<dyn Error + Send + Sync>>) -> MemoryError {
    MemoryError::Fill { start, length: CHUNK, source: reason.into() }
}

#[cfg(test)]
#[path = "memory_contents_test.rs"]
mod tests;

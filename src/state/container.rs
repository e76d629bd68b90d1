//! The container format: sections behind one header. All numbers are little-endian; docs/snapshots.md has
//! the tables.
//!
//! The header and the table of sections have checksums of their own, so that a damaged offset or length is
//! never used. Every offset and length is also checked against the size of the whole, and sections must not
//! overlap. A forged file can hold false contents, but cannot cause reads or allocations beyond its size.

use super::SnapshotError;
use crate::boot::Image;

/// Magic at the beginning of this format. A transfer in text mode damages it.
pub(super) const MAGIC: [u8; 8] = *b"\x8AKVM\r\n\x1A\n";

/// True if `start`, the first bytes of a file, are those of a snapshot.
pub fn is_snapshot_start(start: &[u8]) -> bool {
    start.starts_with(&MAGIC)
}

/// Format version of header and table.
pub const VERSION: u16 = 1;

/// Length of the header, in bytes.
const HEADER: usize = 32;
/// Length of a table entry, in bytes.
const ENTRY: usize = 48;
/// Maximum length of a section name, in bytes.
const NAME: usize = 24;
/// Maximum number of sections.
const MOST_SECTIONS: usize = 1024;
/// Maximum length of a section that is read as a whole, in bytes.
const LONGEST: u64 = 64 << 20;

/// A section in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Section {
    /// Its name.
    pub(super) name: String,
    /// Index among the sections of this name.
    pub(super) number: u16,
    /// The version of its layout.
    pub(super) version: u16,
    /// Its content.
    pub(super) bytes: Vec<u8>,
}

/// Location of a section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SectionEntry {
    pub(super) name: String,
    pub(super) number: u16,
    pub(super) version: u16,
    /// CRC-32 of its bytes.
    pub(super) checksum: u32,
    pub(super) offset: u64,
    pub(super) length: u64,
}

impl SectionEntry {
    /// `name`, followed by the index if there may be several.
    pub(super) fn title(&self) -> String {
        if self.number == 0 { self.name.clone() } else { format!("{} {}", self.name, self.number) }
    }
}

/// Length of the header and a table of `sections` entries, in bytes.
pub(super) fn head_length(sections: usize) -> u64 {
    (HEADER + ENTRY * sections) as u64
}

/// The header and table of a file of `length` bytes.
///
/// # Errors
///
/// [`SnapshotError::TooLarge`] for more than the maximum number of sections.
pub(super) fn head(entries: &[SectionEntry], length: u64) -> Result<Vec<u8>, SnapshotError> {
    if entries.len() > MOST_SECTIONS {
        return Err(SnapshotError::TooLarge { what: format!("{} parts", entries.len()) });
    }
    let mut table = Vec::with_capacity(ENTRY * entries.len());
    for entry in entries {
        let mut name = [0; NAME];
        let letters = entry.name.as_bytes();
        name[..letters.len().min(NAME)].copy_from_slice(&letters[..letters.len().min(NAME)]);
        table.extend(name);
        table.extend(entry.number.to_le_bytes());
        table.extend(entry.version.to_le_bytes());
        table.extend(entry.checksum.to_le_bytes());
        table.extend(entry.offset.to_le_bytes());
        table.extend(entry.length.to_le_bytes());
    }
    let mut head = MAGIC.to_vec();
    head.extend(VERSION.to_le_bytes());
    head.extend([0; 2]);
    head.extend((entries.len() as u32).to_le_bytes());
    head.extend(length.to_le_bytes());
    head.extend(crc32fast::hash(&table).to_le_bytes());
    head.extend(crc32fast::hash(&head).to_le_bytes());
    head.extend(table);
    Ok(head)
}

/// Encodes `sections` in memory.
pub(super) fn to_bytes(sections: &[Section]) -> Result<Vec<u8>, SnapshotError> {
    let mut offset = head_length(sections.len());
    let mut entries = Vec::with_capacity(sections.len());
    for section in sections {
        entries.push(entry(section, offset));
        offset += section.bytes.len() as u64;
    }
    let mut bytes = head(&entries, offset)?;
    sections.iter().for_each(|section| bytes.extend(&section.bytes));
    Ok(bytes)
}

/// The table entry of a section that is written at `offset`.
pub(super) fn entry(section: &Section, offset: u64) -> SectionEntry {
    SectionEntry {
        name: section.name.clone(),
        number: section.number,
        version: section.version,
        checksum: crc32fast::hash(&section.bytes),
        offset,
        length: section.bytes.len() as u64,
    }
}

/// Reads the locations of the sections of `image`, but not the sections.
///
/// # Errors
///
/// [`SnapshotError`] if it is not of this format, newer, or damaged.
pub(super) fn read_table(image: &dyn Image) -> Result<Vec<SectionEntry>, SnapshotError> {
    let name = || image.name().to_owned();
    let damaged = |what: String| SnapshotError::Damaged { name: name(), what };
    let mut header = [0; HEADER];
    let there = (image.len().min(HEADER as u64)) as usize;
    read(image, 0, &mut header[..there])?;
    if header[..8] != MAGIC {
        return Err(SnapshotError::NotASnapshot { name: name(), hint: hint(&header[..there]) });
    }
    if there < HEADER {
        return Err(damaged(format!("it ends after {there} bytes")));
    }
    let version = u16::from_le_bytes([header[8], header[9]]);
    if version > VERSION {
        return Err(SnapshotError::NewerVersion {
            name: name(),
            part: "its format".into(),
            found: version,
            known: VERSION,
        });
    }
    let word = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    if word(28) != crc32fast::hash(&header[..28]) {
        return Err(damaged("the checksum of its header is wrong".into()));
    }
    let (count, length) = (word(12) as usize, u64::from(word(20)) << 32 | u64::from(word(16)));
    if image.len() < length {
        return Err(damaged(format!("{} of its {length} bytes are missing", length - image.len())));
    }
    if version == 0 || count > MOST_SECTIONS || head_length(count) > length {
        return Err(damaged(format!("its header is of version {version} with {count} sections")));
    }
    let mut table = vec![0; ENTRY * count];
    read(image, HEADER as u64, &mut table)?;
    if word(24) != crc32fast::hash(&table) {
        return Err(damaged("the checksum of its table of sections is wrong".into()));
    }
    let mut entries: Vec<SectionEntry> = Vec::with_capacity(count);
    for bytes in table.as_chunks::<ENTRY>().0 {
        let entry = read_entry(bytes).ok_or_else(|| damaged("a section has no name".into()))?;
        let end = entry.offset.checked_add(entry.length);
        if end.is_none_or(|end| end > length) {
            return Err(damaged(format!("section `{}` lies beyond its end", entry.title())));
        }
        if entries.iter().any(|other| (&other.name, other.number) == (&entry.name, entry.number)) {
            return Err(damaged(format!("section `{}` is there twice", entry.title())));
        }
        entries.push(entry);
    }
    // Without overlaps, reading all sections reads no more than the file holds.
    let mut places: Vec<_> = entries.iter().map(|entry| (entry.offset, entry.length)).collect();
    places.sort_unstable();
    let mut end = head_length(count);
    for (offset, length) in places.into_iter().filter(|(_, length)| *length > 0) {
        if offset < end {
            return Err(damaged(format!("two of its sections lie at {offset:#x}")));
        }
        end = offset + length;
    }
    Ok(entries)
}

/// Reads a whole section and verifies its checksum.
///
/// # Errors
///
/// [`SnapshotError::Damaged`].
pub(super) fn read_section(image: &dyn Image, entry: &SectionEntry) -> Result<Section, SnapshotError> {
    let damaged = |what| SnapshotError::Damaged { name: image.name().to_owned(), what };
    if entry.length > LONGEST {
        return Err(damaged(format!("section `{}` has {} bytes", entry.title(), entry.length)));
    }
    let mut bytes = vec![0; entry.length as usize];
    read(image, entry.offset, &mut bytes)?;
    if crc32fast::hash(&bytes) != entry.checksum {
        return Err(damaged(format!("the checksum of section `{}` is wrong", entry.title())));
    }
    Ok(Section { name: entry.name.clone(), number: entry.number, version: entry.version, bytes })
}

/// Fills `bytes` from `offset` on.
pub(super) fn read(image: &dyn Image, offset: u64, bytes: &mut [u8]) -> Result<(), SnapshotError> {
    image.read_at(offset, bytes).map_err(|e| SnapshotError::file("read", image.name(), e))
}

fn read_entry(bytes: &[u8; ENTRY]) -> Option<SectionEntry> {
    let (name, rest) = bytes.split_at(NAME);
    let end = name.iter().position(|byte| *byte == 0).unwrap_or(NAME);
    let name = std::str::from_utf8(&name[..end]).ok().filter(|name| !name.is_empty())?;
    if !name.bytes().all(|byte| byte.is_ascii_graphic()) {
        return None;
    }
    let half = |at: usize| u16::from_le_bytes([rest[at], rest[at + 1]]);
    let word = |at: usize| u32::from(half(at)) | u32::from(half(at + 2)) << 16;
    let long = |at: usize| u64::from(word(at)) | u64::from(word(at + 4)) << 32;
    Some(SectionEntry {
        name: name.to_owned(),
        number: half(0),
        version: half(2),
        checksum: word(4),
        offset: long(8),
        length: long(16),
    })
}

/// Describes a file that is not a snapshot.
fn hint(start: &[u8]) -> &'static str {
    match start {
        [] => ", but empty",
        [0x7F, b'E', b'L', b'F', ..] => ", but an ELF file: leave out --restore to run it as a guest",
        [0x8A, b'K', b'V', b'M', ..] => ", or one that was transferred as text",
        [b'Q', b'E', b'V', b'M', ..] => ", but one of QEMU",
        _ => "",
    }
}

//! The guest's file, stored in a snapshot. Resets and symbol lookups use it, also on hosts without the
//! original file.

use std::io;
use std::sync::{Arc, OnceLock};

use super::SnapshotError;
use super::container::{self, Section, SectionEntry};
use super::guest_file_info::GuestFileInfo;
use super::saved_machine::check_version;
use crate::boot::{FileImage, Image, OwnedImage, open_guest_file};

/// The name of the section.
pub(super) const NAME: &str = "guest-file";
/// Version of the section, which holds the bytes of the file.
pub(super) const VERSION: u16 = 1;

/// Maximum size of a stored file, in bytes. A larger file is read from its original path.
pub(super) const LONGEST: u64 = 64 << 20;

/// Bytes read at once.
const PIECE: usize = 64 << 10;

/// Where the guest's file is stored.
#[derive(Clone, Debug)]
pub(super) enum GuestFileCopy {
    /// In memory.
    Bytes(Vec<u8>),
    /// In a section of a snapshot file.
    Section { snapshot: Arc<FileImage>, entry: SectionEntry },
    /// It is not stored.
    Missing,
}

/// Passes the guest's file to `write` in pieces. Returns its length and checksum, or `None` if it is too
/// long or can no longer be read; a part may have been passed then.
pub(super) fn copy<E>(
    image: &dyn Image,
    mut write: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<Option<(u64, u32)>, E> {
    if image.len() > LONGEST || image.is_empty() {
        return Ok(None);
    }
    let mut checksum = crc32fast::Hasher::new();
    let mut piece = vec![0; PIECE];
    let mut done = 0;
    while done < image.len() {
        let piece = &mut piece[..(image.len() - done).min(PIECE as u64) as usize];
        // The file may have been rebuilt meanwhile.
        if image.read_at(done, piece).is_err() {
            return Ok(None);
        }
        checksum.update(piece);
        write(piece)?;
        done += piece.len() as u64;
    }
    Ok(Some((done, checksum.finalize())))
}

/// The file as a section, if it can be stored.
pub(super) fn to_section(image: &dyn Image) -> Option<Section> {
    let mut bytes = Vec::new();
    let copied: Result<_, std::convert::Infallible> = copy(image, |piece| {
        bytes.extend(piece);
        Ok(())
    });
    match copied {
        Ok(Some(_)) => Some(Section { name: NAME.to_owned(), number: 0, version: VERSION, bytes }),
        Ok(None) => None,
    }
}

/// The file stored in the sections of `image`, read into memory.
pub(super) fn from_bytes(
    image: &dyn Image,
    entries: &[SectionEntry],
) -> Result<GuestFileCopy, SnapshotError> {
    let Some(entry) = find(image, entries)? else { return Ok(GuestFileCopy::Missing) };
    Ok(GuestFileCopy::Bytes(container::read_section(image, entry)?.bytes))
}

/// The file stored in a snapshot file; it is read on first use.
pub(super) fn in_file(
    snapshot: &Arc<FileImage>,
    entries: &[SectionEntry],
) -> Result<GuestFileCopy, SnapshotError> {
    let entry = find(snapshot.as_ref(), entries)?;
    Ok(entry.map_or(GuestFileCopy::Missing, |entry| GuestFileCopy::Section {
        snapshot: snapshot.clone(),
        entry: entry.clone(),
    }))
}

fn find<'a>(
    image: &dyn Image,
    entries: &'a [SectionEntry],
) -> Result<Option<&'a SectionEntry>, SnapshotError> {
    let entry = entries.iter().find(|entry| entry.name == NAME);
    if let Some(entry) = entry {
        check_version(image, entry, VERSION)?;
    }
    Ok(entry)
}

impl GuestFileCopy {
    /// Reads all of it and verifies its checksum.
    pub(super) fn verify(&self) -> Result<(), SnapshotError> {
        match self {
            GuestFileCopy::Section { snapshot, entry } => check(snapshot, entry).map_err(|_| {
                let what = format!("the checksum of section `{NAME}` is wrong");
                SnapshotError::Damaged { name: snapshot.name().to_owned(), what }
            }),
            GuestFileCopy::Bytes(_) | GuestFileCopy::Missing => Ok(()),
        }
    }

    /// The file as an image. If it was not stored, the file at the original path is used, provided that it
    /// has the same length.
    pub(super) fn into_image(self, guest: &GuestFileInfo) -> Box<dyn Image> {
        let name = guest.path().display().to_string();
        match self {
            GuestFileCopy::Bytes(bytes) => Box::new(OwnedImage::new(name, bytes)),
            GuestFileCopy::Section { snapshot, entry } => {
                Box::new(CopyInSnapshot { name, snapshot, entry, is_good: OnceLock::new() })
            }
            GuestFileCopy::Missing => match open_guest_file(&guest.path(), None) {
                Ok(file) if file.len() == guest.length => file,
                _ => Box::new(MissingCopy { name }),
            },
        }
    }
}

/// Verifies the checksum of a section.
fn check(snapshot: &FileImage, entry: &SectionEntry) -> io::Result<()> {
    let mut checksum = crc32fast::Hasher::new();
    let mut piece = vec![0; PIECE];
    let mut done = 0;
    while done < entry.length {
        let piece = &mut piece[..(entry.length - done).min(PIECE as u64) as usize];
        snapshot.read_at(entry.offset + done, piece)?;
        checksum.update(piece);
        done += piece.len() as u64;
    }
    if checksum.finalize() == entry.checksum { Ok(()) } else { Err(io::ErrorKind::InvalidData.into()) }
}

/// A section of a snapshot file, whose checksum is verified on first use.
struct CopyInSnapshot {
    name: String,
    snapshot: Arc<FileImage>,
    entry: SectionEntry,
    is_good: OnceLock<bool>,
}

impl Image for CopyInSnapshot {
    fn name(&self) -> &str {
        &self.name
    }

    fn len(&self) -> u64 {
        self.entry.length
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let end = offset.checked_add(buf.len() as u64);
        if end.is_none_or(|end| end > self.entry.length) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if !self.is_good.get_or_init(|| check(&self.snapshot, &self.entry).is_ok()) {
            let text = format!("its copy in {} is damaged", self.snapshot.name());
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        self.snapshot.read_at(self.entry.offset + offset, buf)
    }
}

/// A file that does not exist.
struct MissingCopy {
    name: String,
}

impl Image for MissingCopy {
    fn name(&self) -> &str {
        &self.name
    }

    fn len(&self) -> u64 {
        0
    }

    fn read_at(&self, _: u64, _: &mut [u8]) -> io::Result<()> {
        Err(io::Error::new(
            io::ErrorKind::NotFound,
            "the snapshot does not contain it, and it is no longer at its path or has changed",
        ))
    }
}

//! Guest files compressed with gzip, as some kernels are installed: they are unpacked into memory before anything else
//! looks at them.
//!
//! Manual: RFC 1952. One member is read, as gzip writes it; what follows it is an error.

use std::path::Path;

use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::{DecompressorOxide, decompress, inflate_flags};

use super::error::{BootError, GuestProblem};
use super::image::{self, FileImage, Image, OwnedImage};
use crate::settings::BootKind;

const MAGIC: [u8; 2] = [0x1F, 0x8B];
/// CM: deflate, the only method.
const DEFLATE: u8 = 8;
/// FLG: a CRC of the header, extra fields, a file name and a comment follow the header.
const FHCRC: u8 = 1 << 1;
const FEXTRA: u8 = 1 << 2;
const FNAME: u8 = 1 << 3;
const FCOMMENT: u8 = 1 << 4;
const RESERVED_FLAGS: u8 = 0xE0;
const HEADER_SIZE: usize = 10;
/// CRC32 and ISIZE.
const TRAILER_SIZE: usize = 8;

/// The largest file that is unpacked, in bytes.
const MOST: u64 = 256 << 20;
/// Deflate makes at most this many bytes of one.
const BEST_RATIO: u64 = 1032;

/// Opens the guest file at `path`, whose kind the user may have `chosen`. A compressed one is unpacked, unless that is a
/// kind whose files are taken as they are.
///
/// # Errors
///
/// Those of [`FileImage::open`]; [`BootError::Guest`] for a compressed file that is damaged or too large.
pub fn open_guest_file(path: &Path, chosen: Option<BootKind>) -> Result<Box<dyn Image>, BootError> {
    let file = FileImage::open(path)?;
    if !is_compressed(&file) || chosen.is_some_and(runs_as_it_is) {
        return Ok(Box::new(file));
    }
    match unpack(&file) {
        Ok(bytes) => Ok(Box::new(OwnedImage::unpacked(file.name().to_owned(), bytes))),
        Err(problem) => Err(BootError::Guest { file: file.name().to_owned(), problem }),
    }
}

/// True for a file that gzip has written.
pub fn is_compressed(file: &dyn Image) -> bool {
    let mut magic = [0; MAGIC.len()];
    file.read_at(0, &mut magic).is_ok() && magic == MAGIC
}

/// True for kinds of files that are used by others than their loader, or that could be any bytes.
pub(super) fn runs_as_it_is(kind: BootKind) -> bool {
    matches!(kind, BootKind::Flat | BootKind::Disk | BootKind::Cdrom | BootKind::Rom)
}

/// The contents of a compressed file. A function of its own, so that other files do not need its stack space.
#[inline(never)]
pub(super) fn unpack(file: &dyn Image) -> Result<Vec<u8>, GuestProblem> {
    let damaged = |what: &'static str| GuestProblem::Compressed { what };
    if file.len() > MOST {
        return Err(damaged("it has more than 256 MiB"));
    }
    let bytes = image::read(file, 0, file.len(), "the compressed file")?;
    let data = header_length(&bytes).and_then(|length| bytes.get(length..));
    let data = data.ok_or_else(|| damaged("its header is damaged"))?;
    let (data, trailer) =
        data.split_last_chunk::<TRAILER_SIZE>().ok_or_else(|| damaged("its end is missing"))?;
    let word =
        |at: usize| u32::from_le_bytes([trailer[at], trailer[at + 1], trailer[at + 2], trailer[at + 3]]);
    let (checksum, size) = (word(0), u64::from(word(4)));
    if size > MOST {
        return Err(damaged("its end is missing, or unpacked, it has more than 256 MiB"));
    }
    if size > BEST_RATIO * data.len() as u64 {
        return Err(damaged("its end is missing, or something follows it"));
    }
    let mut unpacked = vec![0; size as usize];
    let flags = inflate_flags::TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF;
    let (status, read, written) = decompress(&mut DecompressorOxide::new(), data, &mut unpacked, 0, flags);
    if (status, read, written) != (TINFLStatus::Done, data.len(), unpacked.len()) {
        return Err(damaged("its end is missing, or something follows it"));
    }
    if crc32fast::hash(&unpacked) != checksum {
        return Err(damaged("its checksum is wrong"));
    }
    Ok(unpacked)
}

/// Length of the header and the fields that follow it.
fn header_length(bytes: &[u8]) -> Option<usize> {
    let flags = *bytes.get(3)?;
    if !bytes.starts_with(&MAGIC) || bytes[2] != DEFLATE || flags & RESERVED_FLAGS != 0 {
        return None;
    }
    let mut at = HEADER_SIZE;
    if flags & FEXTRA != 0 {
        at += 2 + usize::from(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?));
    }
    for text in [FNAME, FCOMMENT] {
        if flags & text != 0 {
            at += bytes.get(at..)?.iter().position(|byte| *byte == 0)? + 1;
        }
    }
    Some(if flags & FHCRC != 0 { at + 2 } else { at })
}

#[cfg(test)]
#[path = "gzip_test.rs"]
mod tests;

//! Sources of a guest's or a module's bytes.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::io::Errno;

use super::error::{BootError, GuestProblem};
use crate::memory::GuestMemory;

/// Bytes that are read piece by piece, so that a large file is never loaded into host memory as a whole.
pub trait Image {
    /// Its name in messages: usually the path that the user gave.
    fn name(&self) -> &str;

    /// Its length in bytes.
    fn len(&self) -> u64;

    /// True if it is empty.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Fills `buf` from `offset`.
    ///
    /// # Errors
    ///
    /// The host's error; [`io::ErrorKind::UnexpectedEof`] past the end.
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()>;

    /// True if these are the contents of a compressed file.
    fn is_unpacked(&self) -> bool {
        false
    }
}

/// Bytes at the start of a file that are read when it is opened: enough for the headers that tell kinds of files apart
/// and describe their segments, which take many small reads.
const HEAD_SIZE: usize = 4096;

/// A regular file.
#[derive(Debug)]
pub struct FileImage {
    file: File,
    name: String,
    length: u64,
    /// Its first [`HEAD_SIZE`] bytes, or all of them.
    head: Vec<u8>,
}

impl FileImage {
    /// Opens the file at `path` for reading.
    ///
    /// # Errors
    ///
    /// [`BootError::Missing`] if there is no such file, [`BootError::NoMoreFiles`] if there are too many
    /// open ones, [`BootError::NotReadable`] if the user has no permission, [`BootError::Open`] if the host
    /// refuses to open it for another reason, [`BootError::NotAFile`] if it is not a regular file.
    pub fn open(path: impl AsRef<Path>) -> Result<FileImage, BootError> {
        let path = path.as_ref();
        let fail = |source: io::Error| match source.kind() {
            io::ErrorKind::PermissionDenied => BootError::NotReadable { path: path.to_owned() },
            _ => BootError::Open { path: path.to_owned(), source },
        };
        let not_a_file = |problem| BootError::NotAFile { path: path.to_owned(), problem };
        // Checked before it is opened: opening a named pipe would wait for a writer.
        let metadata = path.metadata().map_err(|e| match e.kind() {
            io::ErrorKind::NotFound => BootError::Missing { path: path.to_owned() },
            _ => fail(e),
        })?;
        if metadata.is_dir() {
            return Err(not_a_file("this is a directory; name a file in it"));
        }
        if !metadata.is_file() {
            return Err(not_a_file("this is a device or a pipe; name a regular file"));
        }
        let file = File::open(path).map_err(|e| match Errno::from_io_error(&e) {
            Some(Errno::MFILE | Errno::NFILE) => BootError::NoMoreFiles { path: path.to_owned(), source: e },
            _ => fail(e),
        })?;
        let mut head = vec![0; metadata.len().min(HEAD_SIZE as u64) as usize];
        if file.read_exact_at(&mut head, 0).is_err() {
            // Whoever reads from there gets the reason.
            head.clear();
        }
        Ok(FileImage { file, name: path.display().to_string(), length: metadata.len(), head })
    }
}

impl AsFd for FileImage {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Image for FileImage {
    fn name(&self) -> &str {
        &self.name
    }

    fn len(&self) -> u64 {
        self.length
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let start = usize::try_from(offset).ok();
        match start.and_then(|start| self.head.get(start..)?.get(..buf.len())) {
            Some(piece) => buf.copy_from_slice(piece),
            None => self.file.read_exact_at(buf, offset)?,
        }
        Ok(())
    }
}

/// Bytes that are already in memory.
#[derive(Clone, Copy, Debug)]
pub struct BytesImage<'a> {
    name: &'a str,
    bytes: &'a [u8],
}

impl<'a> BytesImage<'a> {
    /// `bytes`, called `name` in messages.
    pub fn new(name: &'a str, bytes: &'a [u8]) -> BytesImage<'a> {
        BytesImage { name, bytes }
    }
}

impl Image for BytesImage<'_> {
    fn name(&self) -> &str {
        self.name
    }

    fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let piece = usize::try_from(offset)
            .ok()
            .and_then(|start| self.bytes.get(start..)?.get(..buf.len()))
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        buf.copy_from_slice(piece);
        Ok(())
    }
}

/// The contents of a file that are kept in memory.
#[derive(Debug)]
pub struct OwnedImage {
    name: String,
    bytes: Vec<u8>,
    is_unpacked: bool,
}

impl OwnedImage {
    /// `bytes`, called `name` in messages.
    pub fn new(name: String, bytes: Vec<u8>) -> OwnedImage {
        OwnedImage { name, bytes, is_unpacked: false }
    }

    /// The same for what a compressed file of this name contains.
    pub(super) fn unpacked(name: String, bytes: Vec<u8>) -> OwnedImage {
        OwnedImage { name, bytes, is_unpacked: true }
    }
}

impl Image for OwnedImage {
    fn name(&self) -> &str {
        &self.name
    }

    fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        BytesImage::new(&self.name, &self.bytes).read_at(offset, buf)
    }

    fn is_unpacked(&self) -> bool {
        self.is_unpacked
    }
}

/// Reads `length` bytes of `part` at `offset`. Checks first that the image has them, so that a wrong length
/// in a file costs no memory.
pub(super) fn read(image: &dyn Image, offset: u64, length: u64, part: &str) -> Result<Vec<u8>, GuestProblem> {
    check_present(image, offset, length, part)?;
    let mut bytes = vec![0; length as usize];
    fill(image, offset, &mut bytes)?;
    Ok(bytes)
}

/// Checks that the image has `length` bytes of `part` at `offset`.
pub(super) fn check_present(
    image: &dyn Image,
    offset: u64,
    length: u64,
    part: &str,
) -> Result<(), GuestProblem> {
    let missing = offset.saturating_add(length).saturating_sub(image.len());
    if missing == 0 { Ok(()) } else { Err(GuestProblem::Truncated { part: part.to_owned(), missing }) }
}

/// Copies `length` bytes at `offset` of the image to guest-physical `to`, which must be RAM.
pub(super) fn copy(
    image: &dyn Image,
    offset: u64,
    length: u64,
    memory: &GuestMemory,
    to: u64,
    wrap: impl Fn(GuestProblem) -> BootError,
) -> Result<(), BootError> {
    const PIECE: u64 = 256 << 10;
    let mut buffer = vec![0; length.min(PIECE) as usize];
    let mut done = 0;
    while done < length {
        let piece = &mut buffer[..(length - done).min(PIECE) as usize];
        fill(image, offset + done, piece).map_err(&wrap)?;
        memory.write(to + done, piece)?;
        done += piece.len() as u64;
    }
    Ok(())
}

fn fill(image: &dyn Image, offset: u64, bytes: &mut [u8]) -> Result<(), GuestProblem> {
    let length = bytes.len() as u64;
    image.read_at(offset, bytes).map_err(|source| GuestProblem::Read { offset, length, source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_a_regular_file_is_refused_without_waiting_for_it() {
        for path in ["/", "/dev/null"] {
            let error = FileImage::open(path).unwrap_err().to_string();
            assert!(error.starts_with(&format!("{path}: ")), "{error}");
        }
        assert!(matches!(FileImage::open("/no/such/file"), Err(BootError::Missing { .. })));
    }

    #[test]
    fn a_read_past_the_end_is_an_error_and_not_a_panic() {
        let image = BytesImage::new("x", &[1, 2, 3]);
        assert!(image.read_at(2, &mut [0; 2]).is_err());
        assert!(image.read_at(u64::MAX, &mut [0; 2]).is_err());
        let mut bytes = [0; 2];
        image.read_at(1, &mut bytes).unwrap();
        assert_eq!(bytes, [2, 3]);
    }

    #[test]
    fn a_length_the_file_does_not_have_costs_no_memory() {
        let image = BytesImage::new("x", &[0; 16]);
        let error = read(&image, 8, u64::MAX - 8, "the table").unwrap_err();
        let GuestProblem::Truncated { missing, .. } = error else { panic!("{error}") };
        assert_eq!(missing, u64::MAX - 16);
    }
}

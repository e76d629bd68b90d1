//! Raw disk images: opened, locked against a second writer, read, written and flushed in sectors.
//!
//! The machine's disk threads call this; nothing else touches an image. A write that was flushed is durable. An image
//! that is opened with [`DiskMode::Snapshot`] never changes: what is written stays in memory and is lost at the end of
//! the run.

use std::fs::{File, OpenOptions};
use std::io::{self, IoSliceMut, Read, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{SeekFrom as Look, seek};
use rustix::io::{Errno, ReadWriteFlags, preadv2};

use super::image_lock;
use super::written_clusters::{CLUSTER, SavedWrites, WrittenClusters};
use crate::memory::PageSet;
use crate::settings::{DiskInterface, DiskMode, DiskSpec};

/// Bytes in a sector.
const SECTOR: u64 = 512;
/// Most sectors that an ATA drive addresses.
const MOST_SECTORS: u64 = 1 << 48;
/// Bytes in a sector of a CD, and most sectors of 512 bytes that a CD-ROM drive addresses.
const CD_SECTOR: u64 = 2048;
const MOST_CD_SECTORS: u64 = (1 << 32) - 4;
/// Most bytes that [`DiskMode::Snapshot`] keeps in memory, for all points in time that can be returned to.
const MOST_IN_MEMORY: u64 = 1 << 30;
/// The first bytes of an image in the format of QEMU.
const QCOW2: [u8; 4] = *b"QFI\xFB";

/// Why a disk image cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DiskImageError {
    /// There is no such file.
    #[error("the disk image {path} does not exist. `truncate -s 64M {path}` creates an empty one of 64 MiB.", path = .0.display())]
    Missing(PathBuf),
    /// There is no such CD image.
    #[error("the CD image {path} does not exist. `xorriso -as mkisofs -o {path} FOLDER` makes one of a folder.", path = .0.display())]
    MissingCd(PathBuf),
    /// It cannot be opened.
    #[error("the disk image {path} cannot be opened: {error}.{remedy}", path = .path.display())]
    Open {
        /// Its path.
        path: PathBuf,
        /// The host's reason.
        error: io::Error,
        /// What to do, if it is known.
        remedy: &'static str,
    },
    /// It is no file with contents.
    #[error("the disk image {path} is neither a file nor a block device. Name one.", path = .0.display())]
    Kind(PathBuf),
    /// It has no sectors.
    #[error("the disk image {path} is empty. `truncate -s 64M {path}` makes it a disk of 64 MiB.", path = .0.display())]
    Empty(PathBuf),
    /// A CD image that has no sectors.
    #[error("the CD image {path} is empty. `xorriso -as mkisofs -o {path} FOLDER` makes one of a folder.", path = .0.display())]
    EmptyCd(PathBuf),
    /// Its size is no number of sectors.
    #[error(
        "the disk image {path} has {size} bytes, which is no multiple of 512. `truncate -s %512 {path}` fills the last \
         sector up with zeros.",
        path = .path.display()
    )]
    Size {
        /// Its path.
        path: PathBuf,
        /// Its size in bytes.
        size: u64,
    },
    /// It has more sectors than 48 bits address.
    #[error("the disk image {path} has {size} bytes; a disk has at most 128 PiB. Use a smaller one.", path = .path.display())]
    TooLarge {
        /// Its path.
        path: PathBuf,
        /// Its size in bytes.
        size: u64,
    },
    /// It has more sectors than the drive addresses.
    #[error("the CD image {path} has {size} bytes; a CD-ROM drive reads less than 2 TiB. Use a smaller one.", path = .path.display())]
    TooLargeCd {
        /// Its path.
        path: PathBuf,
        /// Its size in bytes.
        size: u64,
    },
    /// It is not raw.
    #[error(
        "the disk image {path} has the format qcow2; disk images are raw. `qemu-img convert -O raw {path} NEW` converts \
         it.",
        path = .0.display()
    )]
    Format(PathBuf),
    /// It is to hold contents that are received, and is no file.
    #[error("{path} is no file, and the contents of a disk are received in one (`migrate --with-disk`). Name one.", path = .0.display())]
    NoFile(PathBuf),
    /// It is to hold contents that are received, and has some already.
    #[error(
        "the disk image {path} has contents, which those of the guest's disk would replace (`migrate --with-disk`). Start \
         the destination with --overwrite-disks if they are not needed any more, or with another file.",
        path = .0.display()
    )]
    HasContents(PathBuf),
    /// Another process uses it.
    #[error(
        "the disk image {path} is in use{by}, or use a copy of it; only readers (`{path},ro` and \
         `{path},snapshot`) can share one.",
        path = .path.display(),
        by = user_and_remedy(*.process)
    )]
    Locked {
        /// Its path.
        path: PathBuf,
        /// The process that has locked it, if it is known.
        process: Option<u32>,
    },
}

/// Who uses an image, and what to do about it.
fn user_and_remedy(process: Option<u32>) -> String {
    match process {
        Some(pid) if pid == std::process::id() => " already: it is given twice. Give it once".to_owned(),
        Some(pid) => format!(" by process {pid}. End that"),
        None => ". End what uses it".to_owned(),
    }
}

pub(super) fn in_use(path: &Path, user: image_lock::InUse) -> DiskImageError {
    DiskImageError::Locked { path: path.to_owned(), process: user.process }
}

/// An open image.
#[derive(Debug)]
pub struct DiskImage {
    path: PathBuf,
    file: File,
    mode: DiskMode,
    is_cdrom: bool,
    /// Bytes of the file. Zeros fill the last sector of a CD up.
    file_size: u64,
    sectors: u64,
    /// What was written with [`DiskMode::Snapshot`].
    written: WrittenClusters,
}

impl DiskImage {
    /// Opens and locks an image. The lock ends with the value.
    ///
    /// # Errors
    ///
    /// [`DiskImageError`].
    pub fn open(spec: &DiskSpec) -> Result<DiskImage, DiskImageError> {
        let image = DiskImage::open_unlocked(spec)?;
        image.lock()?;
        Ok(image)
    }

    /// Opens an image that another process may still write to; nothing of it may be used before [`Self::lock`].
    ///
    /// # Errors
    ///
    /// [`DiskImageError`], except [`DiskImageError::Locked`].
    pub fn open_unlocked(spec: &DiskSpec) -> Result<DiskImage, DiskImageError> {
        let (path, is_cdrom) = (spec.path.clone(), spec.interface == DiskInterface::Cdrom);
        let mode = spec.mode;
        let writable = mode == DiskMode::ReadWrite;
        let failed = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound if is_cdrom => DiskImageError::MissingCd(path.clone()),
            io::ErrorKind::NotFound => DiskImageError::Missing(path.clone()),
            io::ErrorKind::PermissionDenied if writable => DiskImageError::Open {
                path: path.clone(),
                error,
                remedy: " `,ro` or `,snapshot` behind its name opens it for reading only.",
            },
            _ => DiskImageError::Open { path: path.clone(), error, remedy: "" },
        };
        let status = std::fs::metadata(&path).map_err(failed)?;
        if !status.is_file() && !status.file_type().is_block_device() {
            return Err(DiskImageError::Kind(path));
        }
        let mut file = OpenOptions::new().read(true).write(writable).open(&path).map_err(failed)?;
        let size = file.seek(SeekFrom::End(0)).map_err(failed)?;
        if size == 0 {
            return Err(if is_cdrom { DiskImageError::EmptyCd(path) } else { DiskImageError::Empty(path) });
        }
        let mut start = Vec::new();
        file.seek(SeekFrom::Start(0))
            .and_then(|_| (&file).take(QCOW2.len() as u64).read_to_end(&mut start))
            .map_err(failed)?;
        if start == QCOW2 {
            return Err(DiskImageError::Format(path));
        }
        let sectors = if is_cdrom {
            size.div_ceil(CD_SECTOR) * (CD_SECTOR / SECTOR)
        } else if size % SECTOR != 0 {
            return Err(DiskImageError::Size { path, size });
        } else {
            size / SECTOR
        };
        if is_cdrom && sectors > MOST_CD_SECTORS {
            return Err(DiskImageError::TooLargeCd { path, size });
        }
        if sectors > MOST_SECTORS {
            return Err(DiskImageError::TooLarge { path, size });
        }
        let written = WrittenClusters::new(MOST_IN_MEMORY);
        Ok(DiskImage { path, file, mode, is_cdrom, file_size: size, sectors, written })
    }

    /// True for the image of a CD.
    pub fn is_cdrom(&self) -> bool {
        self.is_cdrom
    }

    /// Locks the image; without effect on a locked one.
    ///
    /// # Errors
    ///
    /// [`DiskImageError::Locked`].
    pub fn lock(&self) -> Result<(), DiskImageError> {
        image_lock::lock(&self.file, &self.path, self.mode == DiskMode::ReadWrite)
            .map_err(|user| in_use(&self.path, user))
    }

    /// Releases the lock: another process may use the image.
    pub fn unlock(&self) {
        image_lock::unlock(&self.file);
    }

    /// True if another process has locked the image, `None` where files cannot be locked; asked before this one locks
    /// it.
    pub fn is_locked_elsewhere(&self) -> Option<bool> {
        image_lock::is_locked(&self.file)
    }

    /// Its path, as it was given.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// When the contents of the file were changed last: seconds since 1970, and nanoseconds.
    ///
    /// # Errors
    ///
    /// The host's reason.
    pub fn modified(&self) -> io::Result<(i64, i64)> {
        let status = self.file.metadata()?;
        Ok((status.mtime(), status.mtime_nsec()))
    }

    /// Bytes of the disk.
    pub fn size(&self) -> u64 {
        self.sectors * SECTOR
    }

    /// True if what is written stays in memory.
    pub fn keeps_writes_in_memory(&self) -> bool {
        self.mode == DiskMode::Snapshot
    }

    /// True if anything that was written is in memory.
    pub fn has_writes_in_memory(&self) -> bool {
        self.written.numbers().next().is_some()
    }

    /// What was written so far; `None` if it is in the file.
    pub(super) fn save_writes(&self) -> Option<SavedWrites> {
        self.keeps_writes_in_memory().then(|| self.written.save())
    }

    /// Goes back to what [`Self::save_writes`] returned; calls `changed` with the first byte of each 4 KiB page whose
    /// contents may be others then.
    pub(super) fn restore_writes(&mut self, saved: &SavedWrites, mut changed: impl FnMut(u64)) {
        self.written.restore(saved, |cluster| changed(cluster * CLUSTER));
    }

    /// The file, to make its contents durable without keeping others from the image; `None` if nothing is written to
    /// it.
    pub(super) fn clone_file(&self) -> io::Result<Option<File>> {
        (self.mode == DiskMode::ReadWrite).then(|| self.file.try_clone()).transpose()
    }

    /// The 4 KiB pages that may hold anything but zeros.
    ///
    /// # Errors
    ///
    /// The host's reason.
    pub fn pages_in_use(&self) -> io::Result<PageSet> {
        let (mut pages, size) = (PageSet::default(), self.size());
        let mut at = 0;
        while at < size {
            let start = match seek(&self.file, Look::Data(at)) {
                Ok(start) => start,
                // No data up to the end.
                Err(Errno::NXIO) => break,
                // No holes are known.
                Err(Errno::INVAL) => at,
                Err(error) => return Err(error.into()),
            };
            let end = seek(&self.file, Look::Hole(start)).unwrap_or(size).clamp(start, size);
            pages.insert_range(start.min(size)..end);
            at = end.max(at + 1);
        }
        self.written.numbers().for_each(|cluster| pages.insert(cluster * CLUSTER));
        Ok(pages)
    }

    /// Number of sectors.
    pub fn sectors(&self) -> u64 {
        self.sectors
    }

    /// True if writes are refused.
    pub fn is_read_only(&self) -> bool {
        self.mode == DiskMode::ReadOnly
    }

    /// Reads whole sectors from sector `lba` on.
    ///
    /// # Errors
    ///
    /// The sector that could not be read, and the host's reason.
    pub fn read(&self, lba: u64, data: &mut [u8]) -> Result<(), (u64, io::Error)> {
        self.check(lba, data.len())?;
        let at = lba * SECTOR;
        let mut done = 0;
        while done < data.len() {
            match self.file.read_at(&mut data[done..], at + done as u64) {
                // The last sector of a CD is not all there.
                Ok(0) if self.is_cdrom && at + done as u64 >= self.file_size => {
                    data[done..].fill(0);
                    break;
                }
                Ok(0) => return Err((lba + done as u64 / SECTOR, io::ErrorKind::UnexpectedEof.into())),
                Ok(count) => done += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err((lba + done as u64 / SECTOR, error)),
            }
        }
        self.lay_over(at, data);
        Ok(())
    }

    /// Puts what was written to memory over `data`, which the file has from byte `at` on.
    fn lay_over(&self, at: u64, data: &mut [u8]) {
        for (cluster, within, range) in clusters(at, data.len()) {
            if let Some(written) = self.written.get(cluster) {
                let length = range.len();
                data[range].copy_from_slice(&written[within..within + length]);
            }
        }
    }

    /// As [`Self::read`], but only if the host has the contents in memory: it never waits. False without an answer; `data`
    /// has no meaning then. Manual: preadv2(2), RWF_NOWAIT.
    pub(super) fn read_cached(&self, lba: u64, data: &mut [u8]) -> bool {
        if self.check(lba, data.len()).is_err() {
            return false;
        }
        let at = lba * SECTOR;
        let read = preadv2(&self.file, &mut [IoSliceMut::new(data)], at, ReadWriteFlags::NOWAIT);
        if read != Ok(data.len()) {
            return false;
        }
        self.lay_over(at, data);
        true
    }

    /// Writes whole sectors from sector `lba` on.
    ///
    /// # Errors
    ///
    /// The sector that could not be written, and the host's reason.
    pub fn write(&mut self, lba: u64, data: &[u8]) -> Result<(), (u64, io::Error)> {
        self.check(lba, data.len())?;
        let at = lba * SECTOR;
        match self.mode {
            DiskMode::ReadOnly => Err((lba, io::ErrorKind::ReadOnlyFilesystem.into())),
            DiskMode::Snapshot => self.write_to_memory(at, data).map_err(|error| (lba, error)),
            DiskMode::ReadWrite => {
                let mut done = 0;
                while done < data.len() {
                    match self.file.write_at(&data[done..], at + done as u64) {
                        Ok(0) => return Err((lba + done as u64 / SECTOR, io::ErrorKind::WriteZero.into())),
                        Ok(count) => done += count,
                        Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                        Err(error) => return Err((lba + done as u64 / SECTOR, error)),
                    }
                }
                Ok(())
            }
        }
    }

    /// Makes all writes durable.
    ///
    /// # Errors
    ///
    /// The host's reason.
    pub fn flush(&self) -> io::Result<()> {
        if self.mode == DiskMode::ReadWrite { self.file.sync_data() } else { Ok(()) }
    }

    fn check(&self, lba: u64, length: usize) -> Result<(), (u64, io::Error)> {
        let end = lba.checked_add(length as u64 / SECTOR);
        if end.is_none_or(|end| end > self.sectors) {
            return Err((lba, io::ErrorKind::InvalidInput.into()));
        }
        Ok(())
    }

    fn write_to_memory(&mut self, at: u64, data: &[u8]) -> io::Result<()> {
        let end = self.sectors * SECTOR;
        for (cluster, within, range) in clusters(at, data.len()) {
            let start = cluster * CLUSTER;
            let exists = (end - start).min(CLUSTER) as usize;
            let contents =
                self.written.get_mut(cluster, |all| self.file.read_exact_at(&mut all[..exists], start))?;
            contents[within..within + range.len()].copy_from_slice(&data[range]);
        }
        Ok(())
    }
}

/// The clusters that `length` bytes from `at` on lie in: the number of each, where in it the bytes start, and which of
/// the bytes they are.
fn clusters(at: u64, length: usize) -> impl Iterator<Item = (u64, usize, std::ops::Range<usize>)> {
    let end = at + length as u64;
    (at / CLUSTER..end.div_ceil(CLUSTER)).map(move |cluster| {
        let (start, stop) = (at.max(cluster * CLUSTER), end.min((cluster + 1) * CLUSTER));
        (cluster, (start % CLUSTER) as usize, (start - at) as usize..(stop - at) as usize)
    })
}

#[cfg(test)]
#[path = "disk_image_test.rs"]
mod tests;

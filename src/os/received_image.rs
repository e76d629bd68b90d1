//! The file of a disk whose contents a migration sends: created, or emptied if the user allows it.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{SeekFrom, seek};
use rustix::io::Errno;

use super::disk_image::{DiskImageError, in_use};
use super::image_lock;

/// A file for the contents of a disk.
#[derive(Debug)]
pub struct ReceivedImage {
    /// The file, locked, as long as the disk and without contents.
    pub file: File,
    /// It did not exist before.
    pub created: bool,
}

impl ReceivedImage {
    /// Opens and locks the file at `path` for a disk of `size` bytes. A file that has contents is emptied only with
    /// `overwrite`.
    ///
    /// # Errors
    ///
    /// [`DiskImageError`]; an existing file is unchanged then.
    pub fn open(path: &Path, size: u64, overwrite: bool) -> Result<ReceivedImage, DiskImageError> {
        let failed = |error| DiskImageError::Open { path: path.to_owned(), error, remedy: "" };
        let open = |new: bool| OpenOptions::new().read(true).write(true).create_new(new).open(path);
        if std::fs::metadata(path).is_ok_and(|status| !status.is_file()) {
            return Err(DiskImageError::NoFile(path.to_owned()));
        }
        let (file, created) = match open(true) {
            Ok(file) => (file, true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                (open(false).map_err(failed)?, false)
            }
            Err(error) => return Err(failed(error)),
        };
        image_lock::lock(&file, path, true).map_err(|user| in_use(path, user))?;
        if !overwrite && !is_blank(&file).map_err(failed)? {
            return Err(DiskImageError::HasContents(path.to_owned()));
        }
        let sized = file.set_len(0).and_then(|()| file.set_len(size));
        match sized {
            Ok(()) => Ok(ReceivedImage { file, created }),
            Err(error) => {
                if created {
                    let _ = std::fs::remove_file(path);
                }
                Err(failed(error))
            }
        }
    }

    /// All contents are written: makes them durable, and unlocks the file, which is then opened as an image.
    ///
    /// # Errors
    ///
    /// The host's reason.
    pub fn finish(self) -> io::Result<()> {
        self.file.sync_data()?;
        // The thread that has written the contents may still have the file open.
        image_lock::unlock(&self.file);
        Ok(())
    }
}

/// True if the file holds no data: it is empty, or one hole.
fn is_blank(file: &File) -> io::Result<bool> {
    match seek(file, SeekFrom::Data(0)) {
        Ok(_) => Ok(false),
        Err(Errno::NXIO) => Ok(true),
        Err(_) => Ok(file.metadata()?.len() == 0),
    }
}

/// Removes files that were created and not completed, when it is dropped.
#[derive(Debug, Default)]
pub struct IncompleteFiles(Vec<PathBuf>);

impl IncompleteFiles {
    /// Removes this file, too.
    pub fn add(&mut self, path: &Path) {
        self.0.push(path.to_owned());
    }

    /// The files are complete and stay.
    pub fn keep(mut self) {
        self.0.clear();
    }
}

impl Drop for IncompleteFiles {
    fn drop(&mut self) {
        for path in &self.0 {
            let _ = std::fs::remove_file(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_file_with_contents_is_emptied_only_if_the_user_allows_it() {
        let folder = std::env::temp_dir().join(format!("kvm-received-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("a.img");
        let made = ReceivedImage::open(&path, 4096, false).unwrap();
        assert!(made.created && made.file.metadata().unwrap().len() == 4096);
        assert!(matches!(ReceivedImage::open(&path, 4096, true), Err(DiskImageError::Locked { .. })));
        drop(made);
        // A hole of another size holds nothing either.
        let mut again = ReceivedImage::open(&path, 8192, false).unwrap();
        assert!(!again.created);
        again.file.write_all(b"data").unwrap();
        drop(again);
        let message = ReceivedImage::open(&path, 8192, false).unwrap_err().to_string();
        assert!(message.contains("a.img has contents") && message.contains("--overwrite-disks"), "{message}");
        assert_eq!(std::fs::read(&path).unwrap()[..4], *b"data");
        drop(ReceivedImage::open(&path, 512, true).unwrap());
        assert_eq!(std::fs::read(&path).unwrap(), [0; 512]);
        let message = ReceivedImage::open(&folder, 512, true).unwrap_err().to_string();
        assert!(message.contains("is no file"), "{message}");
        let mut files = IncompleteFiles::default();
        files.add(&path);
        drop(files);
        assert!(!path.exists());
        std::fs::remove_dir_all(&folder).unwrap();
    }
}

//! A file that replaces another one once it is complete: whoever opens the name finds the old file or the new one,
//! also after a crash of this process or of the host.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags};

/// Who may read the new file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readers {
    /// Its owner only: it holds the guest's memory.
    Owner,
    /// Those that the umask of the process allows.
    Umask,
}

/// A new file that is not in place yet. Dropped before [`Self::put_in_place`], it leaves no trace.
#[derive(Debug)]
pub struct ReplacementFile {
    file: File,
    target: PathBuf,
    /// Its temporary name, if it has one.
    name: Option<PathBuf>,
}

/// Replaces the file at `path` by one with these `contents`.
///
/// # Errors
///
/// As [`ReplacementFile::new`] and [`ReplacementFile::put_in_place`]; the old file is still there.
pub fn replace(path: &Path, readers: Readers, contents: &[u8]) -> io::Result<()> {
    let new = ReplacementFile::new(path, readers)?;
    new.file().write_all(contents)?;
    new.put_in_place()
}

impl ReplacementFile {
    /// Creates an empty file that is to replace `path`, or the file that `path` is a symbolic link to.
    ///
    /// # Errors
    ///
    /// `path` is a directory, a device or a pipe, or the host's reason.
    pub fn new(path: &Path, readers: Readers) -> io::Result<ReplacementFile> {
        let target = target(path)?;
        let mode = match readers {
            Readers::Owner => Mode::RUSR | Mode::WUSR,
            Readers::Umask => Mode::from_raw_mode(0o666),
        };
        // The kernel removes an unnamed file when this process ends, in any way.
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        if let Ok(file) = rustix::fs::open(folder(&target), flags, mode) {
            return Ok(ReplacementFile { file: file.into(), target, name: None });
        }
        ReplacementFile::with_name(target, mode)
    }

    /// For file systems without unnamed files.
    fn with_name(target: PathBuf, mode: Mode) -> io::Result<ReplacementFile> {
        let name = temporary(&target);
        // A file of this name may remain from a killed process with the same PID. A file created by another
        // user is not written to, because its owner could read the guest's memory in it.
        let _ = std::fs::remove_file(&name);
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let file = rustix::fs::open(&name, flags, mode)?;
        Ok(ReplacementFile { file: file.into(), target, name: Some(name) })
    }

    /// The file to be written.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Waits until the disk has the contents, and renames the file over the destination.
    ///
    /// # Errors
    ///
    /// The host's reason; the old file is still there.
    pub fn put_in_place(mut self) -> io::Result<()> {
        self.file.sync_all()?;
        if self.name.is_none() {
            use std::os::fd::AsRawFd;
            let own = format!("/proc/self/fd/{}", self.file.as_raw_fd());
            let name = temporary(&self.target);
            // Remains of a killed process with the same PID.
            let _ = std::fs::remove_file(&name);
            rustix::fs::linkat(CWD, own, CWD, &name, AtFlags::SYMLINK_FOLLOW)?;
            self.name = Some(name);
        }
        if let Some(name) = &self.name {
            std::fs::rename(name, &self.target)?;
        }
        self.name = None;
        // Sync the directory, which holds the name. File systems that cannot sync it alone write it later.
        let _ = File::open(folder(&self.target)).and_then(|folder| folder.sync_all());
        Ok(())
    }
}

impl Drop for ReplacementFile {
    fn drop(&mut self) {
        if let Some(name) = self.name.take() {
            let _ = std::fs::remove_file(name);
        }
    }
}

/// The regular file that `path` resolves to, or will be created as.
fn target(path: &Path) -> io::Result<PathBuf> {
    let refuse = |reason| io::Error::new(io::ErrorKind::InvalidInput, reason);
    match path.metadata() {
        Ok(there) if there.is_dir() => Err(refuse("this is a directory; name a file in it")),
        Ok(there) if !there.is_file() => Err(refuse("this is a device or a pipe; name a regular file")),
        Ok(_) => path.canonicalize(),
        Err(_) if path.file_name().is_none() => Err(refuse("it names no file")),
        Err(_) => Ok(path.to_owned()),
    }
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// The temporary name of an incomplete file.
fn temporary(target: &Path) -> PathBuf {
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    target.with_file_name(format!(".{name}.{}.part", std::process::id()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_existing_temporary_file_is_not_written_to() {
        let folder = std::env::temp_dir().join(format!("kvm-replacement-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let (target, others) = (folder.join("a.kvmstate"), folder.join("others"));
        std::fs::write(&others, "theirs").unwrap();
        std::fs::hard_link(&others, temporary(&target)).unwrap();
        let made = ReplacementFile::with_name(target.clone(), Mode::RUSR | Mode::WUSR).unwrap();
        made.file().write_all(b"ours").unwrap();
        made.put_in_place().unwrap();
        assert_eq!(std::fs::read_to_string(&target).unwrap(), "ours");
        assert_eq!(std::fs::read_to_string(&others).unwrap(), "theirs");
        std::fs::remove_dir_all(&folder).unwrap();
    }
}

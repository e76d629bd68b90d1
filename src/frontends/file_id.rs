//! Which file a path or a standard stream leads to, whatever its name.
//!
//! Standard output, standard error, the log and the files of serial ports may be one file. Two writers that each have
//! opened it write over each other, or tear each other's lines.

use std::fs::File;
use std::io::{self, IsTerminal, stderr, stdout};
use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::{FileType, Stat, fstat, major, minor, stat};

/// Major number of `/dev/null` and other devices that keep nothing.
const MEMORY_DEVICES: u32 = 1;
/// Major and minor number of `/dev/tty`, a second name of the process's terminal.
const PROCESS_TERMINAL: (u32, u32) = (5, 0);

/// A file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileId {
    device: u64,
    inode: u64,
    is_fifo: bool,
}

impl FileId {
    /// An open file; `None` for `/dev/null` and its like, which may have any number of writers.
    pub(super) fn of(file: impl AsFd) -> Option<FileId> {
        FileId::described(&fstat(file).ok()?)
    }

    /// The existing file at `path`; `None` as for [`FileId::of`].
    pub(super) fn at(path: &Path) -> Option<FileId> {
        let status = stat(path).ok()?;
        match device(&status) == Some(PROCESS_TERMINAL) {
            true if stdout().is_terminal() => FileId::of(stdout()),
            true if stderr().is_terminal() => FileId::of(stderr()),
            _ => FileId::described(&status),
        }
    }

    fn described(status: &Stat) -> Option<FileId> {
        let keeps_nothing = device(status).is_some_and(|(major, _)| major == MEMORY_DEVICES);
        let is_fifo = FileType::from_raw_mode(status.st_mode) == FileType::Fifo;
        (!keeps_nothing).then_some(FileId { device: status.st_dev, inode: status.st_ino, is_fifo })
    }

    /// True for a FIFO or a pipe.
    pub(super) fn is_fifo(self) -> bool {
        self.is_fifo
    }
}

/// Major and minor number of a character device.
fn device(status: &Stat) -> Option<(u32, u32)> {
    let is_device = FileType::from_raw_mode(status.st_mode) == FileType::CharacterDevice;
    is_device.then(|| (major(status.st_rdev), minor(status.st_rdev)))
}

/// Another handle on a standard stream, which shares its position with all others.
///
/// # Errors
///
/// The host's, for example when the stream is closed.
pub(super) fn duplicate(stream: impl AsFd) -> io::Result<File> {
    Ok(File::from(stream.as_fd().try_clone_to_owned()?))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_file_has_one_id_under_all_its_names() {
        let folder = std::env::temp_dir().join(format!("kvm-file-id-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let [file, link, other] = ["file", "link", "other"].map(|name| folder.join(name));
        fs::write(&file, "").unwrap();
        fs::write(&other, "").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        assert!(FileId::at(&file).is_some());
        assert_eq!(FileId::at(&file), FileId::at(&link));
        assert_eq!(FileId::at(&file), FileId::of(File::open(&link).unwrap()));
        assert_ne!(FileId::at(&file), FileId::at(&other));
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!(FileId::at(&file), None);
        assert_eq!(FileId::at(Path::new("/dev/null")), None);
    }
}

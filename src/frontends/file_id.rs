//! Which file a path or a standard stream leads to, whatever its name.
//!
//! Standard output, standard error, the log and the files of serial ports may be one file. Two writers that each have
//! opened it write over each other, or tear each other's lines.

use std::fs::{self, File, Metadata};
use std::io::{self, IsTerminal, stderr, stdout};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use rustix::fs::{major, minor};

/// Major number of `/dev/null` and other devices that keep nothing.
const MEMORY_DEVICES: u32 = 1;
/// Major and minor number of `/dev/tty`, a second name of the process's terminal.
const PROCESS_TERMINAL: (u32, u32) = (5, 0);

/// A file: device and inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileId(u64, u64);

impl FileId {
    /// The file that `metadata` describes; `None` for `/dev/null` and its like, which may have any number of writers.
    pub(super) fn of(metadata: &Metadata) -> Option<FileId> {
        let keeps_nothing = metadata.file_type().is_char_device() && major(metadata.rdev()) == MEMORY_DEVICES;
        (!keeps_nothing).then(|| FileId(metadata.dev(), metadata.ino()))
    }

    /// The existing file at `path`.
    pub(super) fn at(path: &Path) -> Option<FileId> {
        let metadata = fs::metadata(path).ok()?;
        let device = (major(metadata.rdev()), minor(metadata.rdev()));
        match metadata.file_type().is_char_device() && device == PROCESS_TERMINAL {
            true if stdout().is_terminal() => FileId::of_stdout(),
            true if stderr().is_terminal() => FileId::of_stderr(),
            _ => FileId::of(&metadata),
        }
    }

    /// Standard output.
    pub(super) fn of_stdout() -> Option<FileId> {
        FileId::of(&duplicate(stdout()).ok()?.metadata().ok()?)
    }

    /// Standard error.
    pub(super) fn of_stderr() -> Option<FileId> {
        FileId::of(&duplicate(stderr()).ok()?.metadata().ok()?)
    }
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
        assert_ne!(FileId::at(&file), FileId::at(&other));
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!(FileId::at(&file), None);
        assert_eq!(FileId::at(Path::new("/dev/null")), None);
    }
}

//! Which files the commands that write files may overwrite: those that kvm has written, unless the user gives `-f`.
//!
//! Snapshots, pictures, reports, core files and tracefiles are recognised by their contents. A screen as text is marked by an extended attribute with
//! the checksum of its contents, so that a text that was edited since is kept.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

use rustix::fs::{XattrFlags, getxattr, setxattr};

use super::error::CommandError;
use crate::coverage::lcov::is_lcov_start;
use crate::inspect::core_file::is_core_start;
use crate::inspect::picture::{is_own_pixmap, is_own_png};
use crate::inspect::report_json::is_report_start;
use crate::state::is_snapshot_start;

/// The extended attribute of a screen as text. Its value is the CRC-32 of the contents.
const ATTRIBUTE: &str = "user.kvm.screen";
/// Bytes that identify a snapshot or a picture.
const START: usize = 128;
/// Longest screen as text in bytes: characters of three bytes, and line ends.
const LONGEST_TEXT: u64 = 25 * (80 * 3 + 1);

/// Splits `-f` from the arguments of a command.
pub(super) fn split_force(arguments: &str) -> (bool, &str) {
    match arguments.strip_prefix("-f").filter(|rest| rest.is_empty() || rest.starts_with(char::is_whitespace))
    {
        Some(rest) => (true, rest.trim_start()),
        None => (false, arguments),
    }
}

/// Checks that a command may write `file`; `force` is the user's `-f`.
///
/// # Errors
///
/// [`CommandError::Exists`].
pub(super) fn check(command: &'static str, file: &Path, force: bool) -> Result<(), CommandError> {
    if force || may_be_overwritten(file) {
        return Ok(());
    }
    Err(CommandError::Exists { command, file: file.display().to_string() })
}

/// Marks `file` as a screen whose contents are `text`. On a file system without extended attributes the next
/// screen needs `-f`.
pub(super) fn mark_screen(file: &Path, text: &[u8]) {
    let value = crc32fast::hash(text).to_le_bytes();
    let _ = setxattr(file, ATTRIBUTE, &value, XattrFlags::empty());
}

/// True if nothing is at `path` that the user may want to keep.
pub fn may_be_overwritten(path: &Path) -> bool {
    let metadata = match path.metadata() {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == ErrorKind::NotFound => return path.symlink_metadata().is_err(),
        // Writing fails for the same reason, and reports it.
        Err(_) => return true,
    };
    // Writing over a directory fails, and reports it.
    metadata.is_dir() || metadata.is_file() && (metadata.len() == 0 || is_own_file(path, metadata.len()))
}

fn is_own_file(path: &Path, length: u64) -> bool {
    let start = read(path, START as u64);
    is_snapshot_start(&start)
        || is_own_png(&start)
        || is_own_pixmap(&start)
        || is_report_start(&start)
        || is_core_start(&start)
        || is_lcov_start(&start)
        || length <= LONGEST_TEXT && is_own_screen(path)
}

fn is_own_screen(path: &Path) -> bool {
    let mut value = [0; 4];
    let found = getxattr(path, ATTRIBUTE, &mut value[..]);
    found == Ok(value.len()) && u32::from_le_bytes(value) == crc32fast::hash(&read(path, LONGEST_TEXT))
}

/// The first `length` bytes of a regular file; none if it cannot be read.
fn read(path: &Path, length: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    match File::open(path).and_then(|file| file.take(length).read_to_end(&mut bytes)) {
        Ok(_) => bytes,
        Err(_) => Vec::new(),
    }
}

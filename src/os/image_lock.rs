//! Locks on disk images: a writer excludes everyone else, readers share.
//!
//! Two kinds of locks are taken. flock(2) locks the whole file. QEMU locks single bytes instead (block/file-posix.c,
//! F_OFD_SETLK of fcntl(2)): one for each permission that it uses, and one for each that it does not leave to others.
//! The same bytes are locked here, so that QEMU does not open an image that this program uses, and the other way
//! round.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{FlockOperation, flock};

/// Bytes of the permissions in use, and of those that are not left to others.
const USED: i64 = 100;
const WITHHELD: i64 = 200;
/// The permissions, as QEMU numbers them: consistent reads, writes, changes of the size.
const READ: i64 = 0;
const WRITE: i64 = 1;
const RESIZE: i64 = 3;

/// Another process has locked the image.
#[derive(Debug)]
pub(super) struct InUse {
    /// Which one, if it is known.
    pub(super) process: Option<u32>,
}

/// Locks the file against writers, and if this process writes, against readers as well. Where the file system has no
/// locks, for example on a network, the log has a warning.
pub(super) fn lock(file: &File, path: &Path, writes: bool) -> Result<(), InUse> {
    let operation =
        if writes { FlockOperation::NonBlockingLockExclusive } else { FlockOperation::NonBlockingLockShared };
    match flock(file, operation) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => return Err(InUse { process: holder(file) }),
        Err(error) => tracing::warn!("the disk image {} cannot be locked: {error}", path.display()),
    }
    match lock_bytes(file, writes) {
        Ok(true) => Ok(()),
        Ok(false) => {
            unlock(file);
            Err(InUse { process: None })
        }
        Err(error) => {
            tracing::warn!("the disk image {} is not locked against QEMU: {error}", path.display());
            Ok(())
        }
    }
}

/// Releases all locks of the open file.
pub(super) fn unlock(file: &File) {
    // What was never locked is not locked afterwards either.
    let _ = flock(file, FlockOperation::Unlock);
    for byte in [USED + READ, USED + WRITE, WITHHELD + WRITE, WITHHELD + RESIZE] {
        let _ = set(file, libc::F_OFD_SETLK, libc::F_UNLCK, byte);
    }
}

/// True if another process has locked the file, `None` if it cannot be locked. Nothing is locked afterwards.
pub(super) fn is_locked(file: &File) -> Option<bool> {
    match flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {
            let _ = flock(file, FlockOperation::Unlock);
            Some(false)
        }
        Err(rustix::io::Errno::WOULDBLOCK) => Some(true),
        Err(_) => None,
    }
}

/// Locks the bytes of QEMU; false if another process excludes this use.
fn lock_bytes(file: &File, writes: bool) -> io::Result<bool> {
    let (mut own, mut foreign) = (
        vec![USED + READ, WITHHELD + WRITE, WITHHELD + RESIZE],
        vec![WITHHELD + READ, USED + WRITE, USED + RESIZE],
    );
    if writes {
        own.push(USED + WRITE);
        foreign.push(WITHHELD + WRITE);
    }
    // First locked and then looked: of two that do this at once, at least one sees the other.
    for byte in own {
        set(file, libc::F_OFD_SETLK, libc::F_RDLCK, byte)?;
    }
    for byte in foreign {
        if set(file, libc::F_OFD_GETLK, libc::F_WRLCK, byte)? != libc::F_UNLCK {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Sets or looks for a lock on a byte; the kind of lock that was found.
fn set(file: &File, command: libc::c_int, kind: libc::c_int, byte: i64) -> io::Result<libc::c_int> {
    let mut lock = libc::flock {
        l_type: kind as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: byte,
        l_len: 1,
        l_pid: 0,
    };
    // SAFETY: the descriptor is open, and the kernel reads and writes the structure, which lives during the call.
    let result = unsafe { libc::fcntl(file.as_raw_fd(), command, &raw mut lock) };
    if result == 0 { Ok(lock.l_type.into()) } else { Err(io::Error::last_os_error()) }
}

/// The process that has locked the file, as /proc/locks (proc_locks(5)) shows it.
fn holder(file: &File) -> Option<u32> {
    let inode = file.metadata().ok()?.ino();
    let locks = std::fs::read_to_string("/proc/locks").ok()?;
    let holder = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        // Waiting requests have `->` in front of the type.
        let &[_, "FLOCK", _, _, pid, place, ..] = words.as_slice() else { return None };
        (place.rsplit(':').next()?.parse() == Ok(inode)).then(|| pid.parse().ok()).flatten()
    };
    locks.lines().find_map(holder)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file that does not exist any more, and a second open file of it.
    fn twice(name: &str) -> (File, File) {
        let path = std::env::temp_dir().join(format!("kvm-lock-{name}-{}", std::process::id()));
        std::fs::write(&path, [0; 512]).unwrap();
        let open = || File::options().read(true).write(true).open(&path).unwrap();
        let both = (open(), open());
        std::fs::remove_file(&path).unwrap();
        both
    }

    #[test]
    fn a_writer_excludes_everyone_and_readers_share() {
        let (a, b) = twice("both");
        let path = Path::new("a.img");
        lock(&a, path, true).unwrap();
        assert_eq!(is_locked(&b), Some(true));
        assert_eq!(lock(&b, path, false).unwrap_err().process, Some(std::process::id()));
        unlock(&a);
        assert_eq!(is_locked(&b), Some(false));
        lock(&b, path, false).unwrap();
        lock(&a, path, false).unwrap();
        lock(&a, path, true).unwrap_err();
    }

    #[test]
    fn qemu_and_this_program_exclude_each_other() {
        let (a, b) = twice("qemu");
        // QEMU has the image open for writing, and leaves only reading to others.
        for byte in [USED + READ, USED + WRITE, WITHHELD + WRITE, WITHHELD + RESIZE] {
            set(&b, libc::F_OFD_SETLK, libc::F_RDLCK, byte).unwrap();
        }
        for writes in [true, false] {
            assert_eq!(lock(&a, Path::new("a.img"), writes).unwrap_err().process, None);
        }
        unlock(&b);
        lock(&a, Path::new("a.img"), true).unwrap();
        // What QEMU looks at before it writes.
        assert_eq!(set(&b, libc::F_OFD_GETLK, libc::F_WRLCK, WITHHELD + WRITE).unwrap(), libc::F_RDLCK);
        assert_eq!(set(&b, libc::F_OFD_GETLK, libc::F_WRLCK, USED + WRITE).unwrap(), libc::F_RDLCK);
    }
}

//! Which files and TCP ports a confined thread may open: none.
//!
//! Manual: Documentation/userspace-api/landlock.rst.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// landlock_create_ruleset(2).
const CREATE_RULESET: libc::c_long = 444;
/// landlock_restrict_self(2).
const RESTRICT_SELF: libc::c_long = 446;
/// LANDLOCK_CREATE_RULESET_VERSION: landlock_create_ruleset(2) returns the version of Landlock and does no more.
const VERSION_ONLY: u32 = 1;

/// Number of file access rights of each version; each is a bit, from the lowest on.
const FILE_ACCESSES: [u32; 5] = [13, 14, 15, 15, 16];

/// The first version that knows of TCP, and its two kinds of access: listening and connecting.
const WITH_TCP: usize = 4;
const TCP_ACCESSES: u64 = 0b11;

/// `struct landlock_ruleset_attr`.
#[repr(C)]
struct Ruleset {
    files: u64,
    network: u64,
}

/// The version of this kernel.
pub(super) fn version() -> io::Result<usize> {
    // SAFETY: without a structure, the system call only returns the version.
    let version = unsafe { libc::syscall(CREATE_RULESET, std::ptr::null::<Ruleset>(), 0usize, VERSION_ONLY) };
    usize::try_from(version).map_err(|_| io::Error::last_os_error())
}

/// Keeps this thread, and threads it starts, from opening files, starting programs, and listening on or
/// connecting to TCP ports, as far as this kernel's version, which is returned, knows of them.
pub(super) fn confine_thread() -> io::Result<usize> {
    let version = version()?;
    super::set_no_new_privileges()?;
    let known = version.clamp(1, FILE_ACCESSES.len());
    let network = if version >= WITH_TCP { TCP_ACCESSES } else { 0 };
    let ruleset = Ruleset { files: (1 << FILE_ACCESSES[known - 1]) - 1, network };
    let size = if version >= WITH_TCP { size_of::<Ruleset>() } else { size_of::<u64>() };
    // SAFETY: the structure lives during the call, and `size` bytes of it are read.
    let rules = unsafe { libc::syscall(CREATE_RULESET, &raw const ruleset, size, 0u32) };
    let rules = libc::c_int::try_from(rules).map_err(io::Error::other)?;
    if rules < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the system call has just opened it, and nothing else owns it.
    let rules = unsafe { OwnedFd::from_raw_fd(rules) };
    // SAFETY: takes a descriptor, which is open, and changes what this thread may do.
    let result = unsafe { libc::syscall(RESTRICT_SELF, rules.as_raw_fd(), 0u32) };
    if result == 0 { Ok(version) } else { Err(io::Error::last_os_error()) }
}

//! Confines threads that read from the network to what they need, so that an error in them cannot be used for
//! more.
//!
//! | file | what a confined thread may do |
//! |---|---|
//! | `landlock` | open files and TCP ports: none |
//! | `seccomp` | system calls: those that it needs |
//!
//! A thread calls [`confine_thread`] before it accepts its first client. It cannot be undone.

mod landlock;
mod seccomp;

use tracing::{debug, info};

/// What confines a thread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Confinement {
    /// The version of Landlock that is in force, if any.
    pub landlock: Option<usize>,
    /// A seccomp filter is in force: only the system calls that the thread needs are allowed.
    pub seccomp: bool,
}

impl Confinement {
    /// What this kernel supports. Changes nothing.
    pub fn available() -> Confinement {
        Confinement { landlock: landlock::version().ok(), seccomp: seccomp::is_available() }
    }
}

impl std::fmt::Display for Confinement {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.landlock, self.seccomp) {
            (Some(version), true) => write!(f, "seccomp, and Landlock version {version}"),
            (Some(version), false) => write!(f, "Landlock version {version}"),
            (None, true) => f.write_str("seccomp"),
            (None, false) => f.write_str("nothing"),
        }
    }
}

/// Keeps this thread, and threads it starts, from opening files, starting processes, creating or connecting
/// sockets, and mapping executable memory. Open descriptors stay usable, also for accepting connections.
/// Returns what of this the kernel has and is in force now, and logs it.
pub fn confine_thread() -> Confinement {
    let landlock = logged("Landlock", landlock::confine_thread());
    let seccomp = logged("seccomp", seccomp::confine_thread()).is_some();
    let confinement = Confinement { landlock, seccomp };
    if confinement == Confinement::default() {
        info!(
            "the thread that reads from the network is not confined: this kernel has neither seccomp nor Landlock"
        );
    } else {
        info!("the thread that reads from the network is confined by {confinement}");
    }
    confinement
}

/// Sets no_new_privs: programs that this thread starts gain no privileges. The kernel confines only threads that
/// have set it.
fn set_no_new_privileges() -> std::io::Result<()> {
    // SAFETY: changes a flag of this thread and nothing else.
    match unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    }
}

fn logged<T>(what: &str, result: std::io::Result<T>) -> Option<T> {
    result.inspect_err(|error| debug!("this kernel does not confine a thread by {what}: {error}")).ok()
}

#[cfg(test)]
#[path = "sandbox_test.rs"]
mod tests;

//! Taking rights away from a thread that reads what strangers send.
//!
//! | file | what it knows |
//! |---|---|
//! | `landlock` | which files and ports a thread may open: none |
//! | `filter` | which system calls it may make: those that it needs |

mod filter;
mod landlock;

use tracing::{debug, info};

/// What keeps a thread from what it has no business with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Confinement {
    /// The version of Landlock that is in force, if any.
    pub landlock: Option<usize>,
    /// Only the system calls it needs are carried out (seccomp).
    pub filter: bool,
}

impl Confinement {
    /// What this kernel has. Nothing changes.
    pub fn available() -> Confinement {
        Confinement { landlock: landlock::version().ok(), filter: filter::is_available() }
    }
}

impl std::fmt::Display for Confinement {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.landlock, self.filter) {
            (Some(version), true) => write!(f, "seccomp, and Landlock version {version}"),
            (Some(version), false) => write!(f, "Landlock version {version}"),
            (None, true) => f.write_str("seccomp"),
            (None, false) => f.write_str("nothing"),
        }
    }
}

/// From now on this thread, and threads it starts, can open no file, start no process, make or connect no
/// socket, and map no memory to be executed. What is open already stays usable, also for accepting
/// connections. What the kernel has of this is in force, and told.
pub fn confine_thread() -> Confinement {
    let landlock = told("Landlock", landlock::confine_thread());
    let filter = told("seccomp", filter::confine_thread()).is_some();
    let confinement = Confinement { landlock, filter };
    if confinement == Confinement::default() {
        info!("nothing confines the thread that reads from the network: this kernel has neither");
    } else {
        info!("the thread that reads from the network is confined by {confinement}");
    }
    confinement
}

/// Programs that this thread starts get no more rights than it has: the kernel confines only those that have
/// said so.
fn gain_no_rights() -> std::io::Result<()> {
    // SAFETY: nothing but a flag of this thread's is changed.
    match unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    }
}

fn told<T>(what: &str, result: std::io::Result<T>) -> Option<T> {
    result.inspect_err(|error| debug!("this kernel does not confine a thread by {what}: {error}")).ok()
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{ErrorKind, Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::os::unix::net::UnixStream;
    use std::process::Command;
    use std::thread;

    use super::*;

    /// What a confined thread is told when it tries.
    fn tried<T: Send + 'static>(try_it: fn() -> std::io::Result<T>) -> Option<ErrorKind> {
        let thread = thread::spawn(move || {
            confine_thread();
            try_it().err().map(|error| error.kind())
        });
        thread.join().unwrap()
    }

    #[test]
    fn a_confined_thread_opens_nothing_and_others_still_do() {
        let available = Confinement::available();
        assert_eq!(thread::spawn(confine_thread).join().unwrap(), available);
        let denied = Some(ErrorKind::PermissionDenied);
        let open = || File::open("/proc/self/status").map(drop);
        if available != Confinement::default() {
            assert_eq!(tried(open), denied);
        }
        open().unwrap();
        if available.filter {
            assert_eq!(tried(|| Command::new("/bin/true").spawn()), denied);
            assert_eq!(tried(|| TcpListener::bind("127.0.0.1:0")), denied);
            assert_eq!(tried(|| TcpStream::connect("127.0.0.1:1")), denied);
            assert_eq!(tried(UnixStream::pair), denied);
            assert_eq!(tried(|| std::fs::remove_file("/nowhere")), denied);
            // A thread that a confined one has started has no more rights.
            assert_eq!(tried(|| thread::spawn(|| File::open("/proc/self/status")).join().unwrap()), denied);
        }
        Command::new("/bin/true").status().unwrap();
    }

    /// Kernels have one, the other or both, so neither may rely on the other.
    #[test]
    fn each_of_both_alone_keeps_a_thread_from_opening_files() {
        let open = || File::open("/proc/self/status").err().map(|error| error.kind());
        let denied = Some(ErrorKind::PermissionDenied);
        let available = Confinement::available();
        if available.filter {
            let alone = thread::spawn(move || {
                let connect = || TcpStream::connect("127.0.0.1:1").err().map(|error| error.kind());
                filter::confine_thread().map(|()| (open(), connect()))
            });
            assert_eq!(alone.join().unwrap().unwrap(), (denied, denied), "seccomp");
        }
        if available.landlock.is_some() {
            let alone = thread::spawn(move || landlock::confine_thread().map(|_| open()));
            assert_eq!(alone.join().unwrap().unwrap(), denied, "Landlock");
        }
    }

    #[test]
    fn a_confined_thread_still_speaks_over_what_it_was_given() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let place = listener.local_addr().unwrap();
        let confined = thread::spawn(move || {
            confine_thread();
            // Memory of its own, and guest memory.
            let memory = crate::memory::GuestMemory::new(64 << 20).unwrap();
            memory.write(0x1000, &vec![7; 8 << 20]).unwrap();
            let echo = thread::Builder::new().name("echo".into()).spawn(move || {
                let (mut stream, _) = listener.accept()?;
                stream.set_read_timeout(Some(std::time::Duration::from_secs(20)))?;
                stream.set_nodelay(true)?;
                let mut word = [0; 5];
                stream.read_exact(&mut word)?;
                stream.write_all(&word)
            });
            thread::sleep(std::time::Duration::from_millis(1));
            echo.unwrap().join().unwrap()
        });
        let mut stream = TcpStream::connect(place).unwrap();
        stream.write_all(b"hello").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        confined.join().unwrap().unwrap();
        assert_eq!(answer, "hello");
    }
}

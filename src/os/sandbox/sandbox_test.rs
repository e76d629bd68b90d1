//! What confined threads can do and cannot do on this kernel.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::thread;

use super::*;

/// The error of `try_it` in a confined thread.
fn tried<T: Send + 'static>(try_it: fn() -> std::io::Result<T>) -> Option<ErrorKind> {
    let thread = thread::spawn(move || {
        confine_thread();
        try_it().err().map(|error| error.kind())
    });
    thread.join().unwrap()
}

#[test]
fn a_confined_thread_cannot_open_anything_and_others_can() {
    let available = Confinement::available();
    assert_eq!(thread::spawn(confine_thread).join().unwrap(), available);
    let denied = Some(ErrorKind::PermissionDenied);
    let open = || File::open("/proc/self/status").map(drop);
    if available != Confinement::default() {
        assert_eq!(tried(open), denied);
    }
    open().unwrap();
    if available.seccomp {
        assert_eq!(tried(|| Command::new("/bin/true").spawn()), denied);
        assert_eq!(tried(|| TcpListener::bind("127.0.0.1:0")), denied);
        assert_eq!(tried(|| TcpStream::connect("127.0.0.1:1")), denied);
        assert_eq!(tried(UnixStream::pair), denied);
        assert_eq!(tried(|| std::fs::remove_file("/nowhere")), denied);
        // A thread that a confined one has started is confined, too.
        assert_eq!(tried(|| thread::spawn(|| File::open("/proc/self/status")).join().unwrap()), denied);
    }
    Command::new("/bin/true").status().unwrap();
}

/// A kernel may have only one of them.
#[test]
fn seccomp_and_landlock_each_keep_a_thread_from_opening_files() {
    let open = || File::open("/proc/self/status").err().map(|error| error.kind());
    let denied = Some(ErrorKind::PermissionDenied);
    let available = Confinement::available();
    if available.seccomp {
        let alone = thread::spawn(move || {
            let connect = || TcpStream::connect("127.0.0.1:1").err().map(|error| error.kind());
            seccomp::confine_thread().map(|()| (open(), connect()))
        });
        assert_eq!(alone.join().unwrap().unwrap(), (denied, denied), "seccomp");
    }
    if available.landlock.is_some() {
        let alone = thread::spawn(move || landlock::confine_thread().map(|_| open()));
        assert_eq!(alone.join().unwrap().unwrap(), denied, "Landlock");
    }
}

#[test]
fn a_confined_thread_serves_a_listener_that_was_open_before() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
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
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(b"hello").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    confined.join().unwrap().unwrap();
    assert_eq!(answer, "hello");
}

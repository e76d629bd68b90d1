//! Clients that connect late, connect twice, disconnect early, or do not read.

use std::net::Shutdown;
use std::path::PathBuf;

use super::*;
use crate::frontends::serial_backend::Backend;
use crate::machine::output::OutputSource;
use crate::settings::SerialBackend;

/// A path of its own for each test.
fn path(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("kvm-end-{name}-{}", std::process::id()))
}

fn backend(path: &Path) -> UnixBackend {
    UnixBackend::listen("COM2", path).unwrap()
}

/// A backend with an accepted client.
fn connected(path: &Path) -> (UnixBackend, UnixStream) {
    let mut backend = backend(path);
    let client = UnixStream::connect(path).unwrap();
    assert_eq!(backend.receive(), b"");
    (backend, client)
}

/// Whether poll would return at once.
fn ready(backend: &UnixBackend, wanted: bool) -> bool {
    let Some((file, events)) = backend.poll_target(wanted) else { return false };
    let mut fds = [PollFd::from_borrowed_fd(file, events)];
    poll(&mut fds, Some(&Timespec::default())).unwrap() > 0
}

#[test]
fn a_late_client_reads_what_was_sent_before() {
    let path = path("late");
    let mut backend = backend(&path);
    backend.send(b"boot text\n");
    backend.flush();
    let mut client = UnixStream::connect(&path).unwrap();
    assert_eq!(backend.receive(), b"");
    let mut bytes = [0; 10];
    client.read_exact(&mut bytes).unwrap();
    assert_eq!(&bytes, b"boot text\n");
    client.write_all(b"ls\n").unwrap();
    assert_eq!(backend.receive(), b"ls\n");
    drop(client);
    assert_eq!(backend.receive(), b"");
    assert!(backend.client.is_none());
    drop(backend);
    assert!(!path.exists(), "the socket goes with the machine");
}

#[test]
fn a_client_that_shuts_down_its_writing_side_still_reads_the_answer() {
    let (mut backend, mut client) = connected(&path("half"));
    client.write_all(b"question\n").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(backend.receive(), b"question\n");
    assert_eq!(backend.receive(), b"");
    assert!(!ready(&backend, true), "nothing to do until it leaves");
    backend.send(b"answer\n");
    backend.flush();
    let mut bytes = [0; 7];
    client.read_exact(&mut bytes).unwrap();
    assert_eq!(&bytes, b"answer\n");
    drop(client);
    assert!(ready(&backend, true));
    backend.receive();
    assert!(backend.client.is_none());
}

#[test]
fn input_sent_before_a_disconnect_survives_unread_output() {
    let (mut backend, mut client) = connected(&path("gone"));
    client.write_all(b"last words").unwrap();
    drop(client);
    backend.send(b"x");
    backend.flush();
    assert!(!ready(&backend, false), "a guest that takes nothing costs no attention");
    assert_eq!(backend.receive(), b"last words");
    backend.receive();
    assert!(backend.client.is_none());
}

#[test]
fn a_slow_client_blocks_the_guest_and_loses_nothing() {
    let (mut backend, mut client) = connected(&path("slow"));
    let mut sent = 0;
    while !backend.is_full() {
        backend.send(&[b'x'; 1000]);
        sent += 1000;
        backend.flush();
    }
    let mut got = 0;
    let mut bytes = [0; 4096];
    while got < sent {
        got += client.read(&mut bytes).unwrap();
        backend.flush();
    }
    assert_eq!((got, backend.unread()), (sent, 0));
}

#[test]
fn a_socket_in_use_is_refused_and_left_alone() {
    let path = path("used");
    let first = backend(&path);
    let error = UnixBackend::listen("COM1", &path).unwrap_err();
    assert!(error.to_string().contains("in use by another program"), "{error}");
    assert!(path.exists());
    drop(first);
}

#[test]
fn a_stale_socket_is_replaced() {
    let path = path("stale");
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    drop(backend(&path));
    assert!(!path.exists());
}

#[test]
fn a_file_that_is_not_a_socket_is_not_removed() {
    let path = path("file");
    std::fs::write(&path, "mine").unwrap();
    let error = Backend::new(OutputSource::Serial(0), &SerialBackend::Unix(path.clone())).unwrap_err();
    assert!(error.to_string().contains("is no socket"), "{error}");
    assert_eq!(std::fs::read(&path).unwrap(), b"mine");
    std::fs::remove_file(path).unwrap();
}

//! Clients that come late, come twice, leave early, or do not read.

use std::net::Shutdown;
use std::path::PathBuf;

use super::*;
use crate::frontends::serial_ends::End;
use crate::machine::output::OutputQueue;
use crate::settings::SerialBackend;

/// A path of its own for each test.
fn path(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("kvm-end-{name}-{}", std::process::id()))
}

fn end(path: &Path) -> UnixEnd {
    UnixEnd::listen("COM2", path).unwrap()
}

/// An end with a client that has been accepted.
fn connected(path: &Path) -> (UnixEnd, UnixStream) {
    let mut end = end(path);
    let client = UnixStream::connect(path).unwrap();
    assert_eq!(end.receive(), b"");
    (end, client)
}

/// Whether the end asks for attention right now.
fn ready(end: &UnixEnd, wanted: bool) -> bool {
    let Some((file, events)) = end.watched(wanted) else { return false };
    let mut fds = [PollFd::from_borrowed_fd(file, events)];
    poll(&mut fds, Some(&Timespec::default())).unwrap() > 0
}

#[test]
fn a_client_that_connects_late_gets_what_was_sent_before() {
    let path = path("late");
    let mut end = end(&path);
    end.send(b"boot text\n");
    end.flush();
    let mut client = UnixStream::connect(&path).unwrap();
    assert_eq!(end.receive(), b"");
    let mut bytes = [0; 10];
    client.read_exact(&mut bytes).unwrap();
    assert_eq!(&bytes, b"boot text\n");
    client.write_all(b"ls\n").unwrap();
    assert_eq!(end.receive(), b"ls\n");
    drop(client);
    assert_eq!(end.receive(), b"");
    assert!(end.client.is_none());
    drop(end);
    assert!(!path.exists(), "the socket goes with the machine");
}

#[test]
fn a_client_that_has_sent_all_it_has_still_gets_the_answer() {
    let (mut end, mut client) = connected(&path("half"));
    client.write_all(b"question\n").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(end.receive(), b"question\n");
    assert_eq!(end.receive(), b"");
    assert!(!ready(&end, true), "nothing to do until it leaves");
    end.send(b"answer\n");
    end.flush();
    let mut bytes = [0; 7];
    client.read_exact(&mut bytes).unwrap();
    assert_eq!(&bytes, b"answer\n");
    drop(client);
    assert!(ready(&end, true));
    end.receive();
    assert!(end.client.is_none());
}

#[test]
fn what_a_client_sent_before_it_left_is_not_lost_to_output_it_did_not_take() {
    let (mut end, mut client) = connected(&path("gone"));
    client.write_all(b"last words").unwrap();
    drop(client);
    end.send(b"x");
    end.flush();
    assert!(!ready(&end, false), "a guest that takes nothing costs no attention");
    assert_eq!(end.receive(), b"last words");
    end.receive();
    assert!(end.client.is_none());
}

#[test]
fn a_client_that_is_behind_holds_the_guest_and_loses_nothing() {
    let (mut end, mut client) = connected(&path("slow"));
    let mut sent = 0;
    while !end.is_full() {
        end.send(&[b'x'; 1000]);
        sent += 1000;
        end.flush();
    }
    let mut got = 0;
    let mut bytes = [0; 4096];
    while got < sent {
        got += client.read(&mut bytes).unwrap();
        end.flush();
    }
    assert_eq!((got, end.owed()), (sent, 0));
}

#[test]
fn a_socket_somebody_listens_on_is_left_to_them() {
    let path = path("used");
    let first = end(&path);
    let error = UnixEnd::listen("COM1", &path).unwrap_err();
    assert!(error.to_string().contains("in use by another program"), "{error}");
    assert!(path.exists());
    drop(first);
}

#[test]
fn a_socket_nobody_listens_on_any_more_is_replaced() {
    let path = path("stale");
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    drop(end(&path));
    assert!(!path.exists());
}

#[test]
fn a_file_that_is_no_socket_is_not_removed() {
    let path = path("file");
    std::fs::write(&path, "mine").unwrap();
    let error = End::new(OutputQueue::Serial(0), &SerialBackend::Unix(path.clone())).unwrap_err();
    assert!(error.to_string().contains("is no socket"), "{error}");
    assert_eq!(std::fs::read(&path).unwrap(), b"mine");
    std::fs::remove_file(path).unwrap();
}

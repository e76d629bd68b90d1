use std::fs::File;
use std::io::{Read, Write};

use rustix::event::{PollFd, Timespec, poll};

use super::*;

#[test]
fn a_pseudo_terminal_carries_bytes_unchanged_both_ways() {
    let mut backend = PtyBackend::open().unwrap();
    let mut slave = File::options().read(true).write(true).open(&backend.name).unwrap();
    backend.send(b"a\nb\r");
    backend.flush();
    assert!(backend.unread() > 0);
    let mut bytes = [0; 4];
    slave.read_exact(&mut bytes).unwrap();
    assert_eq!(&bytes, b"a\nb\r");
    std::thread::sleep(ON_ITS_WAY);
    assert_eq!(backend.unread(), 0);
    slave.write_all(b"\x03\n").unwrap();
    assert_eq!(backend.receive(), b"\x03\n");
}

#[test]
fn a_late_reader_is_waited_for_without_busy_polling() {
    let mut backend = PtyBackend::open().unwrap();
    let watch = |backend: &PtyBackend| {
        let (file, events) = backend.poll_target(false).unwrap();
        let mut fds = [PollFd::from_borrowed_fd(file, events)];
        poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 50_000_000 })).unwrap()
    };
    backend.send(&[b'x'; 60_000]);
    while watch(&backend) > 0 {
        backend.flush();
        if backend.pending.is_empty() {
            backend.send(&[b'x'; 60_000]);
        }
    }
    let slave =
        rustix::fs::open(backend.name.as_str(), OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).unwrap();
    let mut bytes = [0; 4096];
    while rustix::io::read(&slave, &mut bytes).unwrap() == bytes.len() && watch(&backend) == 0 {}
    assert_eq!(watch(&backend), 1, "there is room again");
}

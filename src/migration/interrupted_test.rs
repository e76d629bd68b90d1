//! Migrations whose connection is cut at every possible position. The guest always runs on exactly one host.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use super::commit::CommitDecision;
use super::destination::{
    DestinationGuest, DestinationGuestError, PeerRequest, QueryOutcome, accept_peer, answer_query, commit,
    confirm, receive_guest,
};
use super::frame::{FrameKind, HEADER, Hello, header};
use super::pages::PAGE;
use super::progress::MigrationProgress;
use super::source::{
    MigrationPlan, QueryAnswer, SourceError, SourceGuest, SourceGuestError, SourceOutcome, migrate, query,
};
use super::wire::{Transport, Wire};
use crate::memory::{GuestMemory, PageSet};

const MEMORY: u64 = 1 << 20;
/// A page that the guest writes to just before it is stopped.
const LAST_WRITE: u64 = 7 * PAGE as u64;
const STATE: &[u8] = b"registers and chips";

/// One end of a connection that is cut after a number of bytes in each direction.
struct Cut {
    stream: UnixStream,
    out: usize,
    in_: usize,
    /// Records everything that was sent, if set.
    sent: Option<Arc<Mutex<Vec<u8>>>>,
    /// Number of bytes received.
    received: Arc<Mutex<usize>>,
}

impl Cut {
    fn never(stream: UnixStream) -> Cut {
        Cut { stream, out: usize::MAX, in_: usize::MAX, sent: None, received: Arc::default() }
    }

    fn cut(&self) -> io::Error {
        let _ = self.stream.shutdown(Shutdown::Both);
        io::ErrorKind::ConnectionReset.into()
    }
}

impl Read for Cut {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let most = bytes.len().min(self.in_);
        if most == 0 && !bytes.is_empty() {
            return Err(self.cut());
        }
        let count = self.stream.read(&mut bytes[..most])?;
        self.in_ -= count;
        *self.received.lock().unwrap() += count;
        Ok(count)
    }
}

impl Write for Cut {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let most = bytes.len().min(self.out);
        if most == 0 && !bytes.is_empty() {
            return Err(self.cut());
        }
        let count = self.stream.write(&bytes[..most])?;
        self.out -= count;
        if let Some(sent) = &self.sent {
            sent.lock().unwrap().extend(&bytes[..count]);
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Transport for Cut {
    fn set_timeout(&self, timeout: Duration) -> io::Result<()> {
        self.stream.set_read_timeout(Some(timeout))?;
        self.stream.set_write_timeout(Some(timeout))
    }

    fn end(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }
}

fn wire(cut: Cut) -> Wire {
    Wire::new(Box::new(cut)).unwrap()
}

/// A guest that writes to one page less in each round.
struct Guest {
    memory: Arc<GuestMemory>,
    rounds: u8,
    runs: bool,
}

impl Guest {
    fn new() -> Guest {
        let memory = Arc::new(GuestMemory::new(MEMORY).unwrap());
        for page in 0..8 {
            memory.write(page * PAGE as u64, &[page as u8 + 1; PAGE]).unwrap();
        }
        Guest { memory, rounds: 0, runs: true }
    }

    fn write(&mut self) -> PageSet {
        self.rounds += 1;
        let pages: PageSet =
            (0..8u64.saturating_sub(3 * u64::from(self.rounds))).map(|n| n * PAGE as u64).collect();
        for address in pages.iter() {
            self.memory.write(address, &[0x40 + self.rounds; PAGE]).unwrap();
        }
        pages
    }
}

impl SourceGuest for Guest {
    fn memory(&self) -> &Arc<GuestMemory> {
        &self.memory
    }

    fn begin(&mut self) -> Result<PageSet, SourceGuestError> {
        Ok((0..8).map(|page| page * PAGE as u64).collect())
    }

    fn written(&mut self) -> Result<PageSet, SourceGuestError> {
        assert!(self.runs);
        Ok(self.write())
    }

    fn throttle(&mut self, _: Duration) {}

    fn stop(&mut self) -> Result<(PageSet, Vec<u8>), SourceGuestError> {
        self.runs = false;
        let mut pages = self.write();
        // The last write before the stop.
        self.memory.write(LAST_WRITE, b"bye").unwrap();
        pages.insert(LAST_WRITE);
        Ok((pages, STATE.to_vec()))
    }
}

/// The received guest.
#[derive(Default)]
struct Machine {
    memory: Option<Arc<GuestMemory>>,
    state: Vec<u8>,
}

impl DestinationGuest for Machine {
    fn announced(&mut self, hello: &Hello) -> Result<Arc<GuestMemory>, DestinationGuestError> {
        let memory = Arc::new(GuestMemory::new(hello.memory)?);
        self.memory = Some(memory.clone());
        Ok(memory)
    }

    fn round_begins(&mut self, _: u32, _: u64) {}

    fn pages_arrived(&mut self, _: u64) {}

    fn build(&mut self, state: Vec<u8>, _: &mut dyn FnMut()) -> Result<(), DestinationGuestError> {
        self.state = state;
        Ok(())
    }
}

/// The destination: receives a guest and answers queries. Returns true if the guest runs there.
fn destination(first: UnixStream, others: &Receiver<UnixStream>, runs: &AtomicBool) -> Option<Machine> {
    let (wire, caller) = accept_peer(wire(Cut::never(first))).ok()?;
    let PeerRequest::Migrate(hello) = caller else { panic!("{caller:?}") };
    let mut machine = Machine::default();
    let wire = receive_guest(wire, &hello, &mut machine).ok()?;
    let decision = CommitDecision::default();
    let mut source_knows = false;
    if let Ok(wire) = commit(wire, hello.token, &decision) {
        runs.store(true, Ordering::SeqCst);
        source_knows = confirm(wire);
    }
    while !source_knows {
        // No more queries follow.
        let Ok(stream) = others.recv() else { break };
        let Ok((wire, PeerRequest::Query(token))) = accept_peer(self::wire(Cut::never(stream))) else {
            continue;
        };
        source_knows = answer_query(wire, token, hello.token, &decision) == QueryOutcome::Confirmed;
    }
    runs.load(Ordering::SeqCst).then_some(machine)
}

/// Outcome of a migration.
struct Migration {
    left: SourceOutcome,
    machine: Option<Machine>,
    /// Answer to the source's query, if it had to query.
    asked: Option<QueryAnswer>,
    guest: Guest,
}

/// Migrates a guest over a connection that is cut after a number of bytes in each direction.
fn go(cut: impl FnOnce(UnixStream) -> Cut, asks: bool) -> Migration {
    go_within(Duration::ZERO, cut, asks)
}

/// As above, with this target downtime.
fn go_within(downtime: Duration, cut: impl FnOnce(UnixStream) -> Cut, asks: bool) -> Migration {
    migrate_guest(Guest::new(), downtime, cut, asks)
}

/// As above, of this guest.
fn migrate_guest(
    mut guest: Guest,
    downtime: Duration,
    cut: impl FnOnce(UnixStream) -> Cut,
    asks: bool,
) -> Migration {
    let (here, there) = UnixStream::pair().unwrap();
    let (sender, others): (Sender<UnixStream>, _) = channel();
    let runs = Arc::new(AtomicBool::new(false));
    let running = runs.clone();
    let destination = thread::spawn(move || destination(there, &others, &running));
    let hello =
        Hello { token: [9; 16], memory: MEMORY, guest: "test".into(), facts: Vec::new(), disks: Vec::new() };
    let plan = MigrationPlan { downtime, compress: false };
    let progress = MigrationProgress::new("there".into(), None);
    let left = migrate(wire(cut(here)), hello, &mut guest, plan, &progress);
    let mut asked = None;
    if asks && matches!(left, SourceOutcome::InDoubt(_)) {
        let (here, there) = UnixStream::pair().unwrap();
        // A refused connection reports that the destination has exited.
        asked = match sender.send(there) {
            Ok(()) => query(wire(Cut::never(here)), [9; 16]).ok().or(Some(QueryAnswer::NotRunning)),
            Err(_) => Some(QueryAnswer::NotRunning),
        };
    }
    drop(sender);
    let machine = destination.join().unwrap();
    Migration { left, machine, asked, guest }
}

/// Positions in the sent bytes at which frames end.
fn boundaries(bytes: &[u8]) -> Vec<(FrameKind, usize)> {
    let (mut at, mut found) = (0, Vec::new());
    while at < bytes.len() {
        let (kind, length) = header(bytes[at..at + HEADER].try_into().unwrap()).unwrap();
        at += HEADER + length;
        found.push((kind, at));
    }
    found
}

fn check(moved: &Migration, what: &str) {
    let here = match (&moved.left, moved.asked) {
        (SourceOutcome::Failed(_), _) | (SourceOutcome::InDoubt(_), Some(QueryAnswer::NotRunning)) => true,
        (SourceOutcome::Migrated(_), _) | (SourceOutcome::InDoubt(_), Some(QueryAnswer::Running)) => false,
        (SourceOutcome::InDoubt(error), None) => panic!("{what}: no query after {error}"),
    };
    assert_ne!(here, moved.machine.is_some(), "{what}: {:?}, asked {:?}", moved.left, moved.asked);
    if let Some(machine) = &moved.machine {
        let there = machine.memory.as_ref().unwrap();
        let (mut a, mut b) = (vec![0; MEMORY as usize], vec![1; MEMORY as usize]);
        moved.guest.memory.read(0, &mut a).unwrap();
        there.read(0, &mut b).unwrap();
        assert!(a == b && machine.state == STATE, "{what}: the guest differs there");
    }
}

#[test]
fn an_uninterrupted_migration_transfers_the_guest_unchanged() {
    let moved = go(Cut::never, false);
    let SourceOutcome::Migrated(figures) = &moved.left else { panic!("{:?}", moved.left) };
    assert_eq!((figures.rounds, figures.pages), (4, 8 + 5 + 2 + 1));
    check(&moved, "uncut");
}

/// The zeros in place of lost memory would be the guest's memory there.
#[test]
fn memory_that_is_lost_before_or_while_it_is_sent_is_never_committed() {
    for lost_before in [false, true] {
        let path = std::env::temp_dir().join(format!("kvm-lost-{lost_before}-{}", std::process::id()));
        std::fs::write(&path, [7; 2 * PAGE]).unwrap();
        let file = File::options().read(true).write(true).open(&path).unwrap();
        std::fs::remove_file(path).unwrap();
        let guest = Guest::new();
        // Page 6 is not written to, only sent.
        let range = 6 * PAGE as u64..8 * PAGE as u64;
        guest.memory.map_file(range.clone(), "a.kvmstate", file.as_fd(), 0).unwrap();
        file.set_len(0).unwrap();
        if lost_before {
            guest.memory.read_u64(range.start).unwrap();
        }
        let moved = migrate_guest(guest, Duration::ZERO, Cut::never, false);
        let SourceOutcome::Failed(SourceError::MemoryLost(lost)) = &moved.left else {
            panic!("{:?}", moved.left)
        };
        assert!(lost.to_string().starts_with("a.kvmstate, "), "{lost}");
        assert!(moved.machine.is_none(), "the destination runs the guest");
    }
}

/// Pages reported as written and deferred belong to the last round, as do those reported when the guest
/// stops.
#[test]
fn deferred_pages_are_sent_in_the_last_round() {
    let moved = go_within(Duration::from_secs(3600), Cut::never, false);
    let SourceOutcome::Migrated(figures) = &moved.left else { panic!("{:?}", moved.left) };
    // Five pages were left; two of them and one more are written again.
    assert_eq!((figures.rounds, figures.pages), (2, 8 + 6));
    check(&moved, "with a long downtime");
}

/// Only a commit of the same migration hands the guest over.
#[test]
fn a_commit_of_another_migration_is_refused() {
    let decision = CommitDecision::default();
    let (here, there) = UnixStream::pair().unwrap();
    let other = thread::spawn(move || {
        let mut wire = wire(Cut::never(here));
        wire.receive().map(|message| message.kind()).unwrap();
        wire.send(&super::frame::Message::Commit([2; 16])).unwrap();
        wire.receive().map(|message| message.kind())
    });
    assert!(commit(wire(Cut::never(there)), [1; 16], &decision).is_err());
    assert!(other.join().unwrap().is_err());
    assert!(!decision.commit(), "it never runs here");
}

#[test]
fn wherever_the_connection_is_cut_the_guest_runs_on_exactly_one_host() {
    let (sent, received) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(0)));
    let (all, count) = (sent.clone(), received.clone());
    let whole = go(move |stream| Cut { sent: Some(all), received: count, ..Cut::never(stream) }, false);
    check(&whole, "uncut");
    let (sent, received) = (sent.lock().unwrap().clone(), *received.lock().unwrap());
    let ends = boundaries(&sent);
    let kinds: BTreeSet<u8> = ends.iter().map(|(kind, _)| *kind as u8).collect();
    assert!(kinds.contains(&(FrameKind::Commit as u8)) && kinds.contains(&(FrameKind::Bye as u8)));
    // At the end of each frame, in its header, inside its payload, and before its last byte.
    let mut begin = 0;
    let mut places = BTreeSet::from([0]);
    for (_, end) in &ends {
        places.extend([begin + 1, begin + HEADER, (begin + HEADER + end) / 2, end - 1, *end]);
        begin = *end;
    }
    let (mut stayed, mut left) = (0, 0);
    for out in places {
        let moved = go(|stream| Cut { out, ..Cut::never(stream) }, true);
        check(&moved, &format!("cut after {out} of {} bytes to there", sent.len()));
        *if moved.machine.is_some() { &mut left } else { &mut stayed } += 1;
    }
    // The other direction is short enough to test every position.
    for in_ in 0..received {
        let moved = go(|stream| Cut { in_, ..Cut::never(stream) }, true);
        check(&moved, &format!("cut after {in_} of {received} bytes to here"));
        *if moved.machine.is_some() { &mut left } else { &mut stayed } += 1;
    }
    assert!(stayed > 20 && left > 5, "{stayed} stayed, {left} left");
}

/// A source that lost its connection queries before the destination has received the commit.
#[test]
fn a_queried_destination_refuses_a_later_commit() {
    let decision = CommitDecision::default();
    let (here, there) = UnixStream::pair().unwrap();
    let asking = thread::spawn(move || query(wire(Cut::never(here)), [1; 16]));
    let (asked, PeerRequest::Query(token)) = accept_peer(wire(Cut::never(there))).unwrap() else {
        panic!("no query")
    };
    assert_eq!(answer_query(asked, token, [1; 16], &decision), QueryOutcome::Refused);
    assert_eq!(asking.join().unwrap().unwrap(), QueryAnswer::NotRunning);
    let (here, there) = UnixStream::pair().unwrap();
    let late = thread::spawn(move || {
        let mut wire = wire(Cut::never(here));
        wire.receive().map(|message| message.kind()).unwrap();
        wire.send(&super::frame::Message::Commit([1; 16])).unwrap();
        wire.receive().map(|message| message.kind())
    });
    assert!(commit(wire(Cut::never(there)), [1; 16], &decision).is_err());
    assert!(late.join().unwrap().is_err());
}

/// A query with a wrong token reveals nothing and decides nothing.
#[test]
fn a_query_about_another_migration_decides_nothing() {
    let decision = CommitDecision::default();
    let (here, there) = UnixStream::pair().unwrap();
    let asking = thread::spawn(move || query(wire(Cut::never(here)), [2; 16]));
    let (asked, PeerRequest::Query(token)) = accept_peer(wire(Cut::never(there))).unwrap() else {
        panic!("no query")
    };
    assert_eq!(answer_query(asked, token, [1; 16], &decision), QueryOutcome::Unresolved);
    asking.join().unwrap().unwrap_err();
    assert!(decision.commit());
}

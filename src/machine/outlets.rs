//! Bytes that leave the machine, handed from the vCPU's thread to the thread that deals with people.
//!
//! The machine's end costs an atomic store a byte; only when the other side has gone to sleep does
//! it cost a system call to wake it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::time::Duration;

use rtrb::{Consumer, Producer, RingBuffer};
use rustix::event::{EventfdFlags, eventfd};

/// Bytes that can be on their way at a time, for each outlet.
const CAPACITY: usize = 64 << 10;

/// How long the machine pauses at a time while the other side does not take its bytes.
const FULL_PAUSE: Duration = Duration::from_millis(1);

/// Where bytes leave the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outlet {
    /// A serial port, counted from 0.
    Serial(u8),
    /// The debug console at port 0xE9.
    DebugConsole,
}

impl Outlet {
    /// All outlets, in the order of [`Outlet::index`].
    pub const ALL: [Outlet; 5] =
        [Outlet::Serial(0), Outlet::Serial(1), Outlet::Serial(2), Outlet::Serial(3), Outlet::DebugConsole];

    /// Position in [`Outlet::ALL`].
    pub fn index(self) -> usize {
        match self {
            Outlet::Serial(port) => usize::from(port),
            Outlet::DebugConsole => 4,
        }
    }

    /// `COM1` to `COM4`, or `port 0xE9`.
    pub fn name(self) -> &'static str {
        ["COM1", "COM2", "COM3", "COM4", "port 0xE9"][self.index()]
    }
}

/// Wakes the thread that deals with people.
#[derive(Debug)]
pub struct Doorbell {
    fd: OwnedFd,
    asleep: AtomicBool,
    ticks: AtomicBool,
}

impl Doorbell {
    /// A doorbell nobody sleeps at.
    ///
    /// # Errors
    ///
    /// The host's, when it has no more file descriptors.
    pub fn new() -> std::io::Result<Arc<Doorbell>> {
        let fd = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Arc::new(Doorbell { fd, asleep: AtomicBool::new(false), ticks: AtomicBool::new(false) }))
    }

    /// Wakes the sleeper, if there is one.
    #[inline]
    pub fn ring(&self) {
        // Pairs with the fence in `going_to_sleep`: either this side sees the sleeper, or the
        // sleeper sees what was done before the bell rang.
        fence(Ordering::SeqCst);
        if self.asleep.load(Ordering::Relaxed) && self.asleep.swap(false, Ordering::Relaxed) {
            // Fails only when the counter is full, and then the sleeper is awake already.
            let _ = rustix::io::write(&self.fd, &1u64.to_ne_bytes());
        }
    }

    /// Wakes the other side whether it sleeps or not.
    pub fn wake(&self) {
        self.asleep.store(false, Ordering::Relaxed);
        // Fails only when the counter is full, and then the sleeper is awake already.
        let _ = rustix::io::write(&self.fd, &1u64.to_ne_bytes());
    }

    /// True while the machine wants [`super::inputs::Input::Tick`]s, at least one every 10 ms.
    pub fn wants_ticks(&self) -> bool {
        self.ticks.load(Ordering::Relaxed)
    }

    /// The caller is about to sleep until [`Self::as_fd`] is readable. It has to look once more for
    /// work after this call and before it sleeps.
    pub fn going_to_sleep(&self) {
        self.asleep.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// The caller is awake.
    pub fn awake(&self) {
        self.asleep.store(false, Ordering::Relaxed);
        let mut count = [0; 8];
        // Fails only when nobody rang.
        let _ = rustix::io::read(&self.fd, &mut count);
    }
}

impl AsFd for Doorbell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// The machine's end of all outlets.
#[derive(Debug)]
pub struct Outlets {
    rings: [Producer<u8>; 5],
    doorbell: Arc<Doorbell>,
}

/// The people's end of all outlets.
#[derive(Debug)]
pub struct OutletEnds {
    rings: [Consumer<u8>; 5],
}

/// Both ends of the outlets; `doorbell` rings when bytes arrive at the people's end.
pub fn outlets(doorbell: Arc<Doorbell>) -> (Outlets, OutletEnds) {
    let pairs = Outlet::ALL.map(|_| RingBuffer::new(CAPACITY));
    let mut producers = Vec::with_capacity(5);
    let consumers = pairs.map(|(producer, consumer)| {
        producers.push(producer);
        consumer
    });
    let rings = producers.try_into().expect("as many producers as outlets");
    (Outlets { rings, doorbell }, OutletEnds { rings: consumers })
}

impl Outlets {
    /// Sends a byte out. Waits while the other side is too far behind, until `give_up` says that
    /// the run is to end; the byte is lost then.
    #[inline]
    pub fn send(&mut self, outlet: Outlet, byte: u8, give_up: impl Fn() -> bool) {
        let ring = &mut self.rings[outlet.index()];
        while ring.push(byte).is_err() {
            if give_up() || ring.is_abandoned() {
                return;
            }
            self.doorbell.ring();
            std::thread::sleep(FULL_PAUSE);
        }
        self.doorbell.ring();
    }

    /// Asks the other side for ticks, or for no more of them.
    pub fn want_ticks(&self, wanted: bool) {
        self.doorbell.ticks.store(wanted, Ordering::Relaxed);
        self.doorbell.ring();
    }
}

impl OutletEnds {
    /// Moves what has arrived at `outlet` to the end of `bytes`, at most `limit` bytes; true if
    /// there was anything.
    pub fn receive(&mut self, outlet: Outlet, bytes: &mut Vec<u8>, limit: usize) -> bool {
        let ring = &mut self.rings[outlet.index()];
        let count = ring.slots().min(limit);
        let Ok(chunk) = ring.read_chunk(count) else { return false };
        let (first, second) = chunk.as_slices();
        bytes.extend_from_slice(first);
        bytes.extend_from_slice(second);
        chunk.commit_all();
        count > 0
    }

    /// True if nothing has arrived anywhere.
    pub fn is_empty(&self) -> bool {
        self.rings.iter().all(|ring| ring.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_arrive_in_order_and_wake_the_sleeper() {
        let doorbell = Doorbell::new().unwrap();
        let (mut outlets, mut ends) = outlets(doorbell.clone());
        doorbell.going_to_sleep();
        for byte in b"hello" {
            outlets.send(Outlet::Serial(1), *byte, || false);
        }
        let mut fds = [rustix::event::PollFd::new(&*doorbell, rustix::event::PollFlags::IN)];
        assert_eq!(rustix::event::poll(&mut fds, Some(&Default::default())).unwrap(), 1);
        doorbell.awake();
        let mut bytes = Vec::new();
        assert!(ends.receive(Outlet::Serial(1), &mut bytes, 3));
        assert!(ends.receive(Outlet::Serial(1), &mut bytes, 100));
        assert!(!ends.receive(Outlet::Serial(1), &mut bytes, 100));
        assert_eq!(bytes, b"hello");
        assert!(ends.is_empty());
    }

    #[test]
    fn a_full_outlet_holds_the_machine_until_it_is_to_end() {
        let (mut outlets, _ends) = outlets(Doorbell::new().unwrap());
        for _ in 0..CAPACITY {
            outlets.send(Outlet::DebugConsole, 0, || panic!("there is room"));
        }
        let asked = std::cell::Cell::new(0);
        outlets.send(Outlet::DebugConsole, 0, || {
            asked.set(asked.get() + 1);
            asked.get() == 3
        });
        assert_eq!(asked.get(), 3);
    }
}

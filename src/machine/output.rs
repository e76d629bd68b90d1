//! Output queues: bytes that leave the machine, passed from the vCPU thread to the I/O thread of the front end.
//!
//! Sending a byte costs an atomic store; a system call is made only to wake a sleeping reader. A full queue
//! blocks the vCPU thread until the reader has caught up or the run ends.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::time::Duration;

use rtrb::{Consumer, Producer, RingBuffer};
use rustix::event::{EventfdFlags, eventfd};

/// Capacity of each queue in bytes.
const CAPACITY: usize = 64 << 10;

/// How long the vCPU thread sleeps at a time while a queue is full.
const FULL_PAUSE: Duration = Duration::from_millis(1);

/// Names one of the output queues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputQueue {
    /// A serial port, counted from 0.
    Serial(u8),
    /// The debug console at port 0xE9.
    DebugConsole,
}

impl OutputQueue {
    /// All queues, in the order of [`OutputQueue::index`].
    pub const ALL: [OutputQueue; 5] = [
        OutputQueue::Serial(0),
        OutputQueue::Serial(1),
        OutputQueue::Serial(2),
        OutputQueue::Serial(3),
        OutputQueue::DebugConsole,
    ];

    /// Position in [`OutputQueue::ALL`].
    pub fn index(self) -> usize {
        match self {
            OutputQueue::Serial(port) => usize::from(port),
            OutputQueue::DebugConsole => 4,
        }
    }

    /// `COM1` to `COM4`, or `port 0xE9`.
    pub fn name(self) -> &'static str {
        ["COM1", "COM2", "COM3", "COM4", "port 0xE9"][self.index()]
    }
}

/// Wakes the I/O thread of the front end.
#[derive(Debug)]
pub struct Doorbell {
    fd: OwnedFd,
    asleep: AtomicBool,
    ticks: AtomicBool,
}

impl Doorbell {
    /// A doorbell without a sleeper.
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
        // Pairs with the fence in `going_to_sleep`: either this thread sees the sleeper, or the sleeper sees
        // what was done before the bell rang.
        fence(Ordering::SeqCst);
        if self.asleep.load(Ordering::Relaxed) && self.asleep.swap(false, Ordering::Relaxed) {
            // Fails only when the counter is full, and then the sleeper is awake already.
            let _ = rustix::io::write(&self.fd, &1u64.to_ne_bytes());
        }
    }

    /// Wakes the I/O thread whether it sleeps or not.
    pub fn wake(&self) {
        self.asleep.store(false, Ordering::Relaxed);
        // Fails only when the counter is full, and then the sleeper is awake already.
        let _ = rustix::io::write(&self.fd, &1u64.to_ne_bytes());
    }

    /// True while the machine wants [`super::inputs::Input::Tick`]s, at least one every 10 ms.
    pub fn wants_ticks(&self) -> bool {
        self.ticks.load(Ordering::Relaxed)
    }

    /// The caller is about to sleep until [`Self::as_fd`] is readable. It must check for work once more after
    /// this call and before it sleeps.
    pub fn going_to_sleep(&self) {
        self.asleep.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// The caller is awake.
    pub fn awake(&self) {
        self.asleep.store(false, Ordering::Relaxed);
        let mut count = [0; 8];
        // Fails only when the bell has not rung.
        let _ = rustix::io::read(&self.fd, &mut count);
    }
}

impl AsFd for Doorbell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// The producing ends of all queues, owned by the machine.
#[derive(Debug)]
pub struct OutputQueues {
    rings: [Producer<u8>; 5],
    doorbell: Arc<Doorbell>,
}

/// The consuming ends of all queues, owned by the front end.
#[derive(Debug)]
pub struct OutputReaders {
    rings: [Consumer<u8>; 5],
}

/// Creates all queues; `doorbell` rings when bytes are sent.
pub fn output_queues(doorbell: Arc<Doorbell>) -> (OutputQueues, OutputReaders) {
    let pairs = OutputQueue::ALL.map(|_| RingBuffer::new(CAPACITY));
    let mut producers = Vec::with_capacity(5);
    let consumers = pairs.map(|(producer, consumer)| {
        producers.push(producer);
        consumer
    });
    let rings = producers.try_into().expect("as many producers as queues");
    (OutputQueues { rings, doorbell }, OutputReaders { rings: consumers })
}

impl OutputQueues {
    /// Sends a byte. Blocks while the queue is full, until `give_up` returns true; the byte is dropped then.
    #[inline]
    pub fn send(&mut self, queue: OutputQueue, byte: u8, give_up: impl Fn() -> bool) {
        let ring = &mut self.rings[queue.index()];
        while ring.push(byte).is_err() {
            if give_up() || ring.is_abandoned() {
                return;
            }
            self.doorbell.ring();
            std::thread::sleep(FULL_PAUSE);
        }
        self.doorbell.ring();
    }

    /// Starts or stops the ticks that the I/O thread pushes.
    pub fn want_ticks(&self, wanted: bool) {
        self.doorbell.ticks.store(wanted, Ordering::Relaxed);
        self.doorbell.ring();
    }
}

impl OutputReaders {
    /// Moves at most `limit` bytes from `queue` to the end of `bytes`; true if there were any.
    pub fn receive(&mut self, queue: OutputQueue, bytes: &mut Vec<u8>, limit: usize) -> bool {
        let ring = &mut self.rings[queue.index()];
        let count = ring.slots().min(limit);
        let Ok(chunk) = ring.read_chunk(count) else { return false };
        let (first, second) = chunk.as_slices();
        bytes.extend_from_slice(first);
        bytes.extend_from_slice(second);
        chunk.commit_all();
        count > 0
    }

    /// True if all queues are empty.
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
        let (mut outputs, mut readers) = output_queues(doorbell.clone());
        doorbell.going_to_sleep();
        for byte in b"hello" {
            outputs.send(OutputQueue::Serial(1), *byte, || false);
        }
        let mut fds = [rustix::event::PollFd::new(&*doorbell, rustix::event::PollFlags::IN)];
        assert_eq!(rustix::event::poll(&mut fds, Some(&Default::default())).unwrap(), 1);
        doorbell.awake();
        let mut bytes = Vec::new();
        assert!(readers.receive(OutputQueue::Serial(1), &mut bytes, 3));
        assert!(readers.receive(OutputQueue::Serial(1), &mut bytes, 100));
        assert!(!readers.receive(OutputQueue::Serial(1), &mut bytes, 100));
        assert_eq!(bytes, b"hello");
        assert!(readers.is_empty());
    }

    #[test]
    fn a_full_queue_blocks_the_sender_until_it_gives_up() {
        let (mut outputs, _readers) = output_queues(Doorbell::new().unwrap());
        for _ in 0..CAPACITY {
            outputs.send(OutputQueue::DebugConsole, 0, || panic!("there is room"));
        }
        let calls = std::cell::Cell::new(0);
        outputs.send(OutputQueue::DebugConsole, 0, || {
            calls.set(calls.get() + 1);
            calls.get() == 3
        });
        assert_eq!(calls.get(), 3);
    }
}

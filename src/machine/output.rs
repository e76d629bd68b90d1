//! The output queue: bytes that leave the machine, passed from the vCPU thread to the I/O thread of the front end.
//!
//! All devices share one queue, so that their bytes arrive in the order in which the guest sent them. Sending a
//! byte costs an atomic store; a system call is made only to wake a sleeping reader. A full queue blocks the
//! vCPU thread until the reader has caught up or the run ends.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::time::Duration;

use rtrb::{Consumer, Producer, RingBuffer};
use rustix::event::{EventfdFlags, eventfd};

/// Capacity of the queue, in bytes that were sent.
const CAPACITY: usize = 64 << 10;

/// How long the vCPU thread sleeps at a time while the queue is full.
const FULL_PAUSE: Duration = Duration::from_millis(1);

/// A device that sends bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputSource {
    /// A serial port, counted from 0.
    Serial(u8),
    /// The debug console at port 0xE9.
    DebugConsole,
}

impl OutputSource {
    /// All devices, in the order of [`OutputSource::index`].
    pub const ALL: [OutputSource; 5] = [
        OutputSource::Serial(0),
        OutputSource::Serial(1),
        OutputSource::Serial(2),
        OutputSource::Serial(3),
        OutputSource::DebugConsole,
    ];

    /// Position in [`OutputSource::ALL`].
    pub fn index(self) -> usize {
        match self {
            OutputSource::Serial(port) => usize::from(port),
            OutputSource::DebugConsole => 4,
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

/// A byte and the device that sent it, as [`OutputSource::index`].
#[derive(Clone, Copy, Debug)]
struct SentByte {
    source: u8,
    byte: u8,
}

/// The producing end of the queue, owned by the machine.
#[derive(Debug)]
pub struct OutputQueue {
    ring: Producer<SentByte>,
    doorbell: Arc<Doorbell>,
}

/// The consuming end of the queue, owned by the front end.
#[derive(Debug)]
pub struct OutputReader {
    ring: Consumer<SentByte>,
}

/// Creates the queue; `doorbell` rings when bytes are sent.
pub fn output_queue(doorbell: Arc<Doorbell>) -> (OutputQueue, OutputReader) {
    let (producer, consumer) = RingBuffer::new(CAPACITY);
    (OutputQueue { ring: producer, doorbell }, OutputReader { ring: consumer })
}

impl OutputQueue {
    /// Sends a byte. Blocks while the queue is full, until `give_up` returns true; the byte is dropped then.
    #[inline]
    pub fn send(&mut self, source: OutputSource, byte: u8, give_up: impl Fn() -> bool) {
        let sent = SentByte { source: source.index() as u8, byte };
        while self.ring.push(sent).is_err() {
            if give_up() || self.ring.is_abandoned() {
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

impl OutputReader {
    /// Takes at most `limit` bytes from the queue, oldest first; true if there were any.
    pub fn receive(&mut self, limit: usize, mut take: impl FnMut(OutputSource, u8)) -> bool {
        let count = self.ring.slots().min(limit);
        let Ok(chunk) = self.ring.read_chunk(count) else { return false };
        for sent in chunk {
            take(OutputSource::ALL[usize::from(sent.source)], sent.byte);
        }
        count > 0
    }

    /// True if the queue is empty.
    pub fn is_empty(&self) -> bool {
        self.ring.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_arrive_in_order_and_wake_the_sleeper() {
        let doorbell = Doorbell::new().unwrap();
        let (mut outputs, mut reader) = output_queue(doorbell.clone());
        doorbell.going_to_sleep();
        let sent = [
            (OutputSource::Serial(1), b'h'),
            (OutputSource::DebugConsole, b'i'),
            (OutputSource::Serial(1), b'!'),
        ];
        for (source, byte) in sent {
            outputs.send(source, byte, || false);
        }
        let mut fds = [rustix::event::PollFd::new(&*doorbell, rustix::event::PollFlags::IN)];
        assert_eq!(rustix::event::poll(&mut fds, Some(&Default::default())).unwrap(), 1);
        doorbell.awake();
        let mut received = Vec::new();
        assert!(reader.receive(2, |source, byte| received.push((source, byte))));
        assert!(reader.receive(100, |source, byte| received.push((source, byte))));
        assert!(!reader.receive(100, |source, byte| received.push((source, byte))));
        assert_eq!(received, sent);
        assert!(reader.is_empty());
    }

    #[test]
    fn a_full_queue_blocks_the_sender_until_it_gives_up() {
        let (mut outputs, _reader) = output_queue(Doorbell::new().unwrap());
        for _ in 0..CAPACITY {
            outputs.send(OutputSource::DebugConsole, 0, || panic!("there is room"));
        }
        let calls = std::cell::Cell::new(0);
        outputs.send(OutputSource::DebugConsole, 0, || {
            calls.set(calls.get() + 1);
            calls.get() == 3
        });
        assert_eq!(calls.get(), 3);
    }
}

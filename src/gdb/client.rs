//! One connected debugger: its socket, in both directions.
//!
//! The machine's thread reads and writes the socket itself while the guest is stopped. A second thread for each client
//! watches it while the guest runs ([`InputWatch`]).

use std::io::{self, Write};
use std::net::Shutdown;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};

use super::input_watch::InputWatch;
use super::server::spawn;
use crate::machine::inputs::{Input, Inputs};
use crate::os::connection::Stream;

/// Size of the read buffer, in bytes.
const BUFFER: usize = 16 << 10;
/// How long a read blocks before the machine's thread sleeps where other events can wake it, too: a client
/// that sends many packets sends the next one within this time.
const READ_TIMEOUT: Duration = Duration::from_millis(2);
/// How long the machine's thread polls the socket for the next packet before a read blocks: to wake it on another
/// processor costs several times what a single step does.
const SPIN: Duration = Duration::from_micros(100);
/// How long a client may read nothing before it counts as disconnected.
const WRITE_TIMEOUT: Duration = Duration::from_secs(2);
/// How long the watching thread polls at a time.
const ROUND: Duration = Duration::from_millis(100);

/// A connected debugger. Dropping it ends the connection and its thread.
#[derive(Debug)]
pub(crate) struct Client {
    stream: Stream,
    watch: Arc<InputWatch>,
    /// The server has a client, and rejects others.
    busy: Arc<AtomicBool>,
    buffer: Vec<u8>,
    /// The part of the buffer that is not consumed yet.
    unread: Range<usize>,
    has_sent: bool,
}

/// The result of a read from a client.
pub(crate) enum Incoming {
    /// [`Client::received`] has bytes.
    Bytes,
    /// No bytes have arrived.
    Nothing,
    /// The client has disconnected.
    Disconnected,
}

impl Client {
    /// The client at the other end of `stream`. Its input calls for attention at `inputs` while the guest runs.
    ///
    /// # Errors
    ///
    /// What the operating system refuses: socket options, or a thread.
    pub(super) fn new(stream: Stream, busy: &Arc<AtomicBool>, inputs: &Inputs) -> io::Result<Client> {
        stream.set_nodelay()?;
        stream.set_timeouts(READ_TIMEOUT, WRITE_TIMEOUT)?;
        let (watched, watch, inputs) = (stream.try_clone()?, Arc::new(InputWatch::default()), inputs.clone());
        let watcher = watch.clone();
        spawn("gdb-watch", move || {
            while let Some(timeout) = watcher.wait_until_on() {
                // A change of the timeout takes effect in the next round.
                let round = Timespec::try_from(timeout.unwrap_or(ROUND)).ok();
                let found = poll(&mut [PollFd::new(&watched, PollFlags::IN)], round.as_ref());
                if (found != Ok(0) || timeout.is_some()) && watcher.fire() {
                    inputs.push(Input::Attention);
                }
            }
        })?;
        busy.store(true, Ordering::Release);
        let buffer = vec![0; BUFFER];
        Ok(Client { stream, watch, busy: busy.clone(), buffer, unread: 0..0, has_sent: false })
    }

    /// Reads what has arrived.
    pub(crate) fn next(&mut self) -> Incoming {
        self.receive(RecvFlags::DONTWAIT)
    }

    /// Reads what has arrived or arrives soon: within [`SPIN`] without sleeping, and then within [`READ_TIMEOUT`].
    pub(crate) fn next_soon(&mut self) -> Incoming {
        let start = Instant::now();
        while start.elapsed() < SPIN {
            match self.next() {
                Incoming::Nothing => thread::yield_now(),
                found => return found,
            }
        }
        self.receive(RecvFlags::empty())
    }

    /// Calls for the machine's attention once when input arrives, and after `timeout` at the latest. With `delayed` the
    /// socket is polled only after a moment, so that a run that is over before costs no other thread's time.
    pub(crate) fn watch(&self, delayed: bool, timeout: Option<Duration>) {
        self.watch.start(delayed, timeout);
    }

    /// The machine's thread reads the socket itself again.
    pub(crate) fn unwatch(&self) {
        self.watch.stop();
    }

    /// Bytes that have arrived and are not consumed yet.
    pub(crate) fn received(&self) -> &[u8] {
        &self.buffer[self.unread.clone()]
    }

    /// Consumes the first `count` bytes of [`Self::received`].
    pub(crate) fn consume(&mut self, count: usize) {
        self.unread.start = self.unread.end.min(self.unread.start + count);
    }

    fn receive(&mut self, flags: RecvFlags) -> Incoming {
        if self.unread.is_empty() {
            self.unread = match recv(&self.stream, self.buffer.as_mut_slice(), flags) {
                Ok((1.., count)) => 0..count.min(BUFFER),
                Err(Errno::AGAIN | Errno::INTR) => return Incoming::Nothing,
                Ok(_) | Err(_) => return Incoming::Disconnected,
            };
            self.has_sent = true;
        }
        Incoming::Bytes
    }

    /// The client is no debugger: it counts as one that has sent nothing, and its input is discarded.
    pub(crate) fn reject_input(&mut self) {
        self.has_sent = false;
        self.unread = 0..0;
    }

    /// True if it has ever sent a byte.
    pub(crate) fn has_sent(&self) -> bool {
        self.has_sent
    }

    /// Its address.
    pub(crate) fn name(&self) -> String {
        self.stream.peer()
    }

    /// The direction towards the client.
    pub(crate) fn output(&self) -> io::Result<ClientOutput> {
        Ok(ClientOutput { stream: self.stream.try_clone()?, waiting: Vec::new(), held: false })
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.watch.close();
        let _ = self.stream.shutdown(Shutdown::Both);
        self.busy.store(false, Ordering::Release);
    }
}

/// Packets for a client, sent one at a time.
#[derive(Debug)]
pub(crate) struct ClientOutput {
    stream: Stream,
    waiting: Vec<u8>,
    /// Nothing is sent until the last packet has been amended.
    held: bool,
}

impl ClientOutput {
    /// Sends nothing until [`Self::release`], so that what the library writes can be changed.
    pub(crate) fn hold(&mut self) {
        self.held = true;
    }

    /// Sends the held bytes.
    pub(crate) fn release(&mut self) -> io::Result<()> {
        self.held = false;
        gdbstub::conn::Connection::flush(self)
    }

    /// Bytes that are not sent yet; packets are appended to them.
    pub(crate) fn waiting(&mut self) -> &mut Vec<u8> {
        &mut self.waiting
    }
}

impl gdbstub::conn::Connection for ClientOutput {
    type Error = io::Error;

    fn write(&mut self, byte: u8) -> io::Result<()> {
        self.waiting.push(byte);
        Ok(())
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.waiting.extend_from_slice(bytes);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.held {
            return Ok(());
        }
        let sent = Write::write_all(&mut self.stream, &self.waiting);
        self.waiting.clear();
        sent
    }
}

//! Log lines in memory until they are written together.
//!
//! A logging thread appends its line to a buffer, which costs no system call. `tracing-appender`'s thread
//! writes the buffer [`DELAY`] after the first line in it. A thread that fills the buffer writes it itself, and
//! so does the one that closes the log: no line waits longer than [`DELAY`] or needs the log thread at the end.
//!
//! Lock order: the sink, then the lines. A batch is taken out of the buffer only with the sink locked, so
//! batches reach the file in order.

use std::fmt;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tracing_appender::non_blocking::{NonBlocking, NonBlockingBuilder};

/// How long a line may wait in memory.
pub(super) const DELAY: Duration = Duration::from_millis(10);

/// Bytes that may wait in memory.
const MOST_WAITING: usize = 64 << 10;

/// Wake-up calls that fit into the log thread's queue; there is never more than one.
const QUEUE: usize = 2;

/// The lines that wait, and the sink that takes them.
pub(super) struct Batch(Arc<Shared>);

/// Makes the text that comes before the first batch.
pub(super) type Header = Box<dyn FnOnce() -> String + Send>;

/// Appends lines to a [`Batch`].
#[derive(Clone)]
pub(super) struct BatchWriter(Arc<Shared>);

struct Shared {
    lines: Mutex<Lines>,
    /// `None` once the log is closed.
    sink: Mutex<Option<Sink>>,
}

struct Sink {
    writer: Box<dyn Write + Send>,
    /// Until it has been written.
    header: Option<Header>,
}

struct Lines {
    text: Vec<u8>,
    /// The log thread has been woken, or has not gone back to sleep.
    awake: bool,
    /// What is logged now is lost.
    closed: bool,
    /// The queue of the log thread.
    thread: Option<NonBlocking>,
}

impl Batch {
    /// Starts the log thread, which writes to `writer`, and `header` first.
    pub(super) fn start(writer: impl Write + Send + 'static, header: Header) -> Batch {
        let lines = Lines { text: Vec::new(), awake: true, closed: false, thread: None };
        let sink = Sink { writer: Box::new(writer), header: Some(header) };
        let shared = Arc::new(Shared { lines: Mutex::new(lines), sink: Mutex::new(Some(sink)) });
        let (mut thread, guard) = NonBlockingBuilder::default()
            .lossy(false)
            .buffered_lines_limit(QUEUE)
            .thread_name("log")
            .finish(LogThread(shared.clone()));
        // The guard would wait for the thread when it is dropped. `Batch::close` needs no thread.
        std::mem::forget(guard);
        // The thread begins with a delay: the lines of a start, and a short run, need not wake it.
        wake(&mut thread);
        lock(&shared.lines).thread = Some(thread);
        Batch(shared)
    }

    /// A writer of lines.
    pub(super) fn writer(&self) -> BatchWriter {
        BatchWriter(self.0.clone())
    }

    /// Writes all lines that wait and closes the sink; later lines are lost.
    pub(super) fn close(&self) {
        lock(&self.0.lines).closed = true;
        // The log ends here, and cannot report its own failure.
        let _ = self.0.write_out();
        if let Some(mut sink) = lock(&self.0.sink).take() {
            let _ = sink.writer.flush();
        }
    }
}

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch").finish_non_exhaustive()
    }
}

impl Shared {
    /// Writes the lines that wait; false if there are none.
    fn write_out(&self) -> io::Result<bool> {
        let mut sink = lock(&self.sink);
        let mut text = std::mem::take(&mut lock(&self.lines).text);
        if let Some(sink) = sink.as_mut() {
            if let Some(header) = sink.header.take() {
                text.splice(0..0, header().into_bytes());
            }
            sink.writer.write_all(&text)?;
        }
        Ok(!text.is_empty())
    }
}

impl Write for BatchWriter {
    /// Takes one or more whole lines.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut lines = lock(&self.0.lines);
        if lines.closed {
            return Ok(line.len());
        }
        lines.text.extend_from_slice(line);
        let full = lines.text.len() >= MOST_WAITING;
        if !lines.awake {
            lines.awake = true;
            lines.thread.as_mut().map(wake);
        }
        drop(lines);
        if full {
            self.0.write_out()?;
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What the log thread does for each wake-up call.
struct LogThread(Arc<Shared>);

impl Write for LogThread {
    /// Writes batches until none has come for [`DELAY`].
    fn write(&mut self, call: &[u8]) -> io::Result<usize> {
        loop {
            std::thread::sleep(DELAY);
            let result = self.0.write_out();
            let mut lines = lock(&self.0.lines);
            if result.is_err() || (matches!(result, Ok(false)) && lines.text.is_empty()) {
                lines.awake = false;
                return result.map(|_| call.len());
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Puts a wake-up call into the log thread's queue.
fn wake(thread: &mut NonBlocking) {
    // Fails only when the thread has panicked; then `Batch::close` writes what is left.
    let _ = thread.write(b"\n");
}

/// The data behind `mutex`, also after a panic in another thread: it is whole between two statements.
fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[path = "batch_test.rs"]
mod tests;

//! Merges the output of several devices into one stream without breaking lines apart.
//!
//! The rule, for devices that share a destination:
//!
//! - Lines leave in the order in which the guest began them. A line ends with its newline.
//! - A line that has begun to leave stays together: bytes of other devices wait for its end.
//! - They do not wait for a device that has been silent for `SILENCE` (a prompt, for example), and never longer
//!   than `LONGEST_WAIT` or for more than `MOST_HELD` bytes. The unfinished line is then interrupted; nothing
//!   is inserted into the stream.
//! - A byte of the device whose line is leaving never waits.
//!
//! The owner of the stream calls [`LineMerger::push`] with bytes in the guest's order, [`LineMerger::expire`] at
//! [`LineMerger::deadline`], and [`LineMerger::finish`] at the end.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::machine::output::OutputSource;

/// Time without a byte after which a line counts as unfinished for good.
const SILENCE: Duration = Duration::from_millis(200);
/// Longest time for which bytes wait for the end of another device's line.
const LONGEST_WAIT: Duration = Duration::from_secs(1);
/// Most bytes that wait for the end of another device's line.
const MOST_HELD: usize = 16 << 10;

/// A line, or the beginning of one, that waits.
#[derive(Debug)]
struct HeldLine {
    source: OutputSource,
    bytes: Vec<u8>,
    complete: bool,
}

/// The lines of one stream. Nothing waits while no line is leaving.
#[derive(Debug)]
pub struct LineMerger {
    /// The device whose line is leaving, and when it sent its last byte.
    leaving: Option<(OutputSource, Instant)>,
    held: VecDeque<HeldLine>,
    /// Bytes in `held`.
    held_bytes: usize,
    /// When the oldest of them came, or the last line was interrupted.
    held_since: Instant,
}

impl LineMerger {
    /// A stream at the start of a line.
    pub fn new(now: Instant) -> LineMerger {
        LineMerger { leaving: None, held: VecDeque::new(), held_bytes: 0, held_since: now }
    }

    /// `source` has sent `byte`. Appends to `stream` what leaves now.
    pub fn push(&mut self, source: OutputSource, byte: u8, now: Instant, stream: &mut Vec<u8>) {
        match self.leaving {
            Some((leaving, _)) if leaving == source => {
                stream.push(byte);
                self.leaving = (byte != b'\n').then_some((source, now));
                self.release(now, stream);
            }
            Some(_) => {
                self.hold(source, byte, now);
                self.expire(now, stream);
            }
            None => {
                stream.push(byte);
                self.leaving = (!is_whole_line(byte)).then_some((source, now));
            }
        }
    }

    /// When [`Self::expire`] is due, if bytes wait.
    pub fn deadline(&self) -> Option<Instant> {
        let (_, last) = self.leaving.filter(|_| !self.held.is_empty())?;
        Some((last + SILENCE).min(self.held_since + LONGEST_WAIT))
    }

    /// Interrupts the line that is leaving if others have waited long enough for its end.
    pub fn expire(&mut self, now: Instant, stream: &mut Vec<u8>) {
        while self.held_bytes > MOST_HELD || self.deadline().is_some_and(|deadline| now >= deadline) {
            self.leaving = None;
            self.held_since = now;
            self.release(now, stream);
        }
    }

    /// Appends everything that waits: no more bytes come.
    pub fn finish(&mut self, stream: &mut Vec<u8>) {
        self.leaving = None;
        self.held.drain(..).for_each(|line| stream.extend(line.bytes));
        self.held_bytes = 0;
    }

    /// Appends `byte` to the line of `source` that waits, or begins one.
    fn hold(&mut self, source: OutputSource, byte: u8, now: Instant) {
        if self.held.is_empty() {
            self.held_since = now;
        }
        self.held_bytes += 1;
        match self.held.iter_mut().rev().find(|line| line.source == source) {
            Some(line) if !line.complete => {
                line.bytes.push(byte);
                line.complete = byte == b'\n';
            }
            _ => self.held.push_back(HeldLine { source, bytes: vec![byte], complete: is_whole_line(byte) }),
        }
    }

    /// Lets waiting lines leave, up to one that is not complete.
    fn release(&mut self, now: Instant, stream: &mut Vec<u8>) {
        while self.leaving.is_none()
            && let Some(line) = self.held.pop_front()
        {
            self.held_bytes -= line.bytes.len();
            stream.extend(line.bytes);
            self.leaving = (!line.complete).then_some((line.source, now));
        }
    }
}

/// True if a line that begins with `byte` is complete. Some guests end lines with a carriage return after the
/// newline.
fn is_whole_line(byte: u8) -> bool {
    matches!(byte, b'\n' | b'\r')
}

#[cfg(test)]
#[path = "line_merger_test.rs"]
mod tests;

//! What a guest has sent to its serial ports and its debug console during a test.

use std::io::Write;

use crate::machine::output::{OutputReader, OutputSource};
use crate::settings::{SerialBackend, Settings, TestCriteria};

/// Bytes that are kept: the last ones.
const KEPT: usize = 256 << 10;
/// Bytes that are taken from the queue at a time.
const PIECE: usize = 64 << 10;

/// A text to look for in the output.
#[derive(Clone, Debug)]
struct Wanted {
    text: Vec<u8>,
    found: bool,
}

/// The output of a test.
#[derive(Debug)]
pub(super) struct CapturedOutput {
    reader: OutputReader,
    /// Which devices' output is captured, by [`OutputSource::index`].
    sources: [bool; OutputSource::ALL.len()],
    /// Standard output gets it, too.
    print: bool,
    bytes: Vec<u8>,
    /// Bytes that are not kept.
    dropped: u64,
    /// Up to where [`Self::bytes`] has been searched.
    searched: usize,
    expected: Vec<Wanted>,
    failing: Vec<Wanted>,
}

impl CapturedOutput {
    /// Captures from `reader` what `settings` send to standard output.
    pub(super) fn new(
        reader: OutputReader,
        settings: &Settings,
        criteria: &TestCriteria,
        print: bool,
    ) -> CapturedOutput {
        let backends = settings.serial.iter().chain([&settings.debug_console]);
        let mut sources = [false; OutputSource::ALL.len()];
        sources
            .iter_mut()
            .zip(backends)
            .for_each(|(wanted, backend)| *wanted = *backend == SerialBackend::Stdio);
        let wanted = |texts: &[String]| -> Vec<Wanted> {
            texts.iter().map(|text| Wanted { text: text.clone().into_bytes(), found: false }).collect()
        };
        CapturedOutput {
            reader,
            sources,
            print,
            bytes: Vec::new(),
            dropped: 0,
            searched: 0,
            expected: wanted(&criteria.expected),
            failing: wanted(&criteria.failing),
        }
    }

    /// Forgets everything, for the next test.
    pub(super) fn clear(&mut self) {
        self.receive();
        self.bytes.clear();
        (self.dropped, self.searched) = (0, 0);
        self.expected.iter_mut().chain(&mut self.failing).for_each(|wanted| wanted.found = false);
    }

    /// Takes what has arrived, and looks for the texts in it.
    pub(super) fn receive(&mut self) {
        loop {
            let start = self.bytes.len();
            let (bytes, sources) = (&mut self.bytes, &self.sources);
            let any = self.reader.receive(PIECE, |source, byte| {
                if sources[source.index()] {
                    bytes.push(byte);
                }
            });
            if self.print {
                // The reader may close the pipe early.
                let _ = std::io::stdout().write_all(&self.bytes[start..]);
            }
            self.search();
            self.drop_first();
            if !any {
                break;
            }
        }
    }

    fn search(&mut self) {
        for wanted in self.expected.iter_mut().chain(&mut self.failing).filter(|wanted| !wanted.found) {
            // The text may have begun in what was searched before.
            let from = self.searched.saturating_sub(wanted.text.len() - 1);
            wanted.found = self.bytes[from..].windows(wanted.text.len()).any(|part| part == wanted.text);
        }
        self.searched = self.bytes.len();
    }

    /// Keeps memory bounded; twice the limit is used so that bytes are not moved for each one that arrives.
    fn drop_first(&mut self) {
        if self.bytes.len() > 2 * KEPT {
            let surplus = self.bytes.len() - KEPT;
            self.bytes.drain(..surplus);
            self.dropped += surplus as u64;
            self.searched -= surplus;
        }
    }

    /// True if every expected text has been sent.
    pub(super) fn has_all_expected(&self) -> bool {
        self.expected.iter().all(|wanted| wanted.found)
    }

    /// The expected texts that have not been sent.
    pub(super) fn missing(&self) -> impl Iterator<Item = String> {
        let missing = self.expected.iter().filter(|wanted| !wanted.found);
        missing.map(|wanted| String::from_utf8_lossy(&wanted.text).into_owned())
    }

    /// A text that makes the test fail and has been sent.
    pub(super) fn failing(&self) -> Option<String> {
        let wanted = self.failing.iter().find(|wanted| wanted.found)?;
        Some(String::from_utf8_lossy(&wanted.text).into_owned())
    }

    /// The output as text; a first line says how much of it has not been kept.
    pub(super) fn text(&self) -> String {
        let text = String::from_utf8_lossy(&self.bytes);
        match self.dropped {
            0 => text.into_owned(),
            dropped => format!("[{dropped} earlier bytes are left out]\n{text}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::output::{Doorbell, OutputQueue, output_queue};

    fn captured(expected: &[&str]) -> (OutputQueue, CapturedOutput) {
        let (queue, reader) = output_queue(Doorbell::new().unwrap());
        let wanted = |text: &&str| Wanted { text: text.as_bytes().to_vec(), found: false };
        let output = CapturedOutput {
            reader,
            sources: [true, false, false, false, true],
            print: false,
            bytes: Vec::new(),
            dropped: 0,
            searched: 0,
            expected: expected.iter().map(wanted).collect(),
            failing: vec![wanted(&"panic")],
        };
        (queue, output)
    }

    fn send(queue: &mut OutputQueue, text: &str) {
        text.bytes().for_each(|byte| queue.send(OutputSource::Serial(0), byte, || true));
    }

    #[test]
    fn texts_are_found_across_pieces() {
        let (mut queue, mut output) = captured(&["ready", "y"]);
        send(&mut queue, "not rea");
        output.receive();
        assert_eq!(output.missing().collect::<Vec<_>>(), ["ready", "y"]);
        send(&mut queue, "dy, no pan");
        queue.send(OutputSource::Serial(1), b'!', || true);
        output.receive();
        assert!(output.has_all_expected());
        assert_eq!(output.failing(), None);
        send(&mut queue, "ic");
        output.receive();
        assert_eq!(output.failing().as_deref(), Some("panic"));
        assert_eq!(output.text(), "not ready, no panic");
        output.clear();
        assert_eq!(
            (output.text(), output.failing(), output.has_all_expected()),
            (String::new(), None, false)
        );
    }

    #[test]
    fn only_the_end_of_much_output_is_kept() {
        let (mut queue, mut output) = captured(&["end"]);
        for _ in 0..20 {
            send(&mut queue, &"x".repeat(60 << 10));
            output.receive();
        }
        send(&mut queue, "end");
        output.receive();
        assert!(output.has_all_expected());
        let text = output.text();
        assert!(
            text.ends_with("xend") && text.starts_with('[') && text.len() < 2 * KEPT + 100,
            "{}",
            &text[..60]
        );
        let dropped: usize = text[1..].split(' ').next().unwrap().parse().unwrap();
        assert_eq!(text.split_once('\n').unwrap().1.len() + dropped, 20 * (60 << 10) + 3);
    }
}

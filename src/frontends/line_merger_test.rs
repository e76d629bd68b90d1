use super::*;

const COM1: OutputSource = OutputSource::Serial(0);
const COM2: OutputSource = OutputSource::Serial(1);
const CONSOLE: OutputSource = OutputSource::DebugConsole;

/// A merger, the stream that comes out of it, and its time.
struct Stream {
    merger: LineMerger,
    bytes: Vec<u8>,
    now: Instant,
}

impl Stream {
    fn new() -> Stream {
        let now = Instant::now();
        Stream { merger: LineMerger::new(now), bytes: Vec::new(), now }
    }

    fn send(&mut self, source: OutputSource, text: &str) {
        text.bytes().for_each(|byte| self.merger.push(source, byte, self.now, &mut self.bytes));
    }

    fn wait(&mut self, milliseconds: u64) {
        self.now += Duration::from_millis(milliseconds);
        self.merger.expire(self.now, &mut self.bytes);
    }

    /// What has come out since the last call.
    fn take(&mut self) -> String {
        String::from_utf8(std::mem::take(&mut self.bytes)).unwrap()
    }
}

#[test]
fn whole_lines_leave_at_once_in_the_order_of_the_guest() {
    let mut stream = Stream::new();
    for (source, line) in
        [(COM1, "one\n"), (CONSOLE, "two\r\n"), (COM1, "three\n\r"), (COM2, "\n"), (CONSOLE, "4\n")]
    {
        stream.send(source, line);
        assert_eq!(stream.take(), line);
    }
    assert_eq!(stream.merger.deadline(), None);
}

#[test]
fn a_byte_of_the_line_that_is_leaving_never_waits() {
    let mut stream = Stream::new();
    for character in ["p", "r", "o", "m", "p", "t"] {
        stream.send(COM1, character);
        assert_eq!(stream.take(), character);
        stream.send(CONSOLE, "log");
    }
}

#[test]
fn lines_that_are_sent_byte_by_byte_in_turns_are_put_together() {
    for orders in [[COM1, CONSOLE, COM2], [CONSOLE, COM2, COM1], [COM2, COM1, CONSOLE]] {
        let mut stream = Stream::new();
        for line in 0..50 {
            for byte in format!("line {line}\n").chars() {
                orders.iter().for_each(|source| stream.send(*source, &byte.to_string()));
            }
        }
        let expected: String = (0..50).map(|line| format!("line {line}\n").repeat(3)).collect();
        assert_eq!(stream.take(), expected);
    }
}

#[test]
fn lines_leave_in_the_order_in_which_they_were_begun() {
    let mut stream = Stream::new();
    stream.send(COM1, "a1 ");
    stream.send(COM2, "b1 ");
    stream.send(CONSOLE, "c1\nc2 ");
    stream.send(COM2, "b2\n");
    assert_eq!(stream.take(), "a1 ");
    stream.send(COM1, "a2\n");
    // The line of port 0xE9 that was begun last is not complete, and leaves as far as it goes.
    assert_eq!(stream.take(), "a2\nb1 b2\nc1\nc2 ");
    stream.send(COM1, "a3\n");
    stream.send(CONSOLE, "c3\n");
    assert_eq!(stream.take(), "c3\na3\n");
}

#[test]
fn a_silent_device_does_not_hold_up_the_others() {
    let mut stream = Stream::new();
    stream.send(COM1, "login: ");
    stream.send(CONSOLE, "log\n");
    assert_eq!(stream.merger.deadline(), Some(stream.now + SILENCE));
    stream.wait(199);
    assert_eq!(stream.take(), "login: ");
    stream.wait(1);
    assert_eq!(stream.take(), "log\n");
    // After a long silence nothing waits at all.
    stream.send(COM1, "> ");
    stream.wait(1000);
    stream.send(CONSOLE, "log\n");
    assert_eq!(stream.take(), "> log\n");
}

#[test]
fn a_line_without_an_end_holds_the_others_up_for_a_bounded_time_and_number_of_bytes() {
    let mut stream = Stream::new();
    stream.send(COM1, ".");
    stream.send(CONSOLE, "log\n");
    let waited = (0..100).take_while(|_| {
        stream.wait(100);
        stream.send(COM1, ".");
        !stream.take().contains("log")
    });
    assert_eq!(waited.count(), 9);
    let mut stream = Stream::new();
    stream.send(COM1, ".");
    stream.send(CONSOLE, &"x".repeat(MOST_HELD));
    assert_eq!(stream.take(), ".");
    stream.send(COM2, "y");
    assert_eq!(stream.take().len(), MOST_HELD);
    // It is port 0xE9's line that leaves now.
    stream.send(CONSOLE, "\n");
    assert_eq!(stream.take(), "\ny");
}

#[test]
fn everything_leaves_at_the_end() {
    let mut stream = Stream::new();
    stream.send(COM1, "a ");
    stream.send(COM2, "b ");
    stream.send(CONSOLE, "c\n");
    stream.merger.finish(&mut stream.bytes);
    assert_eq!((stream.take().as_str(), stream.merger.deadline()), ("a b c\n", None));
}

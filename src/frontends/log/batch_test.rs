use std::time::Instant;

use super::*;

/// A sink that keeps what was written, batch by batch.
#[derive(Clone, Default)]
struct SharedBuffer(Arc<Mutex<Vec<String>>>);

impl Write for SharedBuffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !bytes.is_empty() {
            lock(&self.0).push(String::from_utf8_lossy(bytes).into_owned());
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl SharedBuffer {
    fn text(&self) -> String {
        lock(&self.0).concat()
    }

    /// Waits until `text` has been written.
    fn wait_for(&self, text: &str) {
        let start = Instant::now();
        while !self.text().ends_with(text) {
            assert!(start.elapsed() < Duration::from_secs(10), "{:?} instead of {text:?}", self.text());
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

#[test]
fn a_line_is_written_soon_after_the_thread_slept() {
    let buffer = SharedBuffer::default();
    let batch = Batch::start(buffer.clone(), Box::new(String::new));
    let mut writer = batch.writer();
    for line in ["first\n", "second\n", "third\n"] {
        writer.write_all(line.as_bytes()).unwrap();
        buffer.wait_for(line);
        std::thread::sleep(4 * DELAY);
    }
    assert_eq!(buffer.text(), "first\nsecond\nthird\n");
}

#[test]
fn closing_writes_what_waits_and_nothing_afterwards() {
    let buffer = SharedBuffer::default();
    let batch = Batch::start(buffer.clone(), Box::new(String::new));
    let mut writer = batch.writer();
    writer.write_all(b"before\n").unwrap();
    batch.close();
    writer.write_all(b"after\n").unwrap();
    batch.close();
    assert_eq!(buffer.text(), "before\n");
}

#[test]
fn lines_of_several_threads_stay_whole_and_in_order_of_each_thread() {
    let buffer = SharedBuffer::default();
    let batch = Batch::start(buffer.clone(), Box::new(String::new));
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let mut writer = batch.writer();
            scope.spawn(move || {
                for number in 0..5000 {
                    writer.write_all(format!("{thread} {number:040}\n").as_bytes()).unwrap();
                }
            });
        }
    });
    batch.close();
    let mut next = [0; 4];
    for line in buffer.text().lines() {
        let (thread, number) = line.split_once(' ').unwrap();
        let next = &mut next[thread.parse::<usize>().unwrap()];
        assert_eq!(number.parse::<u32>().unwrap(), *next, "{line}");
        *next += 1;
    }
    assert_eq!(next, [5000; 4]);
}

#[test]
fn a_full_buffer_is_written_by_the_thread_that_fills_it() {
    let buffer = SharedBuffer::default();
    let batch = Batch::start(buffer.clone(), Box::new(String::new));
    let line = [b'x'; MOST_WAITING - 1].map(char::from).iter().collect::<String>() + "\n";
    batch.writer().write_all(line.as_bytes()).unwrap();
    assert_eq!(buffer.text().len(), MOST_WAITING);
}

#[test]
fn the_header_comes_first_and_is_made_by_the_first_write() {
    let buffer = SharedBuffer::default();
    let caller = std::thread::current().id();
    let header = move || {
        assert_ne!(std::thread::current().id(), caller, "the start of the run does not wait for it");
        "header\n".to_owned()
    };
    let batch = Batch::start(buffer.clone(), Box::new(header));
    batch.writer().write_all(b"line\n").unwrap();
    buffer.wait_for("line\n");
    assert_eq!(buffer.text(), "header\nline\n");
    let short = SharedBuffer::default();
    Batch::start(short.clone(), Box::new(|| "header\n".to_owned())).close();
    assert_eq!(short.text(), "header\n", "a run that logs nothing has a header");
}

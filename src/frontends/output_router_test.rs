use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::devices::vga::TextView;
use crate::machine::output::{Doorbell, OutputQueue, output_queue};
use crate::machine::screen::Screen;
use crate::memory::GuestMemory;
use crate::settings::{self, Invocation, PictureMode};

const COM1: OutputSource = OutputSource::Serial(0);
const COM2: OutputSource = OutputSource::Serial(1);

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("kvm-router-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn file(&self, name: &str) -> String {
        self.0.join(name).to_string_lossy().into_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A router for these options, and the machine's side.
struct Routed {
    router: OutputRouter,
    outputs: OutputQueue,
    reader: OutputReader,
    display: Display,
}

impl Routed {
    fn new(options: &[&str]) -> Routed {
        let args = ["kvm", "a.elf", "--config", "/dev/null", "--display", "none"].iter().chain(options);
        let Ok(Invocation::Run(settings)) = settings::from_args(args.map(|text| text.into())) else {
            panic!("{options:?} is no run");
        };
        let (outputs, reader) = output_queue(Doorbell::new().unwrap());
        let screen = Screen::new(Arc::new(GuestMemory::new(1 << 20).unwrap()), TextView::default());
        let display = Display::new((DisplayMode::None, PictureMode::Off), None, screen, None);
        Routed { router: OutputRouter::open(&settings).unwrap(), outputs, reader, display }
    }

    fn send(&mut self, source: OutputSource, text: &str) {
        text.bytes().for_each(|byte| self.outputs.send(source, byte, || panic!("the queue is full")));
    }

    fn pump(&mut self, last: bool) -> Pumped {
        self.router.pump(&mut self.reader, &mut self.display, last)
    }
}

#[test]
fn devices_on_one_file_share_a_destination_and_others_do_not() {
    let folder = Folder::new("shared");
    let [shared, other] = ["shared.txt", "other.txt"].map(|name| folder.file(name));
    let options = [format!("1=file:{shared}"), format!("2=file:{other}"), format!("3=file:{shared}")];
    let mut routed =
        Routed::new(&["--serial", &options[0], "--serial", &options[1], "--serial", &options[2]]);
    routed.send(COM1, "one ");
    routed.send(COM2, "alone");
    routed.send(OutputSource::Serial(2), "three");
    assert!(routed.pump(false).any);
    let read = |path: &str| std::fs::read_to_string(path).unwrap();
    assert_eq!((read(&shared).as_str(), read(&other).as_str()), ("one ", "alone"));
    // The line of COM3 waits until COM1 has been silent.
    let deadline = routed.router.deadline().unwrap();
    std::thread::sleep(deadline.saturating_duration_since(Instant::now()));
    assert!(routed.pump(false).any && routed.router.deadline().is_none());
    assert_eq!(read(&shared), "one three");
    routed.send(COM1, "end");
    assert!(routed.pump(true).any);
    assert_eq!(read(&shared), "one threeend");
}

#[test]
fn a_peer_that_reads_nothing_stops_the_queue_but_nothing_is_lost_at_the_end() {
    let folder = Folder::new("slow");
    let [socket, file] = ["socket", "com2.txt"].map(|name| folder.file(name));
    let options = [format!("1=unix:{socket}"), format!("2=file:{file}")];
    let mut routed = Routed::new(&["--serial", &options[0], "--serial", &options[1]]);
    let client = UnixStream::connect(&socket).unwrap();
    assert_eq!(routed.router.receive(COM1), b"");
    let chunk = "x".repeat(TAKE);
    let mut sent = 0;
    while !(routed.pump(false).peer_full && routed.router.destinations[0].staged.len() >= MOST_STAGED) {
        routed.send(COM1, &chunk);
        sent += chunk.len();
        assert!(sent < 64 << 20, "the client reads nothing");
    }
    routed.send(COM2, "after all that\n");
    assert!(!routed.pump(false).any);
    assert_eq!(std::fs::read(&file).unwrap(), b"");
    // The run has ended: the file gets what is for it, whether or not the client reads.
    assert!(routed.pump(true).any && routed.reader.is_empty());
    assert_eq!(std::fs::read(&file).unwrap(), b"after all that\n");

    client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let reader = std::thread::spawn(move || {
        let mut all = Vec::new();
        std::io::Read::read_to_end(&mut &client, &mut all).unwrap();
        all.len()
    });
    loop {
        let pumped = routed.pump(true);
        if !pumped.any && !pumped.peer_full && routed.router.unread() == 0 {
            break;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    drop(routed);
    assert_eq!(reader.join().unwrap(), sent);
}

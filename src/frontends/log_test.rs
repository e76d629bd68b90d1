use std::fs;
use std::io::{Read, Write};
use std::os::fd::AsFd;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use tracing::Level;

use super::*;
use crate::settings::TraceSpec;

/// Lines of a flood, more than fit into memory at once.
const MANY: usize = 2000;

/// A path of its own for each test, removed at its end.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Place {
        let path = std::env::temp_dir().join(format!("kvm-log-{}-{name}", std::process::id()));
        let _ = fs::remove_file(&path);
        Place(path)
    }

    fn fifo(name: &str) -> Place {
        let place = Place::new(name);
        mknodat(CWD, &place.0, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        place
    }

    fn spec(&self) -> LogSpec {
        LogSpec {
            file: self.0.clone(),
            file_chosen: true,
            level: Level::INFO,
            filter: String::new(),
            format: LogFormat::Text,
            trace: TraceSpec::default(),
        }
    }

    fn text(&self) -> String {
        fs::read_to_string(&self.0).unwrap()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// Does what [`start`] does, for the calling thread only, while `work` runs.
fn log_while(spec: &LogSpec, work: impl FnOnce()) {
    let (writer, guard) = open(spec, DisplayMode::Auto, Box::new(String::new)).unwrap();
    tracing::subscriber::with_default(subscriber(spec.format, targets(spec).unwrap(), writer), work);
    drop(guard);
}

#[test]
fn a_line_has_time_level_room_and_message() {
    let place = Place::new("line");
    log_while(&place.spec(), || tracing::warn!(target: "kvm::boot", port = 0x60, "no such port"));
    let text = place.text();
    let (time, rest) = text.split_at("   0.001234".len());
    assert!(time.starts_with("   ") && time.trim().parse::<f64>().is_ok(), "{text}");
    assert_eq!(rest, "  WARN kvm::boot: no such port port=96\n");
}

#[test]
fn a_run_overwrites_the_log_of_an_earlier_one() {
    let place = Place::new("truncate");
    fs::write(&place.0, "an earlier run\n".repeat(100)).unwrap();
    log_while(&place.spec(), || tracing::info!("a new run"));
    assert_eq!(place.text().lines().count(), 1);
}

#[test]
fn a_run_that_logs_nothing_leaves_an_empty_log() {
    let place = Place::new("nothing");
    fs::write(&place.0, "an earlier run\n").unwrap();
    log_while(&place.spec(), || tracing::trace!("not at this level"));
    assert_eq!(place.text(), "");
}

#[test]
fn the_level_holds_for_all_rooms_that_the_filter_does_not_name() {
    let place = Place::new("filter");
    let spec =
        LogSpec { level: Level::WARN, filter: "kvm::devices=debug,kvm::boot=error".into(), ..place.spec() };
    log_while(&spec, || {
        tracing::debug!(target: "kvm::devices::vga", "shown 1");
        tracing::trace!(target: "kvm::devices::vga", "hidden");
        tracing::warn!(target: "kvm::boot", "hidden");
        tracing::warn!(target: "kvm::machine", "shown 2");
        tracing::info!(target: "kvm::machine", "hidden");
    });
    let text = place.text();
    assert_eq!(text.matches("shown").count(), 2, "{text}");
    assert!(!text.contains("hidden"), "{text}");
}

#[test]
fn no_line_is_lost_when_the_run_ends_in_the_middle_of_a_flood() {
    let place = Place::new("flood");
    log_while(&place.spec(), || {
        for line in 0..MANY {
            tracing::info!("line {line} of many");
        }
    });
    let text = place.text();
    assert_eq!(text.lines().count(), MANY);
    assert!(text.trim_end().ends_with(&format!("line {} of many", MANY - 1)));
}

#[test]
fn escape_sequences_of_the_guest_do_not_reach_the_terminal_that_shows_the_log() {
    let place = Place::new("escape");
    log_while(&place.spec(), || tracing::info!("{}", "\x1b[2Jgone"));
    assert!(!place.text().contains('\x1b'));
}

#[test]
fn a_reader_that_opens_the_fifo_late_misses_nothing() {
    let place = Place::fifo("late");
    let path = place.0.clone();
    let (opened, wait) = std::sync::mpsc::channel();
    let reader = std::thread::spawn(move || {
        wait.recv().unwrap();
        std::thread::sleep(Duration::from_millis(20));
        let mut text = String::new();
        File::open(path).unwrap().read_to_string(&mut text).unwrap();
        text
    });
    log_while(&place.spec(), || {
        tracing::info!("first");
        tracing::info!("last");
        opened.send(()).unwrap();
    });
    let text = reader.join().unwrap();
    assert!(text.contains("first") && text.contains("last"), "{text}");
}

#[test]
fn a_fifo_without_a_reader_does_not_stop_the_guest() {
    let place = Place::fifo("unread");
    let (mut writer, guard) = open(&place.spec(), DisplayMode::Auto, Box::new(String::new)).unwrap();
    let line = [b'x'; 1023].map(char::from).iter().collect::<String>() + "\n";
    for _ in 0..1024 {
        writer.write_all(line.as_bytes()).unwrap();
    }
    // A late reader gets the buffered lines, and a note about the dropped ones.
    let mut reader = guard.fifo.as_ref().unwrap().try_clone().unwrap();
    let mut seen = String::new();
    for _ in 0..100 {
        writer.write_all(b"and now?\n").unwrap();
        let mut ready = [PollFd::from_borrowed_fd(reader.as_fd(), PollFlags::IN)];
        let second = Timespec { tv_sec: 1, tv_nsec: 0 };
        assert_eq!(poll(&mut ready, Some(&second)), Ok(1), "nothing more arrives");
        let mut bytes = [0; 4096];
        while let Ok(more) = reader.read(&mut bytes) {
            seen += std::str::from_utf8(&bytes[..more]).unwrap();
        }
        if seen.ends_with("and now?\n") {
            break;
        }
    }
    let (before, after) = seen.split_once("... ").expect("a note about dropped lines");
    assert_eq!(before, line.repeat(before.len() / line.len()), "whole lines");
    assert!(before.len() >= 32 << 10, "{}", before.len());
    assert!(after.contains("lines dropped: the log was not read\n"), "{after}");
}

#[test]
fn an_unwritable_log_file_is_an_error_only_if_the_user_chose_it() {
    let chosen = LogSpec {
        file: "/nowhere/at/all.log".into(),
        file_chosen: true,
        level: Level::INFO,
        filter: String::new(),
        format: LogFormat::Text,
        trace: TraceSpec::default(),
    };
    let error = start(&chosen, DisplayMode::Auto, Vec::new).unwrap_err().to_string();
    assert!(error.starts_with("cannot write the log file `/nowhere/at/all.log`: No such file"), "{error}");
    assert!(error.contains("--logfile"), "{error}");
    let without = start(&LogSpec { file_chosen: false, ..chosen }, DisplayMode::Auto, Vec::new).unwrap();
    assert!(!without.is_open());
}

#[test]
fn a_filter_that_is_none_is_named() {
    let place = Place::new("badfilter");
    let error =
        start(&LogSpec { filter: "kvm::boot=loud".into(), ..place.spec() }, DisplayMode::Auto, Vec::new)
            .unwrap_err()
            .to_string();
    assert!(error.starts_with("`kvm::boot=loud` is no log filter"), "{error}");
    assert!(!place.0.exists(), "nothing is written");
}

#[test]
fn the_process_has_one_log() {
    let place = Place::new("once");
    let first = start(&place.spec(), DisplayMode::Auto, Vec::new);
    tracing::info!(target: "kvm::once", "for the whole process");
    assert!(matches!(start(&place.spec(), DisplayMode::Auto, Vec::new), Err(LogError::AlreadyStarted)));
    drop(first.unwrap());
}

#[test]
fn json_lines_are_objects_with_all_values() {
    let place = Place::new("json");
    let spec = LogSpec { format: LogFormat::Json, ..place.spec() };
    log_while(&spec, || {
        tracing::warn!(target: "kvm::boot", port = 0x60, name = "a \"quoted\" \x1b name", "two\nlines");
        tracing::info!(seconds = 0.5, ready = true, "second");
    });
    let lines: Vec<serde_json::Value> =
        place.text().lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[0]["level"], "WARN");
    assert_eq!(lines[0]["target"], "kvm::boot");
    assert_eq!(lines[0]["message"], "two\nlines");
    assert_eq!(lines[0]["port"], 0x60);
    assert_eq!(lines[0]["name"], "a \"quoted\" \x1b name");
    assert!(lines[0]["time"].as_f64().is_some_and(|time| (0.0..60.0).contains(&time)), "{lines:?}");
    assert_eq!((&lines[1]["seconds"], &lines[1]["ready"]), (&0.5.into(), &true.into()));
}

#[test]
fn the_header_looks_like_other_lines_and_obeys_the_filter() {
    let header =
        || vec![LogEntry { message: "host", fields: vec![("kernel", "6.1".into()), ("by", "a b".into())] }];
    for (filter, format, expected) in [
        ("", LogFormat::Text, "   0.000000  INFO kvm::log: host kernel=6.1 by=\"a b\"\n"),
        (
            "",
            LogFormat::Json,
            "{\"time\":0.0,\"level\":\"INFO\",\"target\":\"kvm::log\",\"message\":\"host\",\"kernel\":\"6.1\",\
             \"by\":\"a b\"}\n",
        ),
        ("kvm::log=warn", LogFormat::Text, ""),
    ] {
        let place = Place::new("header");
        let spec = LogSpec { filter: filter.into(), format, ..place.spec() };
        let text = header_text(&spec, &targets(&spec).unwrap(), header)();
        assert_eq!(text, expected);
    }
}

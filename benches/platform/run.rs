//! Runs a guest that measures itself, and reads what it reports.

use std::arch::x86_64::_rdtsc;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command};
use std::sync::OnceLock;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use crate::shared::Failure;
use crate::shared::programs::spawn;

/// Longest time a run may take.
const TIMEOUT: Duration = Duration::from_secs(180);

/// What a guest has reported.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Name, count, and the seconds that it took.
    lines: Vec<(String, f64, f64)>,
    /// Part of a processor that the process used from the line `idle` to the end.
    pub idle: Option<f64>,
}

impl Report {
    /// How many of `what` there were in a second.
    pub fn rate(&self, what: &str) -> Result<f64, Failure> {
        let (count, seconds) = self.find(what)?;
        Ok(count / seconds)
    }

    /// Seconds that one of `what` took.
    pub fn time(&self, what: &str) -> Result<f64, Failure> {
        let (count, seconds) = self.find(what)?;
        Ok(seconds / count)
    }

    fn find(&self, what: &str) -> Result<(f64, f64), Failure> {
        let found = self.lines.iter().find(|(name, ..)| name == what);
        found.map(|(_, count, seconds)| (*count, *seconds)).ok_or_else(|| "not offered".into())
    }
}

/// Runs `command` until the guest reports its end, and ends it.
pub fn report(mut command: Command) -> Result<Report, Failure> {
    let mut child = spawn(&mut command)?;
    let result = read(&mut child);
    // It may have ended by itself.
    let _ = child.kill();
    child.wait()?;
    result.map_err(|failure| match said(&mut child) {
        text if text.is_empty() => failure,
        text => text.into(),
    })
}

/// The last line of a program's errors.
fn said(child: &mut Child) -> String {
    let mut text = String::new();
    if let Some(errors) = &mut child.stderr {
        // Nothing to say if that fails.
        let _ = errors.read_to_string(&mut text);
    }
    text.lines().next_back().unwrap_or_default().to_owned()
}

fn read(child: &mut Child) -> Result<Report, Failure> {
    let output = child.stdout.take().ok_or("standard output of a measured program must be a pipe")?;
    let (sender, lines) = channel();
    std::thread::spawn(move || {
        BufReader::new(output).lines().map_while(Result::ok).all(|line| sender.send(line).is_ok())
    });
    let start = Instant::now();
    let mut report = Report::default();
    let mut idle = None;
    loop {
        let line = match lines.recv_timeout(TIMEOUT.saturating_sub(start.elapsed())) {
            Ok(line) => line,
            Err(RecvTimeoutError::Timeout) => return Err(format!("no end within {TIMEOUT:?}").into()),
            Err(RecvTimeoutError::Disconnected) => return Err("it ended before its last report".into()),
        };
        match line.trim() {
            "idle" => idle = Some((Instant::now(), used(child.id())?)),
            "end" => {
                if let Some((since, before)) = idle {
                    let used = used(child.id())?.saturating_sub(before);
                    report.idle = Some(used.as_secs_f64() / since.elapsed().as_secs_f64());
                }
                return Ok(report);
            }
            line => {
                let mut words = line.split(' ');
                let (Some(name), Some(count), Some(cycles)) = (words.next(), words.next(), words.next())
                else {
                    return Err(format!("`{line}` is no report").into());
                };
                let cycles: f64 = cycles.parse()?;
                report.lines.push((name.to_owned(), count.parse()?, cycles / tsc_hertz()));
            }
        }
    }
}

/// Processor time that all threads of a process have used (`/proc/PID/task/TID/schedstat`).
fn used(process: u32) -> Result<Duration, Failure> {
    let folder = format!("/proc/{process}/task");
    let mut sum = 0;
    for task in fs::read_dir(&folder).map_err(|e| format!("{folder}: {e}"))? {
        // A thread may have ended meanwhile.
        let text = fs::read_to_string(task?.path().join("schedstat")).unwrap_or_default();
        sum += text.split(' ').next().and_then(|used| used.parse::<u64>().ok()).unwrap_or(0);
    }
    Ok(Duration::from_nanos(sum))
}

/// Frequency of the time stamp counter, which guests measure with.
fn tsc_hertz() -> f64 {
    static HERTZ: OnceLock<f64> = OnceLock::new();
    // SAFETY: every x86-64 processor has the instruction, and it accesses no memory.
    #[allow(unsafe_code)]
    let counter = || unsafe { _rdtsc() };
    *HERTZ.get_or_init(|| {
        let (start, before) = (Instant::now(), counter());
        std::thread::sleep(Duration::from_millis(100));
        (counter() - before) as f64 / start.elapsed().as_secs_f64()
    })
}

//! A program that runs the guest, with the times of its output.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::monitor::{Monitor, TIMEOUT};
use crate::shared::Failure;
use crate::shared::programs::spawn;

/// The byte that the guest writes in each tick (benches/guests/dirty.S).
const TICK: u8 = b'#';

/// The times of the output of the guest.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ticks {
    /// The first tick in this program.
    pub first: Option<Instant>,
    /// The last tick in this program so far.
    pub last: Option<Instant>,
    /// Number of ticks.
    count: u64,
    /// The program's standard output has ended.
    over: bool,
}

/// A program that runs the guest, or waits for it. Dropping it kills the process.
pub struct Program {
    child: Child,
    name: String,
    started: Instant,
    ticks: Arc<(Mutex<Ticks>, Condvar)>,
    monitor: PathBuf,
}

impl Drop for Program {
    fn drop(&mut self) {
        // Fails only if the process has exited already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_file(&self.monitor);
    }
}

impl Program {
    /// Runs `command`, which creates its monitor at the socket `monitor`.
    pub fn start(mut command: Command, monitor: &Path) -> Result<Program, Failure> {
        // A run that was killed leaves its socket.
        let _ = std::fs::remove_file(monitor);
        let name = command.get_program().to_string_lossy().into_owned();
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let started = Instant::now();
        let mut child = spawn(&mut command)?;
        let output = child.stdout.take().ok_or("standard output must be a pipe")?;
        let ticks: Arc<(Mutex<Ticks>, Condvar)> = Arc::default();
        let seen = ticks.clone();
        std::thread::spawn(move || count_ticks(output, &seen));
        Ok(Program { child, name, started, ticks, monitor: monitor.to_owned() })
    }

    /// The time of its start.
    pub fn started(&self) -> Instant {
        self.started
    }

    /// The ticks of the guest so far.
    pub fn ticks(&self) -> Ticks {
        *self.ticks.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for `more` further ticks, and returns the time of the first tick in this program.
    pub fn wait_for(&self, more: u64) -> Result<Instant, Failure> {
        let (ticks, changed) = &*self.ticks;
        let ticks = ticks.lock().unwrap_or_else(PoisonError::into_inner);
        let expected = ticks.count + more;
        let waited =
            changed.wait_timeout_while(ticks, TIMEOUT, |ticks| ticks.count < expected && !ticks.over);
        let (ticks, _) = waited.unwrap_or_else(PoisonError::into_inner);
        match ticks.first {
            Some(first) if ticks.count >= expected => Ok(first),
            _ => Err(format!("the guest has no output in {}", self.name).into()),
        }
    }

    /// Its monitor, once it accepts connections.
    pub fn monitor(&mut self, prompt: &'static str) -> Result<Monitor, Failure> {
        while self.started.elapsed() < TIMEOUT {
            if let Ok(monitor) = Monitor::connect(&self.monitor, prompt) {
                return Ok(monitor);
            }
            if let Some(status) = self.child.try_wait()? {
                return Err(format!("{} ended: {status}", self.name).into());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Err(format!("{} has no monitor", self.name).into())
    }
}

fn count_ticks(mut output: ChildStdout, ticks: &(Mutex<Ticks>, Condvar)) {
    let mut buffer = [0; 4096];
    loop {
        let count = output.read(&mut buffer).unwrap_or(0);
        let now = Instant::now();
        let received = buffer[..count].iter().filter(|byte| **byte == TICK).count() as u64;
        let mut seen = ticks.0.lock().unwrap_or_else(PoisonError::into_inner);
        if received > 0 {
            seen.first.get_or_insert(now);
            seen.last = Some(now);
            seen.count += received;
        }
        seen.over = count == 0;
        drop(seen);
        ticks.1.notify_all();
        if count == 0 {
            return;
        }
    }
}

//! A program that runs the guest, and when the guest has said what.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::monitor::{Monitor, TIMEOUT};
use crate::shared::Failure;
use crate::shared::programs::spawn;

/// What the guest says once in each tick (benches/guests/dirty.S).
const TICK: u8 = b'#';

/// When the guest said something.
#[derive(Clone, Copy, Debug, Default)]
pub struct Said {
    /// First in this program.
    pub first: Option<Instant>,
    /// Last in this program, so far.
    pub last: Option<Instant>,
    /// How often.
    count: u64,
    /// The program's standard output has ended.
    over: bool,
}

/// A program that runs the guest, or waits for it. Dropping it ends it.
pub struct Program {
    child: Child,
    name: String,
    started: Instant,
    said: Arc<(Mutex<Said>, Condvar)>,
    monitor: PathBuf,
}

impl Drop for Program {
    fn drop(&mut self) {
        // Fails only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_file(&self.monitor);
    }
}

impl Program {
    /// Runs `command`, whose monitor is going to be at the socket `monitor`.
    pub fn start(mut command: Command, monitor: &Path) -> Result<Program, Failure> {
        // Of a run that was killed.
        let _ = std::fs::remove_file(monitor);
        let name = command.get_program().to_string_lossy().into_owned();
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let started = Instant::now();
        let mut child = spawn(&mut command)?;
        let output = child.stdout.take().ok_or("standard output must be a pipe")?;
        let said: Arc<(Mutex<Said>, Condvar)> = Arc::default();
        let seen = said.clone();
        std::thread::spawn(move || listen(output, &seen));
        Ok(Program { child, name, started, said, monitor: monitor.to_owned() })
    }

    /// When it was started.
    pub fn started(&self) -> Instant {
        self.started
    }

    /// What the guest has said so far.
    pub fn said(&self) -> Said {
        *self.said.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the guest has said something `more` times from now on; when it did so first in this
    /// program.
    pub fn wait_for(&self, more: u64) -> Result<Instant, Failure> {
        let (said, changed) = &*self.said;
        let said = said.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted = said.count + more;
        let waited = changed.wait_timeout_while(said, TIMEOUT, |said| said.count < wanted && !said.over);
        let (said, _) = waited.unwrap_or_else(PoisonError::into_inner);
        match said.first {
            Some(first) if said.count >= wanted => Ok(first),
            _ => Err(format!("the guest does not say anything in {}", self.name).into()),
        }
    }

    /// Its monitor, as soon as it can be reached.
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

fn listen(mut output: ChildStdout, said: &(Mutex<Said>, Condvar)) {
    let mut buffer = [0; 4096];
    loop {
        let count = output.read(&mut buffer).unwrap_or(0);
        let now = Instant::now();
        let ticks = buffer[..count].iter().filter(|byte| **byte == TICK).count() as u64;
        let mut seen = said.0.lock().unwrap_or_else(PoisonError::into_inner);
        if ticks > 0 {
            seen.first.get_or_insert(now);
            seen.last = Some(now);
            seen.count += ticks;
        }
        seen.over = count == 0;
        drop(seen);
        said.1.notify_all();
        if count == 0 {
            return;
        }
    }
}

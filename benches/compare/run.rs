//! Runs a program and measures its times.

use std::io::Read;
use std::process::{Child, ChildStdout, Command};
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

use crate::shared::Failure;

/// Longest time a run may take.
const TIMEOUT: Duration = Duration::from_secs(120);

/// The result of a run.
pub struct FinishedRun {
    /// From before the process start to its first byte of output; `None` without output.
    pub first_byte: Option<Duration>,
    /// From before the process start to its end.
    pub whole: Duration,
    /// Bytes of output.
    pub bytes: u64,
}

/// Runs `command`, whose standard output is a pipe, to its end; its exit status must be `status`.
pub fn to_the_end(mut command: Command, status: i32) -> Result<FinishedRun, Failure> {
    let start = Instant::now();
    let (mut child, mut output) = spawn(&mut command)?;
    let watchdog = Watchdog::start(child.id());
    let mut ran = FinishedRun { first_byte: None, whole: Duration::ZERO, bytes: 0 };
    let mut buffer = [0; 64 << 10];
    loop {
        let count = output.read(&mut buffer)?;
        if count == 0 {
            break;
        }
        ran.first_byte.get_or_insert_with(|| start.elapsed());
        ran.bytes += count as u64;
    }
    let ended = child.wait()?;
    ran.whole = start.elapsed();
    watchdog.stop();
    if ended.code() != Some(status) {
        return Err(format!("{command:?}: {ended}, expected exit status {status}").into());
    }
    Ok(ran)
}

/// Runs `command` until it has written a byte and a little longer, calls `sample` with its process id, and kills
/// it.
pub fn while_running<T>(
    mut command: Command,
    sample: impl FnOnce(u32) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let (mut child, mut output) = spawn(&mut command)?;
    let watchdog = Watchdog::start(child.id());
    let running = output.read(&mut [0])? > 0;
    std::thread::sleep(Duration::from_millis(100));
    let sampled = if running { sample(child.id()) } else { Err(format!("{command:?} has no output").into()) };
    child.kill()?;
    child.wait()?;
    watchdog.stop();
    sampled
}

fn spawn(command: &mut Command) -> Result<(Child, ChildStdout), Failure> {
    let mut child =
        command.spawn().map_err(|e| format!("{}: {e}", command.get_program().to_string_lossy()))?;
    let output = child.stdout.take().ok_or("standard output of a measured program must be a pipe")?;
    Ok((child, output))
}

/// Kills a process that takes longer than [`TIMEOUT`].
struct Watchdog {
    over: Sender<()>,
}

impl Watchdog {
    fn start(process: u32) -> Watchdog {
        let (over, wait) = channel();
        std::thread::spawn(move || {
            if wait.recv_timeout(TIMEOUT) == Err(std::sync::mpsc::RecvTimeoutError::Timeout)
                && let Some(process) = i32::try_from(process).ok().and_then(rustix::process::Pid::from_raw)
            {
                // Fails only if the process has just exited.
                let _ = rustix::process::kill_process(process, rustix::process::Signal::KILL);
            }
        });
        Watchdog { over }
    }

    fn stop(self) {
        // Fails only after the timeout.
        let _ = self.over.send(());
    }
}

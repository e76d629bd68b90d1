//! Starts a program and measures when its guest's text arrives.

use std::io::Read;
use std::process::{Child, Command};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use crate::shared::Failure;
use crate::shared::programs::spawn;

/// Longest time a start may take.
const TIMEOUT: Duration = Duration::from_secs(120);

/// Seconds from before the start of `command` until its output ends with `text`. The program is ended then.
pub fn until(mut command: Command, text: &str) -> Result<f64, Failure> {
    let start = Instant::now();
    let mut child = spawn(&mut command)?;
    let watchdog = Watchdog::start(&child);
    let result = read_until(&mut child, text.as_bytes()).map(|()| start.elapsed().as_secs_f64());
    drop(watchdog);
    // It may have ended by itself.
    let _ = child.kill();
    child.wait()?;
    result.map_err(|failure| format!("{command:?}: {failure}").into())
}

fn read_until(child: &mut Child, text: &[u8]) -> Result<(), Failure> {
    let mut output = child.stdout.take().ok_or("standard output of a measured program must be a pipe")?;
    let mut found = Vec::new();
    let mut buffer = [0; 4096];
    while !found.ends_with(text) {
        match output.read(&mut buffer)? {
            0 => return Err(format!("it ended without {:?}", String::from_utf8_lossy(text)).into()),
            count => found.extend_from_slice(&buffer[..count]),
        }
    }
    Ok(())
}

/// Kills a process that takes longer than [`TIMEOUT`], unless it is dropped before.
struct Watchdog {
    _over: Sender<()>,
}

impl Watchdog {
    fn start(child: &Child) -> Watchdog {
        let (over, wait) = channel::<()>();
        let process = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw);
        std::thread::spawn(move || {
            if wait.recv_timeout(TIMEOUT) == Err(RecvTimeoutError::Timeout)
                && let Some(process) = process
            {
                // Fails only if the process has just exited.
                let _ = rustix::process::kill_process(process, rustix::process::Signal::KILL);
            }
        });
        Watchdog { _over: over }
    }
}

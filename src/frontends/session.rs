//! The user-interface thread: passes input to the guest, and shows its text and screen while it runs.

use std::io::{self, IsTerminal};
use std::os::fd::AsFd;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::dashboard::{Dashboard, LastPicture};
use super::display::Display;
use super::messages::tell;
use super::output_router::{OutputRouter, Pumped};
use super::serial_backend::BackendError;
use super::signals::Signals;
use super::terminal::{TerminalError, TerminalGuard, TerminalScreen};
use super::terminal_input::TerminalInput;
use crate::machine::inputs::{Input, Inputs};
use crate::machine::output::{Doorbell, OutputReader, OutputSource};
use crate::machine::screen::Screen;
use crate::memory::{notify_file_faults, take_file_fault};
use crate::os::release_startup_pages;
use crate::settings::{DisplayMode, LayoutName, MouseMode, Settings};

/// Time between two ticks, and longest time collected output waits.
const TICK: Duration = Duration::from_millis(10);
/// Time after which all threads have started.
const SETTLING: Duration = Duration::from_millis(30);
/// Polling interval without the doorbell after the thread has been busy.
const NAP: Duration = Duration::from_millis(2);
/// Maximum number of bytes from a serial peer pending for the guest before reading stops.
const MOST_RECEIVED: usize = 4096;
/// Timeout of standard output that accepts nothing after a run that was terminated.
const OUTPUT_TIMEOUT: Duration = Duration::from_secs(1);
/// Timeout of a serial peer that accepts nothing after a run.
const PEER_TIMEOUT: Duration = Duration::from_millis(200);
/// Stack of the thread, in bytes. Compressing a picture takes most of it; what is not used is not committed.
const STACK: usize = 2 << 20;

/// Why the user interface could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// A serial backend.
    #[error(transparent)]
    End(#[from] BackendError),
    /// The terminal.
    #[error(transparent)]
    Terminal(#[from] TerminalError),
    /// Threads, signals, file descriptors.
    #[error("the host gives this process no more resources: {0}; `ulimit -a` shows its limits")]
    Host(#[from] io::Error),
}

/// The handle on the running thread.
#[derive(Debug)]
pub struct Session {
    thread: JoinHandle<()>,
    ending: Arc<Ending>,
    doorbell: Arc<Doorbell>,
}

#[derive(Debug, Default)]
struct Ending {
    begun: AtomicBool,
    hurried: AtomicBool,
    /// What the dashboard shows until the user leaves it.
    last_picture: Mutex<Option<LastPicture>>,
}

/// What the thread needs from the machine.
pub struct Connections {
    /// Input queue of the machine.
    pub inputs: Inputs,
    /// Output queue of the machine.
    pub outputs: OutputReader,
    /// What wakes the thread.
    pub doorbell: Arc<Doorbell>,
    /// The guest's screen.
    pub screen: Screen,
    /// The dashboard, if the terminal shows it.
    pub dashboard: Option<Box<Dashboard>>,
}

impl Session {
    /// Configures the terminal, opens the serial backends and starts the thread. Names of new
    /// pseudo-terminals are printed on standard error.
    ///
    /// # Errors
    ///
    /// [`SessionError`]; the terminal is then unchanged.
    pub fn start(settings: &Settings, connections: Connections) -> Result<Session, SessionError> {
        let router = OutputRouter::open(settings)?;
        for (source, name) in router.pseudo_terminals() {
            // The log contains it, too.
            tell(&format!("{} is {name}", source.name()));
        }
        let signals = Signals::new()?;
        let terminal = take_terminal(settings.display)?;
        let interactive = terminal.as_ref().is_some_and(TerminalGuard::has_keyboard);
        let terminal_input = terminal_input(settings.layout, interactive);
        let ending = Arc::new(Ending::default());
        let doorbell = connections.doorbell.clone();
        let worker = Worker {
            router,
            signals,
            terminal_input,
            mouse: settings.mouse,
            display: Display::new(
                (settings.display, settings.pictures),
                terminal,
                connections.screen,
                connections.dashboard,
            ),
            dump: settings.dump_screen,
            deadline: settings.timeout.and_then(|timeout| Instant::now().checked_add(timeout)),
            settled: Some(Instant::now() + SETTLING),
            next_tick: Instant::now(),
            busy: false,
            inputs: connections.inputs,
            outputs: connections.outputs,
            doorbell: connections.doorbell,
            ending: ending.clone(),
        };
        notify_file_faults(Some(doorbell.as_fd()));
        let thread = std::thread::Builder::new()
            .name("user-interface".into())
            .stack_size(STACK)
            .spawn(|| worker.run())?;
        Ok(Session { thread, ending, doorbell })
    }

    /// Has the dashboard show the end of the run until the user leaves it; [`Self::finish`] waits for that.
    pub fn show_end(&self, last: LastPicture) {
        *self.ending.last_picture.lock().unwrap_or_else(PoisonError::into_inner) = Some(last);
    }

    /// Ends the session after the run: writes the remaining output and restores the terminal. With `hurry`, a
    /// reader that accepts nothing has a short timeout.
    ///
    /// # Panics
    ///
    /// If the thread panicked: with the same panic, so that the program's exit status reports the defect.
    pub fn finish(self, hurry: bool) {
        self.ending.hurried.store(hurry, Ordering::Relaxed);
        self.ending.begun.store(true, Ordering::Release);
        self.doorbell.wake();
        notify_file_faults(None);
        if let Err(panic) = self.thread.join() {
            resume_unwind(panic);
        }
    }
}

/// Configures the terminal if the display uses it, and this process is in its foreground.
fn take_terminal(wanted: DisplayMode) -> Result<Option<TerminalGuard>, TerminalError> {
    let stdout = io::stdout();
    let foreground =
        rustix::termios::tcgetpgrp(&stdout).is_ok_and(|group| group == rustix::process::getpgrp());
    if wanted == DisplayMode::None || !stdout.is_terminal() || !foreground {
        return Ok(None);
    }
    TerminalGuard::enter(io::stdin(), stdout, TerminalScreen::Main).map(Some)
}

fn terminal_input(layout: LayoutName, interactive: bool) -> TerminalInput {
    let stdin = io::stdin();
    // Reading from the terminal in the background would stop this process.
    let background = stdin.is_terminal()
        && !rustix::termios::tcgetpgrp(&stdin).is_ok_and(|group| group == rustix::process::getpgrp());
    TerminalInput::new(layout, interactive, !background)
}

struct Worker {
    router: OutputRouter,
    signals: Signals,
    terminal_input: TerminalInput,
    mouse: MouseMode,
    display: Display,
    dump: bool,
    deadline: Option<Instant>,
    /// When memory that only startup needed is released, if that is still pending.
    settled: Option<Instant>,
    next_tick: Instant,
    /// The machine has produced output since the thread last slept.
    busy: bool,
    inputs: Inputs,
    outputs: OutputReader,
    doorbell: Arc<Doorbell>,
    ending: Arc<Ending>,
}

/// What woke the thread.
#[derive(Default)]
struct Ready {
    stdin: bool,
    signals: bool,
    /// Which devices' peers have sent something, by [`OutputSource::index`].
    sources: [bool; OutputSource::ALL.len()],
}

/// Ends the run when the user-interface thread panics: without it, the user could not end the run.
struct EndWithThread(Inputs);

impl Drop for EndWithThread {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.push(Input::Quit);
        }
    }
}

impl Worker {
    fn run(mut self) {
        let _end_with_thread = EndWithThread(self.inputs.clone());
        while !self.ending.begun.load(Ordering::Acquire) {
            self.busy = self.pump().any;
            let now = Instant::now();
            self.time_passes(now);
            self.terminal_input.time_passes(now, &self.inputs, &mut self.display);
            self.display.refresh(now);
            self.terminal_input.report_view(self.display.shows_screen(), &self.inputs);
            let mouse =
                self.display.report_mouse(self.mouse == MouseMode::Auto && self.inputs.mouse_is_enabled());
            self.terminal_input.report_mouse(mouse, &self.inputs);
            self.display.output().flush();
            let ready = self.sleep(now);
            if take_file_fault() {
                // The machine knows why.
                self.inputs.push(Input::Quit);
            }
            if ready.stdin {
                self.terminal_input.read(&self.inputs, &mut self.display);
            }
            if ready.signals
                && let Some(signal) = self.signals.take()
            {
                self.inputs.push(Input::Terminated(signal));
            }
            for (source, _) in OutputSource::ALL.into_iter().zip(ready.sources).filter(|(_, ready)| *ready) {
                let bytes = self.router.receive(source);
                if !bytes.is_empty()
                    && let OutputSource::Serial(port) = source
                {
                    self.inputs.push(Input::Serial(port, bytes));
                }
            }
        }
        self.finish();
    }

    /// Moves bytes from the machine's output queue to their backends.
    fn pump(&mut self) -> Pumped {
        self.router.pump(&mut self.outputs, &mut self.display, false)
    }

    fn time_passes(&mut self, now: Instant) {
        if self.doorbell.wants_ticks() && now >= self.next_tick {
            self.next_tick = now + TICK;
            self.inputs.push(Input::Tick);
        }
        if self.settled.is_some_and(|settled| now >= settled) {
            self.settled = None;
            release_startup_pages();
        }
        if self.deadline.is_some_and(|deadline| now >= deadline) {
            self.deadline = None;
            self.inputs.push(Input::TimedOut);
        }
    }

    /// Sleeps until there is work.
    fn sleep(&mut self, now: Instant) -> Ready {
        if !self.busy {
            self.doorbell.going_to_sleep();
            // Earlier output has not rung the doorbell.
            self.busy = self.pump().any;
            if self.ending.begun.load(Ordering::Acquire) {
                return Ready::default();
            }
        }
        // Output is usually followed by more; polling for it costs the machine nothing.
        let nap = self.busy.then(|| now + NAP);
        let tick = self.doorbell.wants_ticks().then_some(self.next_tick);
        let (display, lines) = (self.display.due(), self.router.deadline());
        let times = [self.deadline, self.settled, tick, display, lines, self.terminal_input.due(), nap];
        let until = times.into_iter().flatten().min();
        let ready = self.wait(until.map(|until| until.saturating_duration_since(now)));
        self.doorbell.awake();
        ready
    }

    fn wait(&mut self, limit: Option<Duration>) -> Ready {
        let pending = self.display.output().pending() > 0;
        let output = self.display.output();
        let mut fds =
            vec![PollFd::new(&*self.doorbell, PollFlags::IN), PollFd::new(&self.signals, PollFlags::IN)];
        if pending {
            fds.push(PollFd::new(&*output, PollFlags::OUT));
        }
        // A descriptor that is not polled because the guest is behind is checked again soon.
        let mut behind = self.terminal_input.is_held_back(&self.inputs);
        let mut watched = Vec::with_capacity(OutputSource::ALL.len());
        for source in OutputSource::ALL {
            let wanted = match source {
                OutputSource::Serial(port) => self.inputs.serial_backlog(port) < MOST_RECEIVED,
                OutputSource::DebugConsole => true,
            };
            behind |= !wanted;
            if let Some((file, events)) = self.router.poll_target(source, wanted) {
                watched.push((source, fds.len(), wanted));
                fds.push(PollFd::from_borrowed_fd(file, events));
            }
        }
        let stdin = self.terminal_input.watched(&self.inputs).map(|file| {
            fds.push(PollFd::from_borrowed_fd(file, PollFlags::IN));
            fds.len() - 1
        });
        let limit = if behind { Some(limit.map_or(TICK, |limit| limit.min(TICK))) } else { limit };
        let limit = limit.map(|limit| Timespec {
            tv_sec: limit.as_secs().min(i32::MAX as u64) as i64,
            tv_nsec: i64::from(limit.subsec_nanos()),
        });
        let mut ready = Ready::default();
        if poll(&mut fds, limit.as_ref()).unwrap_or(0) == 0 {
            return ready;
        }
        ready.signals = !fds[1].revents().is_empty();
        ready.stdin = stdin.is_some_and(|at| !fds[at].revents().is_empty());
        for (source, at, wanted) in watched {
            let events = fds[at].revents();
            ready.sources[source.index()] =
                wanted && events.intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR);
        }
        ready
    }

    /// Writes the machine's remaining output and restores the terminal.
    fn finish(mut self) {
        let give_up = self.ending.hurried.load(Ordering::Relaxed).then(|| Instant::now() + OUTPUT_TIMEOUT);
        self.drain_queues(give_up);
        self.router.finish();
        let last = self.ending.last_picture.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(last) = last {
            self.wait_for_leave(last);
        }
        self.display.finish(self.dump);
        self.drain_output(give_up);
    }

    /// Shows the dashboard as the run has left it, until a key or a signal.
    fn wait_for_leave(&mut self, last: LastPicture) {
        let Some(dashboard) = self.display.dashboard() else { return };
        dashboard.show_end(last);
        while self.display.dashboard().is_some_and(|dashboard| !dashboard.is_left()) {
            let now = Instant::now();
            self.terminal_input.time_passes(now, &self.inputs, &mut self.display);
            self.display.refresh(now);
            self.display.output().flush();
            let limit = [self.display.due(), self.terminal_input.due()].into_iter().flatten().min();
            let ready = self.wait(limit.map(|limit| limit.saturating_duration_since(now)));
            if ready.stdin {
                self.terminal_input.read(&self.inputs, &mut self.display);
            }
            // Without keys nobody could leave it.
            if (ready.signals && self.signals.take().is_some()) || self.terminal_input.is_ended() {
                return;
            }
        }
    }

    /// Empties the machine's output queue. The machine produces nothing any more, so this ends as soon as the
    /// readers have taken everything: it waits only for a reader that is slow.
    fn drain_queues(&mut self, give_up: Option<Instant>) {
        let mut peers = SlowPeers::new();
        loop {
            let pumped = self.router.pump(&mut self.outputs, &mut self.display, true);
            self.display.output().flush();
            let pending = self.display.output().pending() > 0;
            let unsent = self.router.unread();
            // Bytes are still staged for a backend that was full when it has room again.
            let more = pumped.any || pumped.output_full || (pumped.peer_full && unsent == 0);
            if !more && !pending && peers.are_done(unsent) {
                return;
            }
            if (pending || unsent > 0) && !self.wait_for_room(give_up) {
                return self.display.output().give_up();
            }
        }
    }

    /// Writes what is pending for standard output, or gives it up.
    fn drain_output(&mut self, give_up: Option<Instant>) {
        loop {
            self.display.output().flush();
            if self.display.output().pending() == 0 {
                return;
            }
            if !self.wait_for_room(give_up) {
                return self.display.output().give_up();
            }
        }
    }

    /// Waits at most [`NAP`] for a reader to take output; false after a signal or when `give_up` has passed.
    fn wait_for_room(&mut self, give_up: Option<Instant>) -> bool {
        if self.signals.take().is_some() || give_up.is_some_and(|limit| Instant::now() >= limit) {
            return false;
        }
        let pending = self.display.output().pending() > 0;
        let output = self.display.output();
        let mut fds = vec![PollFd::new(&self.signals, PollFlags::IN)];
        if pending {
            fds.push(PollFd::from_borrowed_fd(output.as_fd(), PollFlags::OUT));
        }
        // Peers are checked separately.
        let limit = Timespec { tv_sec: 0, tv_nsec: NAP.as_nanos() as i64 };
        let _ = poll(&mut fds, Some(&limit));
        true
    }
}

/// Measures how long serial peers have accepted nothing.
struct SlowPeers {
    unsent: usize,
    since: Instant,
}

impl SlowPeers {
    fn new() -> SlowPeers {
        SlowPeers { unsent: usize::MAX, since: Instant::now() }
    }

    /// True if all bytes have been sent, or none for [`PEER_TIMEOUT`]; `unsent` bytes remain.
    fn are_done(&mut self, unsent: usize) -> bool {
        if unsent != self.unsent {
            *self = SlowPeers { unsent, since: Instant::now() };
        }
        unsent == 0 || self.since.elapsed() >= PEER_TIMEOUT
    }
}

//! A pseudo-terminal that programs run on: keyboard input, and the contents of the screen.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use libtest_mimic::Failed;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use super::{Folder, Kvm, TIMEOUT, wait_until};

/// Lines of the scrollback buffer.
const SCROLLBACK: usize = 10_000;
/// How long one wait for output lasts.
const POLL_INTERVAL: Timespec = Timespec { tv_sec: 0, tv_nsec: 5_000_000 };

/// A terminal with a program, which leads the terminal's session and is in its foreground.
pub struct Terminal {
    child: Child,
    /// Both are open until the terminal is closed.
    master: Option<Arc<OwnedFd>>,
    slave: Option<OwnedFd>,
    shown: Arc<Mutex<Shown>>,
    paused: Arc<AtomicBool>,
    ended: Arc<AtomicBool>,
    reader: Option<JoinHandle<()>>,
    modes_before: String,
    /// The working directory of `kvm`, which exists as long as it runs.
    folder: Option<Folder>,
}

/// What the program has written.
pub struct Shown {
    /// The screen.
    parser: vt100::Parser<Cursor>,
    /// Every byte.
    pub bytes: Vec<u8>,
}

/// State that the terminal emulator does not keep by itself.
#[derive(Default)]
struct Cursor {
    shape: u16,
}

impl vt100::Callbacks for Cursor {
    fn unhandled_csi(
        &mut self,
        _: &mut vt100::Screen,
        intermediate: Option<u8>,
        _: Option<u8>,
        parameters: &[&[u16]],
        last: char,
    ) {
        if (intermediate, last) == (Some(b' '), 'q') {
            self.shape = parameters.first().and_then(|numbers| numbers.first()).copied().unwrap_or(0);
        }
    }
}

impl Shown {
    /// The screen as it is now.
    pub fn screen(&self) -> &vt100::Screen {
        self.parser.screen()
    }

    /// The parameter of the last DECSCUSR: 0 the terminal's own, 1 a block, 3 an underline.
    pub fn cursor_shape(&self) -> u16 {
        self.parser.callbacks().shape
    }
}

impl Terminal {
    /// `kvm` on a terminal of this size.
    pub fn kvm(kvm: Kvm, columns: u16, rows: u16) -> Terminal {
        let mut terminal = Terminal::start(&kvm.command(), columns, rows);
        terminal.folder = Some(kvm.folder);
        terminal
    }

    /// `command` on a terminal of this size.
    pub fn start(command: &Command, columns: u16, rows: u16) -> Terminal {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).expect("a pty");
        grantpt(&master).expect("a pty can be granted");
        unlockpt(&master).expect("a pty can be unlocked");
        let name = ptsname(&master, Vec::new()).expect("a pty has a name");
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let slave = rustix::fs::open(name.as_c_str(), flags, Mode::empty()).expect("a pty can be opened");
        set_size(&slave, columns, rows);
        let modes_before = modes(&slave);
        let end = || Stdio::from(slave.try_clone().expect("a file descriptor"));
        // setsid becomes the program, so that the child's process is the program's.
        let mut session = Command::new("setsid");
        session.arg("--ctty").arg(command.get_program()).args(command.get_args());
        if let Some(folder) = command.get_current_dir() {
            session.current_dir(folder);
        }
        session.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        session.env("TERM", "xterm-256color").stdin(end()).stdout(end()).stderr(end());
        let child = session.spawn().expect("setsid (util-linux) can be started");

        let parser = vt100::Parser::new_with_callbacks(rows, columns, SCROLLBACK, Cursor::default());
        let mut terminal = Terminal {
            child,
            master: Some(Arc::new(master)),
            slave: Some(slave),
            shown: Arc::new(Mutex::new(Shown { parser, bytes: Vec::new() })),
            paused: Arc::default(),
            ended: Arc::default(),
            reader: None,
            modes_before,
            folder: None,
        };
        terminal.reader = Some(terminal.reader());
        terminal
    }

    fn reader(&self) -> JoinHandle<()> {
        let (master, shown) = (self.master().clone(), self.shown.clone());
        let (paused, ended) = (self.paused.clone(), self.ended.clone());
        std::thread::spawn(move || {
            loop {
                // Output written before the end is processed before this thread ends.
                let last = ended.load(Ordering::Acquire);
                let mut fds = [PollFd::new(&*master, PollFlags::IN)];
                let ready =
                    !paused.load(Ordering::Acquire) && poll(&mut fds, Some(&POLL_INTERVAL)).unwrap_or(0) > 0;
                let mut bytes = [0; 4096];
                match ready.then(|| rustix::io::read(&*master, &mut bytes)) {
                    Some(Ok(count)) if count > 0 => {
                        let mut shown = shown.lock().expect("no panic while it was locked");
                        shown.parser.process(&bytes[..count]);
                        shown.bytes.extend_from_slice(&bytes[..count]);
                    }
                    _ if last => return,
                    _ => std::thread::sleep(Duration::from_millis(1)),
                }
            }
        })
    }

    fn master(&self) -> &Arc<OwnedFd> {
        self.master.as_ref().expect("the terminal is open")
    }

    fn slave(&self) -> &OwnedFd {
        self.slave.as_ref().expect("the terminal is open")
    }

    /// The program's process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Types `keys`.
    pub fn type_keys(&self, keys: impl AsRef<[u8]>) {
        let mut rest = keys.as_ref();
        while !rest.is_empty() {
            let count = rustix::io::write(self.master(), rest).expect("the terminal accepts input");
            rest = &rest[count..];
        }
    }

    /// Sends the program a signal, `TERM` for example.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").arg(format!("-{name}")).arg(self.pid().to_string()).status();
        assert!(status.is_ok_and(|status| status.success()), "kill -{name}");
    }

    /// Changes the size of the terminal.
    pub fn resize(&self, columns: u16, rows: u16) {
        self.shown().parser.screen_mut().set_size(rows, columns);
        set_size(self.slave(), columns, rows);
    }

    /// Stops (true) or resumes (false) reading what the program writes.
    pub fn pause(&self, paused: bool) {
        self.paused.store(paused, Ordering::Release);
    }

    /// The state of the screen now.
    pub fn shown(&self) -> MutexGuard<'_, Shown> {
        self.shown.lock().expect("no panic while it was locked")
    }

    /// The screen's text now.
    pub fn contents(&self) -> String {
        self.shown().screen().contents()
    }

    /// Waits until `condition` holds for the screen.
    pub fn wait_for(&self, what: &str, condition: impl Fn(&Shown) -> bool) -> Result<&Terminal, Failed> {
        let result = wait_until_soon(|| condition(&self.shown()));
        result.map_err(|()| format!("{what}: not seen; the screen shows\n{}", self.contents()))?;
        Ok(self)
    }

    /// Waits until the screen shows `text`.
    pub fn wait_for_text(&self, text: &str) -> Result<&Terminal, Failed> {
        self.wait_for(&format!("{text:?}"), |shown| shown.screen().contents().contains(text))
    }

    /// True while the terminal is in raw mode.
    pub fn is_raw(&self) -> bool {
        modes(self.slave()) != self.modes_before
    }

    /// Waits until the program has ended.
    pub fn end(mut self) -> Result<FinishedTerminal, Failed> {
        let mut status = None;
        wait_until("the end of the program", || {
            status = self.child.try_wait().expect("a child can be waited for");
            status.is_some()
        })
        .map_err(|failed| format!("{failed:?}; the screen shows\n{}", self.contents()))?;
        self.pause(false);
        self.stop_reading();
        let status = status.expect("it has ended");
        let modes_after = modes(self.slave());
        let shown = self.shown();
        let screen = shown.screen().clone();
        Ok(FinishedTerminal {
            status: status.code(),
            signal: status.signal(),
            same_modes: modes_after == self.modes_before,
            cursor_shape: shown.cursor_shape(),
            text: all_text(screen.clone()),
            screen,
            bytes: shown.bytes.clone(),
        })
    }

    /// Closes the terminal, and returns the exit status of the program.
    pub fn close(mut self) -> Result<Option<i32>, Failed> {
        self.stop_reading();
        // The last file descriptors of the terminal outside the program.
        drop((self.master.take(), self.slave.take()));
        let mut status = None;
        wait_until("the end of the program", || {
            status = self.child.try_wait().expect("a child can be waited for");
            status.is_some()
        })?;
        Ok(status.and_then(|status| status.code()))
    }

    fn stop_reading(&mut self) {
        self.ended.store(true, Ordering::Release);
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.pause(false);
        self.stop_reading();
    }
}

/// The result of a program on a terminal.
pub struct FinishedTerminal {
    /// Exit status; `None` if a signal ended it.
    pub status: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// The terminal's modes are as they were before.
    pub same_modes: bool,
    /// See [`Shown::cursor_shape`].
    pub cursor_shape: u16,
    /// The screen.
    pub screen: vt100::Screen,
    /// The text of the scrollback buffer and of the screen.
    pub text: String,
    /// Every byte the program wrote.
    pub bytes: Vec<u8>,
}

impl FinishedTerminal {
    /// It must have ended with this exit status.
    pub fn expect_status(&self, status: i32) -> Result<&FinishedTerminal, Failed> {
        self.check(self.status == Some(status), &format!("exit status {status}"))
    }

    /// The terminal must show this text.
    pub fn expect_text(&self, text: &str) -> Result<&FinishedTerminal, Failed> {
        self.check(self.text.contains(text), &format!("{text:?} on the terminal"))
    }

    /// The terminal must be in its initial state.
    pub fn expect_restored(&self) -> Result<&FinishedTerminal, Failed> {
        self.check(self.same_modes, "the terminal's modes as before")?;
        self.check(!self.screen.alternate_screen(), "the main screen")?;
        self.check(!self.screen.hide_cursor(), "a cursor")?;
        let reports = self.screen.mouse_protocol_mode();
        self.check(reports == vt100::MouseProtocolMode::None, "no reports of the mouse")?;
        self.check(self.cursor_shape == 0, "the terminal's own cursor shape")?;
        let plain = (self.screen.fgcolor(), self.screen.bgcolor());
        self.check(plain == (vt100::Color::Default, vt100::Color::Default), "the terminal's own colours")
    }

    /// True if the program wrote these bytes.
    pub fn wrote(&self, bytes: &[u8]) -> bool {
        self.bytes.windows(bytes.len()).any(|window| window == bytes)
    }

    /// Fails with what was `expected` and the state of the terminal unless `condition` is true.
    pub fn check(&self, condition: bool, expected: &str) -> Result<&FinishedTerminal, Failed> {
        if condition {
            return Ok(self);
        }
        let FinishedTerminal { status, signal, text, .. } = self;
        Err(format!("expected {expected}; got status {status:?}, signal {signal:?} and\n{text}").into())
    }
}

/// [`wait_until`] with a shorter timeout and without a message.
fn wait_until_soon(mut done: impl FnMut() -> bool) -> Result<(), ()> {
    let start = Instant::now();
    while !done() {
        if start.elapsed() > TIMEOUT / 4 {
            return Err(());
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}

/// The text of the scrollback buffer and of the screen, line by line.
fn all_text(mut screen: vt100::Screen) -> String {
    let (_, columns) = screen.size();
    screen.set_scrollback(usize::MAX);
    let mut lines = Vec::new();
    while screen.scrollback() > 0 {
        lines.extend(screen.rows(0, columns).next());
        screen.set_scrollback(screen.scrollback() - 1);
    }
    lines.extend(screen.rows(0, columns));
    lines.join("\n")
}

fn set_size(slave: impl AsFd, columns: u16, rows: u16) {
    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(slave, size).expect("a pty has a size");
}

/// All modes of a terminal, as `stty` prints them.
fn modes(slave: &OwnedFd) -> String {
    let slave = File::from(slave.try_clone().expect("a file descriptor"));
    let output = Command::new("stty").arg("-g").stdin(slave).output().expect("stty can be started");
    assert!(output.status.success(), "stty -g: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

//! `kvm console`: a user, or a script, at the console of a guest that runs in another process.

mod connection;
mod helper;

use std::io::{self, BufRead, IsTerminal, Write};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};
use rustyline::error::ReadlineError;
use rustyline::history::MemHistory;
use rustyline::{Config, Editor};

use super::console::PROMPT;
use super::messages::{escaped, tell};
use crate::settings::ListenAddress;
use connection::{AnswerEnd, Connection};
use helper::Commands;

/// How the client ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientEnd {
    /// The input or the connection has ended.
    Completed,
    /// A command failed, and the commands after it were not sent.
    CommandFailed,
    /// The connection cannot be established or broke; the user was notified.
    ConnectionFailed,
}

/// Copies commands from standard input to the console at `place` and its answers to standard output, until
/// either ends. Input that is not typed on a terminal ends with the first command that fails, unless `keep_going`.
/// Failures are reported to the user.
pub fn run(place: &ListenAddress, keep_going: bool) -> ClientEnd {
    let result = Connection::open(place).and_then(|connection| {
        if io::stdin().is_terminal() && io::stdout().is_terminal() {
            run_interactive(connection).map(|()| ClientEnd::Completed)
        } else {
            run_script(connection, keep_going)
        }
    });
    match result {
        Ok(end) => end,
        // The reader may close the pipe early.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ClientEnd::Completed,
        Err(error) => {
            tell(&match error.kind() {
                io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => format!(
                    "no console listens on {place} ({error}): start the guest with --console, or give the \
                     address of its console, as in `kvm console 127.0.0.1:9001`"
                ),
                _ => format!("the connection to the console on {place} failed: {error}"),
            });
            ClientEnd::ConnectionFailed
        }
    }
}

/// For pipes: every line is a command, and only answers are written.
fn run_script(mut connection: Connection, keep_going: bool) -> io::Result<ClientEnd> {
    for line in io::stdin().lock().lines() {
        let line = line?;
        if line.trim().is_empty() {
            continue;
        }
        connection.send(&line)?;
        match connection.receive(&mut io::stdout())? {
            AnswerEnd::Prompt => {}
            AnswerEnd::Failed if keep_going => {}
            AnswerEnd::Failed | AnswerEnd::Rejected => {
                let line = escaped(line.trim(), &[]);
                tell(&format!(
                    "the command `{line}` failed; commands after it are not sent, except with --keep-going"
                ));
                return Ok(ClientEnd::CommandFailed);
            }
            AnswerEnd::Disconnected => return Ok(ClientEnd::Completed),
        }
    }
    Ok(ClientEnd::Completed)
}

/// For terminals: lines are edited, completed and stored in the history.
fn run_interactive(connection: Connection) -> io::Result<()> {
    let before = tcgetattr(io::stdin())?;
    let watched = connection.try_clone()?;
    let connection = Arc::new(Mutex::new(connection));
    let shared = connection.clone();
    thread::Builder::new()
        .name("console-end".into())
        .spawn(move || exit_on_disconnect(&watched, &shared, &before))?;
    let mut editor: Editor<Commands, MemHistory> =
        Editor::with_history(Config::builder().auto_add_history(true).build(), MemHistory::new())
            .map_err(io::Error::other)?;
    editor.set_helper(Some(Commands));
    println!("`help` lists the commands; Ctrl-D closes the console and does not affect the guest.");
    loop {
        let line = match editor.readline(PROMPT) {
            Ok(line) => line,
            Err(ReadlineError::Interrupted) => continue,
            Err(ReadlineError::Eof) => return Ok(()),
            Err(error) => return Err(io::Error::other(error)),
        };
        if line.trim().is_empty() {
            continue;
        }
        let mut connection = lock(&connection);
        connection.send(&line)?;
        let mut end = connection.receive(&mut io::stdout())?;
        if !end.is_disconnected() && connection.has_buffered_bytes() {
            // The guest has stopped, or the session ends.
            end = connection.receive_notice(&mut io::stdout())?;
        }
        if end.is_disconnected() {
            return Ok(());
        }
    }
}

/// Exits this process when the console disconnects while its user edits a line.
fn exit_on_disconnect(watched: &Connection, shared: &Mutex<Connection>, before: &Termios) {
    loop {
        if !watched.wait() {
            return;
        }
        let mut connection = lock(shared);
        if !connection.is_readable() {
            // The main thread has received an answer.
            continue;
        }
        let mut notice = Vec::new();
        if let Ok(AnswerEnd::Prompt) = connection.receive_notice(&mut notice) {
            // The line editor has switched off that a line feed returns the cursor.
            let notice = String::from_utf8_lossy(&notice).replace('\n', "\r\n");
            let _ = io::stdout().write_all(format!("{notice}{PROMPT}").as_bytes());
            let _ = io::stdout().flush();
            continue;
        }
        // The line editor has changed the terminal's mode.
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, before);
        let mut out = io::stdout();
        let _ = out.write_all(b"\n").and_then(|()| out.write_all(&notice)).and_then(|()| out.flush());
        std::process::exit(0);
    }
}

fn lock(connection: &Mutex<Connection>) -> MutexGuard<'_, Connection> {
    connection.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

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
use super::messages::tell;
use crate::settings::ListenAddress;
use connection::{AnswerEnd, Connection};
use helper::Commands;

/// Copies commands from standard input to the console at `place` and its answers to standard output, until
/// either ends. If the connection cannot be established or breaks, reports the reason to the user and returns
/// false.
pub fn run(place: &ListenAddress) -> bool {
    let result = Connection::open(place).and_then(|connection| {
        if io::stdin().is_terminal() && io::stdout().is_terminal() {
            run_interactive(connection)
        } else {
            run_script(connection)
        }
    });
    match result {
        Ok(()) => true,
        // The reader may close the pipe early.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => true,
        Err(error) => {
            tell(&match error.kind() {
                io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => format!(
                    "no console listens on {place} ({error}): start the guest with --console, or give the \
                     address of its console, as in `kvm console 127.0.0.1:9001`"
                ),
                _ => format!("the connection to the console on {place} failed: {error}"),
            });
            false
        }
    }
}

/// For pipes: every line is a command, and only answers are written.
fn run_script(mut connection: Connection) -> io::Result<()> {
    for line in io::stdin().lock().lines() {
        let line = line?;
        if line.trim().is_empty() {
            continue;
        }
        connection.send(&line)?;
        if connection.receive(&mut io::stdout())? == AnswerEnd::Disconnected {
            return Ok(());
        }
    }
    Ok(())
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
        // Output directly after the prompt is the end of the session.
        let mut end = connection.receive(&mut io::stdout())?;
        while end == AnswerEnd::Prompt && connection.has_buffered_bytes() {
            end = connection.receive(&mut io::stdout())?;
        }
        if end == AnswerEnd::Disconnected {
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
        // The line editor has changed the terminal's mode.
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, before);
        let mut out = io::stdout();
        let _ = out.write_all(b"\n").and_then(|()| connection.receive_all(&mut out));
        std::process::exit(0);
    }
}

fn lock(connection: &Mutex<Connection>) -> MutexGuard<'_, Connection> {
    connection.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

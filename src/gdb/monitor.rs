//! gdb's `monitor`: passes the user's commands to the control room, and prints the answer.

use std::convert::Infallible;

use gdbstub::target::ext::monitor_cmd::{ConsoleOutput, MonitorCmd};

use super::session::pieces;
use super::target::GdbTarget;
use crate::control::{self, Front};

impl MonitorCmd for GdbTarget<'_, '_> {
    fn handle_monitor_cmd(&mut self, command: &[u8], mut out: ConsoleOutput<'_>) -> Result<(), Infallible> {
        let answer =
            match control::answer(self.supervisor, Front::Debugger, &String::from_utf8_lossy(command)) {
                Ok(answer) => answer,
                Err(error) => format!("{error}\n"),
            };
        // gdb prints only the immediate answer; `migrate status` and the log report the rest.
        self.supervisor.session.progress = None;
        // The command may have changed registers.
        self.view.registers.forget();
        for piece in pieces(&answer) {
            out.write_raw(piece);
            out.flush();
        }
        Ok(())
    }
}

//! Commands of the user's: what gdb's `monitor` sends is handed on, and the answer printed.

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
        // gdb shows only what is answered at once; `migrate status` and the log show the rest.
        self.supervisor.session.progress = None;
        // It may have changed some.
        self.view.registers.forget();
        for piece in pieces(&answer) {
            out.write_raw(piece);
            out.flush();
        }
        Ok(())
    }
}

//! Commands of the user's: what gdb's `monitor` sends is handed on, and the answer printed.

use std::convert::Infallible;

use gdbstub::target::ext::monitor_cmd::{ConsoleOutput, MonitorCmd};

use super::debuggee::Debuggee;
use crate::control::{self, Front};

/// Bytes of an answer in one packet.
const PRINTED: usize = 2048;

impl MonitorCmd for Debuggee<'_> {
    fn handle_monitor_cmd(&mut self, command: &[u8], mut out: ConsoleOutput<'_>) -> Result<(), Infallible> {
        let answer = match control::answer(self, Front::Debugger, &String::from_utf8_lossy(command)) {
            Ok(answer) => answer,
            Err(error) => format!("{error}\n"),
        };
        // It may have changed some.
        self.view.registers.forget();
        for piece in answer.as_bytes().chunks(PRINTED) {
            out.write_raw(piece);
            out.flush();
        }
        Ok(())
    }
}

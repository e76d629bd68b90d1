//! gdb's `monitor`: passes command lines on, and prints the answers.

use std::convert::Infallible;

use gdbstub::target::ext::monitor_cmd::{ConsoleOutput, MonitorCmd};

use super::session::pieces;
use super::target::GdbTarget;
use crate::supervisor::command_interpreter::CommandSource;

impl MonitorCmd for GdbTarget<'_, '_> {
    fn handle_monitor_cmd(&mut self, command: &[u8], mut out: ConsoleOutput<'_>) -> Result<(), Infallible> {
        // Commands are about the thread that gdb has selected last, unless `cpu` has selected another since. gdb does
        // not select one for `monitor`.
        if let Some(cpu) = self.threads.take_new_selection() {
            self.supervisor.selected = cpu;
        }
        // gdb shows only what is answered at once: `migrate status` and the log show the progress.
        let reply = self.supervisor.run_command(CommandSource::Debugger, &String::from_utf8_lossy(command));
        // The command may have changed registers.
        self.view.registers.forget();
        for piece in pieces(&reply.text) {
            out.write_raw(piece);
            out.flush();
        }
        Ok(())
    }
}

//! The effects that a client can have on the guest.

use super::guest::RESULT;
use crate::gdb::extensions::request::{Request, request};
use crate::gdb::packet::{PacketScanner, Scanned, from_hex};
use crate::gdb::target::PACKET;
use crate::machine::Outcome;
use crate::state::snapshot_path;

/// The effects that the packets of a session can have.
pub(crate) struct Effects {
    /// It writes memory or registers.
    pub(crate) changes: bool,
    /// It ends the run.
    pub(crate) ends: bool,
    /// It accesses files.
    pub(crate) accesses_files: bool,
}

impl Effects {
    /// The effects of `session`.
    pub(crate) fn of(session: &[u8]) -> Effects {
        let mut effects = Effects { changes: false, ends: false, accesses_files: false };
        let (mut scanner, mut rest) = (PacketScanner::new(PACKET), session);
        while !rest.is_empty() {
            let (piece, count) = scanner.take(rest);
            rest = &rest[count..];
            match (piece, scanner.body()) {
                // The server disconnects.
                (Scanned::TooLong, _) => break,
                (Scanned::Last, Some(body)) => effects.extend(body),
                _ => {}
            }
        }
        effects
    }

    fn extend(&mut self, body: &[u8]) {
        use Request::{WriteMemory, WriteRegister, WriteRegisters};
        self.changes |=
            matches!(request(body), Some(WriteMemory { .. } | WriteRegister(..) | WriteRegisters(_)));
        let command = body.strip_prefix(b"qRcmd,").and_then(from_hex).unwrap_or_default();
        self.ends |= body.starts_with(b"k")
            || body.starts_with(b"vKill")
            || command.trim_ascii_start().starts_with(b"quit");
        let command = String::from_utf8_lossy(&command);
        let command = command.trim();
        let file = command.split_once(char::is_whitespace).and_then(|(_, name)| snapshot_path(name.trim()));
        let snapshots = ["snapshot", "restore"].iter().any(|name| command.starts_with(name));
        self.accesses_files |= command.starts_with("screendump") || snapshots && file.is_some();
    }

    /// True if a run may end like this: as without a debugger, or because of these effects. Whatever the client has
    /// done, the host must not fail.
    pub(crate) fn allows(&self, outcome: &Outcome) -> bool {
        match outcome {
            Outcome::Halted { result: RESULT, .. } => true,
            Outcome::HostFailed(_) | Outcome::Unexpected(_) => false,
            Outcome::Quit => self.ends,
            _ => self.changes,
        }
    }
}

//! What a client may have done to the guest.

use super::guest::RESULT;
use crate::gdb::extensions::request::{Request, request};
use crate::gdb::packet::{PacketScanner, Scanned, from_hex};
use crate::gdb::target::PACKET;
use crate::machine::Outcome;
use crate::state::snapshot_path;

/// What the packets of a session can do, if the guest is there to take them.
pub(crate) struct Reach {
    /// Other memory or registers.
    pub(crate) changes: bool,
    /// An end to the run.
    pub(crate) ends: bool,
    /// Files.
    pub(crate) outside: bool,
}

impl Reach {
    /// What `session` can do.
    pub(crate) fn of(session: &[u8]) -> Reach {
        let mut reach = Reach { changes: false, ends: false, outside: false };
        let (mut scanner, mut rest) = (PacketScanner::new(PACKET), session);
        while !rest.is_empty() {
            let (piece, count) = scanner.take(rest);
            rest = &rest[count..];
            match (piece, scanner.body()) {
                // It is hung up on.
                (Scanned::TooLong, _) => break,
                (Scanned::Last, Some(body)) => reach.extend(body),
                _ => {}
            }
        }
        reach
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
        self.outside |= command.starts_with("screendump") || snapshots && file.is_some();
    }

    /// True if a run may end like this: as without a debugger, or as the client has seen to. Whatever it
    /// has done, the host must not fail.
    pub(crate) fn allows(&self, outcome: &Outcome) -> bool {
        match outcome {
            Outcome::Halted { result: RESULT } => true,
            Outcome::HostFailed(_) | Outcome::Unexpected(_) => false,
            Outcome::Quit => self.ends,
            _ => self.changes,
        }
    }
}

//! `info threads`, in one document for all vCPUs, and the thread that is selected.
//!
//! Manual: "Thread List Format" in "Appendix E: gdb Remote Serial Protocol" of *Debugging with gdb*.

use super::{Answered, text};
use crate::gdb::packet::add_binary;
use crate::gdb::target::GdbTarget;
use crate::gdb::target::{INVALID, PACKET};

pub(super) fn current(target: &GdbTarget<'_, '_>, out: &mut Vec<u8>) -> Answered {
    let threads = &target.threads;
    text(out, &format!("QC{}", threads.id(threads.selected())))
}

/// A document is sent in parts, the last of which begins with an `l`.
pub(super) fn read(target: &mut GdbTarget<'_, '_>, offset: u64, length: u64, out: &mut Vec<u8>) -> Answered {
    let document = target.list().map_err(|_| INVALID)?;
    let start = usize::try_from(offset).ok().filter(|start| *start <= document.len()).ok_or(INVALID)?;
    // Each byte may take two in the answer.
    let count = usize::try_from(length).unwrap_or(usize::MAX).min(PACKET / 2).min(document.len() - start);
    let end = start + count;
    out.push(if end == document.len() { b'l' } else { b'm' });
    add_binary(out, &document.as_bytes()[start..end], usize::MAX);
    Ok(())
}

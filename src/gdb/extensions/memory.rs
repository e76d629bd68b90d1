//! Memory: `x/8i $pc`, `set var counter = 0`, `dump memory`, `load`.
//!
//! Packets hold up to 128 KiB, and `x` carries binary data, which takes half the bytes of `m`. A read that
//! reaches the end of mapped RAM returns the bytes in front of it; a write is performed as a whole or not at all.
//!
//! Manual: `m`, `M`, `x` and `X` in "Packets" of *Debugging with gdb*.

use super::{Answered, text};
use crate::gdb::packet::{add_binary, add_hex, from_binary, from_hex};
use crate::gdb::target::GdbTarget;
use crate::gdb::target::{BAD_ADDRESS, INVALID, PACKET};

/// Room for the frame and the first letter of an answer.
const MARGIN: usize = 8;

pub(super) fn read(
    target: &mut GdbTarget<'_, '_>,
    address: u64,
    length: u64,
    binary: bool,
    out: &mut Vec<u8>,
) -> Answered {
    // LLDB probes for binary reads like this, and expects no letter before the data.
    if binary && length == 0 {
        target.view.lldb_binary_reads = true;
        return text(out, "OK");
    }
    let most = if binary { PACKET } else { PACKET / 2 };
    // The answer must fit in a packet.
    let length = usize::try_from(length).ok().filter(|length| *length <= most).ok_or(INVALID)?;
    let mut bytes = vec![0; length];
    let count = target.read_memory(address, &mut bytes).map_err(|_| INVALID)?;
    if count == 0 && length > 0 {
        return Err(BAD_ADDRESS);
    }
    if binary {
        if !target.view.lldb_binary_reads {
            out.push(b'b');
        }
        let max_size = out.len() + PACKET - MARGIN;
        add_binary(out, &bytes[..count], max_size);
    } else {
        add_hex(out, &bytes[..count]);
    }
    Ok(())
}

pub(super) fn write(
    target: &mut GdbTarget<'_, '_>,
    address: u64,
    length: u64,
    data: &[u8],
    binary: bool,
    out: &mut Vec<u8>,
) -> Answered {
    let bytes = if binary { from_binary(data) } else { from_hex(data) };
    let bytes = bytes.filter(|bytes| bytes.len() as u64 == length).ok_or(INVALID)?;
    if !target.write_memory(address, &bytes).map_err(|_| INVALID)? {
        return Err(BAD_ADDRESS);
    }
    text(out, "OK")
}

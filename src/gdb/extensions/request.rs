//! The requests in packets that this layer handles, or checks before the library handles them.
//!
//! Manual: "Packets" in "Appendix E: gdb Remote Serial Protocol" of *Debugging with gdb*.

use std::num::NonZeroUsize;

use super::qemu::{self, QemuRequest};
use crate::gdb::packet::{memory_range, number, split};
use crate::gdb::threads::PROCESS;

/// Size of the largest register, in bytes.
pub(crate) const MAX_REGISTER: usize = 16;

/// A request of the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Request<'a> {
    /// `m`, `x`.
    ReadMemory {
        /// The first address.
        address: u64,
        /// How many bytes.
        length: u64,
        /// The answer is binary instead of hexadecimal.
        binary: bool,
    },
    /// `M`, `X`.
    WriteMemory {
        /// The first address.
        address: u64,
        /// How many bytes.
        length: u64,
        /// The bytes, for [`from_hex`](crate::gdb::packet::from_hex) or
        /// [`from_binary`](crate::gdb::packet::from_binary).
        data: &'a [u8],
        /// The data is binary instead of hexadecimal.
        binary: bool,
    },
    /// `g`.
    ReadRegisters,
    /// `G`, with the values in hexadecimal.
    WriteRegisters(&'a [u8]),
    /// `p`, with the register's number.
    ReadRegister(u64),
    /// `P`, with the register's number and its value in hexadecimal.
    WriteRegister(u64, &'a [u8]),
    /// `Hg`: selects the thread for registers and memory.
    SelectThread(ThreadSelector),
    /// `Hc`: selects the thread for `c` and `s`.
    SelectResumed(ThreadSelector),
    /// `T`.
    IsThreadAlive(ThreadSelector),
    /// `qC`.
    CurrentThread,
    /// `qThreadExtraInfo`.
    ThreadInfo(ThreadSelector),
    /// `qXfer:threads:read`: a part of the document on all threads.
    ThreadList {
        /// Where the part begins.
        offset: u64,
        /// How many bytes.
        length: u64,
    },
    /// `qXfer:auxv:read`: a part of the auxiliary vector.
    AuxiliaryVector {
        /// Where the part begins.
        offset: u64,
        /// How many bytes.
        length: u64,
    },
    /// `_M`: LLDB wants guest memory for itself.
    Allocate {
        /// In bytes.
        size: u64,
        /// For code.
        executable: bool,
    },
    /// `_m`: LLDB gives back the memory at this address.
    Deallocate(u64),
    /// `qMemoryRegionInfo`: LLDB asks what is mapped at this address.
    MemoryRegion(u64),
    /// `qqemu.*`, `Qqemu.*`.
    Qemu(QemuRequest),
    /// It begins like one of the above, but is malformed.
    Malformed,
}

/// The threads that a packet names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ThreadSelector {
    /// All of them.
    All,
    /// Any one.
    Any,
    /// The one that `Hc` has selected.
    Selected,
    /// The one with this number.
    One(NonZeroUsize),
    /// No thread that can exist.
    Invalid,
}

/// The threads that `text` names, with the process or without.
pub(super) fn thread_selector(text: &[u8]) -> ThreadSelector {
    let (process, thread) = match text.strip_prefix(b"p") {
        Some(rest) => split(rest, b'.').unwrap_or((rest, b"-1")),
        None => (&b"0"[..], text),
    };
    if process != b"-1" && !matches!(number(process), Some(0 | PROCESS)) {
        return ThreadSelector::Invalid;
    }
    match thread {
        b"-1" => ThreadSelector::All,
        b"0" => ThreadSelector::Any,
        _ => number(thread)
            .and_then(|number| NonZeroUsize::new(usize::try_from(number).ok()?))
            .map_or(ThreadSelector::Invalid, ThreadSelector::One),
    }
}

/// The request in a packet's body; `None` for packets that only the library handles.
pub(crate) fn request(body: &[u8]) -> Option<Request<'_>> {
    match body {
        [b'g' | b'G' | b'm' | b'M' | b'p' | b'P' | b'x' | b'X', ..] => {
            Some(about_state(body).unwrap_or(Request::Malformed))
        }
        [b'H', b'g', thread @ ..] => Some(Request::SelectThread(thread_selector(thread))),
        [b'H', b'c', thread @ ..] => Some(Request::SelectResumed(thread_selector(thread))),
        [b'T', thread @ ..] => Some(Request::IsThreadAlive(thread_selector(thread))),
        b"qC" => Some(Request::CurrentThread),
        _ => with_argument(body).or_else(|| qemu::request(body).map(Request::Qemu)),
    }
}

/// True if this `qSupported` packet lists a feature.
pub(crate) fn has_feature(body: &[u8], feature: &[u8]) -> bool {
    body.split(|byte| matches!(byte, b':' | b';')).any(|part| part == feature)
}

/// A request with a long name and an argument.
fn with_argument(body: &[u8]) -> Option<Request<'_>> {
    if let Some(thread) = body.strip_prefix(b"qThreadExtraInfo,") {
        return Some(Request::ThreadInfo(thread_selector(thread)));
    }
    if let Some(range) = body.strip_prefix(b"qXfer:auxv:read::") {
        let request = memory_range(range).map(|(offset, length)| Request::AuxiliaryVector { offset, length });
        return Some(request.unwrap_or(Request::Malformed));
    }
    if let Some(size) = body.strip_prefix(b"_M") {
        let allocation = split(size, b',').and_then(|(size, rights)| {
            Some(Request::Allocate { size: number(size)?, executable: rights.contains(&b'x') })
        });
        return Some(allocation.unwrap_or(Request::Malformed));
    }
    if let Some(address) = body.strip_prefix(b"_m") {
        return Some(number(address).map_or(Request::Malformed, Request::Deallocate));
    }
    if let Some(address) = body.strip_prefix(b"qMemoryRegionInfo:") {
        return Some(number(address).map_or(Request::Malformed, Request::MemoryRegion));
    }
    let range = memory_range(body.strip_prefix(b"qXfer:threads:read::")?);
    Some(range.map_or(Request::Malformed, |(offset, length)| Request::ThreadList { offset, length }))
}

/// A request about registers or memory.
fn about_state(body: &[u8]) -> Option<Request<'_>> {
    match body {
        b"g" => Some(Request::ReadRegisters),
        [b'G', digits @ ..] => Some(Request::WriteRegisters(digits)),
        [b'p', digits @ ..] => number(digits).map(Request::ReadRegister),
        [b'P', rest @ ..] => {
            let (register, value) = split(rest, b'=')?;
            Some(Request::WriteRegister(number(register)?, value))
        }
        [kind @ (b'm' | b'x'), range @ ..] => {
            let (address, length) = memory_range(range)?;
            Some(Request::ReadMemory { address, length, binary: *kind == b'x' })
        }
        [kind @ (b'M' | b'X'), rest @ ..] => {
            let (range, data) = split(rest, b':')?;
            let (address, length) = memory_range(range)?;
            Some(Request::WriteMemory { address, length, data, binary: *kind == b'X' })
        }
        _ => None,
    }
}

#[cfg(test)]
#[path = "request_test.rs"]
mod tests;

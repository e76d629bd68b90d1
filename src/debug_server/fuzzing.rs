//! Clients and servers that send arbitrary input, for the fuzzer and for a test.

use std::io::{self, Read, Write};
use std::sync::{Arc, OnceLock};

use super::client;
use super::session::{CpuRegisters, DebugTarget, serve_client};
use crate::arch::Registers;
use crate::memory::GuestMemory;

/// Memory of the debug target, in bytes.
const MEMORY: u64 = 1 << 20;

/// A peer that has already sent all its data.
struct ScriptedPeer<'a> {
    says: &'a [u8],
    received: Frames,
}

impl Read for ScriptedPeer<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.says.read(bytes)
    }
}

impl Write for ScriptedPeer<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.received.take(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Tracks where frames end in the sent bytes.
#[derive(Default)]
struct Frames {
    length: Vec<u8>,
    /// Bytes of the last frame that are still missing.
    left: u64,
}

impl Frames {
    fn take(&mut self, mut bytes: &[u8]) {
        while let Some((first, rest)) = bytes.split_first() {
            if self.left > 0 {
                let count = bytes.len().min(self.left as usize);
                self.left -= count as u64;
                bytes = &bytes[count..];
                continue;
            }
            self.length.push(*first);
            bytes = rest;
            if let Some(length) = self.length.first_chunk() {
                self.left = u64::from(u32::from_be_bytes(*length));
                self.length.clear();
            }
        }
    }
}

/// Output that is discarded.
struct Counted(u64);

impl Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Passes `input` from a client to the server, and from a server to `kvm debug-client`.
///
/// # Panics
///
/// If the server has answered with anything but whole frames of memory or messages, or the client has
/// printed more than it has received.
pub fn run_session(input: &[u8]) {
    static MEMORY_OF_ALL: OnceLock<Arc<GuestMemory>> = OnceLock::new();
    let memory = MEMORY_OF_ALL
        .get_or_init(|| Arc::new(GuestMemory::new(MEMORY).unwrap_or_else(|error| panic!("{error}"))));
    let guest = DebugTarget {
        memory: memory.clone(),
        registers: Box::new(|cpu| {
            Some(CpuRegisters { registers: (cpu < 2).then(Registers::default), count: 2 })
        }),
        password: None,
    };
    let mut peer = ScriptedPeer { says: input, received: Frames::default() };
    // The result depends on the client's input.
    let _ = serve_client(&mut peer, &guest);
    assert!(peer.received.left == 0 && peer.received.length.is_empty(), "a frame is not whole");

    // The requested range comes first, so that answers can match it.
    let (length, says) = input.split_first_chunk().unwrap_or((&[0; 4], &[]));
    let wanted = u64::from(u32::from_le_bytes(*length));
    let mut out = Counted(0);
    let mut peer = ScriptedPeer { says, received: Frames::default() };
    let _ = client::print(&mut peer, 0x1000, 0x1000 + wanted, &mut out);
    assert!(out.0 <= 8 * says.len() as u64 + 4096, "{} bytes are printed", out.0);
}

#[cfg(test)]
mod tests {
    use super::super::protocol::{DebugRequest, SERVER_QUIT, add_frame, info, simple};
    use super::super::register_bytes;
    use super::*;
    use crate::fuzzing::{FuzzDriver, Seeds};

    /// Seed conversations of the fuzzer, with their names.
    fn seeds() -> Vec<(&'static str, Vec<u8>)> {
        let mut asks = DebugRequest::Welcome.frame(1);
        asks.extend(DebugRequest::Dump { start: 0xBF000, end: 0xBF000 + 2000 }.frame(1));
        asks.extend(DebugRequest::Info.frame(1));
        let mut errs = DebugRequest::Dump { start: MEMORY, end: MEMORY + 12 }.frame(1);
        errs.extend(DebugRequest::Dump { start: 9, end: 1 }.frame(1));
        add_frame(&mut errs, &simple(77, 1));
        let mut answers = 20_u32.to_le_bytes().to_vec();
        add_frame(&mut answers, b"twenty bytes of memory".split_at(20).0);
        add_frame(&mut answers, &info(MEMORY, 1));
        let (general, system) = register_bytes::to_bytes(&Registers::default());
        add_frame(&mut answers, &general);
        add_frame(&mut answers, &system);
        let mut quits = 20_u32.to_le_bytes().to_vec();
        add_frame(&mut quits, &simple(SERVER_QUIT, 1));
        vec![("asks", asks), ("errs", errs), ("answers", answers), ("quits", quits)]
    }

    #[test]
    fn the_seeds_of_the_fuzzer_are_conversations() {
        for (name, bytes) in seeds() {
            Seeds::of("debug_server").must_hold(name, &bytes);
            run_session(&bytes);
        }
    }

    #[test]
    fn any_input_ends_the_session_without_failure() {
        FuzzDriver::new("debug_server").run(run_session);
    }
}

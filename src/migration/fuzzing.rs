//! Sources that send arbitrary input.

use std::io::{self, Cursor, Read, Write};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::commit::CommitDecision;
use super::destination::{
    DestinationGuest, DestinationGuestError, PeerRequest, accept_peer, commit, receive_guest,
};
use super::disk_target::DiskTarget;
use super::frame::{Hello, MigrationToken};
use super::wire::{Transport, Wire};
use crate::memory::GuestMemory;

/// RAM of a guest that can be received, in bytes.
const MEMORY: u64 = 1 << 20;

/// Size of a disk that can be received, in bytes.
const DISK: u64 = 4 * 4096 + 512;

/// A source that has sent all its input and ignores answers.
struct ScriptedSource(Cursor<Vec<u8>>);

impl Read for ScriptedSource {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.0.read(bytes)
    }
}

impl Write for ScriptedSource {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Transport for ScriptedSource {
    fn set_timeout(&self, _: Duration) -> io::Result<()> {
        Ok(())
    }

    fn end(&mut self) {}
}

/// A host with little memory, which is shared by all guests.
struct SmallHost {
    /// A machine has been built.
    built: bool,
    disk: DiskTarget,
}

impl DestinationGuest for SmallHost {
    fn announced(&mut self, hello: &Hello) -> Result<Arc<GuestMemory>, DestinationGuestError> {
        static RAM: OnceLock<Arc<GuestMemory>> = OnceLock::new();
        if hello.memory != MEMORY {
            return Err(DestinationGuestError::Refused("another size".to_owned()));
        }
        Ok(RAM
            .get_or_init(|| Arc::new(GuestMemory::new(MEMORY).expect("1 MiB of memory is available")))
            .clone())
    }

    fn round_begins(&mut self, _: u32, _: u64) {}

    fn disk(&self, unit: u8) -> Option<&DiskTarget> {
        (unit == self.disk.unit).then_some(&self.disk)
    }

    fn pages_arrived(&mut self, _: u64) {}

    fn build(&mut self, _: Vec<u8>, _: &mut dyn FnMut()) -> Result<(), DestinationGuestError> {
        self.built = true;
        Ok(())
    }
}

/// Receives a guest from a source that sends `input`. Returns true if the guest would run here.
///
/// # Panics
///
/// If a guest is taken over without a commit.
pub fn receive_from_source(input: &[u8]) -> bool {
    let Ok(wire) = Wire::new(Box::new(ScriptedSource(Cursor::new(input.to_vec())))) else { return false };
    let Ok((wire, PeerRequest::Migrate(hello))) = accept_peer(wire) else { return false };
    let file = rustix::fs::memfd_create("disk", rustix::fs::MemfdFlags::CLOEXEC).map(std::fs::File::from);
    let Ok(file) = file.map_err(std::io::Error::from).and_then(|file| file.set_len(DISK).map(|()| file))
    else {
        return false;
    };
    let mut arrival = SmallHost { built: false, disk: DiskTarget { unit: 0, size: DISK, file } };
    let Ok(wire) = receive_guest(wire, &hello, &mut arrival) else { return false };
    let arrived = commit(wire, hello.token, &CommitDecision::default()).is_ok();
    let length = arrival.disk.file.metadata().map_or(0, |status| status.len());
    assert_eq!(length, DISK, "the image has another size");
    if arrived {
        assert!(arrival.built, "there is no machine");
        assert!(holds_twice(input, hello.token), "the source has not committed");
    }
    arrived
}

/// The token occurs in the first frame and in the commit.
fn holds_twice(input: &[u8], token: MigrationToken) -> bool {
    input.windows(token.len()).filter(|window| *window == token).count() >= 2
}

#[cfg(test)]
#[path = "fuzzing_test.rs"]
mod tests;

//! Sources that send arbitrary input.

use std::io::{self, Cursor, Read, Write};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::commit::CommitDecision;
use super::destination::{DestinationGuest, PeerRequest, accept_peer, commit, receive_guest};
use super::frame::{Hello, MigrationToken};
use super::wire::{Transport, Wire};
use crate::memory::GuestMemory;

/// RAM of a guest that can be received, in bytes.
const MEMORY: u64 = 1 << 20;

/// A source that has sent all its input and ignores answers.
struct Said(Cursor<Vec<u8>>);

impl Read for Said {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.0.read(bytes)
    }
}

impl Write for Said {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Transport for Said {
    fn set_timeout(&self, _: Duration) -> io::Result<()> {
        Ok(())
    }

    fn end(&mut self) {}
}

/// A host with little memory, which is shared by all guests.
struct Small {
    /// A machine has been built.
    built: bool,
}

impl DestinationGuest for Small {
    fn announced(&mut self, hello: &Hello) -> Result<Arc<GuestMemory>, String> {
        static RAM: OnceLock<Arc<GuestMemory>> = OnceLock::new();
        if hello.memory != MEMORY {
            return Err("another size".to_owned());
        }
        Ok(RAM
            .get_or_init(|| Arc::new(GuestMemory::new(MEMORY).expect("a little memory can be had")))
            .clone())
    }

    fn round_begins(&mut self, _: u32, _: u64) {}

    fn pages_arrived(&mut self, _: u64) {}

    fn build(&mut self, _: Vec<u8>, _: &mut dyn FnMut()) -> Result<(), String> {
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
    let Ok(wire) = Wire::new(Box::new(Said(Cursor::new(input.to_vec())))) else { return false };
    let Ok((wire, PeerRequest::Migrate(hello))) = accept_peer(wire) else { return false };
    let mut arrival = Small { built: false };
    let Ok(wire) = receive_guest(wire, &hello, &mut arrival) else { return false };
    let arrived = commit(wire, hello.token, &CommitDecision::default()).is_ok();
    if arrived {
        assert!(arrival.built, "there is no machine");
        assert!(says_twice(input, hello.token), "the source has not let go of it");
    }
    arrived
}

/// The token occurs in the first frame and in the commit.
fn says_twice(input: &[u8], token: MigrationToken) -> bool {
    input.windows(token.len()).filter(|window| *window == token).count() >= 2
}

#[cfg(test)]
mod tests {
    use super::super::frame::{Message, Round};
    use super::super::pages::{PAGE, PageEncoder};
    use super::*;
    use crate::fuzzing::{FuzzDriver, Seeds};

    /// Frames, and headers of page runs.
    const WORDS: [&[u8]; 8] = [
        b"\x10\0\0\0\x02\0\0\0\x01\x02",
        b"\x03\0\0\0\x10\0\0\0\0\0\0\0\x01\0\0\0\x05\0\0\0\0\0\0\0",
        b"\x04\0\0\0\x01\0\0\0\x01",
        b"\x06\0\0\0\x01\0\0\0\x03",
        b"\x07\0\0\0\x03\0\0\0abc",
        b"\x0f\0\0\0\0\0\0\0",
        b"\x02\0\x10\0\x40\0\0\0",
        &TOKEN,
    ];

    const TOKEN: MigrationToken = *b"a guest's ticket";

    /// Seed inputs of the fuzzer, each with a name and whether the guest is received.
    fn seeds() -> Vec<(&'static str, Vec<u8>, bool)> {
        let said =
            |messages: &[Message<'_>]| -> Vec<u8> { messages.iter().flat_map(Message::frame).collect() };
        let facts = b"facts".to_vec();
        let hello = Message::Hello(Hello { token: TOKEN, memory: MEMORY, guest: "test".into(), facts });
        let mut page = [0; PAGE];
        page[7] = 7;
        let pages = |compress| {
            let mut encoder = PageEncoder::new(compress);
            encoder.add(1, |_| Ok::<(), ()>(())).unwrap();
            let filled = |bytes: &mut [u8]| {
                bytes.copy_from_slice(&page);
                Ok::<(), ()>(())
            };
            encoder.add(2, filled).unwrap();
            encoder.take().unwrap().to_vec()
        };
        let mut whole = said(&[hello.clone(), Message::RoundBegin(Round { number: 1, pages: 2 })]);
        whole.extend(pages(true));
        whole.extend(said(&[
            Message::KeepAlive,
            Message::RoundEnd(1),
            Message::StateBegin(9),
            Message::State(b"regis"),
            Message::State(b"ters"),
            Message::Commit(TOKEN),
            Message::Bye,
        ]));
        let mut bare = said(std::slice::from_ref(&hello));
        bare.extend(pages(false));
        bare.extend(said(&[Message::StateBegin(0), Message::Commit(TOKEN)]));
        let keeps = said(&[hello, Message::StateBegin(0), Message::Error("no".into())]);
        vec![
            ("asks", said(&[Message::Query(TOKEN)]), false),
            ("bare", bare, true),
            ("keeps", keeps, false),
            ("whole", whole, true),
        ]
    }

    #[test]
    fn the_seeds_of_the_fuzzer_are_migrations() {
        for (name, bytes, arrives) in seeds() {
            Seeds::of("migration").must_hold(name, &bytes);
            assert_eq!(receive_from_source(&bytes), arrives, "{name}");
        }
    }

    #[test]
    fn whatever_a_source_says_is_taken_or_refused_without_harm() {
        FuzzDriver::new("migration").dictionary(&WORDS).run(|input| _ = receive_from_source(input));
    }

    #[test]
    fn a_source_that_is_cut_off_has_not_handed_over_anything() {
        for (name, bytes, _) in seeds() {
            // Raw pages have the same encoding everywhere.
            for at in (0..bytes.len()).filter(|at| *at < 150 || *at + 70 > bytes.len()) {
                // The last frame is Bye.
                let handed_over = receive_from_source(&bytes[..at]) && at < bytes.len() - 8;
                assert!(!handed_over, "{name}, cut after {at} bytes");
            }
        }
    }
}

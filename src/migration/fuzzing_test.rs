use super::super::frame::{DiskOffer, DiskRound, FrameKind, Message, Round};
use super::super::pages::{PAGE, PageEncoder};
use super::*;
use crate::devices::ide::DiskGeometry;
use crate::fuzzing::{FuzzDriver, Seeds};

/// Frames, and headers of page runs.
const WORDS: [&[u8]; 10] = [
    b"\x11\0\0\0\x03\0\0\0\x01\x00\x02",
    b"\x12\0\0\0\x10\0\0\0\0\0\0\0\x01\0\0\0\x05\0\0\0\0\0\0\0",
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
    let frames = |messages: &[Message<'_>]| -> Vec<u8> { messages.iter().flat_map(Message::frame).collect() };
    let facts = b"facts".to_vec();
    let hello = Message::Hello(Hello {
        token: TOKEN,
        memory: MEMORY,
        guest: "test".into(),
        facts,
        disks: Vec::new(),
    });
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
    let mut whole = frames(&[hello.clone(), Message::RoundBegin(Round { number: 1, pages: 2 })]);
    whole.extend(pages(true));
    whole.extend(frames(&[
        Message::KeepAlive,
        Message::RoundEnd(1),
        Message::StateBegin(9),
        Message::State(b"regis"),
        Message::State(b"ters"),
        Message::Commit(TOKEN),
        Message::Bye,
    ]));
    let geometry = DiskGeometry::disk(DISK / 512, false);
    let disks = vec![DiskOffer { unit: 0, geometry, copied: true }];
    let (guest, facts) = ("test".into(), Vec::new());
    let mut with_disk = frames(&[
        Message::Hello(Hello { token: TOKEN, memory: MEMORY, guest, facts, disks }),
        Message::DiskBegin(DiskRound { number: 1, unit: 0, pages: 2 }),
    ]);
    let mut encoder = PageEncoder::new(false);
    let fill = |bytes: &mut _| {
        <[u8]>::fill(bytes, 9);
        Ok::<(), ()>(())
    };
    encoder.add(1, fill).unwrap();
    encoder.add(3, |_| Ok::<(), ()>(())).unwrap();
    with_disk.extend(encoder.take_frame(FrameKind::DiskPages).unwrap());
    with_disk.extend(frames(&[Message::RoundEnd(1), Message::StateBegin(0), Message::Commit(TOKEN)]));
    let mut bare = frames(std::slice::from_ref(&hello));
    bare.extend(pages(false));
    bare.extend(frames(&[Message::StateBegin(0), Message::Commit(TOKEN)]));
    let keeps = frames(&[hello, Message::StateBegin(0), Message::Error("no".into())]);
    vec![
        ("asks", frames(&[Message::Query(TOKEN)]), false),
        ("bare", bare, true),
        ("disk", with_disk, true),
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
fn any_input_of_a_source_is_accepted_or_refused_without_failure() {
    FuzzDriver::new("migration").dictionary(&WORDS).run(|input| _ = receive_from_source(input));
}

#[test]
fn a_source_that_is_cut_off_has_not_committed() {
    for (name, bytes, _) in seeds() {
        // Raw pages have the same encoding everywhere.
        for at in (0..bytes.len()).filter(|at| *at < 150 || *at + 70 > bytes.len()) {
            // The last frame is Bye.
            let handed_over = receive_from_source(&bytes[..at]) && at < bytes.len() - 8;
            assert!(!handed_over, "{name}, cut after {at} bytes");
        }
    }
}

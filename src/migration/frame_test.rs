use super::*;

fn read(frame: &[u8]) -> Result<Message<'_>, FrameError> {
    let (kind, length) = header(frame[..HEADER].try_into().unwrap())?;
    assert_eq!(length, frame.len() - HEADER);
    Message::read(kind, &frame[HEADER..])
}

#[test]
fn every_message_round_trips() {
    let geometry = DiskGeometry::disk(1 << 40, true);
    let disks = vec![DiskOffer { unit: 3, geometry, copied: true }];
    let (guest, facts) = ("a.elf".into(), vec![1, 2]);
    let hello = Hello { token: [7; 16], memory: 64 << 20, guest, facts, disks };
    for message in [
        Message::Hello(hello),
        Message::Welcome(b"here"),
        Message::Pages(b"pages"),
        Message::RoundBegin(Round { number: 3, pages: 1 << 40 }),
        Message::DiskBegin(DiskRound { number: 7, unit: 2, pages: 1 << 40 }),
        Message::DiskPages(b"pages"),
        Message::RoundEnd(3),
        Message::RoundDone(3),
        Message::StateBegin(u64::MAX),
        Message::State(b""),
        Message::Ready,
        Message::Commit([1; 16]),
        Message::Confirm,
        Message::Bye,
        Message::Query([2; 16]),
        Message::NotRunning,
        Message::Error("no room".into()),
        Message::KeepAlive,
    ] {
        assert_eq!(read(&message.frame()), Ok(message.clone()));
    }
}

#[test]
fn another_protocol_and_another_version_have_different_errors() {
    assert_eq!(header(*b"GET / HT"), Err(FrameError::Foreign(ForeignProtocol::Http)));
    assert_eq!(header(*b"\x16\x03\x01\x02\0\x01\0\x01"), Err(FrameError::Encrypted));
    assert_eq!(header(*b"SSH-2.0-"), Err(FrameError::Header(*b"SSH-2.0-")));
    let hello =
        Hello { token: [0; 16], memory: 0, guest: String::new(), facts: Vec::new(), disks: Vec::new() };
    let mut frame = Message::Hello(hello).frame();
    frame[HEADER + MAGIC.len()] = 9;
    frame.truncate(HEADER + MAGIC.len() + 2);
    finish(&mut frame, FrameKind::Hello);
    assert_eq!(read(&frame), Err(FrameError::Version { found: 9 }));
}

#[test]
fn a_frame_longer_than_the_maximum_is_refused() {
    let mut bytes = [FrameKind::Pages as u8, 0, 0, 0, 0, 0, 0, 0];
    bytes[4..].copy_from_slice(&(MAX_PAYLOAD as u32 + 1).to_le_bytes());
    assert_eq!(header(bytes), Err(FrameError::TooLong { length: MAX_PAYLOAD as u32 + 1 }));
}

#[test]
fn an_error_text_cannot_control_the_terminal() {
    let text = Message::read(FrameKind::Error, b"no\x1b[2J room\n");
    assert_eq!(text, Ok(Message::Error("no [2J room ".into())));
    let long = Message::Error("è".repeat(MAX_TEXT)).frame();
    assert_eq!(long.len(), HEADER + MAX_TEXT);
}

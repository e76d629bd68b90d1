//! Packets: cut out of streams, read, and written.

use super::*;

/// What a scanner makes of `bytes`: the bodies, and what lies between them.
fn scan(bytes: &[u8], most: usize) -> (Vec<Option<Vec<u8>>>, Vec<u8>, bool) {
    let mut scanner = Scanner::new(most);
    let (mut bodies, mut loose) = (Vec::new(), Vec::new());
    for byte in bytes {
        match scanner.take(*byte) {
            Piece::Inside => {}
            Piece::Loose => loose.push(*byte),
            Piece::Last => bodies.push(scanner.body().map(<[u8]>::to_vec)),
            Piece::TooMuch => return (bodies, loose, true),
        }
    }
    (bodies, loose, false)
}

#[test]
fn packets_are_cut_out_of_the_stream() {
    let (bodies, loose, _) = scan(b"+$g#67-\x03$m0,1#fa$#00x", 100);
    assert_eq!(bodies, [Some(b"g".to_vec()), Some(b"m0,1".to_vec()), Some(Vec::new())]);
    assert_eq!(loose, b"+-\x03x");
}

#[test]
fn a_wrong_checksum_is_no_body() {
    for stream in [b"$g#68", b"$g#6x", b"$g##6"] {
        assert_eq!(scan(stream, 100).0, [None]);
    }
}

#[test]
fn a_packet_without_an_end_is_too_much() {
    assert!(scan(&[b'$'; 101], 100).2);
    assert!(!scan(&[b'$'; 100], 100).2);
    // Exactly as much as fits, and again.
    let (bodies, _, too_much) = scan(b"$ab#c3$ab#c3", 6);
    assert_eq!((bodies.len(), too_much), (2, false));
}

#[test]
fn questions_are_read() {
    let read = |address, length, binary| Some(Question::Read { address, length, binary });
    for (body, expected) in [
        (&b"mffffffff80000000,10"[..], read(0xFFFF_FFFF_8000_0000, 16, false)),
        (b"x0,0", read(0, 0, true)),
        (b"m,1", None),
        (b"m0", None),
        (b"m10000000000000000,1", None),
        (b"m-1,1", None),
        (b"p1b", Some(Question::ReadRegister(27))),
        (b"p", None),
        (b"P10=00002000", Some(Question::WriteRegister(16, b"00002000"))),
        (b"P10", None),
        (b"qqemu.PhyMemMode", Some(Question::Physical)),
        (b"Qqemu.PhyMemMode:1", Some(Question::SetPhysical(true))),
        (b"Qqemu.PhyMemMode:2", None),
        (b"Qqemu.sstep=5", Some(Question::SetStepFlags(5))),
        (b"Qqemu.sstep=0x7", Some(Question::SetStepFlags(7))),
        (b"qSupported:xmlRegisters=i386", None),
        (b"", None),
    ] {
        assert_eq!(question(body), expected, "{}", body.escape_ascii());
    }
}

#[test]
fn register_values_have_their_lowest_byte_first() {
    assert_eq!(register_value(b"0011220000000000"), Some(0x22_1100));
    assert_eq!(register_value(b""), Some(0));
    assert_eq!(register_value(b"001"), None);
    assert_eq!(register_value(b"0x"), None);
    assert_eq!(register_value(&[b'0'; 34]), None);
}

#[test]
fn answers_are_framed_and_can_be_extended() {
    let mut out = b"+".to_vec();
    write_packet(&mut out, |out| add_hex(out, &[0x12, 0xAB]));
    assert_eq!(out, b"+$12ab#26");
    extend_packet(&mut out, b";x+");
    assert_eq!(out, b"+$12ab;x+#04");
}

#[test]
fn what_means_something_in_a_packet_is_escaped_and_the_limit_kept() {
    let mut out = Vec::new();
    add_binary(&mut out, b"a#$}*b", 100);
    assert_eq!(out, b"a}\x03}\x04}]}\nb");
    let mut out = Vec::new();
    add_binary(&mut out, &[b'#'; 100], 11);
    assert_eq!(out.len(), 10);
}

#[test]
fn long_answers_have_the_checksum_of_their_bytes() {
    for length in [7, 8, 9, 1023, 1024, 1025, 70_000] {
        let body: Vec<u8> = (0..length).map(|n| if n % 3 == 0 { 0xFF } else { n as u8 }).collect();
        let sum = body.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte));
        assert_eq!(checksum(&body), sum, "{length}");
    }
    assert_eq!(checksum(&[0xFF; 5000]), 120);
}

#[test]
fn random_streams_give_packets_or_nothing() {
    // A multiplicative generator: the same bytes every time.
    let mut state = 1u64;
    let mut scanner = Scanner::new(64);
    for _ in 0..200_000 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let byte = b"$#+mxpP0123456789abcdef,=:.Qq\x03}"[(state >> 33) as usize % 31];
        match scanner.take(byte) {
            Piece::Last => {
                assert!(scanner.packet().len() <= 64);
                let body = scanner.packet();
                let _ = question(&body[1..body.len() - 3]);
            }
            Piece::TooMuch => scanner = Scanner::new(64),
            Piece::Inside | Piece::Loose => {}
        }
    }
}

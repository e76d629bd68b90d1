//! Packets: cut out of streams, read, and written.

use super::super::threads::Threads;
use super::*;

/// What a scanner makes of `bytes`: the bodies, and what lies between them; and whether it was too much.
fn scan(bytes: &[u8], most: usize) -> (Vec<Option<Vec<u8>>>, Vec<u8>, bool) {
    scan_pieces(bytes, usize::MAX, most)
}

/// The same, if at most `at_once` bytes come at a time.
fn scan_pieces(bytes: &[u8], at_once: usize, most: usize) -> (Vec<Option<Vec<u8>>>, Vec<u8>, bool) {
    let mut scanner = Scanner::new(most);
    let (mut bodies, mut loose) = (Vec::new(), Vec::new());
    for mut bytes in bytes.chunks(at_once) {
        while !bytes.is_empty() {
            let (piece, count) = scanner.take(bytes);
            match piece {
                Piece::Inside => {}
                Piece::Loose => loose.push(bytes[0]),
                Piece::Last => bodies.push(scanner.body().map(<[u8]>::to_vec)),
                Piece::TooMuch => return (bodies, loose, true),
            }
            assert!(count > 0, "no way on");
            bytes = &bytes[count..];
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
fn packets_are_the_same_however_they_come() {
    let stream = b"+$g#67$X0,3:a}\x03\x03#a1\x03$#00$m0,1#fa+";
    let whole = scan(stream, 100);
    assert_eq!(whole.0.len(), 4);
    for at_once in 1..stream.len() {
        assert_eq!(scan_pieces(stream, at_once, 100), whole, "{at_once}");
    }
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
    let malformed = Some(Question::Malformed);
    let one = |number| Meant::One(NonZeroUsize::new(number).unwrap());
    let write = |data, binary| Some(Question::Write { address: 0x1000, length: 2, data, binary });
    for (body, expected) in [
        (&b"mffffffff80000000,10"[..], read(0xFFFF_FFFF_8000_0000, 16, false)),
        (b"x0,0", read(0, 0, true)),
        (b"m,1", malformed),
        (b"m0", malformed),
        (b"m10000000000000000,1", malformed),
        (b"m-1,1", malformed),
        (b"M1000,2:0aFF", write(b"0aFF", false)),
        (b"X1000,2::,", write(b":,", true)),
        (b"M1000:00", malformed),
        (b"X1000,2", malformed),
        (b"g", Some(Question::ReadRegisters)),
        (b"g0", malformed),
        (b"G00", Some(Question::WriteRegisters(b"00"))),
        (b"p1b", Some(Question::ReadRegister(27))),
        (b"p", malformed),
        (b"P10=00002000", Some(Question::WriteRegister(16, b"00002000"))),
        (b"P10", malformed),
        (b"qqemu.PhyMemMode", Some(Question::Physical)),
        (b"Qqemu.PhyMemMode:1", Some(Question::SetPhysical(true))),
        (b"Qqemu.PhyMemMode:2", None),
        (b"Qqemu.sstep=5", Some(Question::SetStepFlags(5))),
        (b"Qqemu.sstep=0x7", Some(Question::SetStepFlags(7))),
        (b"Hg0", Some(Question::LookAt(Meant::Any))),
        (b"Hgp1.2", Some(Question::LookAt(one(2)))),
        (b"Hg-1", Some(Question::LookAt(Meant::All))),
        (b"Hg", Some(Question::LookAt(Meant::Nobody))),
        (b"Hcp1.-1", Some(Question::Choose(Meant::All))),
        (b"Hm1", None),
        (b"Tp1.1f", Some(Question::IsThread(one(0x1F)))),
        (b"Tp1", Some(Question::IsThread(Meant::All))),
        (b"Tp2.1", Some(Question::IsThread(Meant::Nobody))),
        (b"Tpx.1", Some(Question::IsThread(Meant::Nobody))),
        (b"T1ffffffffffffffff", Some(Question::IsThread(Meant::Nobody))),
        (b"T00", Some(Question::IsThread(Meant::Nobody))),
        (b"qC", Some(Question::Thread)),
        (b"qThreadExtraInfo,p1.1", Some(Question::ThreadInfo(one(1)))),
        (b"qThreadExtraInfo,", Some(Question::ThreadInfo(Meant::Nobody))),
        (b"qXfer:threads:read::10,ffb", Some(Question::Threads { offset: 16, length: 0xFFB })),
        (b"qXfer:threads:read::10", malformed),
        (b"qXfer:threads:read:x:0,1", None),
        (b"vCont?", None),
        (b"qSupported:xmlRegisters=i386", None),
        (b"", None),
    ] {
        assert_eq!(question(body), expected, "{}", body.escape_ascii());
    }
}

#[test]
fn what_threads_are_asked_to_do_is_read() {
    assert_eq!(resumption(b"vCont?"), None);
    assert_eq!(resumption(b"vCont"), None);
    assert_eq!(resumption(b"g"), None);
    let asked = resumption(b"vCont;r1f,20:p1.2;c").unwrap();
    let (second, all) = (Meant::One(NonZeroUsize::new(2).unwrap()), Meant::All);
    assert_eq!(asked, [Asked { action: b"r1f,20", meant: second }, Asked { action: b"c", meant: all }]);
    assert_eq!(resumption(b"s").unwrap(), [Asked { action: b"s", meant: Meant::Chosen }]);
    assert_eq!(resumption(b"s200000").unwrap(), [Asked { action: b"s", meant: Meant::Nobody }]);
    assert_eq!(resumption(b"sideways"), None);
}

#[test]
fn features_are_found_among_others() {
    let body = b"qSupported:multiprocess+;swbreak+";
    assert!(has_feature(body, b"multiprocess+") && has_feature(body, b"swbreak+"));
    assert!(!has_feature(b"qSupported:multiprocess-;xmultiprocess+", b"multiprocess+"));
}

#[test]
fn register_values_have_their_lowest_byte_first() {
    assert_eq!(register_value(&[0, 0x11, 0x22, 0, 0]), Some(0x22_1100));
    assert_eq!(register_value(&[]), Some(0));
    assert_eq!(register_value(&[0; 17]), None);
}

#[test]
fn what_is_to_be_written_is_read_in_both_forms() {
    assert_eq!(from_hex(b"00aBFf").unwrap(), [0, 0xAB, 0xFF]);
    assert_eq!(from_hex(b"").unwrap(), []);
    assert_eq!(from_hex(b"001"), None);
    assert_eq!(from_hex(b"0x11"), None);
    for byte in (0..=255u8).filter(|byte| !byte.is_ascii_hexdigit()) {
        assert_eq!(from_hex(&[b'0', byte, b'1', b'1']), None, "{byte:#x}");
        assert_eq!(from_hex(&[b'1', b'1', byte, b'0']), None, "{byte:#x}");
    }
    assert_eq!(from_binary(b"a}\x03}]b*").unwrap(), b"a#}b*");
    assert_eq!(from_binary(b"a}"), None, "nothing is escaped");
}

#[test]
fn what_is_written_out_is_read_back() {
    let bytes: Vec<u8> = (0..=255).collect();
    let (mut hex, mut binary) = (Vec::new(), Vec::new());
    add_hex(&mut hex, &bytes);
    add_binary(&mut binary, &bytes, 1000);
    assert_eq!(from_hex(&hex).unwrap(), bytes);
    assert_eq!(from_binary(&binary).unwrap(), bytes);
}

#[test]
fn answers_are_framed_and_what_the_library_can_do_is_added_to() {
    let mut out = b"+".to_vec();
    write_packet(&mut out, |out| add_hex(out, &[0x12, 0xAB]));
    assert_eq!(out, b"+$12ab#26");
    let mut out = b"+".to_vec();
    write_packet(&mut out, |out| out.extend_from_slice(b"vContSupported+;PacketSize=2000;swbreak+"));
    tell_more(&mut out, 0x20000, "x+");
    let (bodies, _, _) = scan(&out, 100);
    assert_eq!(bodies, [Some(b"PacketSize=20000;vContSupported+;swbreak+;x+".to_vec())]);
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

/// What packets are made of, and what they are not made of.
const PIECES: [&str; 35] = [
    "$",
    "#",
    "#00",
    "+",
    "-",
    "\x03",
    "}",
    "*",
    "$M0,1:",
    "$X0,2:",
    "$m0",
    "$x1,",
    "$p",
    "$P10=",
    "$G",
    "$g",
    "$Qqemu.sstep=",
    "$vCont;c",
    "$vCont;s:1",
    "$Hg",
    "$qThreadExtraInfo,",
    "0",
    "1",
    "a",
    "f",
    "ff",
    "FFFF",
    "\u{80}",
    "x",
    ",",
    ":",
    ";",
    "=",
    "$$",
    "##",
];

#[test]
fn random_streams_give_packets_or_nothing() {
    // A multiplicative generator: the same bytes every time.
    let mut state = 1u64;
    let mut random = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 33) as usize
    };
    let mut scanner = Scanner::new(64);
    let threads = Threads::new(NonZeroUsize::new(2).unwrap());
    let (mut kinds, mut resumptions) = ([0; 3], 0);
    for _ in 0..200_000 {
        let mut bytes = PIECES[random() % PIECES.len()].as_bytes();
        while !bytes.is_empty() {
            let (piece, count) = scanner.take(bytes);
            bytes = &bytes[count..];
            match piece {
                Piece::Last => {
                    assert!(scanner.packet().len() <= 64);
                    let body = &scanner.packet()[1..scanner.packet().len() - 3];
                    if let Some(asked) = resumption(body) {
                        // Whatever is not refused can be read again.
                        if let Some(packet) = threads.packet(&asked) {
                            let again = resumption(&packet[1..packet.len() - 3]).unwrap();
                            assert_eq!(threads.packet(&again), Some(packet));
                            resumptions += 1;
                        }
                    }
                    match question(body) {
                        Some(Question::Write { data, .. }) => {
                            assert!(from_binary(data).is_none_or(|bytes| bytes.len() <= data.len()));
                            assert!(from_hex(data).is_none_or(|bytes| 2 * bytes.len() == data.len()));
                            kinds[0] += 1;
                        }
                        Some(_) => kinds[1] += 1,
                        None => kinds[2] += 1,
                    }
                }
                Piece::TooMuch => scanner = Scanner::new(64),
                Piece::Inside | Piece::Loose => assert!(count > 0),
            }
        }
    }
    assert!(kinds.iter().all(|count| *count > 100), "{kinds:?}: nothing like packets");
    assert!(resumptions > 10, "{resumptions}: nothing that lets threads go on");
}

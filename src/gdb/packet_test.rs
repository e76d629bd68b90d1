//! Packets: cut out of streams, read, and written.

use super::*;

/// What a scanner makes of `bytes`: the bodies, and what lies between them; and whether it was too much.
fn scan(bytes: &[u8], most: usize) -> (Vec<Option<Vec<u8>>>, Vec<u8>, bool) {
    scan_pieces(bytes, usize::MAX, most)
}

/// The same, if at most `at_once` bytes come at a time.
fn scan_pieces(bytes: &[u8], at_once: usize, most: usize) -> (Vec<Option<Vec<u8>>>, Vec<u8>, bool) {
    let mut scanner = PacketScanner::new(most);
    let (mut bodies, mut loose) = (Vec::new(), Vec::new());
    for mut bytes in bytes.chunks(at_once) {
        while !bytes.is_empty() {
            let (piece, count) = scanner.take(bytes);
            match piece {
                Scanned::Inside => {}
                Scanned::Loose => loose.push(bytes[0]),
                Scanned::Last => bodies.push(scanner.body().map(<[u8]>::to_vec)),
                Scanned::TooLong => return (bodies, loose, true),
            }
            assert!(count > 0, "no way on");
            bytes = &bytes[count..];
        }
    }
    (bodies, loose, false)
}

#[test]
fn packets_are_found_in_a_stream() {
    let (bodies, loose, _) = scan(b"+$g#67-\x03$m0,1#fa$#00x", 100);
    assert_eq!(bodies, [Some(b"g".to_vec()), Some(b"m0,1".to_vec()), Some(Vec::new())]);
    assert_eq!(loose, b"+-\x03x");
}

#[test]
fn packets_do_not_depend_on_how_the_stream_is_divided() {
    let stream = b"+$g#67$X0,3:a}\x03\x03#a1\x03$#00$m0,1#fa+";
    let whole = scan(stream, 100);
    assert_eq!(whole.0.len(), 4);
    for at_once in 1..stream.len() {
        assert_eq!(scan_pieces(stream, at_once, 100), whole, "{at_once}");
    }
}

#[test]
fn a_packet_with_a_wrong_checksum_has_no_body() {
    for stream in [b"$g#68", b"$g#6x", b"$g##6"] {
        assert_eq!(scan(stream, 100).0, [None]);
    }
}

#[test]
fn a_packet_without_an_end_is_too_long() {
    assert!(scan(&[b'$'; 101], 100).2);
    assert!(!scan(&[b'$'; 100], 100).2);
    // Exactly as much as fits, and again.
    let (bodies, _, too_much) = scan(b"$ab#c3$ab#c3", 6);
    assert_eq!((bodies.len(), too_much), (2, false));
}

#[test]
fn data_is_decoded_from_hexadecimal_and_binary() {
    assert_eq!(from_hex(b"00aBFf").unwrap(), [0, 0xAB, 0xFF]);
    assert_eq!(from_hex(b"").unwrap(), [0; 0]);
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
fn encoded_data_is_decoded_again() {
    let bytes: Vec<u8> = (0..=255).collect();
    let (mut hex, mut binary) = (Vec::new(), Vec::new());
    add_hex(&mut hex, &bytes);
    add_binary(&mut binary, &bytes, 1000);
    assert_eq!(from_hex(&hex).unwrap(), bytes);
    assert_eq!(from_binary(&binary).unwrap(), bytes);
}

#[test]
fn special_bytes_are_escaped_within_the_size_limit() {
    let mut out = Vec::new();
    add_binary(&mut out, b"a#$}*b", 100);
    assert_eq!(out, b"a}\x03}\x04}]}\nb");
    let mut out = Vec::new();
    add_binary(&mut out, &[b'#'; 100], 11);
    assert_eq!(out.len(), 10);
}

#[test]
fn checksums_of_long_answers_are_correct() {
    for length in [7, 8, 9, 1023, 1024, 1025, 70_000] {
        let body: Vec<u8> = (0..length).map(|n| if n % 3 == 0 { 0xFF } else { n as u8 }).collect();
        let sum = body.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte));
        assert_eq!(checksum(&body), sum, "{length}");
    }
    assert_eq!(checksum(&[0xFF; 5000]), 120);
}

//! The recorded sessions, as they are and changed in all kinds of ways.

use super::*;
use random::Random;

/// Where sessions that gdb and LLDB have held lie.
const SEEDS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/seeds/gdb");

/// Changed sessions that are tried.
const ROUNDS: usize = 250;

/// What changed sessions get in addition.
const ADDED: [&[u8]; 20] = [
    b"\x03",
    b"-",
    b"+",
    b"$",
    b"#",
    b"$?#zz",
    b"$g#11",
    b"$vCont;c#11",
    b"$vCont;s:1#11",
    b"$vCont;r200000,200030:1#11",
    b"$m0,ffffffffffffffff#11",
    b"$mfffffffffffffffe,4#11",
    b"$X201000,4:abcd#11",
    b"$P10=0700200000000000#11",
    b"$Z0,200025,1#11",
    b"$Z1,200031,1#11",
    b"$Z2,201000,8#11",
    b"$z0,200025,1#11",
    b"$qRcmd,7265736574#11",
    b"$D#11",
];

fn seeds() -> Vec<Vec<u8>> {
    let files = std::fs::read_dir(SEEDS).expect("the folder of sessions");
    let mut paths: Vec<_> = files.map(|file| file.expect("its entry").path()).collect();
    paths.sort();
    paths.into_iter().map(|path| std::fs::read(path).expect("a session")).collect()
}

/// `session`, packet by packet, with what lies between.
fn turns(session: &[u8]) -> Vec<&[u8]> {
    let mut scanner = Scanner::new(session.len());
    let (mut turns, mut rest, mut turn) = (Vec::new(), session, 0);
    while turn < rest.len() {
        let (piece, count) = scanner.take(&rest[turn..]);
        turn += count;
        if piece == Piece::Last || turn == rest.len() {
            let (now, later) = rest.split_at(turn);
            turns.push(now);
            (rest, turn) = (later, 0);
        }
    }
    turns
}

/// Another session, made from two.
fn changed(one: &[u8], other: &[u8], random: &mut Random) -> Vec<u8> {
    let (mut turns, others) = (turns(one), self::turns(other));
    for _ in 0..=random.below(4) {
        let place = random.below(turns.len() + 1);
        match random.below(4) {
            0 => turns.truncate(place),
            1 => turns.insert(place, ADDED[random.below(ADDED.len())]),
            2 => turns.insert(place, others[random.below(others.len())]),
            _ => _ = (place < turns.len()).then(|| turns.remove(place)),
        }
    }
    let mut session = turns.concat();
    for _ in 0..random.below(4).min(session.len()) {
        let place = random.below(session.len());
        match random.below(3) {
            0 => session[place] ^= 1 << random.below(8),
            1 => _ = session.remove(place),
            _ => session.insert(place, b"0f:;,#$}"[random.below(8)]),
        }
    }
    session
}

fn no_kvm() -> bool {
    let missing = crate::host::Kvm::open().err();
    if let Some(reason) = &missing {
        eprintln!("skipped: {reason}");
    }
    missing.is_some()
}

#[test]
fn recorded_sessions_leave_a_guest_that_runs() {
    if no_kvm() {
        return;
    }
    let seeds = seeds();
    assert!(!seeds.is_empty());
    for seed in seeds {
        serve_anything(&seed);
    }
}

#[test]
fn changed_sessions_leave_a_guest_that_runs() {
    if no_kvm() {
        return;
    }
    let seeds = seeds();
    let mut random = Random::of(b"the same every time");
    for _ in 0..ROUNDS {
        let (one, other) = (&seeds[random.below(seeds.len())], &seeds[random.below(seeds.len())]);
        serve_anything(&changed(one, other, &mut random));
    }
}

#[test]
fn checksums_are_set_right() {
    let mended = with_checksums(b"+$g#11$m0,1#00$?#zz\x03$g#");
    assert_eq!(mended, b"+$g#67$m0,1#00$?#zz\x03$g#");
}

#[test]
fn what_a_session_can_do_is_known() {
    let reach = |session: &[u8]| {
        let Reach { changes, ends, .. } = Reach::of(&with_checksums(session));
        (changes, ends)
    };
    assert_eq!(reach(b"$m0,1#11$vCont;c#11\x03"), (false, false));
    assert_eq!(reach(b"$X0,1:a#11"), (true, false));
    assert_eq!(reach(b"$X0,1:a#00"), (false, false), "the checksum is wrong");
    assert_eq!(reach(b"$k#11"), (false, true));
    assert_eq!(reach(b"$qRcmd,2071756974#11"), (false, true));
    assert!(!Reach::of(&with_checksums(b"$qRcmd,2071756974#11")).outside);
    let command: String = b" snapshot ./x".iter().map(|byte| format!("{byte:02x}")).collect();
    assert!(Reach::of(&with_checksums(format!("$qRcmd,{command}#11").as_bytes())).outside);
}

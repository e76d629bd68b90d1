//! The recorded sessions, unchanged and mutated.

use std::time::Duration;

use super::*;
use crate::fuzzing::FuzzDriver;

/// Packets, and pieces of them, that mutations insert.
const WORDS: [&[u8]; 29] = [
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
    b"$D#11",
    b"$qRcmd,7265736574#11",                           // reset
    b"$qRcmd,736e617073686f742061#11",                 // snapshot a
    b"$qRcmd,736e617073686f742062#11",                 // snapshot b
    b"$qRcmd,726573746f72652061#11",                   // restore a
    b"$qRcmd,726573746f72652062#11",                   // restore b
    b"$qRcmd,736e617073686f7473#11",                   // snapshots
    b"$qRcmd,736e617073686f74732064656c6574652061#11", // snapshots delete a
    b"$qRcmd,6d696772617465203a3a312038303030#11",     // migrate ::1 8000
    b"$qRcmd,6d69677261746520737461747573#11",         // migrate status
    b"$qRcmd,6d6967726174652063616e63656c#11",         // migrate cancel
];

/// Time limit of a session, which may wait for answers and for a guest that was changed.
const SLOW: Duration = Duration::from_secs(5);

fn no_kvm() -> bool {
    let missing = crate::kvm::Kvm::open_default().err();
    if let Some(reason) = &missing {
        eprintln!("skipped: {reason}");
    }
    missing.is_some()
}

#[test]
fn recorded_and_mutated_sessions_leave_a_running_guest() {
    if no_kvm() {
        return;
    }
    FuzzDriver::new("gdb").dictionary(&WORDS).delimiters(b"$\x03").time_limit(SLOW).run(serve_anything);
}

#[test]
fn checksums_are_corrected() {
    let corrected = with_checksums(b"+$g#11$m0,1#00$?#zz\x03$g#");
    assert_eq!(corrected, b"+$g#67$m0,1#00$?#zz\x03$g#");
}

#[test]
fn the_effects_of_a_session_are_known() {
    let effects = |session: &[u8]| {
        let Effects { changes, ends, .. } = Effects::of(&with_checksums(session));
        (changes, ends)
    };
    assert_eq!(effects(b"$m0,1#11$vCont;c#11\x03"), (false, false));
    assert_eq!(effects(b"$X0,1:a#11"), (true, false));
    assert_eq!(effects(b"$X0,1:a#00"), (false, false), "the checksum is wrong");
    assert_eq!(effects(b"$k#11"), (false, true));
    assert_eq!(effects(b"$qRcmd,2071756974#11"), (false, true));
    assert!(!Effects::of(&with_checksums(b"$qRcmd,2071756974#11")).accesses_files);
    let accesses_files = |command: &str| {
        let digits: String = command.bytes().map(|byte| format!("{byte:02x}")).collect();
        Effects::of(&with_checksums(format!("$qRcmd,{digits}#11").as_bytes())).accesses_files
    };
    for command in [" snapshot ./x", "restore  a.kvmstate ", "screendump x.png", "snapshot\t/x"] {
        assert!(accesses_files(command), "{command}");
    }
    for command in ["snapshot x", "restore", "snapshots", "migrate ::1 8000", "xp 0x1000/4"] {
        assert!(!accesses_files(command), "{command}");
    }
}

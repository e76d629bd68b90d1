//! The flight recorder and the exits.

use super::*;
use crate::machine::flight_recorder::Occurrence;

#[test]
fn events_are_listed_with_the_latest_last() {
    let mut guest = real_mode();
    assert_eq!(run(&mut guest, "events"), "nothing has been recorded yet\n");
    for value in 0..40 {
        let ax = 0xE00 | value;
        guest.recorder.record(0, CpuId::BOOT, Occurrence::BiosCall { vector: 0x10, ax });
    }
    let all = run(&mut guest, "events");
    assert_eq!(all.lines().count(), 16);
    assert_eq!(run(&mut guest, "events 1"), "       40 @0  BIOS interrupt 0x10, AX 0x0e27\n");
    assert!(all.ends_with(&run(&mut guest, "events 1")));
    for (line, problem) in [("events 0", "from 1 to 256"), ("events 257", "from 1 to 256")] {
        assert!(run(&mut guest, line).contains(problem), "{line}");
    }
}

#[test]
fn exits_are_shown_by_reason() {
    assert_eq!(run(&mut real_mode(), "exits"), "0 exits; rates of the 1.0 s since the start\n");
}

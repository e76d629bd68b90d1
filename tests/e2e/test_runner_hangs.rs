//! Guests of `kvm test` that wait busily: for nothing, which fails at once, or for something that comes.

use libtest_mimic::{Failed, Trial};

use crate::support::{Kvm, guest, guest_test};

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    vec![
        guest_test("a_test_that_polls_a_device_that_never_answers_fails_at_once", || {
            hangs("key", "and so is what port 0x64 (i8042) reads as; nothing can interrupt it.")?;
            hangs("drive", "and so is what port 0x177 (ide1) reads as; nothing can interrupt it.")
        }),
        guest_test("a_test_that_waits_for_a_flag_that_nobody_sets_fails_at_once", || {
            hangs("flag", "its registers and its memory are as they were; nothing can interrupt it.")
        }),
        guest_test("a_test_that_waits_for_what_comes_later_passes", || {
            let late = ["time-stamp", "pm-timer", "clock", "tick", "request", "sent", "count"];
            // Asleep with an interrupt that is due: seldom seen, so more than once.
            for what in late.into_iter().chain(["asleep-until-sent"; 5]) {
                let ran = polls(what).run();
                ran.expect_status(0)?.check(ran.out.contains("test polls ... ok\n"), what)?;
            }
            Ok(())
        }),
    ]
}

/// The guest waits for this.
fn polls(what: &str) -> Kvm {
    Kvm::new().arg("test").arg(guest("polls")).args(["--append", what, "--timeout", "60"])
}

fn hangs(what: &str, reason: &str) -> Result<(), Failed> {
    let ran = polls(what).run();
    ran.expect_status(101)?.check(ran.out.contains("kvm: the guest loops for ever; "), "the hang")?;
    ran.check(ran.out.contains(reason), reason).map(drop)
}

//! The state at the first instruction, as docs/boot-state.md describes it.

use std::time::{Duration, Instant};

use libtest_mimic::{Failed, Trial};

use crate::support::{Kvm, Lane, exact_output, guest_test, halted, lane};

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    vec![
        guest_test("a_guest_that_copies_its_data_within_ram_finds_ram_there", || {
            for strict in ["--strict=no", "--strict=yes"] {
                let ran = Kvm::with_guest("copy-down").arg(strict).run();
                ran.expect_exactly(&exact_output(0, "", halted(0)))?;
            }
            Ok(())
        }),
        guest_test("a_returning_entry_function_ends_the_run_with_its_value", || {
            for option in ["--strict=no", "--strict=yes", "--no-guards", "--append=interrupts"] {
                let ran = Kvm::with_guest("entry-return").arg(option).run();
                let message = "the guest's entry function has returned; RAX is 42 (0x2a).";
                ran.expect_exactly(&exact_output(0, "returning\n", message))?;
                ran.expect_log("Program result (keycode): 42")?;
            }
            Ok(())
        }),
        guest_test("a_returning_entry_function_is_recognised_in_a_restored_machine", || {
            let saved = Kvm::with_guest("entry-return").args(["--snapshot-at-exit", "end.kvmstate"]).run();
            saved.expect_status(0)?;
            let restored = Kvm::new().arg("--restore").arg(saved.folder.file("end.kvmstate")).run();
            restored.expect_status(0)?.expect_err("the guest's entry function has returned; RAX is 42")?;
            Ok(())
        }),
        guest_test("a_stray_pointer_faults_without_any_option", || {
            for way in ["null-read", "null-write", "stack-overflow"] {
                let stray = || Kvm::with_guest("stray").args(["--append", way]);
                stray().run().expect_status(8)?.expect_err("triple fault")?;
                stray().arg("--no-guards").run().expect_exactly(&exact_output(0, "", halted(7)))?;
            }
            for way in ["code-write", "data-call"] {
                let ran = Kvm::with_guest("stray").args(["--append", way]).run();
                ran.expect_exactly(&exact_output(0, "", halted(7)))?;
            }
            Ok(())
        }),
        guest_test("cpuid_has_the_frequency_of_the_time_stamp_counter", tsc_frequency),
        guest_test("a_restored_guest_reads_the_same_frequency_as_before", || {
            let saved = Kvm::with_guest("tsc-frequency")
                .args(["--append=again", "--timeout=3", "--snapshot-at-exit=middle.kvmstate"])
                .run();
            saved.expect_status(12)?.check(saved.out.lines().count() == 2, "one frequency in two leaves")?;
            let file = saved.folder.file("middle.kvmstate");
            let restored = Kvm::new().arg("--restore").arg(&file).input(b"again\x04").run();
            restored.expect_status(0)?.expect_out(&saved.out.repeat("again".len()))?;
            let log = restored.folder.read("console.log");
            restored.check(!log.contains("time stamp counter"), "no warning on the host of the snapshot")?;
            Ok(())
        }),
    ]
}

fn tsc_frequency() -> Result<(), Failed> {
    let ran = Kvm::with_guest("tsc-frequency").run();
    ran.expect_status(0)?;
    let khz = |line: &str| line.strip_prefix("0x").and_then(|digits| u64::from_str_radix(digits, 16).ok());
    let found: Vec<u64> = ran.out.lines().filter_map(khz).collect();
    ran.check(found.len() == 2 && found[0] == found[1] && found[0] > 0, "one frequency in both leaves")?;
    // An emulated processor is too uneven for time limits.
    if matches!(lane(), Lane::Emulated | Lane::Other) {
        let started = Instant::now();
        let ran = Kvm::with_guest("tsc-frequency").arg("--append=wait").run();
        let took = started.elapsed();
        ran.expect_status(0)?;
        // The host may be busy.
        let fits = (Duration::from_secs(1)..Duration::from_secs(6)).contains(&took);
        ran.check(fits, &format!("a wait of one second by this frequency, not {took:?}"))?;
    }
    Ok(())
}

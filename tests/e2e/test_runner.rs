//! `kvm test`: guests as tests, and reports of them.

use libtest_mimic::{Failed, Trial};

use crate::support::{Kvm, guest, guest_test, resets_registers, source, test};

/// The tests that start guests.
pub fn trials() -> Vec<Trial> {
    vec![
        guest_test("a_kernel_with_tests_shows_which_pass_fail_hang_and_crash", || {
            let ran = Kvm::new().arg("test").arg(guest("kernel-tests")).run();
            ran.expect_status(101)?;
            for line in [
                "test a_failed_assertion_fails ... FAILED\n",
                "test a_null_pointer_crashes ... FAILED\n",
                "test a_panic_can_be_expected - should panic ... ok\n",
                "test a_second_test_does_not_see_the_first ... ok\n",
                "test an_endless_loop_is_ignored ... ignored\n",
                "test each_test_starts_from_the_same_state ... ok\n",
                "test waiting_for_no_interrupt_hangs ... FAILED\n",
                "panicked at target-examples/kernel-tests.rs: assertion failed: visits() == 2\n",
                "kvm: the guest waits for ever in `hlt`; the next instruction is at 0x",
                "kvm: triple fault",
                "test result: FAILED. 3 passed; 3 failed; 1 ignored; 0 measured; 0 filtered out; finished in ",
            ] {
                ran.check(ran.out.contains(line), &format!("{line:?}"))?;
            }
            let is_explained = ran.out.contains("a null pointer");
            ran.check(is_explained || resets_registers(), "the reason of the crash")?.expect_err("")?;
            Ok(())
        }),
        guest_test("each_end_of_a_guest_is_a_success_or_a_failure", || {
            for (end, passes, reason) in [
                ("halt-0", true, ""),
                ("halt-1", false, "the guest halted; result (RAX) 1 (0x1)."),
                ("exit-33", true, ""),
                ("exit-35", false, "with 0x11 at the debug exit port; exit status 35."),
                ("power-off", true, ""),
                ("panic", false, "The output has `panicked at`."),
                ("reset", false, "the guest reset the machine"),
            ] {
                let ran = ends(end).run();
                let name = format!("\ntest test-ends ... {}\n", if passes { "ok" } else { "FAILED" });
                ran.expect_status(if passes { 0 } else { 101 })?.check(ran.out.contains(&name), &name)?;
                ran.check(ran.out.contains(reason), reason)?;
                ran.check(passes || ran.out.contains("\nbegin\n"), "the output of the guest")?;
            }
            Ok(())
        }),
        guest_test("a_test_that_computes_for_ever_fails", || {
            for (end, reason) in [
                ("loop-panic", "The output has `panicked at`."),
                ("loop", "the guest loops for ever; the next instruction is at 0x"),
            ] {
                let ran = ends(end).run();
                ran.expect_status(101)?.check(ran.out.contains(reason), reason)?;
            }
            let ran = ends("busy").args(["--timeout", "0.2"]).run();
            ran.expect_status(101)?;
            ran.check(ran.out.contains("the run took longer than --timeout allows at 0x"), "the time-out")?;
            Ok(())
        }),
        guest_test("a_kernel_in_c_that_is_relocated_has_tests", || {
            let ran = Kvm::new().arg("test").arg(guest("tests-in-pie")).run();
            ran.expect_status(101)?;
            let lines = "
running 5 tests
test asks_again ... ok
test fails ... FAILED
test fails_as_it_should - should panic ... ok
test is_ignored ... ignored
test passes ... ok

failures:

---- fails stdout ----
tests/guests/tests-in-pie.c: 1 + 1 == 3 is false
kvm: the guest ended the run with 0x11 at the debug exit port; exit status 35.
";
            ran.check(ran.out.starts_with(lines), lines)?;
            Ok(())
        }),
        guest_test("two_hundred_tests_of_a_kernel_each_see_it_as_it_has_started", || {
            let ran = Kvm::new().arg("test").arg(guest("many-tests")).run();
            let end = "\ntest result: ok. 200 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in ";
            ran.expect_status(0)?.check(ran.out.contains(end), end)?;
            Ok(())
        }),
    ]
}

/// The tests to which the processor makes no difference.
pub fn others() -> Vec<Trial> {
    vec![
        guest_test("the_reports_of_a_kernel_with_tests_are_as_documented", || {
            for format in ["pretty", "json", "junit"] {
                let ran = Kvm::new().arg("test").arg(guest("kernel-tests")).args(["--format", format]).run();
                ran.expect_status(101)?;
                let file = source(&format!("tests/guests/kernel-tests.{format}"));
                let report = without_differences(&ran.out);
                if std::env::var_os("KVM_BLESS").is_some() {
                    std::fs::write(&file, &report)?;
                }
                let expected = std::fs::read_to_string(&file)?;
                ran.check(report == expected, &format!("what {} has, not\n{report}", file.display()))?;
            }
            Ok(())
        }),
        guest_test("a_text_in_the_output_or_on_the_screen_can_be_expected", || {
            ends("busy").args(["--expect", "begin"]).run().expect_status(0)?;
            ends("screen").args(["--expect", "begin", "--expect-screen", "login:"]).run().expect_status(0)?;
            let ran = ends("halt-0").args(["--expect", "end", "--expect-screen", "login:"]).run();
            ran.expect_status(101)?;
            let missing = "But the output lacks `end`, and the screen lacks `login:`.";
            ran.check(ran.out.contains(missing), missing)?;
            let ran = ends("halt-0").args(["--fail", "beg"]).run();
            ran.expect_status(101)?.check(ran.out.contains("The output has `beg`."), "the text")?;
            ends("exit-35").args(["--success-exit-code", "35"]).run().expect_status(0)?;
            Ok(())
        }),
        guest_test("tests_are_listed_filtered_and_skipped", || {
            let kernel = || Kvm::new().arg("test").arg(guest("many-tests"));
            let ran = kernel().args(["--list", "test_19", "--skip", "9", "test_000"]).run();
            ran.expect_status(0)?.expect_out("test_000: test\n\n1 test, 0 benchmarks\n")?;
            let ran = kernel().args(["--list", "--format", "terse", "--exact", "test_100", "test_1"]).run();
            ran.expect_status(0)?.expect_out("test_100: test\n")?;
            let ran = kernel().arg(guest("test-ends")).args(["--list", "test_100", "ends"]).run();
            ran.expect_out("many-tests::test_100: test\ntest-ends: test\n\n2 tests, 0 benchmarks\n")?;
            let ran = kernel().args(["test_00", "-q", "--test-threads=1"]).run();
            ran.expect_status(0)?
                .check(ran.out.starts_with("\nrunning 10 tests\n..........\n\ntest result: ok."), "dots")?;
            Ok(())
        }),
        guest_test("screen_and_report_of_a_failing_test_are_saved", || {
            let ran = ends("screen").args(["--timeout", "0.3", "--screenshot", "shots"]).run();
            let line = "kvm: the screen is in shots/test-ends.png.\n";
            ran.expect_status(101)?.check(ran.out.contains(line), line)?;
            let picture = std::fs::read(ran.folder.file("shots/test-ends.png"))?;
            ran.check(picture.starts_with(b"\x89PNG"), "a picture")?;
            let ran = Kvm::new()
                .arg("test")
                .arg(guest("kernel-tests"))
                .args(["--report", "crashes", "--core", "crashes"])
                .run();
            let line = "kvm: the report is in crashes/a_null_pointer_crashes.json.\n";
            ran.expect_status(101)?.check(ran.out.contains(line), line)?;
            let report = ran.folder.read("crashes/a_null_pointer_crashes.json");
            ran.check(report.contains("TripleFault") || report.contains("triple"), "the cause")?;
            ran.check(ran.folder.file("crashes/a_null_pointer_crashes.core").exists(), "the core file")?;
            ran.check(ran.folder.file("crashes/waiting_for_no_interrupt_hangs.json").exists(), "the hang")?;
            Ok(())
        }),
        guest_test("output_comes_at_once_with_nocapture", || {
            let ran = ends("halt-0").arg("--nocapture").run();
            ran.expect_status(0)?.check(ran.out.contains("running 1 test\nbegin\ntest "), "the output")?;
            ran.check(!ran.folder.file("console.log").exists(), "no log")?;
            Ok(())
        }),
        guest_test("a_test_that_fails_is_run_again", || {
            let ran = ends("halt-1").args(["--retries", "2", "--nocapture"]).run();
            ran.expect_status(101)?;
            ran.check(ran.out.matches("begin\n").count() == 4, "three runs, and the output of the last one")?;
            Ok(())
        }),
        test("what_cannot_be_tested_is_refused_with_the_reason", || {
            let refused = |arguments: &[&str], status: i32, reason: &str| -> Result<(), Failed> {
                let ran = Kvm::new().arg("test").args(arguments).run();
                ran.expect_status(status)?.expect_err(reason)?.expect_out("")?;
                Ok(())
            };
            refused(&[], 2, "No guest file is named")?;
            refused(&["missing"], 4, "does not exist")?;
            refused(&["/dev/null", "missing.elf"], 2, "there is no file `missing.elf`")?;
            refused(&["/dev/null", "--gdb"], 2, "--gdb makes no sense in a test")
        }),
    ]
}

/// A guest that ends in the way that is named.
fn ends(how: &str) -> Kvm {
    Kvm::new().arg("test").arg(guest("test-ends")).args(["--append", how])
}

/// A report without what differs between hosts and compilers: times, addresses, and the rest of the report of a crash.
fn without_differences(report: &str) -> String {
    const CRASH: &str = "triple fault";
    let mut text = String::new();
    let mut rest = report;
    while let Some((before, after)) = rest.split_once(CRASH) {
        text += &format!("{before}{CRASH}");
        let ends = ["\n\n", "\"}", "</failure>", "\">"].map(|end| after.find(end));
        rest = &after[ends.into_iter().flatten().min().unwrap_or(0)..];
    }
    without_numbers(&(text + rest))
}

/// `text` with a `_` in place of each fraction and hexadecimal number.
fn without_numbers(text: &str) -> String {
    let mut words = String::new();
    let mut rest = text;
    while let Some(letter) = rest.chars().next() {
        let number = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        if let Some(digits) = rest.strip_prefix("0x") {
            let end = digits.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(digits.len());
            rest = &digits[end..];
            words.push('_');
        } else if number > 1 && rest[..number].trim_end_matches('.').contains('.') {
            rest = &rest[number..];
            words.push('_');
        } else {
            words.push(letter);
            rest = &rest[letter.len_utf8()..];
        }
    }
    words
}

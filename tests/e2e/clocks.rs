//! How right the clocks and timers of the machine are, by each other.

use libtest_mimic::{Failed, Trial};

use crate::gdb::{debug, gdb_test};
use crate::interrupts::Irqchip;
use crate::support::debugger::expect;
use crate::support::{FinishedRun, Folder, Kvm, guest_test, result};

/// How often a measurement is tried: a busy host can keep a guest from running for longer than a tick.
const TRIES: usize = 4;

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    vec![
        guest_test("the_timer_measures_the_frequency_that_cpuid_tells", || {
            let mut smallest = u64::MAX;
            for _ in 0..TRIES {
                let ran = Kvm::with_guest("calibrate").args(["--timeout", "60"]).run();
                ran.expect_status(0)?;
                smallest = smallest.min(result(&ran.err)?);
                if smallest <= 10_000 {
                    return Ok(());
                }
            }
            Err(format!("{smallest} millionths, not 1 %").into())
        }),
        guest_test("each_timer_counts_the_right_number_of_ticks_in_a_second", || right_ticks(&[]).map(drop)),
        guest_test("each_timer_counts_the_right_number_of_ticks_with_a_virtual_clock", || {
            right_ticks(&["--clock", "virtual"]).map(drop)
        }),
        guest_test("each_timer_counts_the_right_number_of_ticks_with_kvms_interrupt_controllers", || {
            right_ticks(Irqchip::Kernel.arguments()).map(drop)
        }),
        gdb_test("a_long_stop_delivers_at_most_one_tick_late", || late_ticks(&[])),
        gdb_test("a_long_stop_delivers_at_most_one_tick_late_with_irqchip_kernel", || {
            late_ticks(&["--irqchip", "kernel"])
        }),
        gdb_test("a_long_stop_delivers_at_most_one_tick_late_with_a_virtual_clock", || {
            late_ticks(&["--clock", "virtual"])
        }),
        guest_test("the_clock_of_kvm_advances", || {
            let ran = Kvm::with_guest("kvmclock").run();
            // 0: the host does not offer it.
            ran.expect_status(0)?.check(matches!(result(&ran.err)?, 0 | 7), "result 7").map(drop)
        }),
        gdb_test("the_clock_of_kvm_does_not_go_back_in_a_restored_guest", || {
            let folder = Folder::new();
            let file = folder.file("a.kvmstate");
            let save = format!("monitor snapshot {}", file.display());
            // The second time the clock has been read, a second after the start.
            let commands = ["break wait", "continue", "shell sleep 1", "continue", &save, "kill"];
            let (output, ran) = debug("kvmclock", &[], &commands)?;
            if ran.err.contains("result (RAX) 0 ") {
                return Ok(());
            }
            expect(&output, "saved in ")?;
            let ran = Kvm::new().arg("--restore").arg(&file).run();
            ran.expect_status(0)?.expect_err("result (RAX) 7 ").map(drop)
        }),
    ]
}

/// Runs the guest that counts the ticks of four timers until the counts are right.
fn right_ticks(arguments: &[&str]) -> Result<FinishedRun, Failed> {
    const EXPECTED: [(&str, u64); 4] = [("pit", 20), ("rtc", 16), ("hpet", 20), ("apic", 20)];
    let mut tries = 0;
    loop {
        tries += 1;
        let ran = Kvm::with_guest("tick-counts").args(["--timeout", "60"]).args(arguments).run();
        ran.expect_status(0)?;
        let count = |name: &str| {
            let line = ran.out.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|count| count.trim().parse::<u64>().ok()).unwrap_or(u64::MAX)
        };
        let right = EXPECTED.iter().all(|(name, expected)| count(name).abs_diff(*expected) <= 1);
        // No timer runs too fast, however busy the host is.
        let fast = EXPECTED.iter().any(|(name, expected)| count(name) > expected + 1);
        if right || fast || tries == TRIES {
            ran.check(right, "20 ticks of each timer, and 16 of the clock, within one")?;
            return Ok(ran);
        }
    }
}

/// A debugger stops a guest whose timer ticks a hundred times a second, for a second. The first tick after that may be
/// a late one; ten others take nine hundredths of a second, or a little less if the host is late for the first of them.
/// Ten of the hundred that were missed would come at once.
fn late_ticks(arguments: &[&str]) -> Result<(), Failed> {
    let commands = ["tbreak on_tick", "continue", "shell sleep 1", "continue"];
    let (_, ran) = debug("tick-times", arguments, &commands)?;
    ran.expect_status(0)?;
    let hundredths = result(&ran.err)?;
    ran.check(hundredths >= 7, "ten ticks take a tenth of a second").map(drop)
}

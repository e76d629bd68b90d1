//! Guests that compute with more than the general registers run on every host, also where KVM refuses
//! their instructions.

use std::process::Command;

use libtest_mimic::{Failed, Trial};

use crate::support::{HALTED_0, Kvm, exact_output, guest, guest_test, halted};

/// What the example guest prints.
const SWING: &str = "height 0.122418\nheight 0.082289\nheight 0.055185\nheight 0.036951\nheight 0.024716\n\
                     height 0.016520\nheight 0.011037\nheight 0.007371\nsum 0.356487\nof squares 0.027228\n";

/// What `raised` prints.
const RAISED: &str = include_str!("../guests/raised.txt");

/// Minimum number of compared instructions: those of every 64-bit processor.
const BASIC: usize = 300;

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    vec![
        guest_test("a_guest_compiled_without_special_options_computes_with_doubles", || {
            Kvm::with_guest("sse").run().expect_exactly(&exact_output(0, SWING, HALTED_0))?;
            Ok(())
        }),
        guest_test("operands_may_be_in_the_memory_of_a_device", || {
            Kvm::with_guest("apic-operands").run().expect_exactly(&exact_output(0, "", halted(0x331)))?;
            Ok(())
        }),
        guest_test("unmasked_exceptions_and_undefined_encodings_reach_the_guests_handlers", || {
            Kvm::with_guest("raised").run().expect_exactly(&exact_output(0, RAISED, HALTED_0))?;
            Ok(())
        }),
        guest_test("an_unmasked_exception_without_a_handler_is_a_triple_fault", || {
            let ran = Kvm::with_guest("raised").args(["--append", "unhandled"]).run();
            ran.expect_status(8)?.expect_err("kvm: triple fault")?;
            Ok(())
        }),
        guest_test("every_instruction_has_the_same_result_in_a_guest_and_on_the_host", same_as_on_the_host),
    ]
}

fn same_as_on_the_host() -> Result<(), Failed> {
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo")?;
    let features = cpuinfo.lines().find_map(|line| line.strip_prefix("flags")?.split_once(": "));
    let (_, features) = features.ok_or("/proc/cpuinfo tells the processor's features")?;
    let here =
        Command::new(guest("instructions").with_file_name("instructions-on-linux")).arg(features).output()?;
    let here = String::from_utf8(here.stdout)?;
    let ran = Kvm::with_guest("instructions").args(["--append", features]).run();
    ran.expect_status(0)?;
    for (there, here) in ran.out.lines().zip(here.lines()) {
        ran.check(there == here, &format!("`{here}`, as on the host, and not `{there}`"))?;
    }
    let count = ran.out.lines().count();
    ran.check(
        count == here.lines().count() && count > BASIC,
        &format!("all instructions, not only {count}"),
    )?;
    Ok(())
}

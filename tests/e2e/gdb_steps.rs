//! One step is one instruction, whatever the instruction is: the guest `stepped` has one of each that is
//! hard for some host.

use libtest_mimic::{Failed, Trial};

use crate::gdb::{CTRL_C, debug, gdb_test};
use crate::support::debugger::expect;

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    vec![
        gdb_test("stepping_over_pushf_shows_no_trap_flag_to_the_guest", || {
            let output = steps(&["tbreak flags", "continue", "stepi", "print *(long *)$rsp & 0x100"])?;
            expect(&output, "$1 = 0\n")
        }),
        gdb_test("stepping_over_popf_does_not_resume_the_guest", || {
            let output = steps(&["tbreak back", "continue", "stepi", "print $pc == (long)&copying"])?;
            expect(&output, "$1 = 1\n")
        }),
        gdb_test("rep_movsb_is_one_step", || {
            let commands =
                ["tbreak repeat", "continue", "stepi", "print $pc == (long)&repeated", "print $rcx"];
            let output = steps(&commands)?;
            expect(&output, "$1 = 1\n")?;
            expect(&output, "$2 = 0\n")
        }),
        gdb_test("cpuid_and_port_accesses_are_one_step_each", || {
            let commands = [
                "tbreak identify",
                "continue",
                "stepi",
                "print $pc == (long)&identified",
                "stepi 3",
                "print $pc == (long)&port_in",
                "stepi",
                "print $pc == (long)&ask",
            ];
            let output = steps(&commands)?;
            for number in 1..=3 {
                expect(&output, &format!("${number} = 1\n"))?;
            }
            Ok(())
        }),
        gdb_test("a_guest_continues_after_a_step_over_a_port_access", || {
            // The breakpoint is at an `in`, and the guest has no handler for a debug exception.
            let commands = ["break keyboard_code", "continue", "stepi", "continue", "kill"];
            let (output, _) = debug("keyboard-echo", &["--keys", "keyboard"], &commands)?;
            let hits = output.matches("\nBreakpoint 1").count() - 1;
            if hits == 2 { Ok(()) } else { Err(format!("{hits} hits:\n{output}").into()) }
        }),
        gdb_test("a_step_over_an_interrupt_ends_in_its_handler_and_returns", || {
            let commands = [
                "tbreak ask",
                "continue",
                "stepi",
                "print $pc == (long)&asked",
                "stepi",
                "stepi",
                "print $pc == (long)&answered",
            ];
            let output = steps(&commands)?;
            expect(&output, "$1 = 1\n")?;
            expect(&output, "$2 = 1\n")
        }),
        gdb_test("a_step_that_faults_ends_at_the_first_instruction_of_the_handler", || {
            let commands = [
                "tbreak touch",
                "continue",
                "stepi",
                "print $pc == (long)&unmapped",
                "stepi 2",
                "print $r11 & 0x100",
                "stepi 3",
                "print $pc == (long)&touched",
                "continue",
            ];
            let output = steps(&commands)?;
            for expected in ["$1 = 1\n", "$2 = 0\n", "$3 = 1\n", "result (RAX)"] {
                expect(&output, expected)?;
            }
            Ok(())
        }),
        gdb_test("a_step_over_an_invalid_instruction_ends_in_its_handler", || {
            let commands = [
                "tbreak answered",
                "continue",
                "stepi",
                "print $pc == (long)&invalid",
                "stepi 3",
                "print $pc == (long)&valid",
            ];
            let output = steps(&commands)?;
            expect(&output, "$1 = 1\n")?;
            expect(&output, "$2 = 1\n")
        }),
        gdb_test("a_jump_into_a_handler_leaves_the_stack_as_it_is", || {
            let commands = [
                "tbreak touch",
                "continue",
                "set var *(long *)$rsp = (long)&into_handler",
                "set var *(long *)($rsp + 16) = 0x1100",
                "set $pc = (long)&into_handler",
                "stepi",
                "print $pc == (long)&invalid",
                "print/x *(long *)($rsp + 16)",
                "kill",
            ];
            let output = steps(&commands)?;
            expect(&output, "$1 = 1\n")?;
            expect(&output, "$2 = 0x1100\n")
        }),
        gdb_test("the_processor_is_a_thread_that_reports_whether_it_is_halted", || {
            let commands = ["info threads", CTRL_C, "continue", "info threads", "kill"];
            let (output, _) = debug("idle", &["--timeout", "20"], &commands)?;
            expect(&output, "\"CPU 0\" (running, ")?;
            expect(&output, "\"CPU 0\" (waiting in hlt, ")
        }),
        gdb_test("scheduler_locking_does_not_change_a_step", || {
            let commands = [
                "set scheduler-locking on",
                "tbreak identify",
                "continue",
                "stepi",
                "print $pc == (long)&identified",
            ];
            let output = steps(&commands)?;
            expect(&output, "$1 = 1\n")
        }),
        gdb_test("a_step_that_faults_stops_behind_the_instruction_at_the_latest", || {
            let commands = ["tbreak touch", "continue", "stepi", "tbreak done", "continue", "print $r10"];
            let output = steps(&commands)?;
            expect(&output, "$1 = 1\n")
        }),
    ]
}

fn steps(commands: &[&str]) -> Result<String, Failed> {
    let (output, _) = debug("stepped", &["--timeout", "20"], commands)?;
    Ok(output)
}

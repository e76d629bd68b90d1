//! Watchpoints of a real gdb: `watch`, `rwatch` and `awatch`, on every kind of host.

use libtest_mimic::Trial;

use crate::gdb::{debug, gdb_test};
use crate::gdb_breakpoints::UNUSED;
use crate::support::debugger::{expect, expect_times};
use crate::support::{Lane, has_debug_registers, lane};

/// What `system-instructions` prints, watched or not.
const SYSTEM_INSTRUCTIONS: &str = include_str!("../guests/system-instructions.txt");

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    let mut trials = what_is_seen();
    trials.extend(where_it_is_seen());
    trials.extend(together_with_others());
    trials
}

fn what_is_seen() -> Vec<Trial> {
    vec![
        gdb_test("five_watchpoints_of_all_lengths_each_stop_after_the_write", || {
            let commands = [
                "watch data.one",
                "watch data.two",
                "watch data.four",
                "watch data.eight",
                "watch data.many",
                "continue",
                "continue",
                "continue",
                "continue",
                "continue",
                "delete",
                "continue",
                "continue",
            ];
            let (output, ran) = debug("watched", &[], &commands)?;
            expect(&output, "Hardware watchpoint 5: data.many\n")?;
            expect(&output, "Old value = 0 '\\000'\nNew value = 1 '\\001'\nguest_main (")?;
            for value in [2, 4, 8] {
                expect(&output, &format!("Old value = 0\nNew value = {value}\nguest_main ("))?;
            }
            expect(&output, "New value = '\\000' <repeats 33 times>, \"!\", '\\000' <repeats 29 times>\n")?;
            ran.expect_status(0)?.expect_err("result (RAX) 1000")?;
            Ok(())
        }),
        gdb_test("rwatch_stops_after_reads_and_not_after_writes", || {
            let commands = ["rwatch data.eight", "continue", "continue", "continue", "kill"];
            let (output, _) = debug("watched", &[], &commands)?;
            expect(&output, "Hardware read watchpoint 1: data.eight\n\nValue = 8\n")?;
            expect(&output, "Hardware read watchpoint 1: data.eight\n\nValue = 9\n")?;
            expect_times(&output, "\nValue = ", 2)?;
            expect(&output, "kvm: the guest halted; result (RAX) 1000")
        }),
        gdb_test("awatch_stops_after_reads_and_writes", || {
            let mut commands = vec!["awatch data.eight"];
            commands.extend(["continue"; 5]);
            let (output, _) = debug("watched", &[], &commands)?;
            expect_times(&output, "\nguest_main (info", 4)?;
            expect(&output, "Old value = 0\nNew value = 8\n")?;
            expect(&output, "\n\nValue = 8\n")?;
            expect(&output, "Old value = 8\nNew value = 9\n")?;
            expect(&output, "\n\nValue = 9\n")?;
            expect(&output, "kvm: the guest halted; result (RAX) 1000")
        }),
        gdb_test("a_thousand_writes_beside_the_watched_bytes_do_not_stop_the_guest", || {
            let commands = ["watch data.eight", "continue", "continue", "continue"];
            let (output, _) = debug("watched", &[], &commands)?;
            expect(&output, "Old value = 8\nNew value = 9\n")?;
            expect_times(&output, "\nOld value = ", 2)?;
            expect(&output, "kvm: the guest halted; result (RAX) 1000")
        }),
        gdb_test("a_variable_on_the_stack_is_watched", || {
            let commands =
                ["watch data.one", "continue", "delete", "watch -l local", "continue", "delete", "continue"];
            let (output, _) = debug("watched", &[], &commands)?;
            expect(&output, "Old value = 5\nNew value = 6\n")?;
            expect(&output, "kvm: the guest halted; result (RAX) 1000")
        }),
        gdb_test("a_watchpoint_stops_at_a_store_that_some_hosts_refuse", || {
            let (output, _) = debug("watched", &[], &["watch data.vector", "continue", "continue"])?;
            expect(&output, "Old value = {0, 0}\nNew value = {0, 77}\n")?;
            expect(&output, "kvm: the guest halted; result (RAX) 1000")
        }),
    ]
}

fn where_it_is_seen() -> Vec<Trial> {
    vec![
        gdb_test("a_watchpoint_stops_at_a_write_through_another_mapping", || {
            // Guest-physical memory is watched, whatever maps it.
            let commands = ["monitor phys on", "watch data.aliased", "continue", "continue"];
            let (output, _) = debug("watched", &[], &commands)?;
            expect(&output, "Old value = 0\nNew value = 11\n")?;
            expect(&output, "kvm: the guest halted; result (RAX) 1000")
        }),
        gdb_test("a_watched_address_that_is_mapped_later_is_watched_from_then_on", || {
            let commands = [
                "watch data.mapped",
                "watch *(long *)(0x80000000 + (long)&data.later)",
                "continue",
                "continue",
                "continue",
            ];
            let (output, _) = debug("watched", &[], &commands)?;
            expect(&output, "Old value = <unreadable>\nNew value = 12\n")?;
            expect(&output, "kvm: the guest halted; result (RAX) 1000")
        }),
        gdb_test("a_variable_beside_code_that_runs_is_watched", || {
            let mut commands = vec!["watch *(long *)&near_code"];
            commands.extend(["continue"; 9]);
            let (output, _) = debug("watched", &[], &commands)?;
            for value in 0..8 {
                expect(&output, &format!("Old value = {value}\nNew value = {}\n", value + 1))?;
            }
            expect(&output, "kvm: the guest halted; result (RAX) 1000")
        }),
        gdb_test("a_page_whose_reads_cannot_be_watched_is_reported", || {
            let commands = ["rwatch *(long *)&near_code", "continue", "kill"];
            let (output, _) = debug("watched", &[], &commands)?;
            let message =
                "kvm: reads of the page at guest-physical 0x200000 are not detected, as it holds code";
            match lane() {
                // Debug registers watch there; that the value changes shows that it is a write, too.
                Lane::Intel => expect_times(&output, message, 0)?,
                Lane::Amd if has_debug_registers() => expect_times(&output, message, 0)?,
                Lane::Other => {}
                _ => expect_times(&output, message, 1)?,
            }
            expect(&output, "kvm: the guest halted; result (RAX) 1000")
        }),
        gdb_test("a_guest_whose_stack_is_watched_gets_its_exceptions", || {
            let commands = ["watch *(char (*)[16])0x13008", "continue", "continue"];
            let (_, ran) = debug("system-instructions", &[], &commands)?;
            ran.expect_out(SYSTEM_INSTRUCTIONS)?.expect_status(0).map(drop)
        }),
        gdb_test("watchpoints_survive_a_reset_of_the_machine", || {
            // Every other time gdb stops where the guest asks for the reset.
            let commands = [
                "awatch data.one",
                "continue",
                "continue",
                "continue",
                "continue",
                "continue",
                "print data.one",
                "kill",
            ];
            let (output, ran) = debug("watched", &["--append", "again"], &commands)?;
            expect_times(&output, "\nHardware access (read/write) watchpoint 1: data.one\n\n", 3)?;
            expect(&output, "$1 = 1 '\\001'\n")?;
            ran.expect_status(14).map(drop)
        }),
    ]
}

fn together_with_others() -> Vec<Trial> {
    vec![
        gdb_test("a_watchpoint_stops_a_series_of_steps", || {
            let commands = ["watch data.one", "watch data.four", "continue", "stepi 100000", "kill"];
            let (output, _) = debug("watched", &[], &commands)?;
            expect(&output, "Hardware watchpoint 2: data.four\n\nOld value = 0\nNew value = 4\n")
        }),
        gdb_test("breakpoints_and_watchpoints_share_a_page", || {
            let mut commands = vec!["watch *(long *)&near_code"];
            commands.extend(UNUSED);
            commands.extend([
                "break count_up",
                "continue",
                "x/xb $pc",
                "monitor xp 0x200048 1",
                "monitor dis 0x200048 1",
                "continue",
                "delete",
                "continue",
            ]);
            let (output, _) = debug("watched", &[], &commands)?;
            expect(&output, "\n0000200048  b9 ")?;
            expect(&output, "0x200048 <count_up>: mov ecx")?;
            expect(&output, "Breakpoint 6, 0x0000000000200048 in count_up ()")?;
            expect(&output, "<count_up>:\t0xb9\n")?;
            expect(&output, "Old value = 0\nNew value = 1\n")?;
            expect(&output, "kvm: the guest halted; result (RAX) 1000")
        }),
        gdb_test("four_hardware_breakpoints_leave_room_for_watchpoints", || {
            let commands = [
                "hbreak guest_main",
                "hbreak *0x200000",
                "hbreak stop",
                "hbreak *0x200049",
                "watch data.two",
                "continue",
                "continue",
                "kill",
            ];
            let (output, _) = debug("watched", &[], &commands)?;
            expect(&output, "Hardware watchpoint 5: data.two\n\nOld value = 0\nNew value = 2\n")
        }),
        gdb_test("a_deleted_watchpoint_leaves_nothing_behind", || {
            let commands = [
                "watch data.many",
                "continue",
                "monitor info debug",
                "delete",
                "stepi",
                "monitor info debug",
                "continue",
            ];
            let (output, _) = debug("watched", &[], &commands)?;
            expect(&output, "0 in debug registers and 1 pages protected")?;
            expect(&output, "0 in debug registers and 0 pages protected")?;
            expect(&output, "kvm: the guest halted; result (RAX) 1000")
        }),
        gdb_test("an_impossible_watchpoint_is_refused", || {
            let commands = ["watch *(char (*)[0x1000000])0x1000000", "continue", "kill"];
            let (output, ran) = debug("watched", &[], &commands)?;
            expect(&output, "Could not insert hardware watchpoint 1.")?;
            let log = ran.folder.read("console.log");
            ran.check(
                log.contains("0x1000000 there would be 4096 pages to watch; 1024 are possible"),
                "a reason",
            )
            .map(drop)
        }),
    ]
}

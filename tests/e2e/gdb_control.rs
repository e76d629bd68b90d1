//! What gdb's `monitor` can do: breakpoints that are decided in `kvm`, log points, and views of the
//! machine that gdb has none of.

use libtest_mimic::Trial;

use crate::gdb::{CTRL_C, debug, gdb_test};
use crate::gdb_breakpoints::UNUSED;
use crate::support::debugger::{expect, expect_times};
use crate::support::{Lane, has_debug_registers, lane};

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    let mut trials = breakpoints();
    trials.extend(points_and_exceptions());
    trials.extend(points_and_other_stops());
    trials.extend(log_points());
    trials.extend(views());
    trials.extend(machine());
    trials
}

fn breakpoints() -> Vec<Trial> {
    vec![
        gdb_test("monitor_break_stops_when_its_condition_holds_and_counts_hits", || {
            let commands = [
                "monitor break fibonacci if $rdi == 3",
                "continue",
                "bt",
                "monitor breaks",
                "monitor ignore 1 231",
                "continue",
                "monitor breaks",
                "continue",
                "monitor breaks",
                "continue",
            ];
            let (output, ran) = debug("recursion", &[], &commands)?;
            expect(&output, "breakpoint 1 at 0x200010 (fibonacci), hit 1\n")?;
            expect(&output, "#12 0x")?;
            // 13 calls lead from 15 to 3; of all 1973 calls of fibonacci(15), 233 are fibonacci(3).
            expect(&output, "reached 13 times, hit once\n")?;
            expect(&output, "the next 231 hits of 1 are ignored\n")?;
            expect(&output, "breakpoint 1 at 0x200010 (fibonacci), hit 233\n")?;
            expect_times(&output, "Program received signal SIGTRAP", 2)?;
            expect(&output, "kvm: the guest halted; result (RAX) 610")?;
            expect(&output, "reached 1973 times, hit 233 times\n")?;
            ran.expect_status(0).map(drop)
        }),
        gdb_test("monitor_break_and_gdbs_own_breakpoint_share_an_address", || {
            let commands = [
                "break fibonacci if $hit > 0",
                "delete",
                "break fibonacci",
                "ignore 2 5",
                "monitor break fibonacci if 0",
                "continue",
                "print $rdi",
                "delete",
                "continue",
                "monitor breaks",
            ];
            let (output, _) = debug("recursion", &[], &commands)?;
            expect(&output, "Breakpoint 2, fibonacci (n=n@entry=10)")?;
            expect(&output, "$1 = 10\n")?;
            expect(&output, "reached 1973 times, hit 0 times\n")
        }),
        gdb_test("a_point_reached_by_a_step_is_hit_once", || {
            let commands = [
                "break *fibonacci+4",
                "continue",
                "delete",
                "monitor break fibonacci+6",
                "monitor break fibonacci+7 if $hits == 2",
                "stepi",
                "print $pc",
                "monitor breaks",
                "monitor delete 1",
                "continue",
                "print $rdi",
                "monitor breaks",
            ];
            let (output, _) = debug("recursion", &[], &commands)?;
            expect(&output, "$1 = (void (*)()) 0x200016 <fibonacci+6>")?;
            expect(&output, "1    break 0x200016 (fibonacci+0x6)\n     reached once, hit once\n")?;
            expect(&output, "breakpoint 2 at 0x200017 (fibonacci+0x7), hit 1\n")?;
            expect(&output, "$2 = 14\n")?;
            expect(&output, "     reached 2 times, hit once\n")
        }),
        gdb_test("a_condition_that_cannot_be_evaluated_stops_the_guest_with_the_reason", || {
            let commands = ["monitor break fibonacci if u32($rdi << 40) == 1", "continue", "print $rdi"];
            let (output, _) = debug("recursion", &[], &commands)?;
            expect(
                &output,
                "cannot evaluate `if u32($rdi << 40) == 1`: 4 bytes at 0xf0000000000 cannot be read",
            )?;
            expect(&output, "$1 = 15\n")
        }),
        gdb_test("ctrl_c_stops_a_guest_whose_condition_never_holds", || {
            let commands = ["monitor break spin if $rax == -1", CTRL_C, "continue", "monitor breaks", "kill"];
            let (output, _) = debug("endless", &[], &commands)?;
            expect(&output, "Program received signal SIGINT")?;
            expect(&output, ", hit 0 times")
        }),
        gdb_test("the_guests_own_int3_goes_to_its_handler_also_between_breakpoints", || {
            let commands = ["break *last+1", "continue", "print $rbx", "continue"];
            let (output, ran) = debug("own-int3", &[], &commands)?;
            expect_times(&output, "SIGTRAP", 0)?;
            expect(&output, "$1 = 3\n")?;
            expect(&output, "result (RAX) 3 (0x3)")?;
            ran.expect_status(0).map(drop)
        }),
        gdb_test("a_guest_that_steps_itself_gets_its_debug_exceptions_also_between_breakpoints", || {
            let commands = ["break last", "continue", "print $rbx", "print/x $r8 & 0xf00f", "continue"];
            let (output, ran) = debug("own-trap-flag", &[], &commands)?;
            expect_times(&output, "SIGTRAP", 0)?;
            expect(&output, "Breakpoint 1, last () at")?;
            expect(&output, "$1 = 6\n")?;
            expect(&output, "$2 = 0x4000\n")?;
            expect(&output, "result (RAX) 6 (0x6)")?;
            ran.expect_status(0).map(drop)
        }),
        gdb_test("a_guest_that_steps_itself_gets_its_debug_exceptions_between_points", || {
            let commands = ["monitor break last", "continue", "print $rbx", "continue"];
            let (output, _) = debug("own-trap-flag", &[], &commands)?;
            expect(&output, "(last), hit 1\n")?;
            expect(&output, "$1 = 6\n")?;
            expect(&output, "result (RAX) 6 (0x6)")
        }),
        gdb_test("a_point_at_an_impossible_address_is_refused", || {
            let commands = ["monitor break 0x8000000000000000", "monitor breaks", "kill"];
            let (output, _) = debug("recursion", &[], &commands)?;
            expect(&output, "0x8000000000000000 is no address: its upper bits are not all the same")?;
            expect(&output, "there are none;")
        }),
        gdb_test("a_breakpoint_on_the_guests_own_int3_stops_before_it_is_delivered", || {
            let commands =
                ["monitor break last", "continue", "print $rbx", "tbreak handler", "continue", "continue"];
            let (output, _) = debug("own-int3", &[], &commands)?;
            expect(&output, " (last), hit 1\n")?;
            expect(&output, "$1 = 2\n")?;
            expect(&output, "Temporary breakpoint 1, handler () at")?;
            expect(&output, "result (RAX) 3 (0x3)")
        }),
        gdb_test("a_step_over_the_guests_own_int3_is_at_its_handler", || {
            let commands = ["monitor break last", "continue", "stepi", "x/i $pc", "stepi", "print $rbx"];
            let (output, _) = debug("own-int3", &[], &commands)?;
            expect(&output, " <handler>:\tinc    %ebx\n")?;
            expect(&output, "$1 = 3\n")
        }),
        gdb_test("the_guests_own_int3_stops_it_when_int3_stops_are_on", || {
            let commands =
                ["monitor catch int3 on", "continue", "x/i $pc", "continue", "continue", "continue"];
            let (output, ran) = debug("own-int3", &[], &commands)?;
            expect_times(&output, "Program received signal SIGTRAP", 3)?;
            expect(&output, ":\tint3")?;
            expect(&output, "result (RAX) 3 (0x3)")?;
            ran.expect_status(0)?;
            let (output, ran) = debug("triple-fault-int3", &[], &["continue", "continue"])?;
            expect_times(&output, "SIGTRAP", 0)?;
            expect(&output, "Program received signal SIGSEGV")?;
            ran.expect_status(8).map(drop)
        }),
        gdb_test("info_debug_reports_what_was_measured_on_this_host", || {
            let (output, _) = debug("recursion", &[], &["monitor info debug", "monitor info debug"])?;
            let technique = match lane() {
                Lane::Amd if has_debug_registers() => {
                    "debug registers while there are some, then a hlt in guest memory while the guest runs, as int3 does not stop it"
                }
                Lane::Amd => "a hlt in guest memory while the guest runs, as int3 does not stop it",
                _ => {
                    "debug registers while there are some, then an int3 in guest memory while the guest runs"
                }
            };
            expect_times(&output, &format!("\nsoftware breakpoints: {technique}\n"), 2)?;
            let facts: Vec<&str> = output.lines().filter(|line| line.contains("on this host")).collect();
            let (first, again) = facts.split_at(facts.len() / 2);
            if first.len() == 5 && first == again && !output.contains("not known") {
                return Ok(());
            }
            Err(format!("gdb printed\n{output}").into())
        }),
        gdb_test("points_survive_a_reset_and_the_guest_never_sees_them_in_memory", || {
            const BYTE: &str = "print *(unsigned char *)guest_main == $byte";
            let mut commands = UNUSED.to_vec();
            commands.extend([
                "set $byte = *(unsigned char *)guest_main",
                "monitor break guest_main",
                "continue",
                BYTE,
                "continue", // to where the guest asks for the reset
                BYTE,
                "continue",
                BYTE,
                "monitor breaks",
                "kill",
            ]);
            let (output, _) = debug("reset", &[], &commands)?;
            expect(&output, "(guest_main), hit 1\n")?;
            expect(&output, "(guest_main), hit 2\n")?;
            for number in 1..=3 {
                expect(&output, &format!("${number} = 1\n"))?;
            }
            expect(&output, "reached 2 times, hit 2 times")
        }),
    ]
}

/// The guest `stepped` raises an exception three times at `beyond`, and its handler is `stray`.
fn points_and_exceptions() -> Vec<Trial> {
    vec![
        gdb_test("a_breakpoint_in_a_handler_is_hit_when_continuing_from_another", || {
            let commands = [
                "monitor break beyond",
                "continue",
                "monitor break stray",
                "continue",
                "print $pc == (long)&stray",
                "monitor delete",
                "monitor break done",
                "continue",
                "print $pc == (long)&done",
                "print $r14",
            ];
            let (output, _) = debug("stepped", &["--timeout", "20"], &commands)?;
            expect(&output, "$1 = 1\n")?;
            expect(&output, "$2 = 1\n$3 = 3\n")
        }),
        gdb_test("conditions_hold_in_a_handler_that_a_breakpoint_leads_to", || {
            for unused in [&[][..], &UNUSED] {
                let points = [
                    "monitor break beyond if 0",
                    "monitor trace stray \"handled %d\", $r14",
                    "monitor break done",
                    "continue",
                    "monitor breaks",
                    "print $r14",
                ];
                let commands = [unused, &points].concat();
                let (output, _) = debug("stepped", &["--timeout", "20"], &commands)?;
                expect(&output, "handled 0\nhandled 1\nhandled 2\n")?;
                expect_times(&output, "SIGTRAP", 1)?;
                expect(&output, "(beyond) if 0\n     reached 3 times, hit 0 times\n")?;
                expect(&output, "reached 3 times, hit 3 times\n")?;
                expect(&output, "$1 = 3\n")?;
            }
            Ok(())
        }),
    ]
}

fn points_and_other_stops() -> Vec<Trial> {
    vec![
        gdb_test("a_point_where_a_watchpoint_has_stopped_the_guest_is_hit_by_the_next_step", || {
            let commands = [
                "monitor break flags_pushed if 0",
                "awatch *(long *)0x2ffff8",
                "continue",
                "print $pc == (long)&flags_pushed",
                "delete",
                "stepi",
                "monitor breaks",
            ];
            let (output, _) = debug("stepped", &["--timeout", "20"], &commands)?;
            expect(&output, "$1 = 1\n")?;
            expect(&output, "reached once, hit 0 times\n")
        }),
        gdb_test("a_point_where_ctrl_c_has_stopped_the_guest_is_hit_when_it_continues", || {
            let commands = [
                "monitor break _start+2",
                CTRL_C,
                "continue",
                "print $pc",
                "monitor breaks",
                // It waited in front of there, and waits no longer.
                "set $pc = 0x200000",
                "set $pc = 0x200002",
                "continue",
                "monitor breaks",
                "kill",
            ];
            let (output, _) = debug("idle", &["--timeout", "20"], &commands)?;
            expect(&output, "$1 = (void (*)()) 0x200002 <_start+2>\n")?;
            expect(&output, "reached 0 times")?;
            expect(&output, "breakpoint 1 at 0x200002 (_start+0x2), hit 1\n")?;
            expect(&output, "reached once, hit once\n")
        }),
    ]
}

fn log_points() -> Vec<Trial> {
    vec![
        gdb_test("monitor_trace_prints_and_the_guest_continues", || {
            let commands = [
                "monitor trace fibonacci if $rdi == 12 \"n=%d from %p, call %u\", $rdi, *$rsp, $hits",
                "continue",
            ];
            let (output, ran) = debug("recursion", &[], &commands)?;
            expect(&output, "log point 1 at 0x200010 (fibonacci)\n")?;
            expect(&output, "n=12 from 0x200029, call 4\nn=12 from 0x200035, call 756\n")?;
            // 12 is reached from 15 by 13 and 14 in three ways.
            expect_times(&output, "n=12 from ", 3)?;
            expect_times(&output, "SIGTRAP", 0)?;
            ran.expect_status(0)?.expect_log("n=12 from 0x200029, call 4").map(drop)
        }),
        gdb_test("monitor_trace_prints_strings_of_the_guest", || {
            // RBX points to the PVH start info, which has the command line's address at 24.
            let commands = ["monitor trace guest_main \"started with '%s'\", u64($rbx + 24)", "continue"];
            let (output, ran) = debug("start-info", &["--append", "verbose=1 root=none"], &commands)?;
            expect(&output, "started with 'verbose=1 root=none'\n")?;
            ran.expect_status(0).map(drop)
        }),
        gdb_test("a_log_point_prints_while_gdb_steps_over_lines", || {
            let commands = [
                "break guest_main",
                "continue",
                "monitor trace *fibonacci+4 if $rdi == 15 \"reached\"",
                "next",
                "next",
                "monitor breaks",
            ];
            let (output, _) = debug("recursion", &[], &commands)?;
            expect_times(&output, "\nreached\n", 1)?;
            expect(&output, "reached 1973 times, hit once\n")
        }),
    ]
}

fn views() -> Vec<Trial> {
    vec![
        gdb_test("monitor_walk_shows_the_tables_behind_an_address", || {
            let commands = ["monitor walk fibonacci", "monitor walk 0x700000000000", "monitor walk 1 << 47"];
            let (output, _) = debug("recursion", &[], &commands)?;
            expect(
                &output,
                "4 levels, CR3 0x16000\n  PML4E at 0x16000: 0x0000000000017007 present, writable, user\n",
            )?;
            expect(
                &output,
                "\n0x200010 is guest-physical 0x200010 (RAM): writable, for user and supervisor",
            )?;
            expect(&output, " not present\n0x700000000000 is not mapped: that entry is not present\n")?;
            expect(&output, "0x800000000000 is no address: ")
        }),
        gdb_test("gdb_records_and_steps_backwards_in_the_description_of_linux", || {
            let commands = [
                "break fibonacci",
                "continue",
                "record full",
                "stepi 4",
                "print $rip",
                "reverse-stepi 3",
                "print $rip",
                "print $orig_rax",
                "record stop",
                "info auxv",
                "kill",
            ];
            let (output, _) = debug("recursion", &["--gdb-arch=x86-64-linux"], &commands)?;
            expect(&output, "(void (*)()) 0x200017 <fibonacci+7>")?;
            expect(&output, "(void (*)()) 0x200011 <fibonacci+1>")?;
            expect(&output, "= -1")?;
            expect(&output, "AT_PAGESZ")
        }),
        gdb_test("plug_ins_of_gdb_search_the_memory_that_is_mapped", || {
            // What gef and pwndbg ask a kernel in QEMU for, and how they read the answers.
            let search = "python print('found', [hex(found) for line in \
                gdb.execute('monitor info mem', to_string=True).splitlines() \
                for addresses, size, rights in [line.split()] \
                for start, end in [[int(part, 16) for part in addresses.split('-')]] \
                if rights[1] == 'r' and end - start == int(size, 16) and start < 1 << 21 \
                for found in [gdb.selected_inferior().search_memory(start, end - start, b'\\x55\\x48\\x89\\xe5')] \
                if found])";
            let commands = [
                "maintenance packet Qqemu.sstepbits",
                "maintenance packet qOffsets",
                "info auxv",
                search,
                "kill",
            ];
            let (output, _) = debug("recursion", &[], &commands)?;
            expect(&output, "received: \"ENABLE=1,NOIRQ=2,NOTIMER=4\"\n")?;
            expect(&output, "sending: qOffsets\nreceived: \"\"\n")?;
            expect(&output, "AT_PAGESZ")?;
            expect(&output, "found ['0x200010']\n")
        }),
        gdb_test("monitor_shows_physical_memory_code_and_symbols", || {
            let commands = [
                "monitor xp 0x200010 20",
                "monitor xp 0x40000000",
                "monitor dis fibonacci 9",
                "monitor sym fibonacci",
                "monitor sym fibonacci + 5",
                "monitor sym 1",
                "monitor info mtree",
            ];
            let (output, _) = debug("recursion", &[], &commands)?;
            expect(
                &output,
                "0000200010  55 48 89 e5 41 54 53 48  89 fb 48 83 ff 01 76 19  |UH..ATSH..H...v.|\n",
            )?;
            expect(&output, "0000200020  48 8d 7f ff ")?;
            expect(&output, "0x40000000 is not RAM; `info mtree` shows the memory map\n")?;
            expect(
                &output,
                "   0x200010 <fibonacci>: push rbp ; target-examples/recursion.c:10\n   0x200011 <fibonacci+0x1>: mov rbp, \
                 rsp\n",
            )?;
            expect(&output, ": call 0x200010 <fibonacci>\n")?;
            let line = "target-examples/recursion.c:10\n";
            expect(
                &output,
                &format!("0x200010 (fibonacci) at {line}0x200015 (fibonacci+0x5) at {line}0x1: no symbol\n"),
            )?;
            expect(&output, "0x000000000000..0x000004000000 RAM, 64 MiB\n")
        }),
        gdb_test("monitor_commands_and_qemu_packets_set_the_same_switches", || {
            let commands = [
                "monitor phys on",
                "monitor step-irq on",
                "maintenance packet qqemu.PhyMemMode",
                "maintenance packet qqemu.sstep",
                "maintenance packet Qqemu.PhyMemMode:0",
                "maintenance packet Qqemu.sstep=7",
                "monitor phys",
                "monitor step-irq",
            ];
            let (output, _) = debug("recursion", &[], &commands)?;
            expect(&output, "received: \"1\"\n")?;
            expect(&output, "received: \"0x5\"\n")?;
            expect(&output, "addresses are virtual\n")?;
            expect(&output, "interrupts are held back while single-stepping\n")
        }),
        gdb_test("monitor_finds_symbols_of_a_relocated_guest", || {
            let commands =
                ["monitor sym guest_main", "monitor break guest_main", "continue", "monitor dis $rip 1"];
            let (output, _) = debug("static-pie", &[], &commands)?;
            expect(&output, " (guest_main), hit 1\n")?;
            expect(&output, " <guest_main>: ")
        }),
        gdb_test("gdb_reads_and_writes_physical_memory_on_demand", || {
            let commands = [
                "x/wx 0xffffffff80200000",
                "monitor phys on",
                "x/wx 0x800000000000",
                "set var *(int *)0x3fffffc = 5",
                "x/wx 0x3fffffc",
                "x/wx 0x4000000",
                "monitor phys off",
                "monitor info debug",
            ];
            let (output, _) = debug("recursion", &[], &commands)?;
            expect(&output, "0x3fffffc:\t0x00000005\n")?;
            expect(&output, "Cannot access memory at address 0x4000000\n")?;
            expect(&output, "\naddresses: virtual, through the guest's own page tables\n")
        }),
    ]
}

fn machine() -> Vec<Trial> {
    vec![
        gdb_test("monitor_answers_a_misspelt_command_with_the_closest_one", || {
            let (output, _) = debug("recursion", &[], &["monitor brek 1", "monitor help walk"])?;
            expect(&output, "`brek 1` is no command (there is `break`); `help` lists all\n")?;
            expect(&output, "walk [--json] ADDRESS\n    show the page-table walk of a virtual address\n")
        }),
        gdb_test("monitor_resets_the_machine_and_ends_the_run", || {
            let commands = [
                "break fibonacci",
                "continue",
                "monitor reset",
                "maintenance flush register-cache",
                "print $pc",
                "continue",
                "monitor quit",
            ];
            let (output, ran) = debug("recursion", &[], &commands)?;
            expect(&output, "the machine was reset; ")?;
            expect(&output, "$1 = (void (*)()) 0x200000 <_start>")?;
            expect_times(&output, "\nBreakpoint 1, fibonacci (n=n@entry=15)", 2)?;
            ran.expect_status(14).map(drop)
        }),
        gdb_test("monitor_reset_ends_a_run_that_must_not_reboot", || {
            let (output, ran) = debug("endless", &["--no-reboot"], &["monitor reset", "continue"])?;
            expect(&output, "the run ends when gdb resumes the guest\n")?;
            ran.expect_status(18).map(drop)
        }),
    ]
}

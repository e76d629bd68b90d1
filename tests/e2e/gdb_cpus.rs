//! Several CPUs in a debugger, whether they run in parallel or by turns.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use libtest_mimic::{Failed, Trial};

use crate::gdb::{debug, gdb_test};
use crate::gdb_breakpoints::UNUSED;
use crate::support::console::{Client, expect_equal};
use crate::support::debugger::{KvmWithGdb, answer, ask, expect, expect_times, send};
use crate::support::{TIMEOUT, guest_test, wait_until};

/// How often both CPUs of the guest come to `visit`, together.
const VISITS: u32 = 200;
/// How often gdb stops for it before it ignores the breakpoint.
const STOPS: u32 = 12;

/// What lets the guest come to its end.
const END: [&str; 4] = ["delete", "set var go_on = 1", "set var done = 1", "continue"];

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    ["parallel", "serial"].into_iter().flat_map(of_schedule).collect()
}

/// The arguments for two CPUs.
fn two(schedule: &str) -> [&str; 6] {
    ["--cpus", "2", "--schedule", schedule, "--timeout", "60"]
}

/// Debugs the guest with `commands`, lets it go on, and expects it to come to its end.
fn debug_to_end(schedule: &str, commands: &[&str]) -> Result<String, Failed> {
    let (output, ran) = debug("two-cpus", &two(schedule), &[commands, &END].concat())?;
    ran.expect_status(0)?.expect_err(&format!("result (RAX) {VISITS}"))?;
    Ok(output)
}

fn of_schedule(schedule: &'static str) -> Vec<Trial> {
    let test = |name: &str, body: fn(&str) -> Result<(), Failed>| {
        gdb_test(&format!("{name}_{schedule}"), move || body(schedule))
    };
    let own = |name: &str, body: fn(&str) -> Result<(), Failed>| {
        guest_test(&format!("{name}_{schedule}"), move || body(schedule))
    };
    vec![
        test("gdb_shows_each_cpu_as_a_thread", each_cpu_is_a_thread),
        test("a_breakpoint_is_hit_by_both_cpus_and_no_hit_is_missed", no_hit_is_missed),
        test("a_condition_is_evaluated_at_every_hit_of_both_cpus", every_hit_is_evaluated),
        test("scheduler_locking_keeps_the_other_cpu_where_it_is", the_other_stays),
        test("gdb_steps_over_a_line_that_waits_for_the_other_cpu", a_line_that_waits),
        test("a_watchpoint_reports_the_cpu_that_has_written", a_watchpoint),
        test("a_triple_fault_is_that_of_its_cpu", a_triple_fault),
        own("gdb_interrupts_a_guest_whose_other_cpu_is_in_hlt", interrupted),
        own("the_console_steps_the_cpu_that_was_selected", at_the_console),
    ]
}

fn each_cpu_is_a_thread(schedule: &str) -> Result<(), Failed> {
    let commands = [
        "info threads",
        "tbreak both_count",
        "continue",
        "info threads",
        "thread 2",
        "print $_thread",
        "print $rsp > (long)cpu_stacks && $rsp <= (long)cpu_stacks + sizeof cpu_stacks",
        "monitor regs",
        "thread 1",
        "print $rsp > (long)cpu_stacks && $rsp <= (long)cpu_stacks + sizeof cpu_stacks",
        "monitor cpu 0",
        "monitor info cpus",
    ];
    let output = debug_to_end(schedule, &commands)?;
    expect(&output, "* 1    Thread 1.1 \"CPU 0\" (running, 64-bit mode, ring 0) ")?;
    expect(&output, "  2    Thread 1.2 \"CPU 1\" (waiting for SIPI, real mode) ")?;
    expect(&output, "Thread 1 \"CPU 0\" hit Temporary breakpoint 1, ")?;
    expect(&output, "  2    Thread 1.2 \"CPU 1\" (running, 64-bit mode, ring 0) ")?;
    expect(&output, "$1 = 2\n$2 = 1\n")?;
    expect(&output, "CPU 1:\nPrivileged Registers (Custom command):\n")?;
    expect(&output, "$3 = 0\n")?;
    expect(&output, "* CPU #0: rip 0x")?;
    expect(&output, "  CPU #1: rip 0x")
}

fn no_hit_is_missed(schedule: &str) -> Result<(), Failed> {
    let mut commands = UNUSED.to_vec();
    commands.push("break visit");
    for _ in 0..STOPS {
        commands.extend(["continue", "print number == $_thread - 1"]);
    }
    commands.extend(["ignore 5 10000", "tbreak both_count", "continue", "info breakpoints"]);
    let output = debug_to_end(schedule, &commands)?;
    for stop in 1..=STOPS {
        expect(&output, &format!("${stop} = 1\n"))?;
    }
    expect(&output, "Thread 1 \"CPU 0\" hit Temporary breakpoint 6, ")?;
    expect(&output, &format!("breakpoint already hit {VISITS} times"))
}

fn every_hit_is_evaluated(schedule: &str) -> Result<(), Failed> {
    let mut commands = UNUSED.to_vec();
    commands.extend([
        "monitor break visit if $rdi == 2",
        "tbreak both_count",
        "continue",
        "monitor breaks",
        "monitor delete",
    ]);
    let output = debug_to_end(schedule, &commands)?;
    expect(&output, &format!("reached {VISITS} times, hit 0 times"))
}

fn the_other_stays(schedule: &str) -> Result<(), Failed> {
    let commands = [
        "tbreak both_count",
        "continue",
        "set scheduler-locking on",
        "set var $before = counts[1]",
        "tbreak count_until",
        "continue",
        "stepi 20",
        "print counts[1] - $before",
        "print $_thread",
        "thread 2",
        "set var $before = counts[0]",
        "set var $own = counts[1]",
        "stepi 60",
        "print counts[0] - $before",
        "print counts[1] > $own",
        "set scheduler-locking step",
        "next",
        "print counts[0] - $before",
        "set scheduler-locking off",
        "stepi 20",
        "print counts[0] > $before",
        "print $_thread",
    ];
    let output = debug_to_end(schedule, &commands)?;
    expect(&output, "$1 = 0\n$2 = 1\n")?;
    for value in ["$3 = 0\n", "$4 = 1\n", "$5 = 0\n", "$6 = 1\n$7 = 2\n"] {
        expect(&output, value)?;
    }
    Ok(())
}

fn a_line_that_waits(schedule: &str) -> Result<(), Failed> {
    let commands = ["tbreak meet", "continue", "print finished", "next", "next", "print finished"];
    let output = debug_to_end(schedule, &commands)?;
    expect(&output, "$1 = 0\n")?;
    expect(&output, "$2 = 2\n")
}

fn a_watchpoint(schedule: &str) -> Result<(), Failed> {
    let mut commands = vec!["tbreak both_count", "continue"];
    for counter in ["watch counts[0]", "watch counts[1]"] {
        commands.extend([counter, "continue", "print $_thread", "delete"]);
    }
    let output = debug_to_end(schedule, &commands)?;
    expect(&output, "Thread 1 \"CPU 0\" hit Hardware watchpoint 2: counts[0]")?;
    expect(&output, "Thread 2 \"CPU 1\" hit Hardware watchpoint 3: counts[1]")?;
    expect(&output, "$1 = 1\n")?;
    expect(&output, "$2 = 2\n")
}

fn a_triple_fault(schedule: &str) -> Result<(), Failed> {
    let commands = [
        "tbreak both_count",
        "continue",
        "thread 2",
        "set var $pc = 0x7ffffffff000",
        "continue",
        "info threads",
        "continue",
    ];
    let (output, ran) = debug("two-cpus", &two(schedule), &commands)?;
    expect(&output, "kvm: triple fault on CPU 1")?;
    expect(&output, "Thread 2 \"CPU 1\" received signal SIGSEGV")?;
    expect(&output, "* 2    Thread 1.2 \"CPU 1\" (shut down by a triple fault, ")?;
    expect(&output, "  1    Thread 1.1 \"CPU 0\" (running, ")?;
    ran.expect_status(8)?.expect_err("triple fault on CPU 1").map(drop)
}

fn interrupted(schedule: &str) -> Result<(), Failed> {
    let kvm = KvmWithGdb::start("two-cpus", &two(schedule), b"")?;
    kvm.gdb("two-cpus", &["tbreak both_count", "continue", "set var go_on = 1", "detach"])?;
    let mut client = kvm.connect()?;
    ask(&mut client, "?")?;
    let started = Instant::now();
    loop {
        send(&mut client, "vCont;c")?;
        std::thread::sleep(Duration::from_millis(10));
        client.write_all(b"\x03")?;
        let stop = answer(&mut client)?;
        expect(&stop, "T02thread:01;")?;
        let threads = ask(&mut client, "qXfer:threads:read::0,1000")?;
        expect_times(&threads, "<thread ", 2)?;
        expect(&threads, "<thread id=\"1\" name=\"CPU 0\">running, ")?;
        if threads.contains("<thread id=\"2\" name=\"CPU 1\">waiting in hlt, ") {
            break;
        }
        if started.elapsed() > TIMEOUT {
            return Err(format!("CPU 1 does not wait in hlt: {threads}").into());
        }
    }
    // The other one steps while it waits, and it can be looked at.
    for packet in ["vCont;s:1;c", "vCont;s:1"] {
        expect(&ask(&mut client, packet)?, "T05thread:01;")?;
    }
    expect(&ask(&mut client, "Hg2")?, "OK")?;
    ask(&mut client, "p10")?;
    send(&mut client, "k")?;
    kvm.finish()?.expect_status(14).map(drop)
}

fn at_the_console(schedule: &str) -> Result<(), Failed> {
    // It waits for gdb, and is started by the console instead.
    let arguments = [&two(schedule)[..], &["--console=unix:console"]].concat();
    let kvm = KvmWithGdb::start("two-cpus", &arguments, b"")?;
    let mut stream = None;
    wait_until("the console", || {
        stream = UnixStream::connect(kvm.file("console")).ok();
        stream.is_some()
    })?;
    let mut client = Client { stream: stream.ok_or("no console")? };
    client.stream.set_read_timeout(Some(TIMEOUT))?;
    client.answer()?;
    expect(&client.ask("info cpus")?, "  CPU #1: rip 0xfff0 (waits for a start-up interrupt)\n")?;
    client.ask("cpu 1")?;
    expect(&client.ask("step")?, "CPU 1 waits for a start-up interrupt of another CPU")?;
    client.ask("break both_count")?;
    client.ask("resume")?;
    expect(&client.ask("wait")?, " on CPU 0, hit 1\nCPU 0: => 0x")?;
    expect(&client.ask("info cpus")?, "* CPU #0: rip 0x")?;
    expect(&client.ask("cpu 1")?, "commands are about CPU 1 now\n")?;
    let others = client.ask("x/1gx counts")?;
    expect(&client.ask("step 30")?, "CPU 1: => 0x")?;
    expect(&client.ask("info cpus")?, "* CPU #1: rip 0x")?;
    expect_equal(&client.ask("x/1gx counts")?, &others)?;
    client.ask("quit")?;
    kvm.finish()?.expect_status(14).map(drop)
}

//! How runs end: complete output and input, closed streams, full disks, slow readers, signals and timeouts.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use libtest_mimic::{Failed, Trial};

use crate::support::{
    Deadline, HALTED_0, Kvm, TIMEOUT, exact_output, flood_size, guest_test, halted, wait_until,
};

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    let mut trials = vec![
        guest_test("a_million_bytes_arrive_complete_and_in_order", || {
            let line = format!("{}\n", ".".repeat(63));
            let ran = Kvm::with_guest("serial-million").run();
            ran.expect_exactly(&exact_output(0, &line.repeat(flood_size() / 64), HALTED_0))?;
            Ok(())
        }),
        guest_test("a_million_bytes_arrive_complete_in_a_file", || {
            let ran = Kvm::with_guest("serial-million").args(["--serial", "1=file:com1"]).run();
            ran.expect_exactly(&exact_output(0, "", HALTED_0))?;
            ran.expect_file("com1", &format!("{}\n", ".".repeat(63)).repeat(flood_size() / 64))?;
            Ok(())
        }),
        guest_test("two_thousand_lines_are_all_in_the_log", || {
            let ran = Kvm::with_guest("two-thousand-lines").run();
            ran.expect_exactly(&exact_output(0, "", HALTED_0))?;
            let lines: Vec<String> = (1..=2000).map(|number| format!("line {number}")).collect();
            let logged = ran.logged_lines("COM2");
            ran.check(logged == lines, &format!("2000 lines in the log, in order, not {}", logged.len()))?;
            Ok(())
        }),
        guest_test("the_log_ends_with_the_end_of_the_run", || {
            // The lines of the ports are logged by another thread than the end.
            for _ in 0..5 {
                let ran = Kvm::with_guest("two-thousand-lines").run();
                let log = ran.folder.read("console.log");
                let mut lines = log.lines().rev().filter_map(|line| line.get(12..));
                let totals =
                    lines.next().is_some_and(|line| line.starts_with(" INFO kvm::app: totals seconds="));
                ran.check(totals, "the totals in the last line of the log")?;
                let last: Vec<&str> = lines.take(3).collect();
                let expected = [
                    format!(" INFO kvm::app: {HALTED_0}"),
                    " INFO kvm::app: Program result (keycode): 0".to_owned(),
                    " INFO kvm::serial: COM2: line 2000".to_owned(),
                ];
                ran.check(last == expected, &format!("{expected:?} at the end of the log, not {last:?}"))?;
            }
            Ok(())
        }),
        guest_test("the_log_is_written_while_the_guest_runs", || {
            let run = Kvm::with_guest("endless");
            let mut child = Running::start(&run);
            wait_until("a line about the entry in the log", || {
                std::fs::read_to_string(run.folder.file("console.log"))
                    .is_ok_and(|log| log.contains(" entry 0x200000,"))
            })?;
            // Before this, the signal handlers may not be installed yet.
            std::thread::sleep(Duration::from_millis(200));
            child.signal("TERM");
            child.expect_end(16, "ended by signal 15.").map(|_| ())
        }),
        guest_test("a_reader_that_closes_the_pipe_neither_ends_nor_blocks_the_run", || {
            let run = Kvm::with_guest("serial-million");
            let mut child = Running::start(&run);
            let mut byte = [0];
            let mut stdout = child.stdout();
            stdout.read_exact(&mut byte)?;
            drop(stdout);
            child.expect_end(0, HALTED_0).map(|_| ())
        }),
        guest_test("a_reader_that_never_reads_does_not_delay_the_timeout", || {
            let run = Kvm::with_guest("serial-million").args(["--timeout", "0.5"]);
            let mut child = Running::start(&run);
            let unread = child.stdout();
            let took = child.expect_end(12, "the run took longer than --timeout allows at 0x2000")?;
            drop(unread);
            in_time(took, Duration::from_millis(500)..Duration::from_secs(4))
        }),
        guest_test("more_input_than_the_guest_takes_is_no_error", || {
            let much = vec![b'x'; 1 << 20];
            Kvm::with_guest("recursion").input(&much).run().expect_exactly(&exact_output(
                0,
                "",
                halted(610),
            ))?;
            let mut input = b"first\n\x04".to_vec();
            input.extend(&much);
            let ran = Kvm::with_guest("serial-echo").args(["--keys", "serial"]).input(&input).run();
            ran.expect_exactly(&exact_output(0, "FIRST\n", halted(1)))?;
            Ok(())
        }),
        guest_test("a_hundred_kilobytes_of_input_reach_the_guest_complete", || {
            let lines: String = (0..10_000).map(|number| format!("line {number}\n")).collect();
            let ran = Kvm::with_guest("serial-echo")
                .args(["--keys", "serial"])
                .input(format!("{lines}\x04").as_bytes())
                .run();
            ran.expect_exactly(&exact_output(0, &lines.to_uppercase(), halted(10_000)))?;
            Ok(())
        }),
        guest_test("the_end_of_the_input_is_no_error", || {
            let ran = Kvm::with_guest("keyboard-echo")
                .args(["--keys", "keyboard", "--serial", "1=log", "--serial", "2=stdio", "--timeout", "1"])
                .input(b"ab")
                .run();
            ran.expect_status(12)?.expect_out("Type; Escape ends.\nab")?;
            Ok(())
        }),
        guest_test("closed_standard_streams_do_not_disturb_the_run", || {
            for closed in ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"] {
                let ran = Kvm::with_guest("recursion").in_shell(&format!("exec \"$@\" {closed}")).run();
                ran.expect_status(0)?.expect_log("Program result (keycode): 610")?;
            }
            Ok(())
        }),
        guest_test("a_full_disk_under_standard_output_is_logged", || {
            let ran = Kvm::with_guest("hello-serial").in_shell("exec \"$@\" >/dev/full").run();
            ran.expect_exactly(&exact_output(0, "", HALTED_0))?;
            ran.expect_log("standard output takes no more (No space left on device (os error 28))")?;
            Ok(())
        }),
        guest_test("unassigned_accesses_are_logged_once_and_counted_at_the_end", || {
            let ran = Kvm::with_guest("unclaimed-ports").run();
            let log = ran.folder.read("console.log");
            let logged: Vec<&str> = log
                .lines()
                .filter_map(|line| line.split_once(" WARN kvm::devices::unassigned: unassigned "))
                .map(|(_, text)| text)
                .collect();
            let expected = [
                "port 0x02e0: first read (logged once; further accesses are counted)",
                "address 0xfe00000: first write (logged once; further accesses are counted)",
                "port 0x02e0: read 2, written 0 times in all",
                "address 0xfe00000: read 1, written 1 times in all",
            ];
            ran.check(logged == expected, &format!("{expected:#?}, not {logged:#?}"))?;
            Ok(())
        }),
        guest_test("a_short_answer_comes_out_while_the_guest_computes", || {
            answers_in_time(b's', "short\n", Duration::from_millis(10))
        }),
        guest_test("a_long_answer_comes_out_while_the_guest_computes", || {
            // Several hundred port accesses of the guest's are in this time, too; without help the
            // end of the answer would come out a tenth of a second later, or later still.
            answers_in_time(b'l', &format!("{}\n", ".".repeat(200)), Duration::from_millis(50))
        }),
    ];
    for (signal, number) in [("TERM", 15), ("INT", 2), ("HUP", 1), ("QUIT", 3)] {
        trials.push(guest_test(
            &format!("sig{signal}_ends_the_run_with_a_message").to_lowercase(),
            move || {
                let run = Kvm::with_guest("answer-and-compute").args(["--keys", "serial"]);
                let mut child = Running::start(&run);
                let mut ready = String::new();
                let mut stdout = BufReader::new(child.stdout());
                stdout.read_line(&mut ready)?;
                child.signal(signal);
                let took = child.expect_end(16, &format!("ended by signal {number}."))?;
                assert!(run.folder.read("console.log").contains(&format!("ended by signal {number}.")));
                in_time(took, Duration::ZERO..Duration::from_secs(2))
            },
        ));
    }
    trials.push(guest_test("a_signal_ends_a_run_whose_output_is_not_read", || {
        let run = Kvm::with_guest("serial-million");
        let mut child = Running::start(&run);
        let mut unread = child.stdout();
        unread.read_exact(&mut [0])?;
        // Long enough for the pipe and all buffers to be full.
        std::thread::sleep(Duration::from_millis(500));
        child.signal("TERM");
        let took = child.expect_end(16, "ended by signal 15.")?;
        in_time(took, Duration::ZERO..Duration::from_secs(4))
    }));
    trials
}

/// A run that a test takes part in.
struct Running {
    child: Child,
    deadline: Deadline,
    started: Instant,
}

impl Running {
    fn start(kvm: &Kvm) -> Running {
        let child = kvm.start();
        Running { deadline: Deadline::new(child.id()), child, started: Instant::now() }
    }

    fn stdout(&mut self) -> std::process::ChildStdout {
        self.child.stdout.take().expect("stdout is a pipe, and taken once")
    }

    /// Sends a signal; the time of the end counts from here.
    fn signal(&mut self, name: &str) {
        let status = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status();
        assert!(status.is_ok_and(|status| status.success()), "kill -s {name}");
        self.started = Instant::now();
    }

    /// Waits for the end, which must come with this status and a paragraph that begins like this;
    /// gives the time it took.
    fn expect_end(mut self, status: i32, paragraph: &str) -> Result<Duration, Failed> {
        let mut stderr = self.child.stderr.take().expect("stderr is a pipe");
        let mut text = String::new();
        stderr.read_to_string(&mut text)?;
        let ended: ExitStatus = self.child.wait()?;
        let took = self.started.elapsed();
        if self.deadline.stop() {
            return Err(format!("kvm did not end within {TIMEOUT:?}").into());
        }
        if ended.code() == Some(status) && text.starts_with(&format!("kvm: {paragraph}")) {
            return Ok(took);
        }
        Err(format!("expected {paragraph:?} and exit status {status}; got {ended} and\n{text}").into())
    }
}

fn in_time(took: Duration, allowed: std::ops::Range<Duration>) -> Result<(), Failed> {
    if allowed.contains(&took) { Ok(()) } else { Err(format!("took {took:?}, not {allowed:?}").into()) }
}

/// Asks the guest seven times; the median of the times until its whole answer is here counts.
fn answers_in_time(question: u8, answer: &str, allowed: Duration) -> Result<(), Failed> {
    let run = Kvm::with_guest("answer-and-compute").args(["--keys", "serial"]);
    let mut running = Running::start(&run);
    let mut stdin = running.child.stdin.take().expect("stdin is a pipe");
    let mut stdout = BufReader::new(running.stdout());
    let mut read_line = move || {
        let mut line = String::new();
        stdout.read_line(&mut line).map(|_| line)
    };
    let mut times = Vec::new();
    for _ in 0..7 {
        assert_eq!(read_line()?, "ready\n");
        let asked = Instant::now();
        stdin.write_all(&[question])?;
        assert_eq!(read_line()?, answer);
        times.push(asked.elapsed());
    }
    stdin.write_all(&[4])?;
    running.expect_end(0, HALTED_0)?;
    times.sort();
    if times[3] <= allowed { Ok(()) } else { Err(format!("{times:?}, allowed {allowed:?}").into()) }
}

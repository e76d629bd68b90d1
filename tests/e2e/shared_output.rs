//! Several devices print to one place: standard output, the log or a file.

use std::io::Read;

use libtest_mimic::{Failed, Trial};

use crate::support::pty::Terminal;
use crate::support::{Kvm, Running, guest_test};

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    vec![
        guest_test("two_devices_on_standard_output_keep_order_and_lines", standard_output),
        guest_test("two_devices_on_a_terminal_keep_order_and_lines", terminal),
        guest_test("two_devices_in_a_file_keep_order_and_lines", file),
        guest_test("two_devices_in_the_log_keep_order_and_lines", log),
        guest_test("a_prompt_without_a_newline_does_not_hold_up_another_device", prompt),
        guest_test("one_file_may_have_several_names", file_names),
        guest_test("a_serial_port_does_not_write_over_the_log_under_another_name", log_name),
        guest_test("the_log_does_not_tear_the_guests_lines_on_standard_output", log_on_stdout),
        guest_test("the_log_on_standard_error_keeps_messages_whole", log_on_stderr),
        guest_test("a_serial_port_on_standard_error_keeps_messages_whole", serial_on_stderr),
    ]
}

/// Serial ports (from 1) and port 0xE9, as the guest `two-devices` is told of them.
const DEVICES: [char; 5] = ['1', '2', '3', '4', 'e'];

/// All pairs of devices, in both orders.
fn pairs() -> impl Iterator<Item = [char; 2]> {
    let all = DEVICES.into_iter().flat_map(|first| DEVICES.into_iter().map(move |second| [first, second]));
    all.filter(|[first, second]| first != second)
}

/// The guest that has `pair` take turns, each on its backend; the other devices' output is discarded.
fn taking_turns(pair: [char; 2], ends: [&str; 2]) -> Kvm {
    with_devices(&String::from_iter(pair), pair, ends)
}

fn with_devices(command_line: &str, pair: [char; 2], ends: [&str; 2]) -> Kvm {
    let kvm = Kvm::with_guest("two-devices").args(["--append", command_line]);
    DEVICES.into_iter().fold(kvm, |kvm, device| {
        let place = pair.iter().position(|one| *one == device);
        let end = place.map_or("null", |place| ends[place]);
        match device {
            'e' => kvm.args(["--debugcon", end]),
            number => kvm.arg("--serial").arg(format!("{number}={end}")),
        }
    })
}

/// What the guest prints, as each line stays whole, and the device of each line.
fn lines([first, second]: [char; 2]) -> Vec<(char, String)> {
    let line = |number: usize, device: char, phase: char| {
        (device, format!("line {number:02} of {device}, phase {phase}"))
    };
    let phases = ['a', 'b'].into_iter();
    let rounds = phases.flat_map(|phase| (0..40).map(move |number| (number, phase)));
    let mut all: Vec<_> = rounds
        .flat_map(|(number, phase)| [first, second].map(|device| line(number, device, phase)))
        .collect();
    all.extend([line(0, first, 'c'), line(0, second, 'c'), (second, "the end".to_owned())]);
    all
}

/// [`lines`] as one text.
fn text(pair: [char; 2]) -> String {
    lines(pair).into_iter().map(|(_, line)| line).collect::<Vec<_>>().join("\n")
}

fn standard_output() -> Result<(), Failed> {
    // Standard input is for one serial port at most.
    for pair in pairs().filter(|pair| pair.contains(&'e')) {
        taking_turns(pair, ["stdio"; 2]).run().expect_status(0)?.expect_out(&text(pair))?;
    }
    Ok(())
}

fn terminal() -> Result<(), Failed> {
    for pair in [['1', 'e'], ['e', '1']] {
        let kvm = taking_turns(pair, ["stdio"; 2]);
        let terminal = Terminal::start(&kvm.command(), 80, 100);
        // The last lines of a hundred rows, below which the message about the end follows.
        let lines = lines(pair);
        let last: Vec<_> = lines[lines.len() - 80..].iter().map(|(_, line)| line.as_str()).collect();
        terminal.wait_for_text(&(last.join("\n") + "\n"))?;
    }
    Ok(())
}

fn file() -> Result<(), Failed> {
    for pair in pairs() {
        let ran = taking_turns(pair, ["file:both.txt"; 2]).run();
        ran.expect_status(0)?.expect_out("")?.expect_file("both.txt", &text(pair))?;
    }
    Ok(())
}

fn log() -> Result<(), Failed> {
    for pair in pairs() {
        let ran = taking_turns(pair, ["log"; 2]).run();
        ran.expect_status(0)?.expect_out("")?;
        let log = ran.folder.read("console.log");
        let logged: Vec<&str> =
            log.lines().filter_map(|line| line.split_once(" kvm::serial: ")).map(|(_, line)| line).collect();
        let named = |(device, line): (char, String)| match device {
            'e' => format!("port 0xE9: {line}"),
            number => format!("COM{number}: {line}"),
        };
        let mut expected: Vec<String> = lines(pair).into_iter().map(named).collect();
        // A line is logged when it is complete: the panic before the line that it is in.
        let count = expected.len();
        expected.swap(count - 3, count - 2);
        ran.check(logged == expected, &format!("{expected:#?}, not {logged:#?}"))?;
    }
    Ok(())
}

fn prompt() -> Result<(), Failed> {
    for pair in [['1', 'e'], ['e', '1']] {
        let command_line = format!("{}{}p", pair[0], pair[1]);
        let mut running = Running::start(with_devices(&command_line, pair, ["stdio"; 2]));
        let expected = format!("> line 00 of {}, phase p\n", pair[1]);
        let mut heard = vec![0; expected.len()];
        running.with_stdout(|out| Ok(out.read_exact(&mut heard)?))?;
        assert_eq!(String::from_utf8_lossy(&heard), expected);
    }
    Ok(())
}

fn file_names() -> Result<(), Failed> {
    let kvm = taking_turns(['2', 'e'], ["file:both.txt", "file:link.txt"]);
    std::os::unix::fs::symlink("both.txt", kvm.folder.file("link.txt"))?;
    kvm.run().expect_status(0)?.expect_file("both.txt", &text(['2', 'e']))?;
    let ran = taking_turns(['e', '3'], ["file:./both.txt", "file:both.txt"]).run();
    ran.expect_status(0)?.expect_file("both.txt", &text(['e', '3']))?;
    // Standard output is a pipe here.
    let ran = taking_turns(['1', '2'], ["stdio", "file:/dev/stdout"]).run();
    ran.expect_status(0)?.expect_out(&text(['1', '2']))?;
    let shell = "\"$@\" >>both.txt";
    let kvm = taking_turns(['4', 'e'], ["file:both.txt", "stdio"]).file("both.txt", "kept\n").in_shell(shell);
    let kept = format!("kept\n{}", text(['4', 'e']));
    kvm.run().expect_status(0)?.expect_file("both.txt", &kept)?;
    Ok(())
}

fn log_name() -> Result<(), Failed> {
    let ran = taking_turns(['1', '2'], ["stdio", "file:./console.log"]).run();
    ran.expect_status(6)?.expect_out("")?;
    ran.expect_err("kvm: COM2: ./console.log is the log file, and the port would write over it")?;
    Ok(())
}

fn log_on_stdout() -> Result<(), Failed> {
    let pair = ['1', 'e'];
    let both = || taking_turns(pair, ["stdio"; 2]);
    let refusal = "is also standard output, where the guest's output goes";
    // A pipe, a file that has another name, and the same file as standard error.
    for shell in ["exec \"$@\" --logfile /dev/stdout", "exec \"$@\" --logfile ./out.txt >>out.txt"] {
        let ran = both().in_shell(shell).run();
        ran.expect_status(6)?.expect_err(&format!("{refusal}: each would tear the lines of the other"))?;
        ran.expect_err(
            "name another file with --logfile, or have the guest's output in the log with --display none",
        )?;
    }
    let ran = both().in_shell("exec \"$@\" --logfile /dev/stderr >out.txt 2>&1").run();
    let out = std::fs::read_to_string(ran.folder.file("out.txt"))?;
    assert!(ran.expect_status(6)?.err.is_empty() && out.contains(refusal), "{out}");
    // The default file.
    let ran = both().in_shell("exec \"$@\" >console.log").run();
    ran.expect_status(0)?.expect_err("running without a log: the log file `console.log` is also")?;
    ran.expect_file("console.log", &text(pair))?;
    // Nothing is torn where nothing is kept.
    both().in_shell("exec \"$@\" --logfile /dev/null >/dev/null").run().expect_status(0)?;
    // One writer.
    for shell in ["exec \"$@\"", "exec \"$@\" >out.txt"] {
        let kvm = both().args(["--display", "none", "--logfile", "/dev/stdout"]);
        let ran = kvm.in_shell(shell).run();
        let out = std::fs::read_to_string(ran.folder.file("out.txt")).unwrap_or(ran.out.clone());
        ran.expect_status(0)?;
        let logged = out.lines().filter_map(|line| line.split_once(" kvm::serial: ")?.1.split_once(": "));
        let logged: Vec<_> = logged.map(|(_, line)| line).collect();
        // A line appears when it is complete, so those of the last phase may change places.
        let expected = lines(pair);
        let in_order = expected.len() - 3;
        assert!(expected[..in_order].iter().map(|(_, line)| line).eq(&logged[..in_order]), "{out}");
        assert!(expected.iter().all(|(_, line)| logged.contains(&line.as_str())), "{out}");
        assert!(out.contains("kvm::log: kvm ") && out.contains("totals "), "{out}");
    }
    Ok(())
}

/// What is in `out.txt` after a run whose standard error it is.
fn messages(kvm: Kvm) -> Result<String, Failed> {
    let ran = kvm.file("out.txt", "kept\n").in_shell("exec \"$@\" 2>>out.txt").run();
    ran.expect_status(0)?;
    Ok(std::fs::read_to_string(ran.folder.file("out.txt"))?)
}

fn log_on_stderr() -> Result<(), Failed> {
    let pair = ['1', 'e'];
    let err = messages(taking_turns(pair, ["log"; 2]).args(["--logfile", "/dev/stderr"]))?;
    let mut found = err.lines();
    assert_eq!(found.next(), Some("kept"));
    let (messages, logged): (Vec<_>, Vec<_>) = found.partition(|line| line.starts_with("kvm: "));
    assert_eq!(messages.len(), 1, "{err}");
    let text = logged.iter().filter(|line| line.contains(" kvm::serial: ")).count();
    assert_eq!(text, lines(pair).len(), "{err}");
    assert!(logged.iter().all(|line| line.contains(" kvm::")), "{err}");
    assert!(logged.last().is_some_and(|line| line.contains("totals ")), "{err}");
    Ok(())
}

fn serial_on_stderr() -> Result<(), Failed> {
    let pair = ['1', 'e'];
    let err = messages(taking_turns(pair, ["file:/dev/stderr"; 2]))?;
    // The guest does not end its last line.
    let rest = err.strip_prefix(&format!("kept\n{}", text(pair)));
    let rest = rest.ok_or_else(|| format!("the guest's output is missing in {err}"))?;
    assert!(rest.starts_with("kvm: ") && rest.ends_with('\n'), "{err}");
    // The log and a port's file are one FIFO.
    let ran = taking_turns(['2', 'e'], ["file:both", "null"])
        .in_shell("mkfifo both; exec \"$@\" --logfile ./both")
        .run();
    ran.expect_status(6)?.expect_err("kvm: COM2: both is the log file")?;
    Ok(())
}

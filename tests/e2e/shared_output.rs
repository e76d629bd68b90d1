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

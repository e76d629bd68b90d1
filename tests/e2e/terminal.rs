//! What a terminal shows, and that its state is restored at the end.

use libtest_mimic::{Failed, Trial};
use vt100::Color;

use crate::support::pty::{Shown, Terminal};
use crate::support::{Kvm, Lane, example, flood, guest_test, lane, processor_ticks};

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    let mut trials = vec![
        guest_test("serial_output_on_a_terminal_is_plain_lines", serial_text_is_plain_lines),
        guest_test("a_vga_guest_is_shown_on_the_alternate_screen", a_vga_guest_gets_the_other_screen),
        guest_test("the_screen_has_the_vgas_characters_colours_and_cursor", the_screen_is_the_vgas),
        guest_test("the_screen_follows_the_terminals_size", the_screen_follows_the_size),
        guest_test("display_chooses_what_a_terminal_shows", display_chooses),
        guest_test("display_chooses_what_a_pipe_gets", display_chooses_for_a_pipe),
        guest_test("without_a_terminal_no_escape_sequence_is_written", no_escapes_without_terminal),
        guest_test("ctrl_a_switches_between_screen_and_text", ctrl_a_switches),
        guest_test("ctrl_a_h_shows_help_on_both_screens", ctrl_a_helps),
        guest_test("ctrl_a_r_resets_the_machine", ctrl_a_resets),
        guest_test("a_terminal_that_does_not_read_does_not_block_the_run", stuck_terminal),
        guest_test("showing_an_unchanged_screen_costs_almost_no_processor_time", quiet_screen_is_cheap),
        guest_test("a_waiting_guest_without_a_terminal_costs_no_processor_time", waiting_is_free),
        guest_test("a_background_job_is_not_stopped", background_job),
        guest_test("a_terminal_that_is_closed_ends_the_run", closed_terminal),
    ];
    for (name, guest, options, end) in ENDS {
        let test = move || terminal_is_restored(guest, options, *end);
        trials.push(guest_test(&format!("the_terminal_is_restored_after_{name}"), test));
    }
    trials
}

const UP: &str = "\x1b[A";
const DOWN: &str = "\x1b[B";
const RIGHT: &str = "\x1b[C";

/// One of the prebuilt programs on a terminal of the usual size.
fn example_on_terminal(name: &str) -> Terminal {
    Terminal::kvm(Kvm::new().arg(example(name)), 80, 25)
}

fn on_other_screen(shown: &Shown) -> bool {
    shown.screen().alternate_screen()
}

fn text_at(shown: &Shown, row: u16, column: u16, length: u16) -> String {
    let text = |column| shown.screen().cell(row, column).map_or("", |cell| cell.contents());
    (column..column + length).map(|column| if text(column).is_empty() { " " } else { text(column) }).collect()
}

fn serial_text_is_plain_lines() -> Result<(), Failed> {
    let ended = Terminal::kvm(Kvm::with_guest("hello-serial"), 80, 25).end()?;
    ended.expect_status(0)?.expect_restored()?;
    ended.expect_text("Hello from the bare metal!\nkvm: the guest halted")?;
    ended.check(!ended.wrote(b"\x1b[?1049h"), "no other screen")?;
    ended.check(!ended.bytes.windows(2).any(|bytes| bytes[1] == b'\n' && bytes[0] != b'\r'), "only CR LF")?;
    Ok(())
}

fn a_vga_guest_gets_the_other_screen() -> Result<(), Failed> {
    let terminal = example_on_terminal("keyboard");
    terminal.wait_for("the other screen", on_other_screen)?.wait_for_text("Press keys; Escape ends.")?;
    terminal.type_keys("aQ");
    terminal.wait_for_text("1E 9E 2A 10 90 AA")?;
    terminal.type_keys("\x1b");
    let ended = terminal.end()?;
    ended.expect_status(0)?.expect_restored()?;
    ended.expect_text("Scan codes, set 1\nPress keys; Escape ends.")?.expect_text("90 AA 01")?;
    ended.expect_text("kvm: the guest halted; result (RAX) 7")?;
    Ok(())
}

fn the_screen_is_the_vgas() -> Result<(), Failed> {
    let terminal = example_on_terminal("vga");
    terminal.wait_for("the face", |shown| text_at(shown, 12, 40, 1) == "☺")?;
    // The cursor is set last.
    let cursor = |shown: &Shown| (shown.screen().cursor_position(), shown.cursor_shape());
    terminal.wait_for("the cursor", |shown| cursor(shown) == ((12, 40), 3))?;
    let background = |row, column| terminal.shown().screen().cell(row, column).map(|cell| cell.bgcolor());
    for (row, colour) in [(0, 0), (1, 4), (2, 2), (3, 6), (4, 1), (5, 5), (6, 3), (7, 7)] {
        assert_eq!(background(row, 40), Some(Color::Idx(colour)), "row {row}");
    }
    // Rows 8 to 15 blink: their text is there and then not.
    terminal.wait_for("blinking text", |shown| text_at(shown, 9, 5, 4) == "text")?;
    terminal.wait_for("hidden text", |shown| text_at(shown, 9, 5, 4) == "    ")?;
    assert_eq!(background(9, 40), Some(Color::Idx(4)));
    terminal.type_keys("b");
    terminal.wait_for("a bright background", |shown| {
        shown.screen().cell(9, 40).is_some_and(|cell| cell.bgcolor() == Color::Idx(12))
    })?;
    terminal.type_keys([DOWN, RIGHT].concat());
    terminal.wait_for("the face a row below", |shown| cursor(shown) == ((13, 41), 3))?;
    terminal.type_keys("ss");
    terminal.wait_for("a block", |shown| cursor(shown) == ((13, 41), 1))?;
    terminal.type_keys("s");
    terminal.wait_for("no cursor", |shown| shown.screen().hide_cursor())?;
    terminal.type_keys("d");
    terminal.wait_for("row 1 on top", |shown| text_at(shown, 0, 1, 2) == "01")?;
    terminal.type_keys("\x1b");
    terminal.end()?.expect_status(0)?.expect_restored()?;
    Ok(())
}

fn the_screen_follows_the_size() -> Result<(), Failed> {
    let terminal = Terminal::kvm(Kvm::new().arg(example("vga")), 40, 10);
    // The ten rows down to the cursor, which is in row 12; column 40 is cut off.
    terminal.wait_for("rows 3 to 12", |shown| {
        text_at(shown, 0, 1, 2) == "03" && text_at(shown, 9, 1, 2) == "12"
    })?;
    terminal.wait_for("no cursor beyond the edge", |shown| shown.screen().hide_cursor())?;
    terminal.resize(200, 60);
    terminal.wait_for("the whole screen", |shown| {
        text_at(shown, 0, 1, 2) == "00"
            && text_at(shown, 24, 1, 2) == "24"
            && text_at(shown, 12, 40, 1) == "☺"
    })?;
    let beyond = (0..25).any(|row| !text_at(&terminal.shown(), row, 80, 120).trim().is_empty());
    assert!(!beyond, "nothing right of the guest's screen");
    terminal.resize(1, 1);
    std::thread::sleep(std::time::Duration::from_millis(100));
    terminal.resize(80, 25);
    terminal.type_keys(UP);
    terminal.wait_for("the face a row above", |shown| text_at(shown, 11, 40, 1) == "☺")?;
    terminal.type_keys("\x1b");
    terminal.end()?.expect_status(0)?.expect_restored()?;
    Ok(())
}

fn display_chooses() -> Result<(), Failed> {
    let shown = |display: &str, guest: &str| {
        Terminal::kvm(Kvm::with_guest(guest).args(["--display", display]), 80, 25).end()
    };
    let text = "Hello from the bare metal!";
    let picture = "Hello from the VGA text screen!";
    shown("vga", "hello-vga")?.expect_restored()?.expect_text(picture)?;
    shown("auto", "hello-vga")?.expect_restored()?.expect_text(picture)?;
    for (display, guest) in [("serial", "hello-vga"), ("none", "hello-vga"), ("none", "hello-serial")] {
        let ended = shown(display, guest)?;
        let nothing =
            !ended.text.contains(text) && !ended.text.contains(picture) && !ended.wrote(b"\x1b[?1049h");
        ended.expect_restored()?.check(nothing, &format!("--display {display}: nothing of {guest}"))?;
    }
    let ended = shown("serial", "hello-serial")?;
    ended.expect_restored()?.expect_text(text)?;
    Ok(())
}

fn display_chooses_for_a_pipe() -> Result<(), Failed> {
    let ran = |display: &str, guest: &str| {
        Kvm::with_guest(guest).args(["--display", display, "--dump-screen"]).run()
    };
    for display in ["auto", "vga", "serial"] {
        ran(display, "hello-serial").expect_out("Hello from the bare metal!\n")?;
        let screen = ran(display, "hello-vga");
        if !screen.out.contains("\n  Hello from the VGA text screen!\n\n  black ") {
            return Err(format!("--display {display} --dump-screen: {}", screen.out).into());
        }
    }
    ran("none", "hello-serial").expect_out("")?.expect_log("COM1: Hello from the bare metal!")?;
    Kvm::with_guest("hello-vga").run().expect_out("")?.expect_status(0)?;
    Ok(())
}

fn no_escapes_without_terminal() -> Result<(), Failed> {
    for display in ["auto", "vga", "serial", "none"] {
        for guest in ["hello-vga", "hello-serial", "triple-fault"] {
            let ran = Kvm::with_guest(guest).args(["--display", display, "--dump-screen"]).run();
            if ran.out.contains('\x1b') || ran.err.contains('\x1b') {
                return Err(format!("--display {display} {guest}: {:?} {:?}", ran.out, ran.err).into());
            }
        }
    }
    Ok(())
}

fn ctrl_a_switches() -> Result<(), Failed> {
    let terminal = example_on_terminal("keyboard");
    terminal.wait_for("the other screen", on_other_screen)?;
    terminal.type_keys("\x01c");
    terminal.wait_for("the main screen", |shown| !on_other_screen(shown))?;
    // The guest gets its keys in this view, too, and the screen is not shown again by itself.
    terminal.type_keys("a");
    std::thread::sleep(std::time::Duration::from_millis(150));
    assert!(!on_other_screen(&terminal.shown()));
    terminal.type_keys("\x01c");
    terminal.wait_for("the other screen again", on_other_screen)?.wait_for_text("1E 9E")?;
    // Ctrl-A itself: Ctrl down, A, Ctrl up; and an unknown command is not passed on.
    terminal.type_keys("\x01z\x01a\x01\x01");
    terminal.wait_for_text("1E 9E 1D 1E 9E 9D 1D 1E 9E 9D")?;
    terminal.type_keys("\x01X");
    let ended = terminal.end()?;
    ended.expect_status(14)?.expect_restored()?.expect_text("kvm: ended by the user.")?;
    Ok(())
}

fn ctrl_a_helps() -> Result<(), Failed> {
    let help = "Ctrl-A x    quit";
    let terminal = example_on_terminal("serial");
    terminal.wait_for_text("> ")?;
    terminal.type_keys("\x01h");
    terminal.wait_for_text(help)?;
    terminal.type_keys("quit\r");
    terminal.end()?.expect_status(0)?;

    let terminal = example_on_terminal("keyboard");
    terminal.wait_for_text("Press keys")?;
    terminal.type_keys("\x01h");
    terminal.wait_for_text(help)?;
    terminal.type_keys("k");
    terminal.wait_for("the guest's screen", |shown| {
        let contents = shown.screen().contents();
        contents.contains("Press keys") && !contents.contains("Ctrl-A")
    })?;
    terminal.type_keys("m");
    terminal.wait_for_text("32 B2")?;
    assert!(!terminal.contents().contains("25 A5"), "the key that ended the help is not the guest's");
    terminal.type_keys("\x01h");
    terminal.wait_for_text(help)?;
    // The keys of the help work while it is shown.
    terminal.type_keys("\x01x");
    terminal.end()?.expect_status(14)?.expect_restored()?;
    Ok(())
}

fn ctrl_a_resets() -> Result<(), Failed> {
    let terminal = example_on_terminal("serial");
    terminal.wait_for_text("try help.\n> ")?;
    terminal.type_keys("echo before\r");
    terminal.wait_for_text("before\n> ")?;
    terminal.type_keys("\x01r");
    terminal.wait_for_text("> A command line on COM1; try help.\n> ")?;
    terminal.type_keys("quit\r");
    let ended = terminal.end()?;
    ended.expect_status(0)?.expect_restored()?.expect_text("result (RAX) 1 ")?;
    Ok(())
}

/// How a run is ended.
#[derive(Clone, Copy)]
enum End {
    /// By itself.
    Itself,
    /// These keys.
    Keys(&'static str),
    /// This signal.
    Signal(&'static str),
}

type Case = (&'static str, &'static str, &'static [&'static str], (End, i32));

/// Name, guest (an example's if it begins with `/`), options, what ends it and its exit status.
const ENDS: &[Case] = &[
    ("the_guest_halts", "hello-vga", &[], (End::Itself, 0)),
    ("ctrl_a_x", "/vga", &[], (End::Keys("\x01x"), 14)),
    ("ctrl_a_x_at_the_serial_port", "/serial", &[], (End::Keys("\x01x"), 14)),
    ("ctrl_c_to_a_guest_of_emulated_instructions", "endless-emulation", &[], (End::Keys("\x03"), 14)),
    ("ctrl_c_to_a_guest_that_does_not_read", "endless", &["--display", "vga"], (End::Keys("\x03"), 14)),
    ("sigterm", "/vga", &[], (End::Signal("TERM"), 16)),
    ("sighup", "/vga", &[], (End::Signal("HUP"), 16)),
    ("sigquit", "/vga", &[], (End::Signal("QUIT"), 16)),
    ("sigint", "/vga", &[], (End::Signal("INT"), 16)),
    ("sigterm_at_the_serial_port", "/serial", &[], (End::Signal("TERM"), 16)),
    ("the_timeout", "idle", &["--display", "vga", "--timeout", "0.3"], (End::Itself, 12)),
    ("a_triple_fault", "triple-fault", &["--display", "vga"], (End::Itself, 8)),
    ("the_debug_exit_port", "debug-exit", &["--display", "vga"], (End::Itself, 33)),
];

fn terminal_is_restored(guest: &str, options: &[&str], end: (End, i32)) -> Result<(), Failed> {
    let kvm = match guest.strip_prefix('/') {
        Some(name) => Kvm::new().arg(example(name)),
        None => Kvm::with_guest(guest),
    };
    let terminal = Terminal::kvm(kvm.args(options), 80, 25);
    match end.0 {
        End::Itself => {}
        End::Keys(keys) => {
            taken(&terminal)?;
            terminal.type_keys(keys);
        }
        End::Signal(name) => {
            taken(&terminal)?;
            terminal.signal(name);
        }
    }
    let ended = terminal.end()?;
    ended.expect_status(end.1)?.expect_restored()?;
    // The last message begins a new line.
    ended
        .expect_text("\nkvm: ")
        .or_else(|failed| if ended.text.starts_with("kvm: ") { Ok(&ended) } else { Err(failed) })?;
    Ok(())
}

/// Waits until the program has the terminal.
fn taken(terminal: &Terminal) -> Result<(), Failed> {
    crate::support::wait_until("raw mode", || terminal.is_raw())
}

fn stuck_terminal() -> Result<(), Failed> {
    let terminal = Terminal::kvm(Kvm::new().args(["--timeout", "1"]).arg(flood()), 80, 25);
    terminal.pause(true);
    let ended = terminal.end()?;
    ended.expect_status(12)?.expect_restored()?;
    Ok(())
}

/// Processor time taken in a second, in ticks.
fn ticks_in_a_second(pid: u32) -> u64 {
    let before = processor_ticks(pid);
    std::thread::sleep(std::time::Duration::from_secs(1));
    processor_ticks(pid) - before
}

fn quiet_screen_is_cheap() -> Result<(), Failed> {
    let terminal = Terminal::kvm(Kvm::with_guest("idle").args(["--display", "vga"]), 80, 25);
    terminal.wait_for("the other screen", on_other_screen)?;
    std::thread::sleep(std::time::Duration::from_millis(200));
    let ticks = ticks_in_a_second(terminal.pid());
    // An unoptimized build takes several times as long, and so does an emulated processor.
    let slow = cfg!(debug_assertions) || matches!(lane(), Lane::Amd | Lane::Intel);
    let most = if slow { 10 } else { 3 };
    assert!(ticks <= most, "{ticks}% of a processor");
    terminal.type_keys("\x01x");
    terminal.end()?.expect_status(14)?;
    Ok(())
}

fn waiting_is_free() -> Result<(), Failed> {
    let kvm = Kvm::with_guest("idle").args(["--timeout", "60"]);
    let mut command = kvm.command();
    command.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::null());
    let mut child = command.stderr(std::process::Stdio::null()).spawn()?;
    std::thread::sleep(std::time::Duration::from_millis(500));
    let ticks = ticks_in_a_second(child.id());
    child.kill()?;
    child.wait()?;
    assert!(ticks <= 1, "{ticks}% of a processor");
    Ok(())
}

fn background_job() -> Result<(), Failed> {
    let kvm = Kvm::new().args(["--timeout", "20"]).arg(example("serial"));
    let mut shell = std::process::Command::new("bash");
    shell.args(["--norc", "--noprofile", "-i"]).current_dir(kvm.folder.path()).env("PS1", "ready$ ");
    let terminal = Terminal::start(&shell, 80, 25);
    terminal.wait_for_text("ready$")?;
    let command = kvm.command();
    let arguments: Vec<_> =
        command.get_args().map(|argument| format!("'{}'", argument.to_string_lossy())).collect();
    terminal.type_keys(format!("'{}' {} &\r", command.get_program().to_string_lossy(), arguments.join(" ")));
    terminal.wait_for_text("A command line on COM1")?;
    // The keys are the shell's, and the job still runs.
    terminal.type_keys("echo $((6*7)); jobs\r");
    terminal.wait_for_text("\n42\n")?.wait_for_text("Running")?;
    assert!(!terminal.contents().contains("Stopped"));
    terminal.type_keys("kill %1; wait; exit\r");
    terminal.end()?.expect_text("kvm: ended by signal 15")?;
    Ok(())
}

fn closed_terminal() -> Result<(), Failed> {
    let kvm = Kvm::new().arg(example("vga"));
    let terminal = Terminal::start(&kvm.command(), 80, 25);
    terminal.wait_for("the other screen", on_other_screen)?;
    let status = terminal.close()?;
    assert_eq!(status, Some(16), "ended by SIGHUP");
    assert!(kvm.folder.read("console.log").contains("ended by signal 1."));
    Ok(())
}

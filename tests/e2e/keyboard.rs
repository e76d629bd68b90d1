//! Input from a terminal or a pipe, and how it reaches the guest.

use std::io::{Read, Write};
use std::process::Stdio;
use std::time::Duration;

use libtest_mimic::{Failed, Trial};

use crate::support::pty::Terminal;
use crate::support::{Deadline, Kvm, Running, example, guest_test};

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    vec![
        guest_test("every_kind_of_key_reaches_the_keyboard", every_kind_of_key),
        guest_test("an_escape_sequence_may_arrive_in_pieces", sequence_in_pieces),
        guest_test("an_italian_layout_produces_its_characters", italian_keyboard),
        guest_test("keyboard_echo_shows_typed_characters_on_a_terminal", keyboard_echo),
        guest_test("serial_echo_shows_typed_lines_in_upper_case_on_a_terminal", serial_echo),
        guest_test("a_command_line_on_the_serial_port_can_be_used", serial_command_line),
        guest_test(
            "keys_reach_the_serial_port_that_the_user_sees_or_else_the_keyboard",
            keys_where_the_user_looks,
        ),
        guest_test("ctrl_c_reaches_a_guest_that_reads", ctrl_c_for_the_guest),
        guest_test("keys_typed_before_the_guest_reads_are_queued", typed_early),
        guest_test("every_key_of_a_pipe_arrives", every_key_of_a_pipe),
        guest_test("all_input_of_a_pipe_that_stays_open_arrives", pipe_that_stays_open),
        guest_test("a_pipe_carries_control_characters_to_the_guest", control_characters_in_a_pipe),
        guest_test("the_end_of_a_pipe_on_standard_input_is_no_error", end_of_a_pipe),
    ]
}

/// The program that shows scan codes, ready for keys.
fn scan_codes(options: &[&str]) -> Result<Terminal, Failed> {
    let terminal = Terminal::kvm(Kvm::new().arg(example("keyboard")).args(options), 80, 25);
    terminal.wait_for_text("Press keys; Escape ends.")?;
    Ok(terminal)
}

/// `keyboard-echo`, run as its documentation describes.
fn keyboard_echo_kvm() -> Kvm {
    Kvm::with_guest("keyboard-echo").args(["--keys", "keyboard", "--serial", "1=log", "--serial", "2=stdio"])
}

/// `serial-echo`, run as its documentation describes.
fn serial_echo_kvm() -> Kvm {
    Kvm::with_guest("serial-echo").args(["--keys", "serial"])
}

fn every_kind_of_key() -> Result<(), Failed> {
    let keys = [
        ("a", "1E 9E"),
        ("!", "2A 02 82 AA"),
        ("\x1b[A", "E0 48 E0 C8"),
        ("\x1b[3~", "E0 53 E0 D3"),
        ("\x1bOP", "3B BB"),
        ("\x1b[24~", "58 D8"),
        ("\x7f", "0E 8E"),
        ("\t", "0F 8F"),
        ("\r", "1C 9C"),
        ("\x03", "1D 2E AE 9D"),
        ("\x1b[1;5C", "1D E0 4D E0 CD 9D"),
        ("\x1bx", "38 2D AD B8"),
    ];
    let terminal = scan_codes(&[])?;
    let mut all = Vec::new();
    for (typed, expected) in keys {
        terminal.type_keys(typed);
        all.extend(expected.split(' '));
        terminal.wait_for(&format!("{expected} for {typed:?}"), |shown| {
            shown.screen().contents_between(4, 0, 24, 80).split_whitespace().eq(all.iter().copied())
        })?;
    }
    terminal.type_keys("\x1b");
    let ended = terminal.end()?;
    ended.expect_status(0)?.expect_text(&format!("result (RAX) {} ", all.len() + 1))?;
    Ok(())
}

fn sequence_in_pieces() -> Result<(), Failed> {
    let terminal = scan_codes(&[])?;
    for piece in ["\x1b", "[", "B"] {
        terminal.type_keys(piece);
        std::thread::sleep(Duration::from_millis(3));
    }
    terminal.wait_for_text("E0 50 E0 D0")?;
    terminal.type_keys("\x1b");
    terminal.end()?.expect_status(0)?.expect_text("result (RAX) 5 ")?;
    Ok(())
}

fn italian_keyboard() -> Result<(), Failed> {
    let terminal = scan_codes(&["--layout", "it"])?;
    terminal.type_keys("è@'?");
    terminal.wait_for_text("1A 9A E0 38 27 A7 E0 B8 0C 8C 2A 0C 8C AA")?;
    terminal.type_keys("\x1b");
    terminal.end()?.expect_status(0)?;
    Ok(())
}

fn keyboard_echo() -> Result<(), Failed> {
    let terminal = Terminal::kvm(keyboard_echo_kvm(), 80, 25);
    terminal.wait_for_text("Type; Escape ends.")?;
    terminal.type_keys("Hello, World! {[(~)]}\r2nd \"line\"\x1b[A\x1bOP");
    terminal.wait_for_text("Hello, World! {[(~)]}\n2nd \"line\"")?;
    terminal.type_keys("\x1b");
    terminal.end()?.expect_status(0)?.expect_restored()?;
    Ok(())
}

fn serial_echo() -> Result<(), Failed> {
    let terminal = Terminal::kvm(serial_echo_kvm(), 80, 25);
    crate::support::wait_until("raw mode", || terminal.is_raw())?;
    terminal.type_keys("loud and clear\r");
    terminal.wait_for_text("LOUD AND CLEAR")?;
    terminal.type_keys("\x04");
    terminal.end()?.expect_status(0)?.expect_text("result (RAX) 1 ")?;
    Ok(())
}

/// `interrupt-echo` reads both devices, and prints to COM1.
fn keys_where_the_user_looks() -> Result<(), Failed> {
    let kvm = || Kvm::with_guest("interrupt-echo").args(["--timeout", "60"]);
    let mut running = Running::start(kvm());
    // What comes before the guest has enabled the interrupt of its receiver is for the keyboard.
    let mut prompt = *b"Type; Escape ends.\n";
    running.with_stdout(|out| Ok(out.read_exact(&mut prompt)?))?;
    running.send_input(b"a\x1b")?;
    let ran = running.finish()?;
    ran.expect_status(0)?.check(ran.out.ends_with("byte 0x61\nbyte 0x1b\n"), "a pipe's bytes on COM1")?;
    let terminal = Terminal::kvm(kvm(), 80, 25);
    terminal.wait_for_text("Type; Escape ends.")?;
    terminal.type_keys("a");
    terminal.wait_for_text("byte 0x61")?;
    // The screen, and back to the text.
    terminal.type_keys("\x01c");
    terminal.wait_for("an empty screen", |shown| !shown.screen().contents().contains("byte 0x61"))?;
    terminal.type_keys("b");
    std::thread::sleep(Duration::from_millis(100));
    terminal.type_keys("\x01c");
    terminal.wait_for_text("key 0x30")?;
    terminal.wait_for_text("key 0xb0")?;
    terminal.type_keys("\x1b");
    terminal.end()?.expect_status(0)?;
    Ok(())
}

fn serial_command_line() -> Result<(), Failed> {
    let terminal = Terminal::kvm(Kvm::new().arg(example("serial")), 80, 25);
    terminal.wait_for_text("> ")?;
    terminal.type_keys("ecx\x7fho Good morning\r");
    terminal.wait_for_text("> echo Good morning\nGood morning\n> ")?;
    terminal.type_keys("status\r");
    terminal.wait_for_text("line status 0x60, can send, all sent")?;
    terminal.type_keys("quit\r");
    terminal.end()?.expect_status(0)?.expect_text("bye\nkvm: the guest halted; result (RAX) 3")?;
    Ok(())
}

fn ctrl_c_for_the_guest() -> Result<(), Failed> {
    let terminal = Terminal::kvm(serial_echo_kvm(), 80, 25);
    crate::support::wait_until("raw mode", || terminal.is_raw())?;
    terminal.type_keys("a\r");
    terminal.wait_for_text("A")?;
    terminal.type_keys("b\x03c\r");
    terminal.wait_for("the second line", |shown| shown.bytes.windows(3).any(|bytes| bytes == b"B\x03C"))?;
    terminal.type_keys("\x04");
    terminal.end()?.expect_status(0)?;
    Ok(())
}

fn typed_early() -> Result<(), Failed> {
    let terminal = Terminal::kvm(keyboard_echo_kvm(), 80, 25);
    crate::support::wait_until("raw mode", || terminal.is_raw())?;
    terminal.type_keys("early bird");
    terminal.wait_for_text("early bird")?;
    terminal.type_keys("\x1b");
    terminal.end()?.expect_status(0)?;
    Ok(())
}

fn every_key_of_a_pipe() -> Result<(), Failed> {
    let text = "The Quick Brown Fox, 0123456789; jumps over (the) lazy dog?\n".repeat(100);
    let ran = keyboard_echo_kvm().input(format!("{text}\x1b").as_bytes()).run();
    ran.expect_out(&format!("Type; Escape ends.\n{text}\n"))?.expect_status(0)?;
    let ran = serial_echo_kvm().input(format!("{text}\x04").as_bytes()).run();
    ran.expect_out(&text.to_uppercase())?.expect_status(0)?;
    Ok(())
}

fn pipe_that_stays_open() -> Result<(), Failed> {
    let kvm = serial_echo_kvm();
    let mut child =
        kvm.command().stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    let deadline = Deadline::new(child.id());
    let mut stdin = child.stdin.take().ok_or("no pipe")?;
    let mut stdout = child.stdout.take().ok_or("no pipe")?;
    // More than one read takes, and nothing after it.
    let text = "some line or other\n".repeat(300);
    stdin.write_all(text.as_bytes())?;
    let mut echo = vec![0; text.len()];
    stdout.read_exact(&mut echo)?;
    assert_eq!(String::from_utf8_lossy(&echo), text.to_uppercase());
    stdin.write_all(b"\x04")?;
    assert_eq!(child.wait()?.code(), Some(0));
    assert!(!deadline.stop(), "killed");
    Ok(())
}

fn control_characters_in_a_pipe() -> Result<(), Failed> {
    let ran = serial_echo_kvm().input(b"\x03a\x01xb\x1b[A\n\x04").run();
    ran.expect_out("\x03A\x01XB\x1b[A\n")?.expect_status(0)?;
    Ok(())
}

fn end_of_a_pipe() -> Result<(), Failed> {
    let ran = serial_echo_kvm().args(["--timeout", "0.5"]).input(b"one\n").run();
    ran.expect_out("ONE\n")?.expect_status(12)?;
    Ok(())
}

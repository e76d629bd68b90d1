//! The mouse: by the console's commands, and by the mouse of a terminal.

use libtest_mimic::{Failed, Trial};
use vt100::{MouseProtocolEncoding, MouseProtocolMode};

use crate::support::console::{KvmWithConsole, expect_equal};
use crate::support::debugger::expect;
use crate::support::pty::{Shown, Terminal};
use crate::support::{Kvm, guest_test, wait_until};

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    vec![
        guest_test("the_console_moves_the_mouse_and_presses_its_buttons", || by_console(&[])),
        guest_test("the_console_moves_the_mouse_and_presses_its_buttons_with_irqchip_kernel", || {
            by_console(&["--irqchip", "kernel"])
        }),
        guest_test("movements_survive_a_snapshot_in_memory", over_a_snapshot),
        guest_test("a_terminals_mouse_moves_the_guests", by_terminal),
        guest_test("a_terminal_reports_its_mouse_only_for_the_guests_screen", reports_follow_the_view),
        guest_test("mouse_off_leaves_the_mouse_to_the_terminal", mouse_off),
    ]
}

fn reports(shown: &Shown) -> bool {
    let screen = shown.screen();
    screen.mouse_protocol_mode() == MouseProtocolMode::AnyMotion
        && screen.mouse_protocol_encoding() == MouseProtocolEncoding::Sgr
}

/// A guest with a console that has enabled its mouse, and writes to a file.
fn started(arguments: &[&str]) -> Result<KvmWithConsole, Failed> {
    let arguments = [&["--serial", "1=file:serial.txt"], arguments].concat();
    let kvm = KvmWithConsole::start("mouse", &arguments)?;
    wait_for(&kvm, "the right button ends.\n")?;
    Ok(kvm)
}

/// Waits until the guest has written `text`.
fn wait_for(kvm: &KvmWithConsole, text: &str) -> Result<(), Failed> {
    let file = kvm.file("serial.txt");
    let mut written = String::new();
    let waited = wait_until("the guest's text", || {
        written = std::fs::read_to_string(&file).unwrap_or_default();
        written.contains(text)
    });
    waited.map_err(|_| format!("{text:?} expected; the guest wrote\n{written}").into())
}

fn by_console(arguments: &[&str]) -> Result<(), Failed> {
    let kvm = started(arguments)?;
    wait_for(&kvm, "A mouse with a wheel.\n")?;
    let mut client = kvm.connect()?;
    for (line, text) in [
        ("mouse_move 20 -5", "x 20 y -5 wheel 0 buttons 0\n"),
        ("mouse_button 1", "x 20 y -5 wheel 0 buttons 1\n"),
        ("mouse_move 1000 300 2", "x 1020 y 295 wheel -2 buttons 1\n"),
        ("mouse_button 0", "x 1020 y 295 wheel -2 buttons 0\n"),
    ] {
        expect_equal(&client.ask(line)?, "")?;
        wait_for(&kvm, text)?;
    }
    expect(&client.ask("mouse_move one")?, "use: mouse_move DX DY [DZ]")?;
    client.send(b"mouse_button 2\n")?;
    expect(&client.rest()?, "kvm: the guest halted; result (RAX) 12 ")?;
    kvm.finish()?.expect_status(0).map(drop)
}

fn over_a_snapshot() -> Result<(), Failed> {
    let kvm = started(&[])?;
    let mut client = kvm.connect()?;
    client.ask("pause")?;
    client.ask("mouse_move 1000 0")?;
    expect(&client.ask("snapshot moving")?, "moving")?;
    client.ask("resume")?;
    wait_for(&kvm, "x 1000 y 0 wheel 0 buttons 0\n")?;
    client.ask("pause")?;
    expect(&client.ask("restore moving")?, "moving")?;
    client.ask("mouse_move 7 0")?;
    client.ask("resume")?;
    wait_for(&kvm, "x 1007 y 0 wheel 0 buttons 0\n")?;
    client.send(b"mouse_button 2\n")?;
    let _ = client.rest();
    kvm.finish()?.expect_status(0).map(drop)
}

fn by_terminal() -> Result<(), Failed> {
    let terminal = Terminal::kvm(Kvm::with_guest("mouse").args(["--display", "vga"]), 80, 25);
    terminal.wait_for("reports of the mouse", reports)?;
    // The first report says where the pointer is; then three columns right and two rows up, a click, the wheel up.
    terminal.type_keys("\x1b[<35;10;10M\x1b[<35;13;8M\x1b[<0;13;8M\x1b[<0;13;8m\x1b[<64;13;8M");
    terminal.type_keys("\x1b[<2;13;8M");
    let ended = terminal.end()?;
    ended.expect_status(0)?.expect_restored()?;
    // Movements may come with the button that follows them.
    for text in
        ["x 24 y -32 wheel 0 buttons 1\nx 24 y -32 wheel 0 buttons 0\n", "x 24 y -32 wheel -1 buttons 2\n"]
    {
        ended.expect_text(text)?;
    }
    Ok(())
}

fn reports_follow_the_view() -> Result<(), Failed> {
    let terminal = Terminal::kvm(Kvm::with_guest("mouse").args(["--display", "vga"]), 80, 25);
    terminal.wait_for("reports of the mouse", reports)?;
    terminal.type_keys("\x01c");
    terminal.wait_for("no reports beside text", |shown| !reports(shown))?;
    terminal.type_keys("\x01c");
    terminal.wait_for("reports of the mouse again", reports)?;
    terminal.type_keys("\x01x");
    terminal.end()?.expect_status(14)?.expect_restored()?;
    let text = Terminal::kvm(Kvm::with_guest("mouse").args(["--display", "serial"]), 80, 25);
    text.wait_for_text("the right button ends.")?;
    text.type_keys("\x01x");
    let ended = text.end()?;
    ended.check(!ended.wrote(b"\x1b[?1003"), "no reports").map(drop)
}

fn mouse_off() -> Result<(), Failed> {
    let options = ["--display", "vga", "--mouse", "off", "--timeout", "1"];
    let ended = Terminal::kvm(Kvm::with_guest("mouse").args(options), 80, 25).end()?;
    ended.expect_status(12)?.expect_restored()?.expect_text("the right button ends.")?;
    ended.check(!ended.wrote(b"\x1b[?1003"), "no reports").map(drop)
}

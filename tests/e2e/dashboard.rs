//! `--dashboard`: guest and machine side by side on a terminal.

use libtest_mimic::{Failed, Trial};

use crate::gdb::gdb_test;
use crate::support::debugger::{expect, output};
use crate::support::pty::{Shown, Terminal};
use crate::support::{Kvm, example, guest_test};

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    vec![
        guest_test("the_dashboard_needs_a_terminal", needs_terminal),
        guest_test("the_dashboard_steps_and_marks_what_has_changed", steps),
        guest_test("a_breakpoint_of_the_dashboard_stops_the_guest", stops_at_breakpoint),
        guest_test("the_dashboard_steps_over_a_call", steps_over),
        guest_test("the_dashboard_pauses_a_running_guest_and_lets_it_go_on", pauses),
        guest_test("the_dashboard_follows_pointers", follows),
        guest_test("the_dashboard_shows_source_lines_above_their_instructions", shows_source_lines),
        guest_test("the_dashboard_shows_what_maps_and_events_show", shows_maps_and_events),
        guest_test("the_dashboard_shows_the_guests_text_and_passes_keys_on", passes_keys_on),
        guest_test("the_dashboard_shows_serial_text_and_leaves_it_on_the_terminal", shows_serial_text),
        guest_test("the_dashboard_follows_the_terminals_size", follows_size),
        guest_test("the_dashboard_shows_a_crash_until_a_key_and_the_report_after_it", shows_crash),
        guest_test("the_terminal_is_restored_when_a_signal_ends_the_dashboard", ends_by_signal),
        guest_test("the_dashboard_has_no_colours_with_no_color", without_colours),
        gdb_test("gdb_can_wait_beside_the_dashboard", beside_gdb),
    ]
}

/// The guest on a terminal of the usual size, paused at its first instruction.
fn paused(guest: &str) -> Terminal {
    Terminal::kvm(Kvm::with_guest(guest).arg("--dashboard=paused"), 80, 24)
}

fn running(guest: &str) -> Terminal {
    Terminal::kvm(Kvm::with_guest(guest).arg("--dashboard"), 80, 24)
}

/// The text of a row.
fn row(shown: &Shown, row: u16) -> String {
    shown.screen().rows(0, 200).nth(row.into()).unwrap_or_default()
}

fn status(terminal: &Terminal, text: &str) -> Result<(), Failed> {
    terminal.wait_for(text, |shown| row(shown, 0).contains(text)).map(drop)
}

fn quit(terminal: Terminal) -> Result<(), Failed> {
    terminal.type_keys("q");
    let ended = terminal.end()?;
    ended.expect_restored()?.expect_text("kvm: ended by the user").map(drop)
}

fn needs_terminal() -> Result<(), Failed> {
    let ran = Kvm::with_guest("recursion").arg("--dashboard").run();
    ran.expect_status(2)?.expect_err("--dashboard needs a terminal, and standard input is none")?;
    let ran = Kvm::with_guest("recursion").args(["--dashboard", "--display=none"]).run();
    ran.expect_status(2)?.expect_err("--display none keeps that empty").map(drop)
}

fn steps() -> Result<(), Failed> {
    let terminal = paused("recursion");
    status(&terminal, "recursion.elf  paused at _start  64-bit mode, ring 0")?;
    terminal.wait_for_text("=>00200000 xor ebp, ebp")?;
    terminal.type_keys("s");
    status(&terminal, "paused at _start+0x2")?;
    terminal.wait_for_text("=>00200002 call guest_main")?;
    terminal.wait_for_text("RIP*0000000000200002")?;
    terminal.wait_for_text("RBX 0")?;
    quit(terminal)
}

fn stops_at_breakpoint() -> Result<(), Failed> {
    let terminal = paused("recursion");
    status(&terminal, "paused at _start")?;
    terminal.type_keys("gfibonacci\r");
    terminal.wait_for_text("fibonacci:")?;
    // The cursor is at the function before the breakpoint is set there.
    terminal.wait_for("the cursor", |shown| !shown.screen().contents().contains("=>"))?;
    terminal.type_keys("b");
    terminal.wait_for_text("breakpoint 1 at 0x")?.wait_for_text("* 00")?;
    terminal.type_keys("c");
    status(&terminal, "paused at fibonacci ")?;
    terminal.wait_for_text("(fibonacci), hit 1")?.wait_for_text("*>00")?;
    terminal.type_keys("b");
    terminal.wait_for_text("deleted: number 1")?.wait_for_text("=>00")?;
    terminal.type_keys("c");
    terminal.wait_for_text("result (RAX) 610")?;
    terminal.type_keys("q");
    let ended = terminal.end()?;
    ended
        .expect_status(0)?
        .expect_restored()?
        .expect_text("kvm: the guest halted; result (RAX) 610")
        .map(drop)
}

fn steps_over() -> Result<(), Failed> {
    let terminal = paused("recursion");
    status(&terminal, "paused at _start")?;
    terminal.type_keys("s");
    status(&terminal, "paused at _start+0x2")?;
    terminal.type_keys("n");
    // What follows the call has a name of its own.
    status(&terminal, "paused at stop ")?;
    terminal.wait_for_text("RAX*0000000000000262")?;
    terminal.wait_for("no word of the breakpoint", |shown| row(shown, 23).starts_with("p pause"))?;
    quit(terminal)
}

fn pauses() -> Result<(), Failed> {
    let terminal = running("endless");
    status(&terminal, "endless.elf  runs")?;
    terminal.type_keys("p");
    status(&terminal, "paused at")?;
    terminal.type_keys("c");
    status(&terminal, "runs")?;
    // Exits are counted: `kicks` are those of the dashboard.
    terminal.type_keys("\t\t\t\t\t");
    terminal.wait_for_text("kicks")?.wait_for_text("/s")?;
    // A guest that runs is paused before it is stepped.
    terminal.type_keys("s");
    status(&terminal, "paused at")?;
    quit(terminal)
}

fn follows() -> Result<(), Failed> {
    let terminal = paused("recursion");
    status(&terminal, "paused at _start")?;
    terminal.type_keys("ss");
    status(&terminal, "paused at guest_main")?;
    // From the code to the registers, and to the stack, whose top is the return address.
    terminal.type_keys("\t\t\r");
    let memory_at = |address| {
        terminal.wait_for(address, |shown| {
            row(shown, 18).contains("─ Memory ─") && row(shown, 20).contains(&format!("│{address} "))
        })
    };
    memory_at("00200007")?;
    // Two panes back, whose cursor is at RIP.
    terminal.type_keys("\x1b[Z\x1b[Z\r");
    memory_at("00200050")?;
    terminal.type_keys("\x7f");
    memory_at("00200007")?;
    terminal.type_keys("z");
    terminal.wait_for("one pane", |shown| row(shown, 1).starts_with("─ Memory ─"))?;
    terminal.type_keys("?");
    terminal.wait_for_text("execute one instruction")?;
    terminal.type_keys(" z");
    terminal.wait_for_text("─ Code ─")?;
    quit(terminal)
}

fn shows_source_lines() -> Result<(), Failed> {
    let kvm = Kvm::with_guest("recursion").arg("--dashboard=paused");
    // The name in the debug information is relative to where the guest was compiled.
    std::fs::create_dir(kvm.folder.file("target-examples"))?;
    std::fs::write(
        kvm.folder.file("target-examples/recursion.c"),
        include_str!("../../target-examples/recursion.c"),
    )?;
    let terminal = Terminal::kvm(kvm, 80, 24);
    status(&terminal, "paused at _start")?;
    terminal.type_keys("gguest_main\r");
    terminal.wait_for_text("recursion.c:18  return fibonacci(15);")?;
    // A wide pane has room for the folders.
    terminal.type_keys("z");
    terminal.wait_for_text("target-examples/recursion.c:18  return fibonacci(15);")?;
    quit(terminal)
}

fn shows_maps_and_events() -> Result<(), Failed> {
    let terminal = running("hello-serial");
    terminal.wait_for_text("any other key leaves")?;
    terminal.type_keys("\t\t\t\t");
    terminal.wait_for_text("─ Maps ─")?;
    terminal.wait_for_text("│0000000000200000   62M rwxu- .text .rodata")?;
    terminal.type_keys("z");
    // As `maps` of the console.
    terminal
        .wait_for_text("0000000000200000-0000000003ffffff -> 000000200000    62M 2M rwxu-  .text .rodata")?;
    terminal.type_keys("z\t\t");
    terminal.wait_for_text("─ Events ─")?.wait_for_text("hlt with interrupts off")?;
    terminal.type_keys("z");
    // As `events`.
    terminal.wait_for_text("55 @0  hlt with interrupts off")?;
    terminal.wait_for_text("\"Hello from the bare metal!\\n\"")?;
    terminal.type_keys("q");
    terminal.end()?.expect_status(0)?.expect_restored().map(drop)
}

fn passes_keys_on() -> Result<(), Failed> {
    let terminal = Terminal::kvm(Kvm::new().arg(example("keyboard")).arg("--dashboard"), 80, 24);
    terminal.wait_for_text("─ Screen ─")?.wait_for_text("Press keys; Escape ends.")?;
    terminal.type_keys("i");
    terminal.wait_for_text("keys go to the guest; Ctrl-A comes back")?;
    terminal.type_keys("aQ");
    terminal.wait_for_text("1E 9E 2A 10 90 AA")?;
    terminal.type_keys("\x01p");
    status(&terminal, "paused at")?;
    quit(terminal)
}

fn shows_serial_text() -> Result<(), Failed> {
    let terminal = running("hello-serial");
    terminal.wait_for_text("─ Serial port ─")?.wait_for_text("Hello from the bare metal!")?;
    terminal.wait_for_text("the guest halted")?.wait_for_text("any other key leaves")?;
    terminal.type_keys("\t");
    terminal.type_keys("\r");
    let ended = terminal.end()?;
    ended.expect_status(0)?.expect_restored()?;
    ended.expect_text("Hello from the bare metal!\nkvm: the guest halted").map(drop)
}

fn follows_size() -> Result<(), Failed> {
    let terminal = paused("recursion");
    status(&terminal, "paused at _start")?;
    terminal.wait_for("the hint in the last row", |shown| row(shown, 23).starts_with("p pause"))?;
    terminal.resize(140, 50);
    terminal.wait_for("the hint in the last row", |shown| row(shown, 49).starts_with("p pause"))?;
    for title in ["─ Memory ─", "─ Maps ─", "─ Exits ─", "─ Events ─"] {
        terminal.wait_for_text(title)?;
    }
    terminal.resize(1, 1);
    std::thread::sleep(std::time::Duration::from_millis(200));
    terminal.resize(50, 10);
    terminal.wait_for("one pane", |shown| row(shown, 1).starts_with("─ Code ─"))?;
    quit(terminal)
}

fn shows_crash() -> Result<(), Failed> {
    let terminal = running("triple-fault");
    terminal.wait_for_text("any other key leaves")?.wait_for_text("triple fault")?;
    status(&terminal, "over at")?;
    terminal.type_keys("x");
    let ended = terminal.end()?;
    ended.expect_restored()?.expect_text("triple fault")?;
    ended.check(ended.status != Some(0), "the status of a crash").map(drop)
}

fn ends_by_signal() -> Result<(), Failed> {
    for guest in ["endless", "hello-serial"] {
        let terminal = running(guest);
        // The second one is over, and is still shown.
        status(&terminal, if guest == "endless" { "runs" } else { "over" })?;
        terminal.signal("TERM");
        terminal.end()?.expect_restored()?;
    }
    Ok(())
}

fn without_colours() -> Result<(), Failed> {
    let colour = |bytes: &[u8]| bytes.windows(4).any(|four| matches!(four, b";92m" | b";36m" | b";90m"));
    for (value, wanted) in [("", true), ("1", false)] {
        let kvm = Kvm::with_guest("recursion").arg("--dashboard=paused");
        let terminal = Terminal::start(kvm.command().env("NO_COLOR", value), 80, 24);
        status(&terminal, "paused at _start")?;
        terminal.type_keys("q");
        let ended = terminal.end()?;
        ended.check(colour(&ended.bytes) == wanted, "colours unless NO_COLOR is set")?;
    }
    Ok(())
}

fn beside_gdb() -> Result<(), Failed> {
    let kvm = Kvm::with_guest("recursion").args(["--dashboard", "--gdb=unix:gdb"]);
    let socket = kvm.folder.file("gdb");
    let terminal = Terminal::kvm(kvm, 80, 24);
    status(&terminal, "waits for gdb at _start")?;
    let mut gdb = std::process::Command::new("gdb");
    let connect = format!("target remote {}", socket.display());
    let commands = [&connect, "break fibonacci", "continue", "kill"];
    gdb.args(["-nx", "-batch"]).args(commands.iter().flat_map(|command| ["-ex", command]));
    gdb.arg(crate::support::guest("recursion"));
    expect(&output(&mut gdb)?, "Breakpoint 1, ")?;
    terminal.end()?.expect_restored().map(drop)
}

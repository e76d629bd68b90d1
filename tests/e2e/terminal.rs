//! What the user of a terminal sees and types, and that the terminal comes back as it was.

use libtest_mimic::{Failed, Trial};
use vt100::Color;

use crate::support::pty::{Ended, Shown, Terminal};
use crate::support::{Kvm, example, guest_test};

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    vec![
        guest_test("serial_text_on_a_terminal_is_plain_lines", serial_text_is_plain_lines),
        guest_test("a_vga_guest_gets_the_terminals_other_screen", a_vga_guest_gets_the_other_screen),
        guest_test("the_screen_has_the_vgas_characters_colours_and_cursor", the_screen_is_the_vgas),
    ]
}

const DOWN: &[u8] = b"\x1b[B";

/// One of the prebuilt programs on a terminal of the usual size.
fn example_on_terminal(name: &str) -> Terminal {
    Terminal::kvm(&Kvm::new().arg(example(name)), 80, 25)
}

fn on_other_screen(shown: &Shown) -> bool {
    shown.screen().alternate_screen()
}

fn serial_text_is_plain_lines() -> Result<(), Failed> {
    let ended = Terminal::kvm(&Kvm::with_guest("hello-serial"), 80, 25).end()?;
    ended.expect_status(0)?.expect_given_back()?;
    ended.expect_text("Hello from the bare metal!\nkvm: the guest halted")?;
    ended.check(!ended.bytes.windows(6).any(|bytes| bytes == b"\x1b[?104"), "no other screen")?;
    ended.check(!ended.bytes.windows(2).any(|bytes| bytes[1] == b'\n' && bytes[0] != b'\r'), "only CR LF")?;
    Ok(())
}

fn a_vga_guest_gets_the_other_screen() -> Result<(), Failed> {
    let terminal = example_on_terminal("keyboard");
    terminal.wait_for("the other screen", on_other_screen)?.wait_for_text("Press keys; Escape ends.")?;
    assert!(terminal.is_raw());
    terminal.type_keys("aQ");
    terminal.wait_for_text("1E 9E 2A 10 90 AA")?;
    terminal.type_keys("\x1b");
    let ended = terminal.end()?;
    ended.expect_status(0)?.expect_given_back()?;
    ended.expect_text("Scan codes, set 1\nPress keys; Escape ends.")?.expect_text("90 AA 01")?;
    ended.expect_text("kvm: the guest halted; result (RAX) 7")?;
    Ok(())
}

fn the_screen_is_the_vgas() -> Result<(), Failed> {
    let terminal = example_on_terminal("vga");
    terminal.wait_for_text("c colours  b blink")?;
    let colour = |row, column| terminal.shown().screen().cell(row, column).map(|cell| cell.bgcolor());
    for (row, ansi) in [(0, 0), (1, 4), (2, 2), (3, 6), (4, 1), (5, 5), (6, 3), (7, 7)] {
        assert_eq!(colour(row, 40), Some(Color::Idx(ansi)), "row {row}");
    }
    // Rows 8 to 15 blink: their text is there and then not.
    terminal.wait_for("blinking text", |shown| text_at(shown, 9, 5, 4) == "text")?;
    terminal.wait_for("hidden text", |shown| text_at(shown, 9, 5, 4) == "    ")?;
    assert_eq!(colour(9, 40), Some(Color::Idx(4)));
    terminal.type_keys("b");
    terminal.wait_for("a bright background", |shown| {
        shown.screen().cell(9, 40).is_some_and(|cell| cell.bgcolor() == Color::Idx(12))
    })?;
    // The face is character 1, and the cursor is on it.
    assert_eq!(text_at(&terminal.shown(), 12, 40, 1), "☺");
    let cursor = |shown: &Shown| (shown.screen().cursor_position(), shown.cursor_shape());
    assert_eq!(cursor(&terminal.shown()), ((12, 40), 3));
    terminal.type_keys(DOWN);
    terminal.wait_for("the face a row below", |shown| cursor(shown) == ((13, 40), 3))?;
    terminal.type_keys("ss");
    terminal.wait_for("a block", |shown| cursor(shown) == ((13, 40), 1))?;
    terminal.type_keys("s");
    terminal.wait_for("no cursor", |shown| shown.screen().hide_cursor())?;
    terminal.type_keys("d");
    terminal.wait_for("row 1 on top", |shown| text_at(shown, 0, 1, 2) == "01")?;
    terminal.type_keys("\x1b");
    terminal.end()?.expect_status(0)?.expect_given_back()?;
    Ok(())
}

fn text_at(shown: &Shown, row: u16, column: u16, length: u16) -> String {
    shown
        .screen()
        .contents_between(row, column, row, column + length)
        .chars()
        .chain("    ".chars())
        .take(length.into())
        .collect()
}

fn _keep(_: &Ended) {}

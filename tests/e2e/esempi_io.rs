//! The programs of `esempi-io` do what their documentation says.

use libtest_mimic::Trial;

use crate::support::{HALTED_0, Kvm, exact_output, guest_test, halted, source};

/// A program of `esempi-io`, whose ELF files are in the repository.
fn example(name: &str) -> Kvm {
    Kvm::new().arg(source(&format!("esempi-io/{name}.elf")))
}

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    vec![
        guest_test("esempi_io_keyboard_shows_scan_codes", || {
            for keys in ["keyboard", "auto"] {
                let ran = example("keyboard").args(["--dump-screen", "--keys", keys]).input(b"aB\x1b").run();
                let out = "Scan codes, set 1\nPress keys; Escape ends.\npressed  released  prefix\n\n\
                           1E 9E 2A 30 B0 AA 01\n";
                ran.expect_exactly(&exact_output(0, out, halted(7)))?;
            }
            Ok(())
        }),
        guest_test("esempi_io_keyboard_shows_cursor_keys", || {
            let ran = example("keyboard").args(["--dump-screen"]).input(b"\x1b[A\x1b[1;5C\x1b").run();
            ran.expect_status(0)?;
            let codes = "\n\nE0 48 E0 C8 1D E0 4D E0 CD 9D 01\n";
            ran.check(ran.out.ends_with(codes), &format!("a screen that ends with {codes:?}"))?;
            Ok(())
        }),
        guest_test("esempi_io_vga_scrolls", || {
            let ran =
                example("vga").args(["--dump-screen", "--keys", "keyboard"]).input(b"ddu\x1b[A\x1b").run();
            let row = |number: usize| match number {
                25 => " 25  c colours  b blink  s cursor  u/d scroll  arrows move  Escape ends\n".to_owned(),
                11 => format!(" 11  text on a background{}☺\n", " ".repeat(15)),
                number => format!(" {number:02}  text on a background\n"),
            };
            let screen: String = (1..=25).map(row).collect();
            ran.expect_exactly(&exact_output(0, &screen, HALTED_0))?;
            Ok(())
        }),
        guest_test("esempi_io_serial_is_a_command_line", || {
            let ran = example("serial")
                .args(["--keys", "serial"])
                .input(b"helo\x7f\x7flp\recho hello, you\rnope\r\rquit\r")
                .run();
            let out = "A command line on COM1; try help.\r\n> helo\x08 \x08\x08 \x08lp\r\n\
                       help       this list\r\necho TEXT  prints the text\r\n\
                       status     the line status register\r\nquit       the end (or Ctrl-D)\r\n\
                       > echo hello, you\r\nhello, you\r\n> nope\r\nunknown command; try help\r\n\
                       > \r\n> quit\r\nbye\r\n";
            ran.expect_exactly(&exact_output(0, out, halted(4)))?;
            Ok(())
        }),
    ]
}

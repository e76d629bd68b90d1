//! A gdb without a file reads the guest's file, and no other.

use libtest_mimic::{Failed, Trial};

use crate::gdb::gdb_test;
use crate::support::debugger::{KvmWithGdb, ask, expect};
use crate::support::{guest, guest_test};

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    vec![
        gdb_test("a_gdb_without_a_file_finds_the_guests_symbols", || {
            let kvm = KvmWithGdb::start("recursion", &[], b"")?;
            let commands = ["break fibonacci if n == 3", "continue", "backtrace 2"];
            let output = kvm.gdb_with_file(None, &commands)?;
            expect(&output, "Reading symbols from target:/")?;
            expect(&output, "Breakpoint 1, fibonacci (n=n@entry=3)")?;
            expect(&output, " in fibonacci (n=n@entry=4)")?;
            kvm.finish()?.expect_status(0).map(drop)
        }),
        gdb_test("a_relocated_guest_is_debugged_by_its_symbols", || {
            for file in [None, Some(guest("static-pie"))] {
                let kvm = KvmWithGdb::start("static-pie", &[], b"")?;
                let commands = ["break guest_main", "continue", "print $pc"];
                let output = kvm.gdb_with_file(file.as_deref(), &commands)?;
                expect(&output, "Breakpoint 1, guest_main ()")?;
                expect(&output, "<guest_main>\n")?;
                kvm.finish()?.expect_status(0)?;
            }
            Ok(())
        }),
        guest_test("only_the_guests_file_can_be_read_and_none_written", || {
            let kvm = KvmWithGdb::start("recursion", &[], b"")?;
            let mut client = kvm.connect()?;
            let path = guest("recursion").canonicalize()?;
            let hex = |path: &str| path.bytes().map(|byte| format!("{byte:02x}")).collect::<String>();
            let own = hex(path.to_str().unwrap_or_default());
            let name = ask(&mut client, "qXfer:exec-file:read::0,fff")?;
            expect_is("the name", &name, &format!("m{}", path.display()))?;
            for (packet, answer) in [
                (format!("vFile:open:{},0,0", hex("/etc/passwd")), "F-1,02"),
                (
                    format!("vFile:open:{},0,0", hex(&format!("{}/../recursion.elf", path.display()))),
                    "F-1,02",
                ),
                (format!("vFile:open:{own},1,0"), "F-1,1e"),
                (format!("vFile:open:{own},602,1ff"), "F-1,1e"),
                (format!("vFile:open:{own},0,0"), "F03"),
                ("vFile:pread:3,4,0".to_owned(), "F04;\u{7f}ELF"),
                ("vFile:pread:3,4,ffffffffffffffff".to_owned(), "F00;"),
                ("vFile:pread:4,4,0".to_owned(), "F-1,09"),
                ("vFile:close:3".to_owned(), "F0"),
                (format!("vFile:unlink:{own}"), ""),
            ] {
                expect_is(&packet, &ask(&mut client, &packet)?, answer)?;
            }
            drop(client);
            kvm.finish()?.expect_status(0).map(drop)
        }),
    ]
}

fn expect_is(what: &str, got: &str, expected: &str) -> Result<(), Failed> {
    if got == expected { Ok(()) } else { Err(format!("{what}: `{expected}` expected, got `{got}`").into()) }
}

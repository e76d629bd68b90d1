//! gdb and code of real mode, where an address is more than what RIP says.

use libtest_mimic::Trial;

use crate::gdb::{debug, gdb_test};
use crate::support::debugger::{Waiting, expect};

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    vec![
        gdb_test("breakpoints_stop_the_guest_in_every_mode", || {
            let commands = [
                "break in_real",
                "break after_service",
                "break in_protected",
                "break in_long",
                "continue",
                "print $rip + $cs * 16 == (long)in_real",
                "continue",
                "print $rip + $cs * 16 == (long)after_service",
                "print $al",
                "continue",
                "print $rip == (long)in_protected",
                "continue",
                "print $rip == (long)in_long",
                "continue",
            ];
            let (said, ran) = debug("three-modes", &[], &commands)?;
            expect(&said, "$1 = 1\n")?;
            expect(&said, "$2 = 1\n$3 = 1\n")?;
            expect(&said, "$4 = 1\n")?;
            expect(&said, "$5 = 1\n")?;
            ran.expect_status(0)?.expect_err("result (RAX) 291 (0x123)").map(drop)
        }),
        gdb_test("real_mode_code_is_debugged_with_its_own_disassembly", || {
            // gdb gets the file from us: it refuses one that is given to it, which says x86-64.
            let waiting = Waiting::start("three-modes", &["--gdb-arch", "i8086"], b"")?;
            let commands = [
                "break in_real",
                "continue",
                "show architecture",
                "x/3i $cs * 16 + $eip",
                "monitor dis",
                "stepi",
                "print $bx",
                "stepi",
                "info registers cs eip",
                "delete",
                "continue",
            ];
            let said = waiting.gdb_with_file(None, &commands)?;
            expect(&said, "(currently \"i8086\")")?;
            expect(&said, "<in_real>:\tmov    $0x1234,%bx\n")?;
            expect(&said, "<call_service>:\tint    $0x10\n")?;
            expect(
                &said,
                "16-bit code, CS 0x1000 with base 0x10000\n=> 0x10084 <in_real>: mov bx, 0x1234\n",
            )?;
            expect(&said, "$1 = 4660\n")?;
            expect(&said, "cs             0x1000              4096\neip            0x8a ")?;
            waiting.finish()?.expect_status(0).map(drop)
        }),
        gdb_test("next_over_int_0x10_stops_behind_it", || {
            let commands = [
                "tbreak call_service",
                "continue",
                "stepi",
                "print $rip + $cs * 16 == (long)service",
                // The address to return to is on the stack.
                "tbreak *(*(unsigned short *)($ss * 16 + $rsp) + 16 * *(unsigned short *)($ss * 16 + $rsp + 2))",
                "continue",
                "print $rip + $cs * 16 == (long)after_service",
                "print $al",
                "continue",
            ];
            let (said, ran) = debug("three-modes", &[], &commands)?;
            expect(&said, "$1 = 1\n")?;
            expect(&said, "$2 = 1\n$3 = 1\n")?;
            ran.expect_status(0)?;
            let commands = [
                "tbreak call_service",
                "continue",
                "tbreak *($cs * 16 + $rip + 2)",
                "continue",
                "print $rip + $cs * 16 == (long)after_service",
                "print $al",
                "continue",
            ];
            let (said, ran) = debug("three-modes", &[], &commands)?;
            expect(&said, "$1 = 1\n$2 = 1\n")?;
            ran.expect_status(0)?.expect_err("result (RAX) 291 (0x123)").map(drop)
        }),
        gdb_test("a_halt_is_stepped_whatever_the_selector_of_real_mode", || {
            let commands = [
                "tbreak in_real",
                "continue",
                "set var *(unsigned char *)&in_real = 0xf4",
                "set $cs = 0xfff",
                "set $rip = $rip + 16",
                "print $rip + $cs * 16 == (long)in_real",
                "stepi",
            ];
            let (said, _) = debug("three-modes", &["--timeout", "20"], &commands)?;
            expect(&said, "$1 = 1\n")?;
            expect(&said, "kvm: the guest halted;")?;
            expect(&said, "Program received signal SIGTERM")
        }),
    ]
}

//! gdb and real-mode code, where an address is not RIP alone.

use libtest_mimic::Trial;

use crate::gdb::{debug, gdb_test};
use crate::support::debugger::{KvmWithGdb, expect};

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
            let (output, ran) = debug("three-modes", &[], &commands)?;
            expect(&output, "$1 = 1\n")?;
            expect(&output, "$2 = 1\n$3 = 1\n")?;
            expect(&output, "$4 = 1\n")?;
            expect(&output, "$5 = 1\n")?;
            ran.expect_status(0)?.expect_err("result (RAX) 291 (0x123)").map(drop)
        }),
        gdb_test("real_mode_code_is_debugged_with_its_own_disassembly", || {
            // gdb reads the file from the server: it would refuse a given one, whose architecture is x86-64.
            let kvm = KvmWithGdb::start("three-modes", &["--gdb-arch", "i8086"], b"")?;
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
            let output = kvm.gdb_with_file(None, &commands)?;
            expect(&output, "(currently \"i8086\")")?;
            expect(&output, "<in_real>:\tmov    $0x1234,%bx\n")?;
            expect(&output, "<call_service>:\tint    $0x10\n")?;
            expect(
                &output,
                "16-bit code, CS 0x1000 with base 0x10000\n=> 0x10084 <in_real>: mov bx, 0x1234 ; tests/guests/three-modes.S:28\n",
            )?;
            expect(&output, "$1 = 4660\n")?;
            expect(&output, "cs             0x1000              4096\neip            0x8a ")?;
            kvm.finish()?.expect_status(0).map(drop)
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
            let (output, ran) = debug("three-modes", &[], &commands)?;
            expect(&output, "$1 = 1\n")?;
            expect(&output, "$2 = 1\n$3 = 1\n")?;
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
            let (output, ran) = debug("three-modes", &[], &commands)?;
            expect(&output, "$1 = 1\n$2 = 1\n")?;
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
            let (output, _) = debug("three-modes", &["--timeout", "20"], &commands)?;
            expect(&output, "$1 = 1\n")?;
            expect(&output, "kvm: the guest halted;")?;
            expect(&output, "Program received signal SIGTERM")
        }),
    ]
}

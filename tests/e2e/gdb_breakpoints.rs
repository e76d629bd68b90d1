//! Breakpoints work whatever the guest does to its code, and in any number.

use libtest_mimic::{Failed, Trial};

use crate::gdb::{debug, gdb_test};
use crate::support::debugger::{KvmWithGdb, ask, expect};
use crate::support::guest_test;

/// Offsets in the routine of the guest `later`, behind its first instruction.
const INSIDE: std::ops::Range<u64> = 2..8;

/// These are the first to get debug registers, and never hit.
pub const UNUSED: [&str; 4] = ["break *0x1000", "break *0x1001", "break *0x1002", "break *0x1003"];

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    vec![
        gdb_test("thirty_breakpoints_are_all_hit", || {
            let set: Vec<String> = (0..30).map(|place| format!("break *((long)&sled + {place})")).collect();
            let mut commands: Vec<&str> = set.iter().map(String::as_str).collect();
            let shown = ["continue", "print (long)$pc - (long)&sled"];
            for _ in 0..30 {
                commands.extend(shown);
            }
            commands.push("continue");
            let (output, _) = debug("stepped", &["--timeout", "20"], &commands)?;
            for place in 0..30 {
                expect(&output, &format!("${} = {place}\n", place + 1))?;
            }
            expect(&output, "kvm: the guest halted")
        }),
        gdb_test("a_breakpoint_set_before_the_loader_has_run_is_hit", || {
            let commands = ["break *0x280000", "continue", "print $pc", "print $rbx", "continue", "continue"];
            let (output, _) = debug("later", &["--timeout", "20"], &commands)?;
            expect(&output, "$1 = (void (*)()) 0x280000")?;
            expect(&output, "$2 = 0\n")
        }),
        gdb_test("breakpoints_at_addresses_that_are_mapped_later_are_hit", || {
            let commands = ["break *0x40080000", "continue", "print $pc", "print $rbx", "delete", "continue"];
            let (output, _) = debug("later", &["--timeout", "20"], &commands)?;
            expect(&output, "$1 = (void (*)()) 0x40080000")?;
            expect(&output, "$2 = 1\n")?;
            expect(&output, "result (RAX) 2 (0x2)")
        }),
        gdb_test("a_software_breakpoint_stops_at_its_own_address_but_not_at_an_alias_of_it", || {
            let mut commands = UNUSED.to_vec();
            commands.extend([
                "break *0x40080000",
                "continue",
                "print $pc",
                "print $rbx",
                "delete",
                "continue",
            ]);
            let (output, _) = debug("later", &["--timeout", "20"], &commands)?;
            expect(&output, "$1 = (void (*)()) 0x40080000")?;
            expect(&output, "$2 = 1\n")?;
            expect(&output, "result (RAX) 2 (0x2)")
        }),
        gdb_test("more_breakpoints_than_debug_registers_survive_the_loader", || {
            let set: Vec<String> = INSIDE.map(|offset| format!("break *{}", 0x28_0000 + offset)).collect();
            let mut commands = UNUSED.to_vec();
            commands.extend(set.iter().map(String::as_str));
            commands.extend(["continue"; 6]);
            commands.extend(["print $pc", "info breakpoints", "delete", "continue"]);
            let (output, _) = debug("later", &["--timeout", "20"], &commands)?;
            expect(&output, "$1 = (void (*)()) 0x280007")?;
            if output.matches("breakpoint already hit 1 time").count() != 6 {
                return Err(format!("one hit each expected, gdb printed\n{output}").into());
            }
            expect(&output, "result (RAX) 2 (0x2)")
        }),
        gdb_test("hardware_breakpoints_displace_software_ones_from_the_debug_registers", || {
            let commands = [
                "break *((long)&sled + 1)",
                "break *((long)&sled + 3)",
                "hbreak *((long)&sled + 5)",
                "hbreak *((long)&sled + 7)",
                "hbreak *((long)&sled + 9)",
                "hbreak *((long)&sled + 11)",
                "continue",
                "continue",
                "print (long)$pc - (long)&sled",
                "continue",
                "continue",
                "continue",
                "continue",
                "print (long)$pc - (long)&sled",
            ];
            let (output, _) = debug("stepped", &["--timeout", "20"], &commands)?;
            expect(&output, "$1 = 3\n")?;
            expect(&output, "$2 = 11\n")
        }),
        guest_test("a_breakpoint_at_an_impossible_address_is_refused", || {
            let kvm = KvmWithGdb::start("recursion", &[], b"")?;
            let mut client = kvm.connect()?;
            for (packet, answer) in
                [("Z0,8000000000000000,1", "E16"), ("Z1,8000000000000000,1", "E16"), ("Z0,40000000,1", "OK")]
            {
                let got = ask(&mut client, packet)?;
                if got != answer {
                    return Err(Failed::from(format!("{packet}: `{answer}` expected, got `{got}`")));
                }
            }
            drop(client);
            kvm.finish()?.expect_status(0).map(drop)
        }),
    ]
}

//! Registers and memory as gdb reads and writes them.

use libtest_mimic::{Failed, Trial};

use crate::gdb::{debug, gdb_test};
use crate::support::debugger::{KvmWithGdb, ask, expect};
use crate::support::guest_test;

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    let mut trials = reading();
    trials.extend(writing());
    trials.extend(layouts());
    trials.extend(packets());
    trials
}

fn reading() -> Vec<Trial> {
    vec![
        gdb_test("gdb_shows_control_registers_with_the_names_of_their_bits", || {
            let commands = ["print $cr0", "print $cr4", "print $efer", "print/x $cr3", "info registers cr3"];
            let (output, _) = debug("recursion", &[], &commands)?;
            expect(&output, "$1 = [ PE MP ET NE WP PG ]\n")?;
            expect(&output, "$2 = [ PAE OSFXSR OSXMMEXCPT ]\n")?;
            expect(&output, "$3 = [ LME LMA NXE ]\n")?;
            expect(&output, "$4 = 0x16000\n")?;
            expect(&output, "cr3            0x16000             [ PCID=0 PDBR=22 ]\n")
        }),
        gdb_test("gdb_sees_the_address_of_a_page_fault_and_the_flags_by_name", || {
            let (output, _) =
                debug("wild-pointer", &[], &["continue", "print/x $cr2", "print $eflags", "print $rip"])?;
            expect(&output, "$1 = 0x700000000000\n")?;
            expect(&output, "IOPL=0")
        }),
        gdb_test("registers_are_read_again_after_each_stop", || {
            let commands = [
                "break fibonacci",
                "continue",
                "print $rdi",
                "continue",
                "print $rdi",
                "print $rsp - $rbp < 0",
            ];
            let (output, _) = debug("recursion", &[], &commands)?;
            expect(&output, "$1 = 15\n")?;
            expect(&output, "$2 = 14\n")
        }),
    ]
}

fn writing() -> Vec<Trial> {
    vec![
        gdb_test("gdb_sets_system_registers_and_they_stay_set", || {
            let commands = [
                "set $fs_base = 0x7fff0000",
                "set $gs_base = -4096",
                "set $k_gs_base = 0x1234000",
                "set $cr2 = 77",
                "set $cr4 = $cr4 | 4",
                "set $cr8 = 5",
                "set $st0 = 3.5",
                "set $mxcsr = 0x1fc0",
                "stepi",
                "printf \"%lx %lx %lx %ld %ld\\n\", $fs_base, $gs_base, $k_gs_base, $cr2, $cr8",
                "print $cr4",
                "print $st0",
                "print $mxcsr",
            ];
            let (output, ran) = debug("recursion", &[], &commands)?;
            expect(&output, "\n7fff0000 fffffffffffff000 1234000 77 5\n")?;
            expect(&output, "$1 = [ TSD PAE OSFXSR OSXMMEXCPT ]\n$2 = 3.5\n")?;
            expect(&output, "$3 = [ DAZ IM DM ZM OM UM PM ]\n")?;
            ran.expect_status(0).map(drop)
        }),
        gdb_test("an_impossible_processor_state_is_refused_with_the_reason", || {
            let commands = [
                "set $cr0 = $cr0 & ~0x80000000",
                "set $gs_base = 0x8000000000000000",
                "set $pc = 0x8000000000000000",
                "print $cr0",
                "print $gs_base",
            ];
            let (output, ran) = debug("recursion", &[], &commands)?;
            expect(&output, "must together be a state the processor can be in")?;
            expect(&output, "0x8000000000000000 is no address: its upper bits are not all the same")?;
            expect(&output, "$1 = [ PE MP ET NE WP PG ]\n$2 = 0\n")?;
            ran.expect_status(0).map(drop)
        }),
        gdb_test("writing_a_selector_loads_its_segment", || {
            // The boot GDT: 0x8 is code, 0x10 data, 0x18 a task state segment that ends the table.
            let commands = [
                "set $ds = 0x18",
                "set $ds = 0x28",
                "set $ds = 0x10",
                "set $es = 0",
                "set $cs = 0",
                "print $ds",
                "stepi",
                "print $ds",
            ];
            let (output, ran) = debug("recursion", &[], &commands)?;
            expect(&output, "the segment 0x18 is no code or data segment")?;
            expect(&output, "0x28 lies beyond the end of the GDT")?;
            expect(&output, "$1 = 16\n")?;
            expect(&output, "0x0 is the null selector, which CS cannot hold")?;
            expect(&output, "$2 = 16\n")?;
            ran.expect_status(0).map(drop)
        }),
    ]
}

fn layouts() -> Vec<Trial> {
    vec![
        gdb_test("gdb_arch_i386_shows_a_32_bit_processor", || {
            let arguments = ["--gdb-arch", "i386"];
            let kvm = KvmWithGdb::start("recursion", &arguments, b"")?;
            let commands =
                ["show architecture", "print/x $esp", "print $cr0", "set $ebx = 7", "stepi", "print $ebx"];
            let output = kvm.gdb_with_file(None, &commands)?;
            expect(&output, "(currently \"i386\")")?;
            expect(&output, "$1 = 0x14ff0\n$2 = [ PE MP ET NE WP PG ]\n")?;
            expect(&output, "$3 = 7\n")?;
            kvm.finish()?.expect_status(0).map(drop)
        }),
        gdb_test("gdb_arch_i8086_shows_a_16_bit_processor", || {
            let kvm = KvmWithGdb::start("recursion", &["--gdb-arch=i8086"], b"")?;
            let output = kvm.gdb_with_file(None, &["show architecture", "print/x $eip", "x/i $eip"])?;
            expect(&output, "(currently \"i8086\")")?;
            expect(&output, "$1 = 0x200000\n")?;
            // 16-bit code: the same bytes are `xor ebp, ebp` in a program of 64 bits.
            expect(&output, "xor    %bp,%bp\n")?;
            kvm.finish()?.expect_status(0).map(drop)
        }),
    ]
}

fn packets() -> Vec<Trial> {
    vec![
        guest_test("qemu_register_numbers_and_packets_work", || {
            let kvm = KvmWithGdb::start("recursion", &[], b"")?;
            let mut client = kvm.connect()?;
            for (packet, answer) in [
                ("p10", "0000200000000000"),
                ("p20", "000d000000000000"),
                ("pffff", "E16"),
                ("P1b", ""),
                ("P20=zz", "E16"),
                ("P0=efbeadde00000000", "OK"),
                ("p0", "efbeadde00000000"),
                ("qqemu.Supported", "sstepbits;sstep;PhyMemMode"),
                ("qqemu.sstepbits", "ENABLE=1,NOIRQ=2,NOTIMER=4"),
                ("Qqemu.sstepbits", "ENABLE=1,NOIRQ=2,NOTIMER=4"),
                ("qqemu.sstep", "0x7"),
                ("Qqemu.sstep=3", "OK"),
                ("qqemu.sstep", "0x3"),
                ("Qqemu.sstep=8", "E16"),
                ("x200000,3", "b1\u{fffd}\u{fffd}"),
                ("x0,0", "OK"),
            ] {
                expect_answer(packet, &ask(&mut client, packet)?, answer)?;
            }
            drop(client);
            kvm.finish()?.expect_status(0).map(drop)
        }),
        guest_test("written_memory_is_read_back", || {
            let kvm = KvmWithGdb::start("recursion", &[], b"")?;
            let mut client = kvm.connect()?;
            // Acknowledged, and then not.
            for round in 0..2 {
                for (packet, answer) in [
                    ("M1000000,4:00aBfF7f", "OK"),
                    ("m1000000,5", "00abff7f00"),
                    ("X1000001,3:}\u{3}}]\u{3}", "OK"),
                    ("m1000000,4", "00237d03"),
                    ("X1000000,0:", "OK"),
                    // More or fewer bytes than the length, and a character that is no hexadecimal digit.
                    ("M1000000,2:010203", "E16"),
                    ("M1000000,3:0102", "E16"),
                    ("M1000000,1:0g", "E16"),
                    ("X1000000,2:a}", "E16"),
                    ("M1000000,1", ""),
                    ("m1000000", ""),
                    ("m1000000,4", "00237d03"),
                ] {
                    expect_answer(packet, &ask(&mut client, packet)?, answer)?;
                }
                // Nearly as much as a packet holds, across many pages.
                let digits: String = (0..0xF000).map(|n| format!("{:02x}", n * 7 % 251)).collect();
                expect_answer("M", &ask(&mut client, &format!("M1000ffd,f000:{digits}"))?, "OK")?;
                expect_answer("m", &ask(&mut client, "m1000ffd,f000")?, &digits)?;
                if round == 0 {
                    expect_answer("QStartNoAckMode", &ask(&mut client, "QStartNoAckMode")?, "OK")?;
                }
            }
            drop(client);
            kvm.finish()?.expect_status(0).map(drop)
        }),
        guest_test("a_g_packet_sets_all_registers_or_none", || {
            let kvm = KvmWithGdb::start("recursion", &[], b"")?;
            let mut client = kvm.connect()?;
            let before = ask(&mut client, "g")?;
            // RAX, the first, and nothing else.
            let changed = format!("Gefbeadde00000000{}", &before[16..]);
            expect_answer("G", &ask(&mut client, &changed)?, "OK")?;
            expect_answer("g", &ask(&mut client, "g")?, &changed[1..])?;
            expect_answer("p0", &ask(&mut client, "p0")?, "efbeadde00000000")?;
            // An address that the processor cannot hold: nothing changes.
            let nowhere = format!("G{}0000000000000080{}", &before[..16 * 16], &before[17 * 16..]);
            if !ask(&mut client, &nowhere)?.starts_with("E.") {
                return Err("an RIP of 0x8000000000000000 is taken".into());
            }
            for wrong in [&changed[..changed.len() - 2], &format!("{changed}00"), "G", "Gzz"] {
                expect_answer(wrong, &ask(&mut client, wrong)?, "E16")?;
            }
            expect_answer("g", &ask(&mut client, "g")?, &changed[1..])?;
            drop(client);
            kvm.finish().map(drop)
        }),
        guest_test("physical_mode_bypasses_the_page_tables", || {
            let kvm = KvmWithGdb::start("higher-half", &[], b"")?;
            let mut client = kvm.connect()?;
            // Linked to the upper half, where no physical address is; RAM ends at 64 MiB.
            let virtual_bytes = ask(&mut client, "mffffffff80100000,4")?;
            if virtual_bytes.len() != 8 {
                return Err(format!("four bytes expected, got `{virtual_bytes}`").into());
            }
            for (packet, answer) in [
                ("qqemu.PhyMemMode", "0"),
                ("Qqemu.PhyMemMode:1", "OK"),
                ("mffffffff80100000,4", "E0e"),
                ("m100000,4", &virtual_bytes),
                ("Z0,ffffffff80100000,1", "OK"),
                ("z0,ffffffff80100000,1", "OK"),
                ("M3fffffe,2:abcd", "OK"),
                ("m3fffffe,4", "abcd"),
                ("M3ffffff,2:0000", "E0e"),
                ("qqemu.PhyMemMode", "1"),
                ("Qqemu.PhyMemMode:0", "OK"),
            ] {
                expect_answer(packet, &ask(&mut client, packet)?, answer)?;
            }
            expect_answer("back", &ask(&mut client, "mffffffff80100000,4")?, &virtual_bytes)?;
            drop(client);
            kvm.finish().map(drop)
        }),
        guest_test("a_stop_reply_has_the_expedited_registers", || {
            let kvm = KvmWithGdb::start("recursion", &[], b"")?;
            let mut client = kvm.connect()?;
            ask(&mut client, "?")?;
            let stop = ask(&mut client, "vCont;s:1")?;
            for part in ["T05thread:", "10:", "07:", "06:"] {
                if !stop.contains(part) {
                    return Err(format!("{part} is not in {stop}").into());
                }
            }
            drop(client);
            kvm.finish()?.expect_status(0).map(drop)
        }),
    ]
}

fn expect_answer(packet: &str, got: &str, answer: &str) -> Result<(), Failed> {
    if got == answer { Ok(()) } else { Err(format!("{packet}: `{answer}` expected, got `{got}`").into()) }
}

//! Kernels for the Limine boot protocol.

use std::io::Read;

use libtest_mimic::{Failed, Trial};

use crate::gdb::gdb_test;
use crate::support::debugger::{KvmWithGdb, expect};
use crate::support::{Kvm, Running, exact_output, guest, guest_test, halted, test};

/// What the kernel prints of the processor: all as the specification says.
const STATE: &str = "registers 0x0000000000000000\n\
                     return address 0x0000000000000000\n\
                     stack alignment 0x0000000000000008\n\
                     interrupts 0x0000000000000000\n\
                     paging, protection 0x0000000000000003\n\
                     cs, ds, ss 0x0000002800300030\n\
                     descriptor 0x0000000000000000\n\
                     descriptor 0x00009b000000ffff\n\
                     descriptor 0x000093000000ffff\n\
                     descriptor 0x00cf9b000000ffff\n\
                     descriptor 0x00cf93000000ffff\n\
                     descriptor 0x00af9b000000ffff\n\
                     descriptor 0x00cf93000000ffff\n";
const MACHINE: &str = "firmware 0x0000000000000000\n\
                       direct map 0xffff800000000000\n\
                       paging mode 0x0000000000000000\n\
                       RSDP 0x00000000000f0000\n\
                       date 0x000000003b9aca00\n\
                       kernel 0x0000000000200000\n\
                       mapped at 0xffffffff80000000\n\
                       the same memory\n\
                       framebuffer 1024 x 768 x 32, pitch 4096\n\
                       nothing else\n\
                       the stack is as large as requested\n";
const FILES: &str = "executable /limine.elf [colour=blue] at page offset 0x000 \n\
                     module /one.txt [first file] at page offset 0x000 some text\n\
                     module /two.bin [] at page offset 0x000 x\n";
const PROCESSORS: &str = "processors 0x0000000000000003\n\
                          local APIC 0x0000000000000000\n\
                          local APIC 0x0000000000000001\n\
                          answers 0x000000000000002a\n\
                          local APIC 0x0000000000000002\n\
                          answers 0x000000000000002a\n";

/// The tests of this file whose result depends on the processor.
pub fn trials() -> Vec<Trial> {
    vec![
        guest_test("a_limine_kernel_gets_all_that_the_specification_says", || {
            let ran = Kvm::with_guest("limine")
                .file("one.txt", "some text")
                .file("two.bin", "x")
                .args(["--cpus=3", "--rtc=1000000000", "--initrd=two.bin", "--module=one.txt=first file"])
                .args(["--", "colour=blue"])
                .run();
            let head = format!(
                "base revision 3\nloader kvm {}\ncommand line [colour=blue]\n",
                env!("CARGO_PKG_VERSION")
            );
            let (before, rest) = ran.out.split_once("0x00000000 + ").ok_or("no memory map")?;
            ran.check(before == [&head, STATE, MACHINE].concat(), "the state and the machine")?;
            let (map, rest) = rest.split_once("executable ").ok_or("no executable")?;
            expect_map(&format!("0x00000000 + {map}"))?;
            let (one, two) = FILES.split_once("module /two").ok_or("two modules")?;
            let (executable, one) = one.split_once("module").ok_or("a module")?;
            // The initial file system is the first module.
            let files = format!("{executable}module /two{two}module{one}");
            ran.check(format!("executable {rest}") == [&files, PROCESSORS].concat(), "files and processors")?;
            ran.expect_exactly(&exact_output(0, &ran.out, halted(3)))?;
            ran.expect_log(
                "guest of kind limine (kernel for the Limine boot protocol), recognised by its contents",
            )?;
            Ok(())
        }),
        guest_test("an_exception_before_a_limine_kernel_has_its_own_idt_is_reported", || {
            let ran = Kvm::with_guest("limine-crash").run();
            ran.expect_status(8)?.expect_err("page fault, #PF")?.expect_err("null pointer")?;
            ran.expect_err("(write_to")?.expect_err("(kernel_main")?.expect_err("limine-crash.c:12")?;
            // The exception has a stack of its own.
            let ran = Kvm::with_guest("limine-crash").args(["--report=crash.json", "--", "stack"]).run();
            ran.expect_status(8)?.expect_err("page fault, #PF")?.expect_err("(lost_stack")?;
            let report: serde_json::Value = serde_json::from_str(&ran.folder.read("crash.json"))?;
            ran.check(report["exception"]["recorded"] == true, "the processor has recorded it")?;
            ran.check(report["registers"]["rsp"] == "0x1000", "RSP as it was")?;
            Ok(())
        }),
        guest_test("processors_that_a_limine_kernel_leaves_parked_do_not_keep_the_run_going", || {
            expect_end_with_parked_processors("--irqchip=user")?;
            expect_end_with_parked_processors("--schedule=serial")
        }),
        guest_test(
            "processors_that_a_limine_kernel_leaves_parked_do_not_keep_the_run_going_with_irqchip_kernel",
            || expect_end_with_parked_processors("--irqchip=kernel"),
        ),
        guest_test("a_restored_and_reset_limine_kernel_starts_its_processors", || {
            let saved = Kvm::with_guest("limine")
                .args(["--cpus=2", "--timeout=1", "--snapshot-at-exit=middle.kvmstate", "--", "wait"])
                .run();
            saved.expect_status(12)?.check(saved.out.ends_with("waiting\n"), "it waits")?;
            let file = saved.folder.file("middle.kvmstate");
            // The processors that the snapshot has parked.
            let mut restored = Running::start(Kvm::new().arg("--restore").arg(&file));
            restored.send_input(b".")?;
            let ran = restored.finish()?;
            ran.expect_status(0)?.expect_err(&halted(2))?;
            let mut restored = Running::start(Kvm::new().arg("--restore").arg(&file));
            restored.send_input(b"r")?;
            // Input that has arrived before is lost in the reset.
            restored.with_stdout(expect_start)?;
            restored.send_input(b".")?;
            let ran = restored.finish()?;
            ran.expect_status(0)?.expect_err(&halted(2))?;
            ran.check(ran.out.ends_with("answers 0x000000000000002a\n"), "the other processor")?;
            Ok(())
        }),
        gdb_test("gdb_debugs_a_limine_kernel_by_its_symbols_in_the_higher_half", || {
            let kvm = KvmWithGdb::start("limine", &["--cpus=2"], b"")?;
            let commands = [
                "info symbol $pc",
                "x/i $pc",
                "break kernel_main",
                "continue",
                "print loader.response->revision",
                "print limine_base[1]",
                "break run_processor",
                "continue",
                "print processor->lapic_id",
                "info threads",
                "delete",
                "continue",
            ];
            let output = kvm.gdb("limine", &commands)?;
            expect(&output, "_start in section .text")?;
            expect(&output, "=> 0xffffffff80000000 <_start>:\tor     %rbx,%rax")?;
            expect(&output, "$1 = 0\n$2 = 3\n")?;
            expect(&output, "$3 = 1\n")?;
            expect(&output, "Thread 2 \"CPU 1\" hit Breakpoint 2, run_processor")?;
            kvm.finish()?.expect_status(0)?.expect_err(&halted(2))?;
            Ok(())
        }),
    ]
}

/// A kernel that never starts its other two processors ends the run when its own has halted.
fn expect_end_with_parked_processors(argument: &str) -> Result<(), Failed> {
    let ran = Kvm::with_guest("limine").args(["--cpus=3", "--vga=text", argument, "--", "alone"]).run();
    ran.expect_status(0)?.expect_err(&halted(1))?;
    ran.check(ran.out.contains("\nno framebuffer\n"), "nothing to draw on")?;
    Ok(())
}

/// The others.
pub fn others() -> Vec<Trial> {
    vec![
        test("inspect_shows_where_a_limine_kernel_is_loaded_and_mapped", || {
            let ran = Kvm::new().arg("inspect").arg(guest("limine")).run();
            ran.expect_status(0)?;
            for line in [
                "kind          limine: kernel for the Limine boot protocol, recognised by its contents\n",
                "mapped at 0xffffffff80000000..",
                "start         entry 0xffffffff80000000, stack 0xffff8",
                "instructions  0xffffffff80000000: or rax, rbx\n",
                "symbols       in the guest file; the first instruction is in _start\n",
            ] {
                ran.check(ran.out.contains(line), line)?;
            }
            Ok(())
        }),
        test("the_user_can_start_a_limine_kernel_and_only_such_a_kernel_by_the_protocol", || {
            let ran = Kvm::new().args(["inspect", "--boot=limine"]).arg(guest("limine")).run();
            ran.expect_status(0)?.check(ran.out.contains("chosen by --boot"), "it is chosen")?;
            for (name, expected) in [
                ("higher-half", "it has no requests of the Limine boot protocol and no base revision"),
                ("hello-serial", "the Limine boot protocol wants kernels at or above 0xffffffff80000000"),
            ] {
                let ran = Kvm::with_guest(name).arg("--boot=limine").run();
                ran.expect_status(4)?.check(ran.err.contains(expected), expected)?;
            }
            Ok(())
        }),
    ]
}

/// Reads what the kernel prints up to where it waits, and not a byte more.
fn expect_start(out: &mut impl Read) -> Result<(), Failed> {
    let mut found = Vec::new();
    while !found.ends_with(b"waiting\n") {
        let mut byte = [0];
        out.read_exact(&mut byte)?;
        found.extend(byte);
    }
    let found = String::from_utf8_lossy(&found);
    if found.starts_with("base revision 3\n") { Ok(()) } else { Err(found.into_owned().into()) }
}

/// The memory map of 64 MiB. How large the kernel is depends on the compiler.
fn expect_map(map: &str) -> Result<(), Failed> {
    let number = |text: &str| u64::from_str_radix(text.trim_start_matches("0x"), 16);
    let mut entries: Vec<(u64, u64, u64)> = Vec::new();
    for line in map.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let [base, "+", length, "type", kind] = words[..] else { return Err(line.to_owned().into()) };
        entries.push((number(base)?, number(length)?, kind.parse()?));
    }
    let start = [(0, 0x1000, 1), (0x1000, 0x9_E000, 0), (0x9_F000, 0x1000, 1), (0xF_0000, 0x1_0000, 1)];
    let kinds: Vec<u64> = entries.iter().skip(4).map(|entry| entry.2).collect();
    // Usable, the kernel, usable, what the loader has made, and files.
    let right = entries.starts_with(&start)
        && kinds == [0, 6, 0, 5, 6, 7]
        && entries[5].0 == 0x20_0000
        && entries[4..9].windows(2).all(|pair| pair[0].0 + pair[0].1 == pair[1].0)
        && entries[8].0 + entries[8].1 == 64 << 20
        && entries[9] == (0xFD00_0000, 1024 * 768 * 4, 7);
    if right { Ok(()) } else { Err(format!("memory map: {map}").into()) }
}

//! Kernels for Multiboot loaders, of both versions and both classes of ELF files.

use libtest_mimic::{Failed, Trial};

use crate::gdb::gdb_test;
use crate::support::debugger::{KvmWithGdb, expect};
use crate::support::{Kvm, Lane, exact_output, guest, guest_test, halted, lane};

const MAGIC_1: u64 = 0x2BAD_B002;
const MAGIC_2: u64 = 0x36D7_6289;

/// What both guests print of the processor.
const STATE: &str =
    "cr0 0x00000011 if 0x00000000 cs 0x00000008 ds 0x00000010 ss 0x00000010 gdt limit 0x00000017\n";
/// The memory map of 64 MiB.
const MEMORY: &str = "memory 0x00000000 + 0x0009fc00 type 0x00000001\n\
                      memory 0x0009fc00 + 0x00000400 type 0x00000002\n\
                      memory 0x000f0000 + 0x00010000 type 0x00000002\n\
                      memory 0x00100000 + 0x03f00000 type 0x00000001\n";
const SIZES: &str = "lower 0x0000027f upper 0x0000fc00\n";
const SCREEN: &str = "screen 0x000b8000 pitch 0x000000a0 width 0x00000050 height 0x00000019 depth 0x00000010 type \
                      0x00000002\n";
const SECTIONS: &str = "section names found, guest_main found\n";
const MODULES: [&str; 2] = [
    "module of 0x00000011 offset 0x00000000 [a b] first line\n",
    "module of 0x00000001 offset 0x00000000 [] x\n",
];

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    vec![
        guest_test("a_multiboot_kernel_gets_all_that_the_specification_says", || {
            let loader = format!("loader [kvm {}]\n", env!("CARGO_PKG_VERSION"));
            let head = "flags 0x0000126d\n";
            let line = "command line [root=none debug]\n";
            let out = [STATE, head, SIZES, line, &loader, MODULES[0], MODULES[1], MEMORY, SCREEN, SECTIONS];
            let ran = with_modules("multiboot1").run();
            ran.expect_exactly(&exact_output(0, &out.concat(), halted(MAGIC_1)))?;
            ran.expect_log("guest of kind multiboot (Multiboot kernel), recognised by its contents")?;
            let ran = with_modules("multiboot1-elf64").run();
            ran.expect_status(0)?.check(ran.out == out.concat(), "the same from a 64-bit ELF file")?;
            expect_note(&ran.err, "Multiboot")
        }),
        guest_test("a_multiboot2_kernel_gets_all_that_the_specification_says", || {
            let out = with_modules("multiboot2").run();
            expect_tags(&out.out)?;
            out.expect_exactly(&exact_output(0, &out.out, halted(MAGIC_2)))?;
            let ran = with_modules("multiboot2-elf64").run();
            expect_tags(&ran.expect_status(0)?.out)?;
            expect_note(&ran.err, "Multiboot2")?;
            ran.expect_log("WARN kvm::machine: the 64-bit ELF file has a Multiboot2 header")?;
            Ok(())
        }),
        guest_test("a_multiboot_kernel_that_is_no_elf_file_is_loaded_by_its_header", || {
            let ran =
                Kvm::new().arg(guest("multiboot-flat").with_extension("bin")).args(["--", "hello"]).run();
            ran.expect_exactly(&exact_output(0, "0 hello\n", halted(MAGIC_1)))?;
            Ok(())
        }),
        guest_test("a_restored_and_reset_multiboot_kernel_gets_its_information_again", || {
            for (name, magic) in [("multiboot1", MAGIC_1), ("multiboot2", MAGIC_2)] {
                let saved = Kvm::with_guest(name)
                    .file("module.txt", "still here\n")
                    .args([
                        "--module=module.txt",
                        "--timeout=2",
                        "--snapshot-at-exit=middle.kvmstate",
                        "--",
                        "wait",
                    ])
                    .run();
                saved.expect_status(12)?.check(saved.out.ends_with("waiting\n"), "it waits")?;
                let file = saved.folder.file("middle.kvmstate");
                // What arrives before the reset and is not read is there after it.
                let restored = Kvm::new().arg("--restore").arg(&file).input(b"r.").run();
                restored.expect_status(0)?.expect_err(&halted(magic))?;
                let started_again = restored.out.contains(STATE) && restored.out.contains("waiting\n");
                restored.check(started_again, "a new start after the reset")?;
                restored.check(restored.out.contains("still here\n"), "the module")?;
            }
            Ok(())
        }),
        gdb_test("a_module_that_the_kernel_links_is_debugged_by_its_names", || {
            let (kernel, module) = (guest("teaching-kernel"), guest("teaching-module").with_extension("o"));
            let initrd = format!("--initrd={}", guest("teaching-root").with_extension("tar").display());
            let given = format!("--module={}=module", module.display());
            let options = [initrd.as_str(), &given, "--append=no-paging"];
            let kvm = KvmWithGdb::start_file(&kernel, &options)?;
            let output = kvm.gdb_with_file(
                None,
                &[
                    &format!("monitor symbols {} @module_memory", module.display()),
                    "monitor break module_main if u32(calls) == 0",
                    "monitor symbols nowhere",
                    &format!("monitor symbols {}", module.display()),
                    "continue",
                    "monitor dis $eip 1",
                    "monitor bt",
                ],
            )?;
            let (_, at) = output.split_once("teaching-module.o are added @").ok_or_else(|| output.clone())?;
            let at = at.lines().next().unwrap_or_default();
            for part in [
                &format!("breakpoint 1 at {at} (module_main)\n") as &str,
                "there is no file `nowhere`",
                "is relocatable: say behind an `@` where it was loaded",
                "(module_main), hit 1\n",
                " <module_main>: ",
                "guest_main+0x",
            ] {
                expect(&output, part)?;
            }
            kvm.finish()?;
            // The same from the start, and by gdb itself.
            let symbols = format!("--symbols={}@{at}", module.display());
            let kvm = KvmWithGdb::start_file(&kernel, &[&options[..], &[&symbols]].concat())?;
            let add = format!("add-symbol-file {} {at}", module.display());
            let commands =
                ["monitor sym module_main", &add, "break module_main", "continue", "monitor symbols"];
            let output = kvm.gdb_with_file(Some(&kernel), &commands)?;
            expect(&output, &format!("{at} (module_main)\n"))?;
            expect(&output, ": file target-examples/teaching-module.c, line ")?;
            // gdb prefers the name of the kernel's object.
            expect(&output, "Breakpoint 1, 0x")?;
            expect(&output, " in module_memory ()")?;
            expect(&output, &format!("teaching-module.o @{at}\n"))?;
            kvm.finish().map(drop)
        }),
        guest_test("a_teaching_kernel_gets_ticks_links_its_module_and_reads_its_files", || {
            // Ring 0 cannot turn on 32-bit paging where KVM interprets it.
            let (word, paging) = match lane() {
                Lane::Emulated => ("no-paging", ""),
                _ => ("", "paging is on\n"),
            };
            let ran = Kvm::with_guest("teaching-kernel")
                .arg("--initrd")
                .arg(guest("teaching-root").with_extension("tar"))
                .arg(format!("--module={}=module", guest("teaching-module").with_extension("o").display()))
                .args(["--memory", "16M", "--", "show=README.md", word])
                .run();
            let out = format!(
                "15999 KiB available\n3 ticks\n{paging}the module runs for the time number 1\nREADME.md: # Example \
                 guests\n"
            );
            ran.expect_exactly(&exact_output(0, &out, halted(42)))?;
            Ok(())
        }),
        gdb_test("gdb_debugs_a_multiboot_kernel_by_its_symbols", || {
            let kvm = KvmWithGdb::start("multiboot1", &[], b"")?;
            let commands = [
                "info symbol $pc",
                "x/i $pc",
                "break guest_main",
                "continue",
                "print/x magic",
                "print/x info->flags",
                "stepi",
                "bt 1",
                "monitor dis",
                "delete",
                "continue",
            ];
            let output = kvm.gdb("multiboot1", &commands)?;
            expect(&output, "_start in section .text")?;
            expect(&output, "<_start>:\tmov    $0x")?;
            expect(&output, "$1 = 0x2badb002\n$2 = 0x126d\n")?;
            expect(&output, "#0  ")?;
            expect(&output, "32-bit code")?;
            kvm.finish()?.expect_status(0)?.expect_err(&halted(MAGIC_1))?;
            Ok(())
        }),
    ]
}

fn with_modules(name: &str) -> Kvm {
    Kvm::with_guest(name).file("one.txt", "first line\nsecond").file("two.bin", "x").args([
        "--memory=64M",
        "--module=one.txt=a b",
        "--module=two.bin",
        "--",
        "root=none",
        "debug",
    ])
}

fn expect_note(err: &str, version: &str) -> Result<(), Failed> {
    let note = format!("kvm: the 64-bit ELF file has a {version} header, so it is started by {version}, ");
    if err.starts_with(&note) { Ok(()) } else { Err(format!("{note}: {err}").into()) }
}

/// The transcript of the guest for version 2. How many sections it has depends on the compiler.
fn expect_tags(out: &str) -> Result<(), Failed> {
    let sections = out.lines().find_map(|line| line.strip_prefix("tag 0x00000009 size 0x"));
    let sections = sections.and_then(|size| usize::from_str_radix(size, 16).ok()).unwrap_or(0);
    let loader = format!("kvm {}", env!("CARGO_PKG_VERSION"));
    let tag = |kind: u32, size: usize, text: &str| format!("tag {kind:#010x} size {size:#010x}\n{text}");
    let expected = [
        STATE.to_owned(),
        tag(1, 8 + 16, "command line [root=none debug]\n"),
        tag(2, 8 + loader.len() + 1, &format!("loader [{loader}]\n")),
        tag(3, 16 + 4, MODULES[0]),
        tag(3, 16 + 1, MODULES[1]),
        tag(4, 16, SIZES),
        tag(6, 16 + 4 * 24, MEMORY),
        tag(8, 32, SCREEN),
        tag(9, sections, SECTIONS),
        tag(14, 8 + 20, "sum 0x00000000 RSDT\n"),
        tag(15, 8 + 36, "sum 0x00000000 RSDT\n"),
    ];
    if out == expected.concat() { Ok(()) } else { Err(format!("expected {expected:?}\nfound {out}").into()) }
}

// SPDX-License-Identifier: MIT OR GPL-2.0
//! `driver/gate` accepts core as `driver/build-core` compiles it, and refuses objects with one fault each.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn driver() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

fn run(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

/// Assembles `source`, in a file of this name, and asks the gate. The result is what it reports.
fn gate(name: &str, source: &str) -> Result<(), String> {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let (assembly, object) = (folder.join(format!("{name}.S")), folder.join(format!("{name}.o")));
    std::fs::write(&assembly, source).unwrap();
    let assembled = run(Command::new("gcc").arg("-c").arg(&assembly).arg("-o").arg(&object));
    assert!(assembled.status.success(), "{assembled:?}");
    let judged = run(Command::new(driver().join("gate")).arg(&object));
    let report = String::from_utf8(judged.stderr).unwrap();
    assert_eq!(judged.status.success(), report.is_empty(), "{report}");
    if judged.status.success() { Ok(()) } else { Err(report) }
}

#[test]
fn core_passes() {
    let assembly = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("built.S");
    let built = run(Command::new(driver().join("build-core")).arg(&assembly));
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let source = std::fs::read_to_string(&assembly).unwrap();
    assert_eq!(gate("core", &source), Ok(()));
    for function in functions_of_the_header() {
        assert!(source.contains(&format!("\n{function}:")), "{function} of core.h is not in core");
    }
}

/// The names of the functions that `core.h` declares.
fn functions_of_the_header() -> Vec<String> {
    let header = std::fs::read_to_string(driver().join("core.h")).unwrap();
    let names: Vec<String> = header
        .lines()
        .filter(|line| !line.starts_with([' ', '\t', '#', '/']))
        .filter_map(|line| line.split_once('(')?.0.split_whitespace().next_back().map(str::to_owned))
        .filter(|name| name.starts_with("yakvm_"))
        .collect();
    assert!(names.len() > 15, "{names:?}");
    names
}

#[test]
fn each_fault_is_refused() {
    let faults = [
        ("sse", "movdqu %xmm0, (%rdi)", "vector registers"),
        ("avx", "vpxor %ymm1, %ymm2, %ymm3", "vector registers"),
        ("mmx", "movq %mm0, (%rdi)", "vector registers"),
        ("x87", "fldl (%rdi)", "vector registers"),
        ("call_register", "call *%rax", "speculation"),
        ("call_memory", "call *8(%rax)", "speculation"),
        ("jump_register", "jmp *%rax", "speculation"),
        ("jump_table", "jmp *table(,%rax,8)\n.section .rodata\ntable: .quad 0", "speculation"),
        ("tail_call", "notrack jmp *%rax", "speculation"),
        ("got", "mov memcpy@GOTPCREL(%rip), %rax", "relocations"),
        ("tls", "mov %fs:value@tpoff, %rax\n.section .tdata,\"awT\"\nvalue: .quad 0", "relocations"),
        ("return", "ret", "__x86_return_thunk"),
        ("return_popping", "ret $8", "__x86_return_thunk"),
        ("return_with_prefix", "rep ret", "__x86_return_thunk"),
        ("red_zone", "mov %rax, -8(%rsp)", "below the stack pointer"),
        ("red_zone_indexed", "mov %rax, -128(%rsp,%rcx,8)", "below the stack pointer"),
        ("undefined", "call malloc", "does not have:"),
        ("panic", "call _ZN4core9panicking5panic17h0E", "does not have:"),
        ("panic_inside", "call _ZN4core9panicking5panic17h0E\n_ZN4core9panicking5panic17h0E: nop", "panic"),
        ("state", ".bss\ncounter: .quad 0", "keeps state"),
    ];
    for (name, source, report) in faults {
        let function = format!(".text\nfunction: nop\n{source}\n.text\njmp __x86_return_thunk\n");
        let refused = gate(name, &function).expect_err(name);
        assert!(refused.contains(report), "{name}: {refused}");
    }
    let harmless = ".text\nfunction: mov 8(%rsp), %rax\ncall memcpy\ncall function\njmp __x86_return_thunk\n";
    assert_eq!(gate("harmless", harmless), Ok(()));
    assert!(gate("empty", "").is_err());
}

#[test]
fn the_source_has_no_unsafe_block_and_does_not_allocate_or_format() {
    let mut files = 0;
    for file in std::fs::read_dir(driver().join("core/src")).unwrap() {
        let path = file.unwrap().path();
        let source = std::fs::read_to_string(&path).unwrap();
        let code: String = source.lines().map(|line| line.split("//").next().unwrap_or("")).collect();
        for word in ["unsafe {", "unsafe fn", "dyn ", "alloc::", "format!", "panic!", "unwrap()", "expect("] {
            assert!(!code.contains(word), "{}: '{word}'", path.display());
        }
        files += 1;
    }
    assert!(files > 5);
}

//! Every triple fault is reported with its exception, the reason, and why nothing handled it.

use libtest_mimic::{Failed, Trial};

use crate::support::{Kvm, Lane, guest_test, lane, resets_registers};

/// The message on hosts whose registers are reset by a triple fault, if the guest has tables of its own.
pub const HIDDEN: &str =
    "kvm: triple fault; this host has already reset the registers, so where it happened is not known.";

/// The kinds with an IDT or page tables of their own: nothing records the exception.
const OWN_TABLES: &[&str] = &[
    "gate_missing",
    "gate_beyond_limit",
    "gate_selector",
    "handler_stack",
    "new_page_tables",
    "own_stack",
    "frame_on_tables",
];

/// Where no IDT is loaded.
const NO_IDT: &str = "No usable IDT is loaded, so the first exception ends the machine.";

/// The kinds of the guest `faults`, and what the report says of them.
const KINDS: &[(&str, &str, &str)] = &[
    ("divide_by_zero", "`div ecx`: divide error, #DE (vector 0): a division by zero.", NO_IDT),
    (
        "divide_overflow",
        "`div ecx`: divide error, #DE (vector 0): the quotient does not fit into its register.",
        NO_IDT,
    ),
    (
        "unaligned_operand",
        "1]`: general protection, #GP (vector 13, error code 0x0): the operand at 0x202",
        "1 is not aligned to 16 bytes. No usable IDT is loaded",
    ),
    (
        "not_canonical",
        "general protection, #GP (vector 13, error code 0x0): a read of 0x800000000000, which is not a canonical \
         address.",
        NO_IDT,
    ),
    (
        "return_not_canonical",
        "`ret`: general protection, #GP (vector 13, error code 0x0): a jump to 0x1234567890abcdef, which is not a \
         canonical address.",
        NO_IDT,
    ),
    (
        "selector_beyond_limit",
        "`mov ds, ax`: general protection, #GP (vector 13, error code 0x1000: GDT selector 0x1000, index 512): selector 0x1000 lies beyond the \
         limit of the GDT, 0x27.",
        NO_IDT,
    ),
    (
        "selector_not_present",
        "`mov ds, ax`: segment not present, #NP (vector 11, error code 0x10: GDT selector 0x10, index 2): the segment of selector 0x10 is not \
         present.",
        NO_IDT,
    ),
    (
        "unmapped_read",
        "page fault, #PF (vector 14, error code 0x0: not present, read, supervisor): a read of 0x700000000000, where nothing is mapped.",
        NO_IDT,
    ),
    (
        "null_read",
        "page fault, #PF (vector 14, error code 0x0: not present, read, supervisor): a read of 0x0, where nothing is mapped: a null pointer.",
        NO_IDT,
    ),
    (
        "null_call",
        "page fault, #PF (vector 14, error code 0x10: not present, fetch, supervisor): a jump to 0x0, where nothing is mapped: a null pointer. The \
         return address on the stack is 0x2000",
        "(null_call+0x4). No usable IDT is loaded",
    ),
    (
        "unmapped_call",
        "a jump to 0x700000000000, where nothing is mapped. The return address on the stack is 0x2000",
        "(unmapped_call+0xc). No usable IDT is loaded",
    ),
    (
        "data_call",
        "page fault, #PF (vector 14, error code 0x11: protection, fetch, supervisor): a jump to 0x202",
        "a page of data, which is not executable. The return address on the stack is 0x2000",
    ),
    (
        "read_only_write",
        "page fault, #PF (vector 14, error code 0x3: protection, write, supervisor): a write to 0x2000",
        ", a read-only page. No usable IDT is loaded",
    ),
    (
        "stack_overflow",
        "page fault, #PF (vector 14, error code 0x2: not present, write, supervisor): a write to 0x",
        "ff8, where nothing is mapped, below the stack: a stack overflow. What is pushed goes to 0x4ff8, 0x8 bytes \
         below the boot stack. No usable IDT is loaded",
    ),
    ("invalid_opcode", "`ud2`: invalid opcode, #UD (vector 6).", NO_IDT),
    ("software_interrupt", "`int 0x80`: software interrupt 0x80 (vector 128).", NO_IDT),
    (
        "bad_msr",
        "`wrmsr`: general protection, #GP (vector 13, error code 0x0): the processor does not accept the register \
         or its value.",
        NO_IDT,
    ),
    ("no_sse", "`movaps xmm0, xmm1`: invalid opcode, #UD (vector 6): CR4.OSFXSR is 0.", NO_IDT),
    (
        "gate_missing",
        "#UD (vector 6). The IDT is loaded, but the gate for #UD is not present; the same holds for the double \
         fault, #DF.",
        "",
    ),
    (
        "gate_beyond_limit",
        "#UD (vector 6). The IDT is loaded, but its limit 0x3f ends before the gate for #UD; the same holds",
        "",
    ),
    (
        "gate_selector",
        "#UD (vector 6). The IDT is loaded, but the gate for #UD cannot be used: selector 0x50 lies beyond the \
         limit of the GDT, 0x27; the same holds",
        "",
    ),
    (
        "handler_stack",
        "#UD (vector 6). The IDT is loaded, but #UD could not be pushed on its stack: RSP is 0x700000000000, where \
         nothing writable is mapped; the same holds",
        "",
    ),
    (
        "ring_3_privileged",
        "(privileged_code), instruction `cli`: general protection, #GP (vector 13, error code 0x0) in ring 3: only \
         ring 0 may execute this instruction.",
        NO_IDT,
    ),
];

/// The same without `--strict`: the guest's data can be executed, and its stack can grow over its code.
const KINDS_WITHOUT_STRICT: &[(&str, &[&str])] = &[
    (
        "simd_exception",
        &[
            "`divss xmm0, xmm1`: SIMD floating-point exception, #XM (vector 19): a division by zero, which MXCSR \
           does not mask.",
            NO_IDT,
        ],
    ),
    (
        "x87_exception",
        &[
            "(x87_next), instruction `fld1`: x87 floating-point error, #MF (vector 16): a division by zero in the \
             x87 instruction at 0x2001",
            ", which FCW does not mask.",
            NO_IDT,
        ],
    ),
    (
        "trap_flag",
        &[
            "(trap_flag+0xa), instruction `cld`: debug exception, #DB (vector 1): RFLAGS.TF is set, so the \
             instruction before has raised it.",
            NO_IDT,
        ],
    ),
    (
        "ring_3_unaligned",
        &[
            "(unaligned_code), instruction `mov eax, [0x202",
            "alignment check, #AC (vector 17, error code 0x0) in ring 3: the operand at 0x202",
            " is not aligned to 4 bytes, and CR0.AM and RFLAGS.AC are set.",
            NO_IDT,
        ],
    ),
    (
        "new_page_tables",
        &[
            "page fault, #PF (vector 14, error code 0x10: not present, fetch, supervisor): the next instruction is at 0x2001",
            ", where nothing is mapped: the instruction before has changed the paging, and the new page tables do \
             not map the code. The IDT is loaded, but the gate for #PF at 0x",
            " does not lie in mapped memory",
        ],
    ),
    (
        "zeros_call",
        &[
            "instruction `add [rax], al`: page fault, #PF (vector 14, error code 0x2: not present, write, supervisor): a write to 0x700000000000, \
             where nothing is mapped. The bytes at RIP are zeros, in section `.bss`, which the guest file marks as \
             data. The return address on the stack is 0x2001",
            "(zeros_call+0x11).",
            NO_IDT,
        ],
    ),
    (
        "zeros_run",
        &[
            "where no code is mapped: page fault, #PF (vector 14, error code 0x10: not present, fetch, supervisor): the next instruction is at 0x",
            "where nothing is mapped; the bytes before it are zeros, which execute as `add [rax], al`. The return \
             address on the stack is 0x2002",
            "(zeros_run+0x1d).",
            NO_IDT,
        ],
    ),
    (
        "data_code",
        &[
            "(data_that_is_code), instruction `ud2`: invalid opcode, #UD (vector 6). RIP is in section `.data`, \
             which the guest file marks as data. The return address on the stack is 0x2002",
            "(data_code+0x7).",
            NO_IDT,
        ],
    ),
    (
        "own_stack",
        &[
            "RSP is 0x200",
            " bytes below `own_stack_bottom`, the lowest address of a stack, in section `.text`: a stack overflow",
            ". A stack has overwritten the IDT: at 0x204",
            "(recurse+0x5), an address of code. The IDT has no usable gate.",
        ],
    ),
    (
        "frame_on_tables",
        &[
            "RSP is 0x204",
            "0x10 bytes below `frame_stack_bottom`, the lowest address of a stack: a stack overflow. A stack has \
             overwritten the GDT: at 0x204",
            " it holds the frame of an exception.",
        ],
    ),
];

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    let mut trials: Vec<Trial> = KINDS
        .iter()
        .map(|(kind, first, second)| {
            guest_test(&format!("a_triple_fault_names_its_exception: {kind}"), || {
                expect(kind, &[first, second])
            })
        })
        .collect();
    trials.extend(KINDS_WITHOUT_STRICT.iter().map(|(kind, parts)| {
        guest_test(&format!("a_triple_fault_names_its_exception: {kind}"), || {
            expect_of(Kvm::with_guest("faults").args(["--append", kind]), parts, !OWN_TABLES.contains(kind))
        })
    }));
    trials.push(guest_test("a_boot_stack_without_a_guard_page_that_overflows_is_named", || {
        let kvm = Kvm::with_guest("faults").args(["--append", "stack_overflow", "--no-guards"]);
        let parts = [
            "a write to 0xfffffffffffffff8, where nothing is mapped: RSP does not point to a stack. RSP is 0x0, 0x",
            " bytes below the boot stack: a stack overflow. A stack has overwritten the IDT: at 0x",
            " it holds 0x2000",
            "(stack_overflow+0x5), an address of code. The IDT has no usable gate.",
        ];
        // The stack has overwritten the IDT.
        expect_of(kvm, &parts, false)
    }));
    trials.push(guest_test("a_handler_of_protected_mode_without_room_on_its_stack_is_named", || {
        let parts = [
            "(fault), instruction `int 0x20`: software interrupt 0x20 (vector 32). The IDT is loaded, but vector \
             0x20 could not be pushed on its stack: ESP is 0x300000, and the limit of the stack segment is 0xfff",
        ];
        expect_of(Kvm::with_guest("handler-stack-32"), &parts, false)
    }));
    trials.push(guest_test("a_syscall_that_stays_in_ring_3_is_named_as_the_reason", || {
        let explained: &[&str] = match lane() {
            Lane::Emulated => &[
                "(kernel_entry), instruction `cli`: general protection, #GP (vector 13, error code 0x0) in ring 3: \
                 only ring 0 may execute this instruction. `syscall` stays in ring 3 on this host (`kvm check`, \
                 calls.syscall): run the guest on a host with VT-x or AMD-V.",
            ],
            _ => &["(kernel_entry+0x1), instruction `ud2`: invalid opcode, #UD (vector 6)."],
        };
        expect("ring_3_syscall", explained)
    }));
    trials.push(guest_test("a_crash_without_a_log_names_no_log", || {
        let kvm = Kvm::with_guest("faults").args(["--append", "invalid_opcode"]);
        // A folder in place of the default log file cannot be written, and the user did not choose it.
        std::fs::create_dir(kvm.folder.file("console.log"))?;
        let ran = kvm.run();
        ran.expect_status(8)?.expect_err("running without a log")?;
        ran.check(!ran.err.contains("has all registers"), "no name of a log")?;
        Ok(())
    }));
    trials.push(guest_test("an_unmapped_access_is_called_a_page_fault", || {
        let ran = Kvm::with_guest("faults").args(["--append", "unmapped_read", "--logfile", "my.log"]).run();
        ran.expect_err("page fault")?.expect_err(" The log my.log has all registers.\n")?;
        ran.check(ran.folder.read("my.log").contains("CR2    0x0000700000000000"), "the log to have CR2")?;
        Ok(())
    }));
    trials
}

/// The guest `faults` must end with a report that has all of `parts`, in this order.
fn expect(kind: &str, parts: &[&str]) -> Result<(), Failed> {
    let kvm = Kvm::with_guest("faults").args(["--append", kind, "--strict"]);
    expect_of(kvm, parts, !OWN_TABLES.contains(&kind))
}

/// The guest of `kvm` must end with a report that has all of `parts`, in this order. `recorded`: the first IDT has
/// taken the exception, so every host knows it.
fn expect_of(kvm: Kvm, parts: &[&str], recorded: bool) -> Result<(), Failed> {
    let ran = kvm.run();
    ran.expect_status(8)?.expect_out("")?;
    match lane() {
        Lane::Amd if resets_registers() && !recorded => return ran.expect_err(HIDDEN).map(drop),
        Lane::Other if !recorded && ran.err.starts_with(HIDDEN) => return Ok(()),
        _ => {}
    }
    let recorded_line = ran.folder.read("console.log").contains("  recorded exception: ");
    ran.check(recorded_line == recorded, "the log to tell whether the exception was recorded")?;
    ran.expect_err_in_order(parts)?;
    ran.check(ran.err.starts_with("kvm: triple fault at 0x"), "the location")?;
    // What follows are the callers.
    ran.check(ran.err.contains(" The log console.log has all registers.\n"), "the name of the log")?;
    Ok(())
}

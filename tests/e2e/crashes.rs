//! The mistakes that end most young kernels: each is reported with the exception, its error code, the cause and the place,
//! on every kind of host.

use libtest_mimic::{Failed, Trial};

use crate::gdb::{debug, gdb_test};
use crate::support::debugger::expect;
use crate::support::{FinishedRun, Folder, Kvm, Lane, guest_test, lane, resets_registers, source};
use crate::triple_faults::HIDDEN;

/// A kind of crash, which the guest `crashes` shows.
struct Class {
    /// The word on the guest's command line.
    word: &'static str,
    /// Further options.
    options: &'static [&'static str],
    /// What the report says, in this order: the place, the exception, the cause.
    says: &'static [&'static str],
    /// The guest has tables of its own, so that some hosts know nothing about the exception.
    own_tables: bool,
}

impl Class {
    const fn new(word: &'static str, says: &'static [&'static str]) -> Class {
        Class { word, options: &[], says, own_tables: false }
    }

    const fn with_options(self, options: &'static [&'static str]) -> Class {
        Class { options, ..self }
    }

    const fn with_own_tables(self) -> Class {
        Class { own_tables: true, ..self }
    }
}

const CLASSES: &[Class] = &[
    Class::new(
        "null-read",
        &[
            " (null_read+0x",
            "page fault, #PF (vector 14, error code 0x0: not present, read, supervisor): a read of 0x0",
            "a null pointer",
        ],
    ),
    Class::new(
        "null-write",
        &[
            " (null_write+0x",
            "page fault, #PF (vector 14, error code 0x2: not present, write, supervisor): a write to 0x0",
            "a null pointer",
        ],
    ),
    Class::new(
        "null-call",
        &[
            "at 0x0, where no code is mapped: page fault, #PF (vector 14, error code 0x10: not present, fetch, \
             supervisor): a jump to 0x0",
            "a null pointer",
            " (null_call+0x",
        ],
    ),
    Class::new("data-jump", &[" (some_data), instruction `ud2`: invalid opcode, #UD (vector 6). RIP is in section `.data`", " (data_jump+0x"]),
    Class::new(
        "data-jump",
        &[
            " (some_data)",
            "page fault, #PF (vector 14, error code 0x11: protection, fetch, supervisor): a jump to 0x2",
            "a page of data, which is not executable",
            " (data_jump+0x",
        ],
    )
    .with_options(&["--strict"]),
    Class::new(
        "stack-overflow",
        &[
            " (stack_overflow",
            "page fault, #PF (vector 14, error code 0x2: not present, write, supervisor): a write to 0x4",
            " bytes below the boot stack: a stack overflow",
        ],
    ),
    Class::new("stack-overflow", &[" (stack_overflow+0x", "A stack has overwritten the IDT: at 0x2", "an address of code"])
        .with_options(&["--no-guards"])
        .with_own_tables(),
    Class::new(
        "bad-selector",
        &[
            " (bad_selector+0x",
            "`mov ds, ax`: general protection, #GP (vector 13, error code 0x50: GDT selector 0x50, index 10): selector \
             0x50 lies beyond the limit of the GDT",
        ],
    ),
    Class::new(
        "not-canonical",
        &[
            " (not_canonical+0x",
            "general protection, #GP (vector 13, error code 0x0): a read of 0x800000000000, which is not a canonical \
             address",
        ],
    ),
    Class::new(
        "misaligned",
        &[
            " (misaligned+0x",
            "`movaps xmm0, [rax]`: general protection, #GP (vector 13, error code 0x0)",
            "8 is not aligned to 16 bytes",
        ],
    ),
    Class::new("invalid-opcode", &[" (invalid_opcode", "`ud2`: invalid opcode, #UD (vector 6)"]),
    Class::new("divide", &[" (divide", "divide error, #DE (vector 0): a division by zero"]),
    Class::new(
        "double-fault",
        &[
            " (null_read+0x",
            "page fault, #PF (vector 14",
            "a null pointer, could not be delivered",
            "the gate for #PF cannot be used: selector 0x50 lies beyond the limit of the GDT",
        ],
    ),
    Class::new(
        "bad-gate",
        &[
            " (null_read+0x",
            "page fault, #PF",
            "a null pointer. The IDT is loaded, but the gate for #PF cannot be used: selector 0x50 lies beyond the \
             limit of the GDT",
        ],
    )
    .with_own_tables(),
    Class::new("wild-cr3", &[" (wild_cr3+0x", "the new page tables do not map the code"]).with_own_tables(),
    Class::new(
        "reserved-bit",
        &[
            " (reserved_bit+0x",
            // 0xb: QEMU's processor leaves out P.
            "page fault, #PF (vector 14, error code 0x",
            ", reserved bit, write, supervisor): a write to 0x8000000000, in whose page tables a reserved bit is set",
        ],
    ),
    Class::new(
        "error-code",
        &[
            "`iretq`: general protection, #GP (vector 13, error code 0x",
            "the frame that `iretq` pops begins with an error code, 0x0, which the handler must remove first",
            "\n  #1   0x",
            " (null_read+0x",
            ", interrupted here\n  #2   0x",
            " (error_code_left+0x",
            " (guest_main+0x",
        ],
    )
        .with_own_tables(),
    Class::new(
        "ring-3",
        &[
            " (privileged_in_ring_3",
            "`hlt`: general protection, #GP (vector 13, error code 0x0) in ring 3: only ring 0 may execute this \
             instruction",
        ],
    ),
];

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    vec![
        guest_test("the_usual_mistakes_of_kernels_are_reported_with_exception_cause_and_place", || {
            CLASSES.iter().try_for_each(expect_report)
        }),
        guest_test("an_exception_whose_gate_is_wrong_is_a_double_fault", || {
            let ran = crash("double-fault").run();
            ran.expect_status(8)?
                .expect_err("double fault, #DF (vector 8, error code 0x0): page fault, #PF (vector 14")?;
            ran.expect_log("recorded exception: #DF, vector 8, error code 0x0").map(drop)
        }),
        guest_test("a_handler_that_returns_to_the_fault_for_ever_is_ended_by_the_timeout", || {
            let ran = crash("fault-loop").args(["--timeout", "0.5"]).run();
            let parts = [
                "the run took longer than --timeout allows",
                "again and again",
                "a read of 0x0",
                "a null pointer",
            ];
            ran.expect_status(12)?.expect_err_in_order(&parts)?;
            expect_line(&ran, "null_read+")?;
            expect_line(&ran, "fault_loop+")?;
            Ok(())
        }),
        guest_test("a_start_function_that_returns_is_no_crash", || {
            let ran = crash("return").run();
            ran.expect_status(0)?.expect_err("the guest's entry function has returned; RAX is 3 (0x3).")?;
            Ok(())
        }),
        guest_test("an_early_exception_is_the_same_on_several_cpus_and_with_kvms_controllers", || {
            for options in
                [&["--cpus", "2"][..], &["--irqchip", "kernel"], &["--cpus", "2", "--irqchip", "kernel"]]
            {
                let ran = crash("null-write").args(options.iter().copied()).run();
                ran.expect_status(8)?.expect_err_in_order(&[
                    "triple fault",
                    " (null_write+0x",
                    "a null pointer",
                ])?;
            }
            Ok(())
        }),
        gdb_test("a_step_into_an_early_exception_stops_at_the_instruction", || {
            let commands =
                ["break null_write", "continue", "stepi", "stepi", "print $pc", "backtrace 2", "stepi"];
            let (output, ran) = debug("crashes", &["--append", "null-write"], &commands)?;
            expect(&output, "page fault, #PF (vector 14, error code 0x2: not present, write, supervisor)")?;
            expect(&output, "Program received signal SIGSEGV")?;
            expect(&output, "<null_write+2>\n#0  null_write () at target-examples/crashes.c:")?;
            expect(&output, " in guest_main (")?;
            ran.expect_status(8).map(drop)
        }),
        gdb_test("a_restored_guest_has_its_early_exceptions_reported", || {
            let folder = Folder::new();
            let file = folder.file("a.kvmstate");
            let save = format!("monitor snapshot {}", file.display());
            debug("crashes", &["--append", "divide"], &["break divide", "continue", &save, "kill"])?;
            let ran = Kvm::new().arg("--restore").arg(&file).run();
            ran.expect_status(8)?.expect_err("divide error, #DE (vector 0): a division by zero")?;
            ran.expect_log("recorded exception: #DE, vector 0").map(drop)
        }),
        gdb_test("an_nmi_without_a_handler_is_reported_as_one", || {
            // `spin` of the guest has interrupts off: the NMI comes all the same.
            let (output, _) = debug(
                "endless",
                &["--timeout", "20"],
                &["break spin", "continue", "monitor nmi", "continue"],
            )?;
            expect(&output, "non-maskable interrupt, NMI (vector 2): sent by a device or a processor")
        }),
    ]
}

fn crash(word: &str) -> Kvm {
    Kvm::with_guest("crashes").args(["--append", word])
}

fn expect_report(class: &Class) -> Result<(), Failed> {
    let ran = crash(class.word).args(class.options.iter().copied()).run();
    ran.expect_status(8)?.expect_out("")?;
    let hidden = class.own_tables && ran.err.starts_with(HIDDEN);
    match lane() {
        Lane::Amd if resets_registers() && class.own_tables => {
            ran.check(hidden, "that the host hides the place")?;
            // Only a second run knows it.
            let options = class.options.iter().copied().chain(["--explain"]);
            let ran = crash(class.word).args(options).run();
            ran.expect_status(8)?.expect_out("")?;
            ran.expect_err_in_order(class.says)?;
            return ran.expect_log("the triple fault was found in a second run, after ").map(drop);
        }
        Lane::Other if hidden => &ran,
        _ => {
            ran.expect_err_in_order(class.says)?;
            class
                .says
                .iter()
                .filter_map(|part| part.strip_prefix(" ("))
                .try_for_each(|part| expect_line(&ran, part))?;
            &ran
        }
    };
    Ok(())
}

/// The frame of the function that `part` begins with must name a line of it.
fn expect_line(ran: &FinishedRun, part: &str) -> Result<(), Failed> {
    let name = part.split(['+', ')']).next().unwrap_or_default();
    let text = std::fs::read_to_string(source("target-examples/crashes.c"))?;
    let Some(first) = text.lines().position(|line| line.contains(&format!(" {name}("))) else {
        return Ok(());
    };
    let last =
        first + text.lines().skip(first).position(|line| line == "}").ok_or("the end of a function")?;
    let frame = ran.err.lines().find(|line| line.starts_with("  #") && line.contains(&format!("({name}")));
    let line = frame.and_then(|frame| frame.split_once(") at target-examples/crashes.c:"));
    let line = line.and_then(|(_, line)| line.split([':', ',']).next()?.parse::<usize>().ok());
    let is_inside = line.is_some_and(|line| (first + 1..=last + 1).contains(&line));
    ran.check(is_inside, &format!("a frame of {name} with a line from {} to {}", first + 1, last + 1))
        .map(drop)
}

//! The exit status and the complete output of a run, compared exactly.

use std::fmt;

use libtest_mimic::Failed;

use super::FinishedRun;

/// The message when a guest halts with zero in RAX.
pub const HALTED_0: &str = "the guest halted; result (RAX) 0 (0x0).";

/// The message when a guest halts with `result` in RAX.
pub fn halted(result: u64) -> String {
    format!("the guest halted; result (RAX) {result} ({result:#x}).")
}

/// The memory map that `start-info` prints for `low` bytes of RAM below 4 GiB.
pub fn low_memory_map(low: u64) -> String {
    const TABLES: u64 = 0xF_0000;
    const TABLES_END: u64 = 0xF_1000;
    let line = |from: u64, to: u64, kind: &str| format!("  {from:#014x} + {:#014x} {kind}\n", to - from);
    [line(0, TABLES, "RAM"), line(TABLES, TABLES_END, "ACPI tables"), line(TABLES_END, low, "RAM")].concat()
}

/// The exit status and the complete output of a run.
#[derive(PartialEq, Eq)]
pub struct ExactOutput {
    status: i32,
    out: String,
    err: String,
}

/// A run that ends with `status` after `out` on standard output and only `paragraph` on standard error.
pub fn exact_output(status: i32, out: &str, paragraph: impl fmt::Display) -> ExactOutput {
    ExactOutput { status, out: out.to_owned(), err: format!("kvm: {paragraph}\n") }
}

impl fmt::Display for ExactOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "exit status {}, standard output {:?}, standard error {:?}",
            self.status, self.out, self.err
        )
    }
}

impl FinishedRun {
    /// The run must have had exactly this output.
    pub fn expect_exactly(&self, expected: &ExactOutput) -> Result<&FinishedRun, Failed> {
        self.expect_one_of(std::slice::from_ref(expected))
    }

    /// The run must have had exactly one of these outputs: hosts differ.
    pub fn expect_one_of(&self, allowed: &[ExactOutput]) -> Result<&FinishedRun, Failed> {
        let matches = allowed
            .iter()
            .any(|whole| self.status == Some(whole.status) && self.out == whole.out && self.err == whole.err);
        let expected: Vec<String> = allowed.iter().map(ExactOutput::to_string).collect();
        self.check(matches, &expected.join("\nor "))
    }
}

//! Everything a run shows, compared as a whole.

use std::fmt;

use libtest_mimic::Failed;

use super::Ran;

/// What is said when a guest halts with zero in RAX.
pub const HALTED_0: &str = "the guest halted; result (RAX) 0 (0x0).";

/// What is said when a guest halts with `result` in RAX.
pub fn halted(result: u64) -> String {
    format!("the guest halted; result (RAX) {result} ({result:#x}).")
}

/// Everything a run shows.
#[derive(PartialEq, Eq)]
pub struct Whole {
    status: i32,
    out: String,
    err: String,
}

/// A run that ends with `status` after `out` on standard output, and with `paragraph` as all there is
/// on standard error.
pub fn whole(status: i32, out: &str, paragraph: impl fmt::Display) -> Whole {
    Whole { status, out: out.to_owned(), err: format!("kvm: {paragraph}\n") }
}

impl fmt::Display for Whole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "exit status {}, standard output {:?}, standard error {:?}",
            self.status, self.out, self.err
        )
    }
}

impl Ran {
    /// The run must have shown exactly this.
    pub fn expect_whole(&self, expected: &Whole) -> Result<&Ran, Failed> {
        self.expect_one_of(std::slice::from_ref(expected))
    }

    /// The run must have shown exactly one of these: hosts differ in what they do.
    pub fn expect_one_of(&self, allowed: &[Whole]) -> Result<&Ran, Failed> {
        let held = allowed
            .iter()
            .any(|whole| self.status == Some(whole.status) && self.out == whole.out && self.err == whole.err);
        let expected: Vec<String> = allowed.iter().map(Whole::to_string).collect();
        self.check(held, &expected.join("\nor "))
    }
}

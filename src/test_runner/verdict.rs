//! Whether a test has passed.

use std::time::Duration;

use super::captured_output::CapturedOutput;
use super::test_case::TestCase;
use crate::devices::debug_exit;
use crate::machine::Outcome;
use crate::settings::TestCriteria;

/// How a test ended.
#[derive(Debug)]
pub(super) enum TestEnd {
    /// The run of the guest ended.
    Outcome(Outcome),
    /// The guest asks for the next test.
    AsksForNext,
    /// The output and the screen have all that is expected.
    Expected,
    /// The guest goes on after it has sent a text that makes the test fail.
    Failing,
    /// The guest will never go on, for this reason.
    Hangs(String),
}

/// What became of a test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It passed.
    Passed,
    /// It failed.
    Failed,
    /// It was not run.
    Ignored,
}

/// The result of a test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestResult {
    /// What became of it.
    pub verdict: Verdict,
    /// What the guest has sent.
    pub output: String,
    /// How the test ended; empty if it was not run.
    pub reason: String,
    /// The registers after a crash.
    pub registers: Option<String>,
    /// Which files show more, a sentence each.
    pub notes: Vec<String>,
    /// How long it took.
    pub time: Duration,
    /// How often it was run.
    pub runs: u32,
}

impl TestResult {
    /// A test that was not run.
    pub(super) fn ignored() -> TestResult {
        TestResult {
            verdict: Verdict::Ignored,
            output: String::new(),
            reason: String::new(),
            registers: None,
            notes: Vec::new(),
            time: Duration::ZERO,
            runs: 0,
        }
    }

    /// A test that failed for this reason before the guest could do anything.
    pub(super) fn failed(reason: String) -> TestResult {
        TestResult { verdict: Verdict::Failed, reason, runs: 1, ..TestResult::ignored() }
    }

    /// True for a test that passed only when it was run again.
    pub fn is_flaky(&self) -> bool {
        self.verdict == Verdict::Passed && self.runs > 1
    }
}

/// What speaks for or against a test, besides its end.
pub(super) struct Evidence<'a> {
    pub(super) criteria: &'a TestCriteria,
    pub(super) output: &'a CapturedOutput,
    /// Expected texts that the screen does not show.
    pub(super) missing_on_screen: Vec<String>,
}

/// Why a test has failed, beside `message`, which says how it ended; `None` if it has passed.
pub(super) fn failure(case: &TestCase, end: &TestEnd, message: &str, evidence: &Evidence) -> Option<String> {
    let failure = failure_of_guest(end, message, evidence);
    if !case.should_fail {
        return failure;
    }
    match (failure, end) {
        (None, _) => Some("the test should have failed, but it has passed.".to_owned()),
        // It has not failed as the guest's author meant.
        (Some(failure), TestEnd::Hangs(_) | TestEnd::Outcome(Outcome::TimedOut | Outcome::HostFailed(_))) => {
            Some(failure)
        }
        (Some(_), _) => None,
    }
}

fn failure_of_guest(end: &TestEnd, message: &str, evidence: &Evidence) -> Option<String> {
    if let Some(text) = evidence.output.failing() {
        return Some(format!("{message} The output has `{text}`."));
    }
    let criteria = evidence.criteria;
    if !criteria.expected.is_empty() || !criteria.expected_on_screen.is_empty() {
        let missing = evidence.output.missing().map(|text| format!("the output lacks `{text}`"));
        let on_screen = evidence.missing_on_screen.iter().map(|text| format!("the screen lacks `{text}`"));
        let missing: Vec<String> = missing.chain(on_screen).collect();
        return (!missing.is_empty()).then(|| format!("{message} But {}.", missing.join(", and ")));
    }
    let passed = match end {
        TestEnd::AsksForNext | TestEnd::Expected => true,
        TestEnd::Outcome(Outcome::DebugExit { value }) => {
            debug_exit::status(*value) == criteria.success_exit_code
        }
        TestEnd::Outcome(Outcome::Halted { result, .. }) => *result == 0,
        TestEnd::Outcome(Outcome::PoweredOff) => true,
        TestEnd::Outcome(_) | TestEnd::Failing | TestEnd::Hangs(_) => false,
    };
    (!passed).then(|| message.to_owned())
}

//! Results as text, JSON or XML, on standard output.

mod json;
mod junit;
mod pretty;

use std::io::Write;
use std::time::Duration;

pub use self::json::JsonReport;
pub use self::junit::JunitReport;
pub use self::pretty::{PrettyReport, TerseReport, list};
use super::test_case::TestCase;
use super::verdict::{TestResult, Verdict};
use crate::frontends::messages::escaped;
use crate::settings::TestFormat;

/// Reports tests, one after another in their order.
pub trait TestReport {
    /// So many tests will be reported.
    fn begin(&mut self, _tests: usize) {}

    /// So many tests are done, and these run.
    fn progress(&mut self, _done: usize, _running: &[&str]) {}

    /// A test is done.
    fn result(&mut self, test: &TestCase, result: &TestResult);

    /// All tests are done.
    fn end(&mut self, summary: &TestSummary);
}

/// All tests together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TestSummary {
    /// Tests that passed.
    pub passed: usize,
    /// Those among them that passed only when they were run again.
    pub flaky: usize,
    /// Tests that were not run.
    pub ignored: usize,
    /// Tests that were not selected.
    pub filtered_out: usize,
    /// Tests that failed, in their order.
    pub failures: Vec<(TestCase, TestResult)>,
    /// Results of the others, in their order.
    pub others: Vec<(TestCase, TestResult)>,
    /// How long it took.
    pub time: Duration,
}

impl TestSummary {
    /// True if no test failed.
    pub fn is_success(&self) -> bool {
        self.failures.is_empty()
    }

    pub(super) fn add(&mut self, test: &TestCase, result: TestResult) {
        self.flaky += usize::from(result.is_flaky());
        match result.verdict {
            Verdict::Passed => self.passed += 1,
            Verdict::Ignored => self.ignored += 1,
            Verdict::Failed => return self.failures.push((test.clone(), result)),
        }
        self.others.push((test.clone(), result));
    }
}

/// The report that the user has chosen, on `out`. A progress line is shown on a terminal only.
pub fn report(
    format: TestFormat,
    show_output: bool,
    terminal: bool,
    out: Box<dyn Write>,
) -> Box<dyn TestReport> {
    match format {
        TestFormat::Pretty => Box::new(PrettyReport::new(show_output, terminal, out)),
        TestFormat::Terse => Box::new(TerseReport::new(show_output, out)),
        TestFormat::Json => Box::new(JsonReport::new(out)),
        TestFormat::Junit => Box::new(JunitReport::new(out)),
    }
}

/// What a guest has sent, and how its test ended, without what would control a terminal.
fn details(result: &TestResult) -> String {
    let mut text = result.output.replace("\r\n", "\n");
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text += &format!("kvm: {}\n", result.reason);
    if let Some(registers) = &result.registers {
        text += registers.trim_end();
        text.push('\n');
    }
    for note in &result.notes {
        text += &format!("kvm: {note}\n");
    }
    escaped(&text, &['\n', '\t'])
}

#[cfg(test)]
pub(super) mod testing {
    use super::*;
    use std::cell::RefCell;
    use std::rc::Rc;

    /// Collects the names of the tests.
    #[derive(Default)]
    pub(in super::super) struct Names(pub(in super::super) String);

    impl TestReport for Names {
        fn result(&mut self, test: &TestCase, _result: &TestResult) {
            self.0 += &format!("{} ", test.name);
        }

        fn end(&mut self, _summary: &TestSummary) {}
    }

    /// A writer whose text can be read.
    #[derive(Clone, Default)]
    pub(super) struct Paper(Rc<RefCell<Vec<u8>>>);

    impl Paper {
        pub(super) fn text(&self) -> String {
            String::from_utf8(self.0.borrow().clone()).unwrap()
        }
    }

    impl Write for Paper {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.borrow_mut().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// What a report of a test of each kind looks like.
    pub(super) fn report_of_each(make: impl FnOnce(Box<dyn Write>) -> Box<dyn TestReport>) -> String {
        let paper = Paper::default();
        let mut report = make(Box::new(paper.clone()));
        let passed = TestResult {
            verdict: Verdict::Passed,
            output: "all well\r\n".to_owned(),
            reason: "the test has returned.".to_owned(),
            time: Duration::from_millis(1500),
            runs: 1,
            ..TestResult::ignored()
        };
        let failed = TestResult {
            verdict: Verdict::Failed,
            output: "1 < \x1B 2".to_owned(),
            reason: "triple fault.".to_owned(),
            registers: Some("RAX 0\n".to_owned()),
            notes: vec!["the screen is in shots/fails.png.".to_owned()],
            ..passed.clone()
        };
        let flaky = TestResult { runs: 3, output: String::new(), ..passed.clone() };
        let results = [
            ("passes", passed),
            ("fails", failed),
            ("is_ignored", TestResult::ignored()),
            ("is_flaky", flaky),
        ];
        let mut summary = TestSummary { filtered_out: 7, ..TestSummary::default() };
        report.begin(results.len());
        for (name, result) in results {
            let test = TestCase { name: name.to_owned(), ..TestCase::whole_guest(0, "kernel".to_owned()) };
            report.result(&test, &result);
            summary.add(&test, result);
        }
        summary.time = Duration::from_millis(4500);
        report.end(&summary);
        drop(report);
        paper.text()
    }
}

//! Results as libtest prints them: a line or a letter per test, and then what the failing ones have to say.

use std::io::Write;

use super::super::test_case::TestCase;
use super::super::verdict::{TestResult, Verdict};
use super::{TestReport, TestSummary, details};
use crate::frontends::messages::escaped;

/// Letters in a line of the terse report.
const LETTERS: usize = 88;
/// Most characters of the progress line, so that it stays one line.
const PROGRESS: usize = 78;

/// A line per test.
pub struct PrettyReport {
    show_output: bool,
    /// A line at the bottom says what runs.
    progress: bool,
    tests: usize,
    out: Box<dyn Write>,
}

/// A letter per test.
pub struct TerseReport {
    show_output: bool,
    letters: usize,
    out: Box<dyn Write>,
}

/// Writes; the reader may close the pipe early.
fn print(out: &mut dyn Write, text: &str) {
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

fn name(test: &TestCase) -> String {
    let name = escaped(&test.name, &[]);
    if test.should_fail { name + " - should panic" } else { name }
}

fn plural(count: usize) -> &'static str {
    if count == 1 { "" } else { "s" }
}

impl PrettyReport {
    /// A report on `out`; `progress` if that is a terminal.
    pub fn new(show_output: bool, progress: bool, out: Box<dyn Write>) -> PrettyReport {
        PrettyReport { show_output, progress, tests: 0, out }
    }

    /// Returns to the start of the progress line and clears it.
    fn clear_progress(&mut self) {
        if self.progress {
            print(&mut self.out, "\r\x1B[K");
        }
    }
}

impl TestReport for PrettyReport {
    fn begin(&mut self, tests: usize) {
        self.tests = tests;
        print(&mut self.out, &format!("\nrunning {tests} test{}\n", plural(tests)));
    }

    fn progress(&mut self, done: usize, running: &[&str]) {
        if !self.progress || running.is_empty() {
            return;
        }
        let line = format!("{done}/{}: {}", self.tests, escaped(&running.join(", "), &[]));
        let line: String = line.chars().take(PROGRESS).collect();
        self.clear_progress();
        print(&mut self.out, &line);
    }

    fn result(&mut self, test: &TestCase, result: &TestResult) {
        self.clear_progress();
        let word = match result.verdict {
            Verdict::Passed if result.is_flaky() => format!("ok (flaky: run {} passed)", result.runs),
            Verdict::Passed => "ok".to_owned(),
            Verdict::Failed => "FAILED".to_owned(),
            Verdict::Ignored => "ignored".to_owned(),
        };
        print(&mut self.out, &format!("test {} ... {word}\n", name(test)));
    }

    fn end(&mut self, summary: &TestSummary) {
        self.clear_progress();
        print(&mut self.out, &conclusion(summary, self.show_output));
    }
}

impl TerseReport {
    /// A report on `out`.
    pub fn new(show_output: bool, out: Box<dyn Write>) -> TerseReport {
        TerseReport { show_output, letters: 0, out }
    }
}

impl TestReport for TerseReport {
    fn begin(&mut self, tests: usize) {
        print(&mut self.out, &format!("\nrunning {tests} test{}\n", plural(tests)));
    }

    fn result(&mut self, _test: &TestCase, result: &TestResult) {
        let letter = match result.verdict {
            Verdict::Passed => ".",
            Verdict::Failed => "F",
            Verdict::Ignored => "i",
        };
        self.letters += 1;
        print(&mut self.out, letter);
        if self.letters.is_multiple_of(LETTERS) {
            print(&mut self.out, "\n");
        }
    }

    fn end(&mut self, summary: &TestSummary) {
        if !self.letters.is_multiple_of(LETTERS) {
            print(&mut self.out, "\n");
        }
        print(&mut self.out, &conclusion(summary, self.show_output));
    }
}

/// What the tests have to say, and the numbers.
fn conclusion(summary: &TestSummary, show_output: bool) -> String {
    let mut text = String::new();
    if show_output {
        let told = summary.others.iter().filter(|(_, result)| !result.output.is_empty());
        text += &section("successes", &told.collect::<Vec<_>>());
    }
    text += &section("failures", &summary.failures.iter().collect::<Vec<_>>());
    let flaky = match summary.flaky {
        0 => String::new(),
        flaky => format!("; {flaky} flaky"),
    };
    text + &format!(
        "\ntest result: {}. {} passed; {} failed; {} ignored; 0 measured; {} filtered out{flaky}; finished in \
         {:.2}s\n\n",
        if summary.is_success() { "ok" } else { "FAILED" },
        summary.passed,
        summary.failures.len(),
        summary.ignored,
        summary.filtered_out,
        summary.time.as_secs_f64(),
    )
}

fn section(title: &str, tests: &[&(TestCase, TestResult)]) -> String {
    if tests.is_empty() {
        return String::new();
    }
    let mut text = format!("\n{title}:\n");
    for (test, result) in tests {
        text += &format!("\n---- {} stdout ----\n{}", escaped(&test.name, &[]), details(result));
    }
    text += &format!("\n\n{title}:\n");
    for (test, _) in tests {
        text += &format!("    {}\n", escaped(&test.name, &[]));
    }
    text
}

/// The names of tests, as `--list` prints them; a terse list ends with the last one.
pub fn list(tests: &[TestCase], terse: bool) -> String {
    let mut text: String = tests.iter().map(|test| format!("{}: test\n", escaped(&test.name, &[]))).collect();
    if !terse {
        text += &format!("\n{} test{}, 0 benchmarks\n", tests.len(), plural(tests.len()));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::testing::report_of_each;
    use super::*;

    const CONCLUSION: &str = "
failures:

---- fails stdout ----
1 < \\u{1b} 2
kvm: triple fault.
RAX 0
kvm: the screen is in shots/fails.png.


failures:
    fails

test result: FAILED. 2 passed; 1 failed; 1 ignored; 0 measured; 7 filtered out; 1 flaky; finished in 4.50s

";

    #[test]
    fn each_test_has_a_line() {
        let text = report_of_each(|out| Box::new(PrettyReport::new(false, false, out)));
        let lines = "
running 4 tests
test passes ... ok
test fails ... FAILED
test is_ignored ... ignored
test is_flaky ... ok (flaky: run 3 passed)
";
        assert_eq!(text, format!("{lines}{CONCLUSION}"));
    }

    #[test]
    fn each_test_has_a_letter_and_passing_ones_show_their_output() {
        let text = report_of_each(|out| Box::new(TerseReport::new(true, out)));
        let successes = "
successes:

---- passes stdout ----
all well
kvm: the test has returned.


successes:
    passes
";
        assert_eq!(text, format!("\nrunning 4 tests\n.Fi.\n{successes}{CONCLUSION}"));
    }

    #[test]
    fn a_terminal_shows_what_runs() {
        let paper = super::super::testing::Paper::default();
        let mut report = PrettyReport::new(false, true, Box::new(paper.clone()));
        report.begin(9);
        report.progress(3, &["a", "b\x1B"]);
        assert!(paper.text().ends_with("\r\x1B[K3/9: a, b\\u{1b}"), "{:?}", paper.text());
    }

    #[test]
    fn tests_are_listed_as_libtest_does() {
        let tests = [TestCase::whole_guest(0, "a".to_owned())];
        assert_eq!(list(&tests, false), "a: test\n\n1 test, 0 benchmarks\n");
        assert_eq!(list(&tests, true), "a: test\n");
    }
}

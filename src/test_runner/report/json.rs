//! Results as JSON, an object per line, as libtest prints them with `-Z unstable-options --format json`.

use std::io::Write;

use serde::Serialize;

use super::super::test_case::TestCase;
use super::super::verdict::{TestResult, Verdict};
use super::{TestReport, TestSummary, details};

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum JsonEvent<'a> {
    Suite {
        event: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        test_count: Option<usize>,
        #[serde(flatten)]
        counts: Option<Counts>,
    },
    Test {
        event: &'static str,
        name: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        exec_time: Option<f64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        stdout: Option<String>,
        /// Not libtest's: how often a flaky test was run.
        #[serde(skip_serializing_if = "Option::is_none")]
        runs: Option<u32>,
    },
}

#[derive(Serialize)]
struct Counts {
    passed: usize,
    failed: usize,
    ignored: usize,
    measured: usize,
    filtered_out: usize,
    exec_time: f64,
}

/// An object per event.
pub struct JsonReport {
    out: Box<dyn Write>,
}

impl JsonReport {
    /// A report on `out`.
    pub fn new(out: Box<dyn Write>) -> JsonReport {
        JsonReport { out }
    }

    fn print(&mut self, event: &JsonEvent) {
        let Ok(mut line) = serde_json::to_string(event) else { return };
        line.push('\n');
        // The reader may close the pipe early.
        let _ = self.out.write_all(line.as_bytes()).and_then(|()| self.out.flush());
    }
}

impl TestReport for JsonReport {
    fn begin(&mut self, tests: usize) {
        self.print(&JsonEvent::Suite { event: "started", test_count: Some(tests), counts: None });
    }

    fn result(&mut self, test: &TestCase, result: &TestResult) {
        let name = &test.name;
        self.print(&JsonEvent::Test { event: "started", name, exec_time: None, stdout: None, runs: None });
        let (event, ran) = match result.verdict {
            Verdict::Passed => ("ok", true),
            Verdict::Failed => ("failed", true),
            Verdict::Ignored => ("ignored", false),
        };
        self.print(&JsonEvent::Test {
            event,
            name,
            exec_time: ran.then_some(result.time.as_secs_f64()),
            stdout: (result.verdict == Verdict::Failed).then(|| details(result)),
            runs: result.is_flaky().then_some(result.runs),
        });
    }

    fn end(&mut self, summary: &TestSummary) {
        self.print(&JsonEvent::Suite {
            event: if summary.is_success() { "ok" } else { "failed" },
            test_count: None,
            counts: Some(Counts {
                passed: summary.passed,
                failed: summary.failures.len(),
                ignored: summary.ignored,
                measured: 0,
                filtered_out: summary.filtered_out,
                exec_time: summary.time.as_secs_f64(),
            }),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::report_of_each;
    use super::*;

    #[test]
    fn each_event_is_an_object() {
        let text = report_of_each(|out| Box::new(JsonReport::new(out)));
        let expected = r#"{"type":"suite","event":"started","test_count":4}
{"type":"test","event":"started","name":"passes"}
{"type":"test","event":"ok","name":"passes","exec_time":1.5}
{"type":"test","event":"started","name":"fails"}
{"type":"test","event":"failed","name":"fails","exec_time":1.5,"stdout":"1 < \\u{1b} 2\nkvm: triple fault.\nRAX 0\nkvm: the screen is in shots/fails.png.\n"}
{"type":"test","event":"started","name":"is_ignored"}
{"type":"test","event":"ignored","name":"is_ignored"}
{"type":"test","event":"started","name":"is_flaky"}
{"type":"test","event":"ok","name":"is_flaky","exec_time":1.5,"runs":3}
{"type":"suite","event":"failed","passed":2,"failed":1,"ignored":1,"measured":0,"filtered_out":7,"exec_time":4.5}
"#;
        assert_eq!(text, expected);
    }
}

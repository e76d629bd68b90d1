//! Results as a JUnit report in XML, once all tests are done: a suite per guest.
//!
//! The elements are those of the schema that continuous-integration services read (`JUnit.xsd` of Jenkins' xUnit
//! plugin): `testsuites`, `testsuite`, `testcase`, `failure`, `skipped`, `system-out`.

use std::io::{self, Write};

use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesText, Event};

use super::super::test_case::TestCase;
use super::super::verdict::{TestResult, Verdict};
use super::{TestReport, TestSummary, details};

/// A report in XML.
pub struct JunitReport {
    tests: Vec<(TestCase, TestResult)>,
    out: Box<dyn Write>,
}

impl JunitReport {
    /// A report on `out`.
    pub fn new(out: Box<dyn Write>) -> JunitReport {
        JunitReport { tests: Vec::new(), out }
    }

    fn write(&mut self, summary: &TestSummary) -> io::Result<()> {
        let mut xml = Writer::new_with_indent(&mut self.out, b' ', 2);
        xml.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
        let groups = self.tests.chunk_by(|(one, _), (other, _)| one.guest == other.guest);
        let all: Vec<&(TestCase, TestResult)> = self.tests.iter().collect();
        let [tests, failures, skipped] = counts(&all);
        let time = seconds(summary.time.as_secs_f64());
        xml.create_element("testsuites")
            .with_attributes([
                ("name", "kvm test"),
                ("tests", tests.as_str()),
                ("failures", failures.as_str()),
                ("skipped", skipped.as_str()),
                ("time", time.as_str()),
            ])
            .write_inner_content(|xml| {
                for group in groups {
                    suite(xml, &group.iter().collect::<Vec<_>>())?;
                }
                Ok(())
            })?;
        self.out.write_all(b"\n")?;
        self.out.flush()
    }
}

impl TestReport for JunitReport {
    fn result(&mut self, test: &TestCase, result: &TestResult) {
        self.tests.push((test.clone(), result.clone()));
    }

    fn end(&mut self, summary: &TestSummary) {
        // The reader may close the pipe early.
        let _ = self.write(summary);
    }
}

/// Numbers of all tests, of those that failed, and of those that were not run.
fn counts(tests: &[&(TestCase, TestResult)]) -> [String; 3] {
    let number = |wanted| tests.iter().filter(|(_, result)| result.verdict == wanted).count().to_string();
    [tests.len().to_string(), number(Verdict::Failed), number(Verdict::Ignored)]
}

fn seconds(time: f64) -> String {
    format!("{time:.3}")
}

fn suite<W: Write>(xml: &mut Writer<W>, tests: &[&(TestCase, TestResult)]) -> io::Result<()> {
    let Some((first, _)) = tests.first() else { return Ok(()) };
    let [count, failures, skipped] = counts(tests);
    let time = seconds(tests.iter().map(|(_, result)| result.time.as_secs_f64()).sum());
    let name = allowed(&first.group);
    xml.create_element("testsuite")
        .with_attributes([
            ("name", name.as_str()),
            ("tests", count.as_str()),
            ("failures", failures.as_str()),
            ("skipped", skipped.as_str()),
            ("time", time.as_str()),
        ])
        .write_inner_content(|xml| tests.iter().try_for_each(|(test, result)| case(xml, test, result)))?;
    Ok(())
}

fn case<W: Write>(xml: &mut Writer<W>, test: &TestCase, result: &TestResult) -> io::Result<()> {
    let time = seconds(result.time.as_secs_f64());
    let (name, group) = (allowed(&test.name), allowed(&test.group));
    let element = xml.create_element("testcase").with_attributes([
        ("name", name.as_str()),
        ("classname", group.as_str()),
        ("time", time.as_str()),
    ]);
    match result.verdict {
        Verdict::Passed if result.output.is_empty() => _ = element.write_empty()?,
        Verdict::Passed => {
            let output = allowed(&result.output.replace("\r\n", "\n"));
            element.write_inner_content(|xml| {
                xml.create_element("system-out").write_text_content(BytesText::new(&output)).map(|_| ())
            })?;
        }
        Verdict::Failed => {
            let (message, text) = (allowed(&result.reason), allowed(&details(result)));
            element.write_inner_content(|xml| {
                let failure = xml.create_element("failure").with_attribute(("message", message.as_str()));
                failure.write_text_content(BytesText::new(&text)).map(|_| ())
            })?;
        }
        Verdict::Ignored => {
            element.write_inner_content(|xml| xml.create_element("skipped").write_empty().map(|_| ()))?;
        }
    }
    Ok(())
}

/// `text` without the characters that XML does not have (XML 1.0, "Characters").
fn allowed(text: &str) -> String {
    let is_allowed = |letter: &char| {
        matches!(letter, '\t' | '\n' | '\r') || (*letter >= ' ' && !matches!(letter, '\u{FFFE}' | '\u{FFFF}'))
    };
    text.chars().filter(is_allowed).collect()
}

#[cfg(test)]
mod tests {
    use super::super::testing::report_of_each;
    use super::*;

    #[test]
    fn each_test_is_a_case() {
        let text = report_of_each(|out| Box::new(JunitReport::new(out)));
        let expected = r#"<?xml version="1.0" encoding="UTF-8"?>
<testsuites name="kvm test" tests="4" failures="1" skipped="1" time="4.500">
  <testsuite name="kernel" tests="4" failures="1" skipped="1" time="4.500">
    <testcase name="passes" classname="kernel" time="1.500">
      <system-out>all well
</system-out>
    </testcase>
    <testcase name="fails" classname="kernel" time="1.500">
      <failure message="triple fault.">1 &lt; \u{1b} 2
kvm: triple fault.
RAX 0
kvm: the screen is in shots/fails.png.
</failure>
    </testcase>
    <testcase name="is_ignored" classname="kernel" time="0.000">
      <skipped/>
    </testcase>
    <testcase name="is_flaky" classname="kernel" time="1.500"/>
  </testsuite>
</testsuites>
"#;
        assert_eq!(text, expected);
    }

    #[test]
    fn what_xml_does_not_have_is_left_out() {
        assert_eq!(allowed("a\0\x1B\u{FFFE}\tb\n"), "a\tb\n");
    }
}

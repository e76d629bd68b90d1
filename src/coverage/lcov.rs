//! The report as an lcov tracefile, which genhtml, Codecov and editors read.
//!
//! A count is 1 or 0: a breakpoint stops the guest once. Branches are not in it.
//!
//! Manual: geninfo(1), "FILES".

use std::collections::BTreeMap;
use std::fmt::Write;

use super::report::{CoverageReport, FileCoverage};

/// How a tracefile begins.
const START: &str = "TN:\n";

/// The report as a tracefile.
pub fn to_lcov(report: &CoverageReport) -> String {
    let mut text = String::new();
    for (path, file) in &report.files {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{START}SF:{path}");
        write_functions(&mut text, file);
        for (line, has_run) in &file.lines {
            let _ = writeln!(text, "DA:{line},{}", u8::from(*has_run));
        }
        let (run, all) = file.line_counts();
        let _ = write!(text, "LF:{all}\nLH:{run}\nend_of_record\n");
    }
    if text.is_empty() { START.to_owned() } else { text }
}

/// Functions of one name at several lines get these behind the name: readers take it for the function.
fn write_functions(text: &mut String, file: &FileCoverage) {
    let mut uses: BTreeMap<&str, usize> = BTreeMap::new();
    for (name, _) in file.functions.keys() {
        *uses.entry(name).or_default() += 1;
    }
    let name = |name: &str, line: u32| match uses.get(name) {
        Some(0 | 1) | None => name.to_owned(),
        Some(_) => format!("{name} (line {line})"),
    };
    for (function, line) in file.functions.keys() {
        let _ = writeln!(text, "FN:{line},{}", name(function, *line));
    }
    for ((function, line), has_run) in &file.functions {
        let _ = writeln!(text, "FNDA:{},{}", u8::from(*has_run), name(function, *line));
    }
    let (run, all) = file.function_counts();
    let _ = write!(text, "FNF:{all}\nFNH:{run}\n");
}

/// True if a file that begins like this is a tracefile.
pub fn is_lcov_start(bytes: &[u8]) -> bool {
    bytes.starts_with(b"TN:") || bytes.starts_with(b"SF:")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tracefile_has_a_record_for_each_source_file() {
        let mut report = CoverageReport::default();
        let file = report.files.entry("src/main.rs".to_owned()).or_default();
        file.lines.extend([(3, true), (4, false), (10, true)]);
        file.functions.extend([
            (("kernel::start".to_owned(), 3), true),
            (("kernel::{closure#0}".to_owned(), 4), false),
            (("kernel::{closure#0}".to_owned(), 10), true),
        ]);
        report.files.entry("lib/a.c".to_owned()).or_default().lines.insert(1, false);
        let text = to_lcov(&report);
        let expected = "TN:\nSF:lib/a.c\nFNF:0\nFNH:0\nDA:1,0\nLF:1\nLH:0\nend_of_record\n\
             TN:\nSF:src/main.rs\nFN:3,kernel::start\nFN:4,kernel::{closure#0} (line 4)\n\
             FN:10,kernel::{closure#0} (line 10)\nFNDA:1,kernel::start\nFNDA:0,kernel::{closure#0} (line 4)\n\
             FNDA:1,kernel::{closure#0} (line 10)\nFNF:3\nFNH:2\nDA:3,1\nDA:4,0\nDA:10,1\nLF:3\nLH:2\nend_of_record\n";
        assert_eq!(text, expected);
        assert!(
            is_lcov_start(text.as_bytes()) && is_lcov_start(to_lcov(&CoverageReport::default()).as_bytes())
        );
    }
}

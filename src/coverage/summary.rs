//! The report as a table for the user.

use std::fmt::Write;

use super::report::{CoverageReport, FileCoverage};

/// A line for each source file and one for all; `file` is where the tracefile is.
pub fn summary(report: &CoverageReport, file: &str) -> String {
    let mut text = format!("coverage in {file}:\n{:>17} {:>17}  file\n", "lines", "functions");
    let mut all = [(0, 0); 2];
    for (path, coverage) in &report.files {
        let counts = counts(coverage);
        for (sum, (run, of)) in all.iter_mut().zip(counts) {
            *sum = (sum.0 + run, sum.1 + of);
        }
        line(&mut text, counts, path);
    }
    line(&mut text, all, "all");
    text
}

fn counts(coverage: &FileCoverage) -> [(usize, usize); 2] {
    [coverage.line_counts(), coverage.function_counts()]
}

fn line(text: &mut String, counts: [(usize, usize); 2], name: &str) {
    for (run, all) in counts {
        let parts = format!("{run}/{all}");
        let _ = write!(text, "{parts:>10} {:>6} ", percent(run, all));
    }
    let _ = writeln!(text, " {name}");
}

/// The share in percent; 100 only for all, and 0 only for none.
fn percent(run: usize, all: usize) -> String {
    if all == 0 {
        return "-".to_owned();
    }
    let tenths = (run * 1000 + all / 2) / all;
    let tenths = match run {
        0 => 0,
        run if run < all => tenths.clamp(1, 999),
        _ => 1000,
    };
    format!("{}.{}%", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_have_their_lines_and_functions_in_percent() {
        let mut report = CoverageReport::default();
        let file = report.files.entry("src/main.rs".to_owned()).or_default();
        file.lines.extend((1..=3000).map(|line| (line, line > 1)));
        file.functions.insert(("start".to_owned(), 1), true);
        report.files.entry("start.S".to_owned()).or_default().lines.insert(1, false);
        let expected = "\
coverage in lcov.info:
            lines         functions  file
 2999/3000  99.9%        1/1 100.0%  src/main.rs
       0/1   0.0%        0/0      -  start.S
 2999/3001  99.9%        1/1 100.0%  all
";
        assert_eq!(summary(&report, "lcov.info"), expected);
    }
}

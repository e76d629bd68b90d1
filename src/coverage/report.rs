//! Lines and functions by source file, of all guests together.

use std::collections::BTreeMap;

use super::covered_code::CoveredCode;

/// Lines and functions of a source file; of each, whether it has been run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileCoverage {
    /// Lines that have instructions, by number.
    pub lines: BTreeMap<u32, bool>,
    /// Functions, by name and the line they begin at. Copies for several types are one function.
    pub functions: BTreeMap<(String, u32), bool>,
}

impl FileCoverage {
    /// How many lines have been run, and how many there are.
    pub fn line_counts(&self) -> (usize, usize) {
        (self.lines.values().filter(|run| **run).count(), self.lines.len())
    }

    /// How many functions have been run, and how many there are.
    pub fn function_counts(&self) -> (usize, usize) {
        (self.functions.values().filter(|run| **run).count(), self.functions.len())
    }
}

/// The coverage of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CoverageReport {
    /// By the path of the source file. Files without a line are missing.
    pub files: BTreeMap<String, FileCoverage>,
}

impl CoverageReport {
    /// The coverage of these guest files together.
    pub fn of<'c>(guests: impl Iterator<Item = &'c CoveredCode>) -> CoverageReport {
        let mut report = CoverageReport::default();
        for guest in guests {
            for (row, has_run) in guest.known_rows() {
                let file = report.files.entry(guest.files[row.file].clone()).or_default();
                *file.lines.entry(row.line).or_default() |= has_run;
            }
            for function in &guest.functions {
                let block = &guest.blocks[function.block];
                if block.is_known() {
                    let file = report.files.entry(function.file.clone()).or_default();
                    *file.functions.entry((function.name.clone(), function.line)).or_default() |=
                        block.has_run();
                }
            }
        }
        report
    }
}

//! The settings of `kvm test`.

use std::path::PathBuf;

/// The settings of `kvm test`.
#[derive(Clone, Debug, PartialEq)]
pub struct TestSpec {
    /// The guest files, at least one.
    pub guests: Vec<PathBuf>,
    /// Which tests are run.
    pub selection: TestSelection,
    /// What decides whether a test has passed.
    pub criteria: TestCriteria,
    /// List the tests instead of running them.
    pub list: bool,
    /// How results are printed.
    pub format: TestFormat,
    /// The guest's output is printed as it comes.
    pub no_capture: bool,
    /// The output of tests that pass is printed, too.
    pub show_output: bool,
    /// How many tests run at a time; `None` for the number of processors of the host.
    pub jobs: Option<usize>,
    /// How often a test that fails is run again.
    pub retries: u32,
    /// The folder for pictures of the screen of tests that fail.
    pub screenshots: Option<PathBuf>,
    /// The folder for reports of their crashes.
    pub reports: Option<PathBuf>,
    /// The folder for core files, after crashes too.
    pub cores: Option<PathBuf>,
    /// The tracefile of which lines and functions of the guests have been run.
    pub coverage: Option<PathBuf>,
}

/// Which tests are run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TestSelection {
    /// Tests with one of these words in their names; all if there are none.
    pub filters: Vec<String>,
    /// But not those with one of these.
    pub skip: Vec<String>,
    /// The words are whole names.
    pub exact: bool,
    /// What happens to tests that are marked as ignored.
    pub ignored: IgnoredTests,
}

/// What happens to tests that are marked as ignored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IgnoredTests {
    /// They are not run.
    #[default]
    NotRun,
    /// They are run with the others.
    Included,
    /// No others are run.
    Only,
}

/// What decides whether a test has passed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestCriteria {
    /// The exit status for a value at the debug exit port that means success: odd, as `(value << 1) | 1` is.
    pub success_exit_code: u8,
    /// Texts that the output must have; the test has passed as soon as all are there.
    pub expected: Vec<String>,
    /// Texts that the screen must show, likewise.
    pub expected_on_screen: Vec<String>,
    /// Texts in the output that make the test fail.
    pub failing: Vec<String>,
}

/// How results are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TestFormat {
    /// A line per test.
    #[default]
    Pretty,
    /// A letter per test.
    Terse,
    /// A JSON object per event, as libtest's unstable format has them.
    Json,
    /// A JUnit report in XML.
    Junit,
}

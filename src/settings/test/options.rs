//! The table of the options that only `kvm test` has.

use std::path::PathBuf;

use super::super::values::ParseResult;
use super::spec::{IgnoredTests, TestFormat, TestSpec};

/// An option of `kvm test`.
pub(super) struct TestOption {
    /// Its names, without dashes; the first one is shown.
    pub(super) names: &'static [&'static str],
    /// What the help calls its value; `None` if it takes none.
    pub(super) value: Option<&'static str>,
    /// The allowed values.
    pub(super) allowed: &'static str,
    /// What it does, in one line; empty for options that are accepted without effect.
    pub(super) help: &'static str,
    /// Applies a value; it is empty for an option that takes none.
    pub(super) set: fn(&mut TestSpec, &str) -> ParseResult<()>,
}

const JOBS: &str = "1 to 1024";
const RETRIES: &str = "0 to 100";
const EXIT_CODE: &str = "an odd number from 1 to 255: (VALUE << 1) | 1";
const TEXT: &str = "a text of at least one character";
const FORMATS: &str = "pretty, terse, json, junit";

/// Every option, in the order of the help.
pub(super) static OPTIONS: &[TestOption] = &[
    TestOption {
        names: &["list"],
        value: None,
        allowed: "",
        help: "List the tests instead of running them",
        set: |spec, _| {
            spec.list = true;
            Ok(())
        },
    },
    TestOption {
        names: &["exact"],
        value: None,
        allowed: "",
        help: "Filters are whole names, not parts of them",
        set: |spec, _| {
            spec.selection.exact = true;
            Ok(())
        },
    },
    TestOption {
        names: &["skip"],
        value: Some("FILTER"),
        allowed: TEXT,
        help: "Leave out tests with this in their names; repeatable",
        set: |spec, text| words(text, &mut spec.selection.skip),
    },
    TestOption {
        names: &["ignored"],
        value: None,
        allowed: "",
        help: "Run only the tests that are marked as ignored",
        set: |spec, _| {
            spec.selection.ignored = IgnoredTests::Only;
            Ok(())
        },
    },
    TestOption {
        names: &["include-ignored"],
        value: None,
        allowed: "",
        help: "Run them with the others",
        set: |spec, _| {
            spec.selection.ignored = IgnoredTests::Included;
            Ok(())
        },
    },
    TestOption {
        names: &["jobs", "test-threads"],
        value: Some("N"),
        allowed: JOBS,
        help: "Tests at a time [number of processors]",
        set: |spec, text| {
            spec.jobs = Some(number(text, 1, 1024)? as usize);
            Ok(())
        },
    },
    TestOption {
        names: &["retries"],
        value: Some("N"),
        allowed: RETRIES,
        help: "Run a test that fails again, up to so many times [0]",
        set: |spec, text| number(text, 0, 100).map(|retries| spec.retries = retries),
    },
    TestOption {
        names: &["success-exit-code"],
        value: Some("STATUS"),
        allowed: EXIT_CODE,
        help: "Exit status of the debug exit port that means success [33]",
        set: |spec, text| {
            let status = number(text, 1, 255)?;
            if status % 2 == 0 {
                return Err("is even: the debug exit port gives odd statuses only".to_owned());
            }
            spec.criteria.success_exit_code = status as u8;
            Ok(())
        },
    },
    TestOption {
        names: &["expect"],
        value: Some("TEXT"),
        allowed: TEXT,
        help: "Pass as soon as the output has this; repeatable, all are needed",
        set: |spec, text| words(text, &mut spec.criteria.expected),
    },
    TestOption {
        names: &["expect-screen"],
        value: Some("TEXT"),
        allowed: TEXT,
        help: "The same for a line of the text screen",
        set: |spec, text| words(text, &mut spec.criteria.expected_on_screen),
    },
    TestOption {
        names: &["fail"],
        value: Some("TEXT"),
        allowed: TEXT,
        help: "Fail if the output has this, too; repeatable [panicked at]",
        set: |spec, text| words(text, &mut spec.criteria.failing),
    },
    TestOption {
        names: &["format"],
        value: Some("FORMAT"),
        allowed: FORMATS,
        help: "pretty, terse, json (as libtest's) or junit [pretty]",
        set: |spec, text| {
            spec.format = match text {
                "pretty" => TestFormat::Pretty,
                "terse" => TestFormat::Terse,
                "json" => TestFormat::Json,
                "junit" => TestFormat::Junit,
                _ => return Err("is no format".to_owned()),
            };
            Ok(())
        },
    },
    TestOption {
        names: &["quiet", "q"],
        value: None,
        allowed: "",
        help: "The same as --format terse",
        set: |spec, _| {
            spec.format = TestFormat::Terse;
            Ok(())
        },
    },
    TestOption {
        names: &["nocapture", "no-capture"],
        value: None,
        allowed: "",
        help: "Print the guests' output as it comes",
        set: |spec, _| {
            spec.no_capture = true;
            Ok(())
        },
    },
    TestOption {
        names: &["show-output"],
        value: None,
        allowed: "",
        help: "Print the output of tests that pass, too",
        set: |spec, _| {
            spec.show_output = true;
            Ok(())
        },
    },
    TestOption {
        names: &["screenshot"],
        value: Some("DIR"),
        allowed: "a folder, which is created",
        help: "Save the screen of a test that fails as DIR/NAME.png",
        set: |spec, text| {
            spec.screenshots = Some(PathBuf::from(text));
            Ok(())
        },
    },
    TestOption {
        names: &["report"],
        value: Some("DIR"),
        allowed: "a folder, which is created",
        help: "Save the report of its crash, time-out or hang as DIR/NAME.json",
        set: |spec, text| {
            spec.reports = Some(PathBuf::from(text));
            Ok(())
        },
    },
    TestOption {
        names: &["core"],
        value: Some("DIR"),
        allowed: "a folder, which is created",
        help: "Save the guest for gdb then as DIR/NAME.core",
        set: |spec, text| {
            spec.cores = Some(PathBuf::from(text));
            Ok(())
        },
    },
    TestOption {
        names: &["coverage"],
        value: Some("FILE"),
        allowed: "a file, which is replaced if it is an lcov tracefile",
        help: "Write which lines and functions were run, for lcov and genhtml",
        set: |spec, text| {
            if text.is_empty() {
                return Err("is empty".to_owned());
            }
            spec.coverage = Some(PathBuf::from(text));
            Ok(())
        },
    },
    // What cargo and other callers pass to libtest.
    TestOption { names: &["color"], value: Some("WHEN"), allowed: "", help: "", set: |_, _| Ok(()) },
    TestOption { names: &["Z"], value: Some("FEATURE"), allowed: "", help: "", set: |_, _| Ok(()) },
    TestOption { names: &["report-time"], value: None, allowed: "", help: "", set: |_, _| Ok(()) },
];

/// The option with this name, given without dashes.
pub(super) fn named(name: &str) -> Option<&'static TestOption> {
    OPTIONS.iter().find(|option| option.names.contains(&name))
}

fn number(text: &str, least: u32, most: u32) -> ParseResult<u32> {
    let number = text.parse().ok().filter(|number| (least..=most).contains(number));
    number.ok_or_else(|| format!("is no number from {least} to {most}"))
}

fn words(text: &str, into: &mut Vec<String>) -> ParseResult<()> {
    if text.is_empty() {
        return Err("is empty".to_owned());
    }
    into.push(text.to_owned());
    Ok(())
}

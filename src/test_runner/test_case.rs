//! A test, and which tests are selected.

use std::path::Path;

use crate::boot::GuestTest;
use crate::settings::{IgnoredTests, TestSelection};

/// A test of a guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestCase {
    /// Its name, as reports have it.
    pub name: String,
    /// The name of its guest.
    pub group: String,
    /// Number of its guest.
    pub guest: usize,
    /// Its number in the guest's table; `None` if the guest is the test.
    pub number: Option<u32>,
    /// It is not run unless the user asks for ignored tests.
    pub ignored: bool,
    /// It passes if it fails.
    pub should_fail: bool,
}

impl TestCase {
    /// A guest that is a test.
    pub fn whole_guest(guest: usize, group: String) -> TestCase {
        TestCase { name: group.clone(), group, guest, number: None, ignored: false, should_fail: false }
    }

    /// A test in the table of a guest. With `prefixed`, the name of the guest stands before its own.
    pub fn of_guest(guest: usize, group: &str, number: u32, test: GuestTest, prefixed: bool) -> TestCase {
        TestCase {
            name: if prefixed { format!("{group}::{}", test.name) } else { test.name },
            group: group.to_owned(),
            guest,
            number: Some(number),
            ignored: test.ignored,
            should_fail: test.should_fail,
        }
    }
}

/// The name of a guest: that of its file without extension and without what cargo puts behind it.
pub fn guest_name(file: &Path) -> String {
    let stem = file.file_stem().unwrap_or(file.as_os_str()).to_string_lossy().into_owned();
    match stem.rsplit_once('-') {
        Some((name, hash)) if hash.len() == 16 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
            name.to_owned()
        }
        _ => stem,
    }
}

/// The tests among `all` that are selected, and how many others there are.
pub fn selected(all: Vec<TestCase>, selection: &TestSelection) -> (Vec<TestCase>, usize) {
    let count = all.len();
    let is_meant =
        |name: &str, word: &String| if selection.exact { name == word } else { name.contains(word) };
    let is_selected = |test: &TestCase| {
        let filters = &selection.filters;
        (filters.is_empty() || filters.iter().any(|word| is_meant(&test.name, word)))
            && !selection.skip.iter().any(|word| is_meant(&test.name, word))
            && (selection.ignored != IgnoredTests::Only || test.ignored)
    };
    let mut tests: Vec<TestCase> = all.into_iter().filter(is_selected).collect();
    if selection.ignored != IgnoredTests::NotRun {
        tests.iter_mut().for_each(|test| test.ignored = false);
    }
    let others = count - tests.len();
    (tests, others)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(selection: TestSelection) -> String {
        let tests = ["heap::grows", "heap::grows_twice", "slow"].map(|name| {
            let test = GuestTest { name: name.to_owned(), ignored: name == "slow", should_fail: false };
            TestCase::of_guest(0, "kernel", 0, test, false)
        });
        let (tests, others) = selected(tests.to_vec(), &selection);
        assert_eq!(tests.len() + others, 3);
        tests.iter().map(|test| format!("{}{} ", test.name, if test.ignored { "!" } else { "" })).collect()
    }

    fn filters(words: &[&str]) -> TestSelection {
        TestSelection {
            filters: words.iter().map(|&word| word.to_owned()).collect(),
            ..TestSelection::default()
        }
    }

    #[test]
    fn filters_are_parts_of_names_or_whole_names() {
        assert_eq!(names(filters(&[])), "heap::grows heap::grows_twice slow! ");
        assert_eq!(names(filters(&["grows", "slow"])), "heap::grows heap::grows_twice slow! ");
        assert_eq!(names(TestSelection { exact: true, ..filters(&["heap::grows"]) }), "heap::grows ");
        let skip = vec!["twice".to_owned()];
        assert_eq!(names(TestSelection { skip: skip.clone(), ..filters(&["heap"]) }), "heap::grows ");
        assert_eq!(names(TestSelection { skip, exact: true, ..filters(&["twice"]) }), "");
    }

    #[test]
    fn ignored_tests_are_run_when_asked_for() {
        let ignored = |ignored| names(TestSelection { ignored, ..TestSelection::default() });
        assert_eq!(ignored(IgnoredTests::Only), "slow ");
        assert_eq!(ignored(IgnoredTests::Included), "heap::grows heap::grows_twice slow ");
    }

    #[test]
    fn a_guest_is_named_after_its_file() {
        for (file, name) in [
            ("target/x/debug/deps/kernel-0123456789abcdef", "kernel"),
            ("a/my-guest.elf", "my-guest"),
            ("os-2024", "os-2024"),
        ] {
            assert_eq!(guest_name(Path::new(file)), name);
        }
    }
}

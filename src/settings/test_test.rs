use super::super::{Invocation, from_args_and_config};
use super::*;

/// An existing file, as a guest.
const GUEST: &str = "Cargo.toml";

fn invoke(args: &[&str]) -> Result<Invocation, SettingsError> {
    let args = ["kvm", "test"].iter().chain(args).map(OsString::from);
    from_args_and_config(args, Path::new("/nonexistent/config.ini"))
}

fn spec(args: &[&str]) -> (Settings, TestSpec) {
    match invoke(args) {
        Ok(Invocation::Test { run, spec }) => (*run, *spec),
        other => panic!("{args:?}: {other:?}"),
    }
}

fn refused(args: &[&str]) -> String {
    invoke(args).expect_err("that is wrong").to_string()
}

#[test]
fn files_are_guests_and_other_words_are_filters() {
    let (run, tests) = spec(&["first.elf", "--memory", "8", GUEST, "paging", "--skip=slow", "--", "heap"]);
    assert_eq!(tests.guests, [PathBuf::from("first.elf"), GUEST.into()]);
    assert_eq!(run.guest, PathBuf::from("first.elf"));
    assert_eq!(run.memory, 8 << 20);
    assert_eq!(
        (tests.selection.filters, tests.selection.skip),
        (vec!["paging".to_owned(), "heap".to_owned()], vec!["slow".to_owned()])
    );
}

#[test]
fn a_test_ends_after_ten_seconds_and_at_a_reset_unless_told_otherwise() {
    let (run, tests) = spec(&[GUEST]);
    assert_eq!((run.timeout, run.no_reboot), (Some(DEFAULT_TIMEOUT), true));
    assert_eq!((tests.criteria.success_exit_code, tests.retries, tests.jobs), (33, 0, None));
    let (run, _) = spec(&[GUEST, "--disk", "a.img", "--disk", "b.img,ro"]);
    assert_eq!([run.disks[0].mode, run.disks[1].mode], [DiskMode::Snapshot, DiskMode::ReadOnly]);
    assert_eq!(run.guest_disk, DiskMode::Snapshot);
    assert_eq!(spec(&[GUEST, "--timeout", "none"]).0.timeout, None);
    assert_eq!(spec(&[GUEST, "--timeout=2"]).0.timeout, Some(Duration::from_secs(2)));
}

#[test]
fn what_cargo_and_nextest_pass_on_is_understood() {
    let (_, tests) = spec(&[
        GUEST,
        "-q",
        "--nocapture",
        "--test-threads=1",
        "-Zunstable-options",
        "-Z",
        "unstable-options",
        "--color",
        "always",
        "--report-time",
        "--exact",
        "--include-ignored",
        "addition",
    ]);
    assert_eq!((tests.format, tests.jobs, tests.no_capture), (TestFormat::Terse, Some(1), true));
    assert_eq!((tests.selection.exact, tests.selection.ignored), (true, IgnoredTests::Included));
    assert_eq!(tests.selection.filters, ["addition"]);
}

#[test]
fn mistakes_are_named() {
    assert!(refused(&[]).contains("kvm test --help"));
    assert!(refused(&[GUEST, "missing.elf"]).contains("missing.elf"));
    assert!(refused(&[GUEST, "folder/missing"]).contains("folder/missing"));
    assert!(refused(&[GUEST, "--exat"]).contains("--exact"));
    assert!(refused(&[GUEST, "--list=yes"]).contains("--list"));
    assert!(refused(&[GUEST, "--format", "xml"]).contains("junit"));
    assert!(refused(&[GUEST, "--format"]).contains("junit"));
    assert!(refused(&[GUEST, "--jobs", "0"]).contains("--jobs"));
    assert!(refused(&[GUEST, "--success-exit-code", "32"]).contains("even"));
    assert!(refused(&[GUEST, "--expect", ""]).contains("--expect"));
    assert!(refused(&[GUEST, "--gdb"]).contains("--gdb"));
    assert!(refused(&[GUEST, "--serial", "1=pty"]).contains("--serial"));
    assert!(refused(&[GUEST, "--memory", "lots"]).contains("--memory"));
}

#[test]
fn help_lists_every_option() {
    let Ok(Invocation::Help(text)) = invoke(&["--help"]) else { panic!("that is help") };
    for option in OPTIONS.iter().filter(|option| !option.help.is_empty()) {
        assert!(text.contains(&shown(option)), "{}", shown(option));
    }
}

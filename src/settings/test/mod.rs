//! The command line of `kvm test`.

mod options;
mod spec;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use self::options::{OPTIONS, TestOption};
pub use self::spec::{IgnoredTests, TestCriteria, TestFormat, TestSelection, TestSpec};
use super::closest::closest;
use super::command::{CommandLine, ParsedCommand, read_run};
use super::error::{SettingsError, ValueOrigin};
use super::table::{OptionArgument, options};
use super::{CrashFiles, DiskMode, SerialBackend, Settings};

/// The first argument that selects this command.
pub(super) const COMMAND: &str = "test";

/// How long a test may take unless `--timeout` is given.
pub(super) const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// Text in the output that makes a test fail: what Rust's panic handlers print.
const PANIC: &str = "panicked at";

/// The exit status of the debug exit port for success: that of the value 0x10, as is usual on QEMU.
const SUCCESS: u8 = 33;

/// Extensions of guest files, which no filter has.
const GUEST_EXTENSIONS: [&str; 5] = ["elf", "bin", "img", "iso", "gz"];

/// Options of a run that make no sense in a test.
const REFUSED: [&str; 14] = [
    "gdb",
    "gdb-nowait",
    "debug-server",
    "console",
    "consoleport",
    "migr",
    "migrport",
    "restore",
    "snapshot-at-exit",
    "magic-break",
    "dump-screen",
    "display",
    "dashboard",
    "no-reboot",
];

const HELP_HEAD: &str = "\
Run guests as tests

Usage: kvm test GUEST... [FILTER...] [OPTIONS]

Each guest is a test, which has the name of its file, or a group of tests if it has a table of them. A test passes if the
guest writes 0x10 to the debug exit port 0xF4, or halts with interrupts off and RAX = 0, or if its output has the texts of
--expect. It fails if the guest ends otherwise, crashes, resets the machine, waits for ever, or runs longer than --timeout.
An argument that names no file is a filter: only tests with one of these words in their names are run. docs/testing.md has
the rest.

Options:
";

const HELP_TAIL: &str = "
All options of `kvm GUEST` that concern the machine and the guest are accepted and apply to each guest; --timeout is 10
seconds unless it is given. There is no log unless --logfile names one.

Examples:
  kvm test build/*.elf                     run all guests, a test each
  kvm test kernel.elf memory --exact       the test `memory` of a kernel with several
  kvm test os.img --expect-screen login:   pass as soon as the screen shows the text
  kvm test a.elf --format junit >report.xml

In .cargo/config.toml, for `cargo test` and `cargo run` of a kernel:
  [target.x86_64-unknown-none]
  runner = \"kvm test\"

Exit status: 0 if all tests passed, 101 if one failed, 2 if the command line is wrong, 4 if a guest file cannot be run, 6
if the host cannot run guests.

A guest file named test is run as `kvm ./test`.
";

/// A parsed command line whose run options are not checked yet.
pub(super) struct TestCommandLine {
    /// The options of the run, with the first guest.
    pub(super) run: CommandLine,
    spec: TestSpec,
}

impl TestCommandLine {
    /// The finished settings of each guest's run and of the tests, once those of the run are checked.
    ///
    /// # Errors
    ///
    /// [`SettingsError::NotInTests`] for an option that makes no sense in a test.
    pub(super) fn finish(self, run: Settings) -> Result<(Settings, TestSpec), SettingsError> {
        if let Some(option) = REFUSED.into_iter().find(|option| self.run.has(option)) {
            return Err(SettingsError::NotInTests { option });
        }
        let is_captured = |end: &SerialBackend| {
            matches!(end, SerialBackend::Stdio | SerialBackend::Log | SerialBackend::Null)
        };
        if !run.serial.iter().chain([&run.debug_console]).all(is_captured) {
            return Err(SettingsError::NotInTests { option: "serial" });
        }
        let timeout = match self.run.has("timeout") {
            true => run.timeout,
            false => run.timeout.or(Some(DEFAULT_TIMEOUT)),
        };
        let mut run = run;
        // Tests change no disk, so that several can use one at a time.
        for disk in run.disks.iter_mut().filter(|disk| disk.mode == DiskMode::ReadWrite) {
            disk.mode = DiskMode::Snapshot;
        }
        let run = Settings {
            timeout,
            guest_disk: DiskMode::Snapshot,
            no_reboot: true,
            gdb: None,
            debug_server: None,
            console: None,
            snapshot_at_exit: None,
            crash_files: CrashFiles::default(),
            magic_break: false,
            ..run
        };
        Ok((run, self.spec))
    }
}

/// Parses the arguments after [`COMMAND`] in `args`, whose first item is the program's name.
///
/// # Errors
///
/// [`SettingsError`] for the first invalid argument.
pub(super) fn read(args: Vec<OsString>) -> Result<ParsedCommand, SettingsError> {
    let mut args = args.into_iter();
    let mut run: Vec<OsString> = args.next().into_iter().collect();
    args.next();
    let mut spec = TestSpec {
        guests: Vec::new(),
        selection: TestSelection::default(),
        criteria: TestCriteria {
            success_exit_code: SUCCESS,
            expected: Vec::new(),
            expected_on_screen: Vec::new(),
            failing: vec![PANIC.to_owned()],
        },
        list: false,
        format: TestFormat::default(),
        no_capture: false,
        show_output: false,
        jobs: None,
        retries: 0,
        screenshots: None,
        reports: None,
        cores: None,
        coverage: None,
    };
    let mut options_ended = false;
    while let Some(arg) = args.next() {
        let text = arg.to_string_lossy().into_owned();
        if options_ended || !text.starts_with('-') || text == "-" {
            operand(arg, text, &mut spec)?;
            continue;
        }
        if text == "--" {
            options_ended = true;
            continue;
        }
        let (name, attached) = split_option(&text);
        if matches!(name, "help" | "h") {
            return Ok(ParsedCommand::Help(help()));
        }
        if let Some(option) = options::named(name) {
            let value = match (option.value, attached) {
                (None, None) => String::new(),
                (None, Some(value)) => {
                    let (option, value) = (shown(option), value.to_owned());
                    return Err(SettingsError::UnexpectedValue { option, value });
                }
                (Some(_), Some(value)) => value.to_owned(),
                (Some(_), None) => match args.next() {
                    Some(value) => value.to_string_lossy().into_owned(),
                    None => {
                        let (option, allowed) = (shown(option), option.allowed);
                        return Err(SettingsError::MissingValue { option, allowed });
                    }
                },
            };
            (option.set)(&mut spec, &value).map_err(|reason| SettingsError::Value {
                origin: Box::new(ValueOrigin::Option { long: option.names[0] }),
                value,
                reason,
                allowed: option.allowed,
            })?;
            continue;
        }
        let Some(option) = options().find(|option| option.long == name) else {
            let names =
                options().map(|option| option.long).chain(OPTIONS.iter().map(|option| option.names[0]));
            let meant = closest(name, names);
            return Err(SettingsError::UnknownOption { option: format!("--{name}"), meant });
        };
        run.push(arg);
        if matches!(option.takes, OptionArgument::Value(_)) && attached.is_none() {
            run.extend(args.next());
        }
    }
    let Some(first) = spec.guests.first() else { return Err(SettingsError::NoTestGuest) };
    run.push("--".into());
    run.push(first.into());
    Ok(match read_run(run)? {
        ParsedCommand::Run(run) => ParsedCommand::Test(Box::new(TestCommandLine { run, spec })),
        other => other,
    })
}

/// Takes an argument that is no option: a guest file, or a filter.
fn operand(arg: OsString, text: String, spec: &mut TestSpec) -> Result<(), SettingsError> {
    let path = PathBuf::from(arg);
    if spec.guests.is_empty() || path.exists() {
        spec.guests.push(path);
        return Ok(());
    }
    let extension = path.extension().and_then(|extension| extension.to_str());
    if extension.is_some_and(|extension| GUEST_EXTENSIONS.contains(&extension)) || has_folder(&path) {
        return Err(SettingsError::MissingTestGuest { guest: path });
    }
    spec.selection.filters.push(text);
    Ok(())
}

fn has_folder(path: &Path) -> bool {
    path.components().count() > 1
}

/// The name of an option, without dashes, and the value attached with `=`.
fn split_option(text: &str) -> (&str, Option<&str>) {
    let name = text.trim_start_matches('-');
    match name.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        // As in -Zunstable-options.
        None if name.starts_with('Z') && name.len() > 1 => ("Z", Some(&name[1..])),
        None => (name, None),
    }
}

fn shown(option: &TestOption) -> String {
    format!("--{}", option.names[0])
}

/// The answer to `kvm test --help`.
fn help() -> String {
    let usage = |option: &TestOption| match option.value {
        Some(value) => format!("--{} {value}", option.names[0]),
        None => format!("--{}", option.names[0]),
    };
    let listed = || OPTIONS.iter().filter(|option| !option.help.is_empty());
    let width = listed().map(|option| usage(option).len()).max().unwrap_or_default();
    let mut text = HELP_HEAD.to_owned();
    for option in listed() {
        text += &format!("  {:width$}  {}\n", usage(option), option.help);
    }
    text += &format!("  {:width$}  Print this help and exit\n", "-h, --help");
    text + HELP_TAIL
}

#[cfg(test)]
#[path = "../test_test.rs"]
mod tests;

//! Shared by all end-to-end tests: paths, running `kvm`, and checking its output.

pub mod console;
pub mod debug_server;
pub mod debugger;
pub mod migration;
pub mod pty;

use std::ffi::OsStr;
use std::io::Write;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use libtest_mimic::{Failed, Trial};

mod chroot;
mod exact_output;
mod lane;
mod qemu;
mod running;
mod yakvm;

pub use chroot::{ChrootFolder, chroot_command, is_root};
pub use exact_output::{ExactOutput, HALTED_0, exact_output, halted, low_memory_map};
pub use lane::{
    KERNEL_SUFFIX, Lane, flood_size, lane, part_of, resets_registers, skip_the_same, skip_unless_all,
    skip_unsupported,
};
pub use qemu::has_debug_registers;
pub use running::Running;

/// Longest duration of a run before it counts as hanging: on an emulated processor of a busy machine, some
/// runs take a minute or two.
pub const TIMEOUT: Duration = Duration::from_secs(180);

/// The `kvm` under test.
pub fn kvm_binary() -> PathBuf {
    std::env::var_os("KVM_BIN").map_or_else(|| env!("CARGO_BIN_EXE_kvm").into(), PathBuf::from)
}

/// The ELF file of one of the guests in `target-examples` or `tests/guests`.
pub fn guest(name: &str) -> PathBuf {
    guests_folder().join(format!("{name}.elf"))
}

/// The flat image of one of the guests in `target-examples/flat` or `tests/guests`; its symbols are beside it.
pub fn flat(name: &str) -> PathBuf {
    guests_folder().join(format!("{name}.bin"))
}

/// A flat image or a disk image among the guests.
pub fn disk_guest(name: &str) -> PathBuf {
    guests_folder().join(format!("{name}.img"))
}

/// One of the prebuilt programs in `esempi-io`.
pub fn example(name: &str) -> PathBuf {
    source("esempi-io").join(format!("{name}.elf"))
}

/// A guest that sends [`flood_size`] bytes to COM1, as lines of 63 dots, as fast as it can.
pub fn flood() -> PathBuf {
    guest("serial-million")
}

fn guests_folder() -> PathBuf {
    std::env::var_os("KVM_GUESTS")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target/guests"), PathBuf::from)
}

/// A file of the project's sources.
pub fn source(path: &str) -> PathBuf {
    std::env::var_os("KVM_SOURCES")
        .map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from)
        .join(path)
}

/// Builds the guests, unless `KVM_GUESTS` names their folder.
pub fn prepare() {
    if std::env::var_os("KVM_GUESTS").is_some() {
        return;
    }
    for script in ["target-examples/build", "tests/guests/build"].map(source) {
        let status = Command::new(&script).arg(guests_folder()).stdout(Stdio::null()).status();
        if !status.is_ok_and(|status| status.success()) {
            eprintln!("{} failed: the guests the tests run are missing", script.display());
            std::process::exit(1);
        }
    }
}

/// The device that guests run through, if `KVM_TEST_DEVICE` names another one than `/dev/kvm`.
pub fn test_device() -> Option<String> {
    std::env::var("KVM_TEST_DEVICE").ok()
}

/// Why guests cannot run on this host, or `None` if they can.
pub fn no_kvm() -> Option<&'static str> {
    static REASON: OnceLock<Option<String>> = OnceLock::new();
    REASON
        .get_or_init(|| {
            let device = test_device().unwrap_or_else(|| "/dev/kvm".to_owned());
            let opened = std::fs::File::options().read(true).write(true).open(&device);
            opened.err().map(|error| format!("{device}: {error}"))
        })
        .as_deref()
}

/// A test that runs no guest.
pub fn test(name: &str, body: impl FnOnce() -> Result<(), Failed> + Send + 'static) -> Trial {
    Trial::test(name, body)
}

/// A test that runs a guest: ignored, with the reason in its name, where there is no KVM.
pub fn guest_test(name: &str, body: impl FnOnce() -> Result<(), Failed> + Send + 'static) -> Trial {
    match no_kvm() {
        None => Trial::test(name, body),
        Some(reason) => Trial::test(format!("{name} (skipped: {reason})"), body).with_ignored_flag(true),
    }
}

/// A temporary folder of one test, removed when dropped.
pub struct Folder(PathBuf);

impl Folder {
    /// A new, empty folder.
    pub fn new() -> Folder {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("kvm-e2e-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a temporary folder can be made");
        Folder(path)
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// A file in it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// The contents of the file `name` in it.
    pub fn read(&self, name: &str) -> String {
        let path = self.file(name);
        let bytes = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// One run of `kvm` in a temporary folder.
pub struct Kvm {
    /// Its working directory, with its log and other files.
    pub folder: Folder,
    arguments: Vec<std::ffi::OsString>,
    input: Vec<u8>,
    shell: Option<String>,
}

/// The result of a run.
pub struct FinishedRun {
    /// Exit status; `None` if a signal ended it.
    pub status: Option<i32>,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
    /// Its working directory.
    pub folder: Folder,
}

impl Kvm {
    /// `kvm` with no arguments yet.
    pub fn new() -> Kvm {
        Kvm { folder: Folder::new(), arguments: Vec::new(), input: Vec::new(), shell: None }
    }

    /// Puts a file into its working directory.
    pub fn file(self, name: &str, text: &str) -> Kvm {
        std::fs::write(self.folder.file(name), text).expect("a file can be written");
        self
    }

    /// `kvm` with one of the example guests.
    pub fn with_guest(name: &str) -> Kvm {
        Kvm::new().arg(guest(name))
    }

    /// Adds an argument.
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Kvm {
        self.arguments.push(argument.as_ref().to_owned());
        self
    }

    /// Adds arguments.
    pub fn args<A: AsRef<OsStr>>(self, arguments: impl IntoIterator<Item = A>) -> Kvm {
        arguments.into_iter().fold(self, Kvm::arg)
    }

    /// Sets the contents of standard input.
    pub fn input(mut self, bytes: &[u8]) -> Kvm {
        self.input = bytes.to_vec();
        self
    }

    /// Runs it in a shell: `script` starts it as `"$@"`.
    pub fn in_shell(mut self, script: &str) -> Kvm {
        self.shell = Some(script.to_owned());
        self
    }

    /// The command, for tests that spawn it themselves.
    pub fn command(&self) -> Command {
        let mut command = match &self.shell {
            None => Command::new(kvm_binary()),
            Some(script) => {
                let mut shell = Command::new("bash");
                shell.args(["-c", script, "bash"]).arg(kvm_binary());
                shell
            }
        };
        command.args(self.with_device()).current_dir(self.folder.path());
        command
    }

    /// The arguments, with `--device` if the tests use another device and the command opens one.
    fn with_device(&self) -> Vec<std::ffi::OsString> {
        const COMMANDS: [&str; 6] =
            ["check-snapshot", "completions", "console", "debug-client", "man", "vscode"];
        let mut arguments = self.arguments.clone();
        let first = arguments.first().and_then(|first| first.to_str()).unwrap_or_default();
        let config = std::fs::read_to_string(self.folder.file("config.ini")).unwrap_or_default();
        let named = arguments.iter().any(|it| it.to_str().is_some_and(|it| it.starts_with("--device")))
            || config.lines().any(|line| line.starts_with("device ="));
        if let Some(device) = test_device()
            && !named
            && !COMMANDS.contains(&first)
        {
            let at = usize::from(matches!(first, "check" | "inspect" | "test"));
            arguments.insert(at, format!("--device={device}").into());
        }
        arguments
    }

    /// Starts it with pipes for its standard streams.
    pub fn start(&self) -> Child {
        self.command()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("kvm can be started")
    }

    /// Runs it to its end.
    pub fn run(self) -> FinishedRun {
        let mut child = self.start();
        let mut stdin = child.stdin.take().expect("stdin is a pipe");
        let input = self.input.clone();
        let writer = std::thread::spawn(move || {
            // A run that ends early closes the pipe.
            let _ = stdin.write_all(&input);
        });
        let killer = Deadline::new(child.id());
        let Output { status, stdout, stderr } = child.wait_with_output().expect("kvm can be waited for");
        assert!(!killer.stop(), "kvm {:?} did not end within {TIMEOUT:?}", self.arguments);
        let _ = writer.join();
        FinishedRun {
            status: status.code(),
            out: String::from_utf8_lossy(&stdout).into_owned(),
            err: String::from_utf8_lossy(&stderr).into_owned(),
            folder: self.folder,
        }
    }
}

/// Kills a process that takes longer than [`TIMEOUT`].
pub struct Deadline {
    done: std::sync::mpsc::Sender<()>,
    thread: std::thread::JoinHandle<bool>,
}

impl Deadline {
    /// Starts the timeout of process `pid`.
    pub fn new(pid: u32) -> Deadline {
        let (done, over) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let late = over.recv_timeout(TIMEOUT).is_err();
            if late {
                let _ = Command::new("kill").args(["-KILL", &pid.to_string()]).status();
            }
            late
        });
        Deadline { done, thread }
    }

    /// Stops the timeout; true if the process had to be killed.
    pub fn stop(self) -> bool {
        let _ = self.done.send(());
        self.thread.join().unwrap_or(true)
    }
}

impl FinishedRun {
    /// The run must have ended with this exit status.
    pub fn expect_status(&self, status: i32) -> Result<&FinishedRun, Failed> {
        self.check(self.status == Some(status), &format!("exit status {status}"))
    }

    /// Standard output must be exactly this.
    pub fn expect_out(&self, text: &str) -> Result<&FinishedRun, Failed> {
        self.check(self.out == text, &format!("standard output {text:?}"))
    }

    /// Standard error must contain this.
    pub fn expect_err(&self, text: &str) -> Result<&FinishedRun, Failed> {
        self.check(self.err.contains(text), &format!("{text:?} on standard error"))
    }

    /// Standard error must contain all of these, in this order.
    pub fn expect_err_in_order(&self, parts: &[&str]) -> Result<&FinishedRun, Failed> {
        let mut rest = self.err.as_str();
        for part in parts {
            match rest.split_once(part) {
                Some((_, after)) => rest = after,
                None => return self.check(false, &format!("{part:?} on standard error, after the others")),
            }
        }
        Ok(self)
    }

    /// The log must contain this.
    pub fn expect_log(&self, text: &str) -> Result<&FinishedRun, Failed> {
        let log = self.folder.read("console.log");
        self.check(log.contains(text), &format!("{text:?} in the log\n{log}"))
    }

    /// A file in its working directory must be exactly this.
    pub fn expect_file(&self, name: &str, text: &str) -> Result<&FinishedRun, Failed> {
        let found = self.folder.read(name);
        self.check(found == text, &format!("{name} {text:?}, not {found:?}"))
    }

    /// The guest's lines on one serial port in the log, in order.
    pub fn logged_lines(&self, port: &str) -> Vec<String> {
        let start = format!(" INFO kvm::serial: {port}: ");
        let log = self.folder.read("console.log");
        log.lines().filter_map(|line| line.split_once(&start)).map(|(_, text)| text.to_owned()).collect()
    }

    /// Fails with what was `expected` and the output of the run unless `condition` is true.
    pub fn check(&self, condition: bool, expected: &str) -> Result<&FinishedRun, Failed> {
        if condition {
            return Ok(self);
        }
        Err(format!(
            "expected {expected}; got exit status {:?}\n--- stdout\n{}\n--- stderr\n{}",
            self.status, self.out, self.err
        )
        .into())
    }
}

/// An address with a port that was free a moment ago and is unlikely to be taken since.
pub fn free_address() -> Result<String, Failed> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string())
}

/// Processor time of all threads of a process, in clock ticks of 10 ms.
pub fn processor_ticks(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process runs");
    let (_, fields) = stat.rsplit_once(')').expect("a name in parentheses");
    fields.split_whitespace().skip(11).take(2).map(|ticks| ticks.parse::<u64>().expect("a number")).sum()
}

/// Waits until `done` is true.
pub fn wait_until(what: &str, mut done: impl FnMut() -> bool) -> Result<(), Failed> {
    let start = Instant::now();
    while !done() {
        if start.elapsed() > TIMEOUT {
            return Err(format!("{what}: not within {TIMEOUT:?}").into());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// The result in the last message of a guest.
pub fn result(message: &str) -> Result<u64, Failed> {
    let digits = message.split("result (RAX) ").nth(1).and_then(|rest| rest.split(' ').next());
    digits.and_then(|digits| digits.parse().ok()).ok_or_else(|| format!("no result: {message}").into())
}

//! 200 tests of one kernel by `kvm test`, beside a process of QEMU for each of them; and of a larger one with and without
//! coverage.
//!
//! `cargo bench --bench test_runner [-- OPTION...]`; docs/benchmarks.md explains the lines of the table.

#[allow(dead_code)]
#[path = "../shared/mod.rs"]
mod shared;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use shared::guests::Guests;
use shared::rounds::{self, compare, side_by_side};
use shared::table::{Table, Target, Unit, seconds};
use shared::{Failure, host, kvm_binary, programs};

/// Tests of the kernel.
const TESTS: usize = 200;
/// RAM of a guest in MiB.
const RAM: &str = "64";
/// Exit status of QEMU for a test that has passed.
const PASSED: i32 = 33;
/// Most seconds for all tests.
const MOST: f64 = 2.0;
/// Port writes of the long guests, which this benchmark does not use.
const WRITES: u32 = 32_000;

const TIME: Unit = Unit { show: seconds, more_is_better: false };

/// What runs the tests.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Runner {
    /// `kvm test`, from a snapshot each.
    Kvm,
    /// A process of QEMU each, with KVM.
    QemuKvm,
    /// A process of QEMU each, with its own emulation.
    QemuTcg,
}

impl rounds::Contender for Runner {
    fn name(self) -> &'static str {
        match self {
            Runner::Kvm => "kvm test",
            Runner::QemuKvm => "QEMU microvm, KVM, a process each",
            Runner::QemuTcg => "QEMU microvm, TCG, a process each",
        }
    }

    fn is_optional(self) -> bool {
        self != Runner::Kvm
    }
}

/// Seconds that all tests take, as many at a time as the host has processors.
fn run(runner: Runner, guests: &Guests) -> Result<f64, Failure> {
    let guest = guests.elf("tests");
    let begin = Instant::now();
    match runner {
        Runner::Kvm => {
            let mut command = Command::new(kvm_binary());
            command.arg("test").arg(&guest).args(["--memory", RAM, "--boot", "elf64", "--quiet"]);
            let output = programs::connect(command, guests.folder()).output()?;
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            if !text.contains(&format!("ok. {TESTS} passed;")) {
                return Err(format!("not all tests have passed: {text}").into());
            }
        }
        Runner::QemuKvm | Runner::QemuTcg => {
            let processors = thread::available_parallelism()?.get();
            let next = AtomicUsize::new(0);
            let one_after_another = || -> Result<(), String> {
                while next.fetch_add(1, Ordering::Relaxed) < TESTS {
                    let status = qemu(runner, guests).status().map_err(|_| "not installed".to_owned())?;
                    if status.code() != Some(PASSED) {
                        return Err(format!("a test has not passed: {status}"));
                    }
                }
                Ok(())
            };
            thread::scope(|scope| {
                let jobs: Vec<_> = (0..processors).map(|_| scope.spawn(one_after_another)).collect();
                jobs.into_iter().try_for_each(|job| job.join().expect("a job does not panic"))
            })?;
        }
    }
    Ok(begin.elapsed().as_secs_f64())
}

fn qemu(runner: Runner, guests: &Guests) -> Command {
    let mut command = match runner {
        Runner::QemuTcg => {
            let mut command = Command::new("qemu-system-x86_64");
            command.args([
                "-machine",
                programs::MICROVM,
                "-accel",
                "tcg",
                "-m",
                RAM,
                "-nodefaults",
                "-display",
                "none",
            ]);
            command
        }
        _ => programs::qemu(programs::MICROVM, RAM),
    };
    command.args([
        "-no-reboot",
        "-device",
        "isa-debug-exit,iobase=0xf4,iosize=4",
        "-serial",
        "null",
        "-kernel",
    ]);
    command.arg(guests.elf("tests"));
    let mut command = programs::connect(command, guests.folder());
    command.stdout(Stdio::null());
    command
}

/// Whether coverage is measured.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Coverage {
    /// It is.
    Measured,
    /// It is not.
    Off,
}

impl rounds::Contender for Coverage {
    fn name(self) -> &'static str {
        match self {
            Coverage::Measured => "kvm test --coverage",
            Coverage::Off => "kvm test without coverage",
        }
    }

    fn is_optional(self) -> bool {
        false
    }
}

/// Conditions in each test of the guest for coverage; none of them holds.
const CONDITIONS: usize = 28;

/// Builds a kernel whose tests have two basic blocks for each of [`CONDITIONS`].
fn kernel_with_blocks(guests: &Guests) -> Result<PathBuf, Failure> {
    let mut source = "#include \"kernel_test.h\"\n#include \"serial.h\"\n\
         void kernel_test_print(const char *text) { serial_print(COM1, text); }\n\
         static volatile uint64_t seen;\n"
        .to_owned();
    for test in 0..TESTS {
        source += &format!("KERNEL_TEST(test_{test})\n{{\n");
        for condition in 1..=CONDITIONS {
            source += &format!("    if (seen == {condition})\n        seen++;\n");
        }
        source += "    CHECK(seen == 0);\n}\n";
    }
    source += "uint64_t guest_main(void) { kernel_test_run(); }\n";
    let folder = guests.folder();
    std::fs::write(folder.join("blocks.c"), source)?;
    let built = Command::new("bash")
        .args(["-c", BUILD, "bash"])
        .arg(folder)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()?;
    match built.status.success() {
        true => Ok(folder.join("blocks.elf")),
        false => Err(String::from_utf8_lossy(&built.stderr).into_owned().into()),
    }
}

/// Each line has instructions of its own.
const BUILD: &str = "set -euo pipefail; . target-examples/lib/build.sh; start_build \"$1\"; \
     make_elf blocks guest.ld \"${fixed_address[@]}\" -O0 \"$lib/start.S\" \"$1/blocks.c\"";

/// Seconds that all tests of `guest` take, one at a time.
fn run_with(coverage: Coverage, guest: &Path, guests: &Guests) -> Result<f64, Failure> {
    let mut command = Command::new(kvm_binary());
    command.arg("test").arg(guest).args(["--memory", RAM, "--jobs", "1", "--quiet"]);
    if coverage == Coverage::Measured {
        command.arg("--coverage").arg(guests.folder().join("lcov.info"));
    }
    let mut command = programs::connect(command, guests.folder());
    let begin = Instant::now();
    let output = command.output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !text.contains(&format!("ok. {TESTS} passed;")) {
        return Err(format!("not all tests have passed: {text}").into());
    }
    Ok(begin.elapsed().as_secs_f64())
}

fn measure(rounds: usize, qemu_rounds: usize) -> Result<Table, Failure> {
    let guests = Guests::build(WRITES)?;
    let mut table = Table::new(host::line());
    let what = format!("{TESTS} tests of one kernel");
    let measured = side_by_side(
        &what,
        &[Runner::Kvm, Runner::QemuKvm, Runner::QemuTcg],
        |runner| if runner == Runner::Kvm { rounds } else { qemu_rounds },
        |runner| run(runner, &guests),
    )?;
    compare(&mut table, &what, TIME, &measured, |_| Some(Target::Value(MOST)));
    let guest = kernel_with_blocks(&guests)?;
    let what = format!("{TESTS} tests of {} basic blocks each", 2 * CONDITIONS);
    let contenders = [Coverage::Measured, Coverage::Off];
    let measured =
        side_by_side(&what, &contenders, |_| qemu_rounds, |coverage| run_with(coverage, &guest, &guests))?;
    compare(&mut table, &what, TIME, &measured, |_| None);
    Ok(table)
}

fn main() -> ExitCode {
    shared::options::run("test_runner", |quick| if quick { measure(5, 1) } else { measure(31, 5) })
}

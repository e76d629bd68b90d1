//! 200 tests of one kernel by `kvm test`, beside a process of QEMU for each of them.
//!
//! `cargo bench --bench test_runner [-- OPTION...]`; docs/benchmarks.md explains the lines of the table.

#[allow(dead_code)]
#[path = "../shared/mod.rs"]
mod shared;

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
    Ok(table)
}

fn main() -> ExitCode {
    shared::options::run("test_runner", |quick| if quick { measure(5, 1) } else { measure(31, 5) })
}

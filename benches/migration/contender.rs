//! The measured programs: their commands, and their reports on a migration.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::monitor::{Monitor, TIMEOUT};
use crate::program::Program;
use crate::shared::guests::Guests;
use crate::shared::programs::{self, MICROVM};
use crate::shared::{Failure, kvm_binary, ports, rounds};

/// RAM of the guest in MiB, all but 4 of which it fills.
const RAM: &str = "256";

/// A program that runs and migrates guests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contender {
    /// This project, with its default settings.
    Kvm,
    /// QEMU without its bandwidth limit.
    Qemu,
    /// The same with the target downtime of `kvm`, 30 ms instead of 300 ms.
    QemuShort,
}

use Contender::{Kvm, Qemu, QemuShort};

impl rounds::Contender for Contender {
    fn name(self) -> &'static str {
        match self {
            Kvm => "kvm",
            Qemu => "QEMU microvm",
            QemuShort => "QEMU microvm, downtime-limit 30",
        }
    }

    fn is_optional(self) -> bool {
        self != Kvm
    }
}

/// The times of a migration that the program reports, in seconds.
pub struct ReportedTimes {
    /// Total time.
    pub total: f64,
    /// Downtime of the guest.
    pub downtime: f64,
}

impl Contender {
    fn prompt(self) -> &'static str {
        if self == Kvm { "vmm console> " } else { "(qemu) " }
    }

    /// Starts the program with the guest, and returns when the guest has filled its memory.
    pub fn run_guest(self, guests: &Guests) -> Result<(Program, Monitor), Failure> {
        let (mut command, monitor) = self.command(guests, "source");
        if self == Kvm {
            command.args(["--memory", RAM]).arg(guests.elf("dirty"));
        }
        let mut program = Program::start(command, &monitor)?;
        let mut console = program.monitor(self.prompt())?;
        if self != Kvm {
            console.ask("migrate_set_parameter max-bandwidth 1000G")?;
        }
        if self == QemuShort {
            console.ask("migrate_set_parameter downtime-limit 30")?;
        }
        // The guest also writes at its steady rate for a moment.
        program.wait_for(50)?;
        Ok((program, console))
    }

    /// Starts a destination for the guest, and returns its port.
    pub fn start_destination(self, guests: &Guests) -> Result<(Program, u16), Failure> {
        let port = ports::free()?;
        let (mut command, monitor) = self.command(guests, "destination");
        match self {
            Kvm => command.args(["-migr", "-migrport", &port.to_string()]),
            Qemu | QemuShort => command.args(["-incoming", &format!("tcp:127.0.0.1:{port}")]),
        };
        let program = Program::start(command, &monitor)?;
        let start = Instant::now();
        while !ports::listens(port)? {
            if start.elapsed() > TIMEOUT {
                return Err("it does not listen for a migration".into());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok((program, port))
    }

    /// Starts a program that restores and resumes the guest in `file`.
    pub fn restore(self, guests: &Guests, file: &Path) -> Result<Program, Failure> {
        let (mut command, monitor) = self.command(guests, "destination");
        match self {
            Kvm => command.arg("--restore").arg(file),
            Qemu | QemuShort => command.arg("-incoming").arg(format!("exec:cat {}", file.display())),
        };
        let mut program = Program::start(command, &monitor)?;
        if self != Kvm {
            let mut console = program.monitor(self.prompt())?;
            // QEMU pauses the guest when the restore is complete.
            while program.ticks().first.is_none() && program.started().elapsed() < TIMEOUT {
                console.ask("cont")?;
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        Ok(program)
    }

    /// The command without the source of the guest, and the path of its monitor socket.
    fn command(self, guests: &Guests, side: &str) -> (Command, PathBuf) {
        let monitor = guests.folder().join(format!("{side}.monitor"));
        let mut command;
        if self == Kvm {
            command = Command::new(kvm_binary());
            command.arg(format!("--console=unix:{}", monitor.display()));
        } else {
            command = programs::qemu(MICROVM, RAM);
            command
                .args(["-serial", "stdio", "-monitor", &format!("unix:{},server,nowait", monitor.display())])
                .arg("-kernel")
                .arg(guests.elf("dirty.qemu"));
        }
        command.current_dir(guests.folder());
        (command, monitor)
    }

    /// Starts a migration to `port`.
    pub fn migrate_to(self, console: &mut Monitor, port: u16) -> Result<(), Failure> {
        match self {
            Kvm => console.send(&format!("migrate 127.0.0.1 {port}")),
            Qemu | QemuShort => console.ask(&format!("migrate -d tcp:127.0.0.1:{port}")).map(drop),
        }
    }

    /// Waits for the end of the migration, and returns the reported times.
    pub fn reported_times(self, console: &mut Monitor) -> Result<ReportedTimes, Failure> {
        if self == Kvm {
            let progress = console.wait_for("ms\n")?;
            let end = progress.lines().find(|line| line.contains("the guest has moved to"));
            let end = end.ok_or_else(|| format!("the guest has not moved: {progress}"))?;
            return Ok(ReportedTimes {
                total: milliseconds(end, " sent in ")?,
                downtime: milliseconds(end, "downtime ")?,
            });
        }
        let status = completed(console)?;
        Ok(ReportedTimes {
            total: milliseconds(&status, "total time: ")?,
            downtime: milliseconds(&status, "downtime: ")?,
        })
    }

    /// Stops the guest and saves it in `file`. Returns the seconds until the file is synchronised.
    pub fn save(self, console: &mut Monitor, file: &Path) -> Result<f64, Failure> {
        console.ask(if self == Kvm { "pause" } else { "stop" })?;
        let start = Instant::now();
        let command = match self {
            Kvm => format!("snapshot {}", file.display()),
            // Without `-d` QEMU polls for the end once per second.
            Qemu | QemuShort => format!("migrate -d \"exec:cat > {}\"", file.display()),
        };
        let answer = console.ask(&command)?;
        match self {
            Kvm if answer.contains("saved in") => {}
            Kvm => return Err(format!("the guest is not saved: {answer}").into()),
            Qemu | QemuShort => {
                completed(console)?;
                // `kvm` does this itself.
                File::open(file)?.sync_all()?;
            }
        }
        Ok(start.elapsed().as_secs_f64())
    }
}

/// Waits until QEMU has migrated or saved the guest, and returns its report.
fn completed(console: &mut Monitor) -> Result<String, Failure> {
    let start = Instant::now();
    while start.elapsed() < TIMEOUT {
        let status = console.ask("info migrate")?;
        if status.contains("Migration status: completed") {
            return Ok(status);
        }
        if status.contains("Migration status: failed") {
            return Err(format!("the guest has not moved: {status}").into());
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    Err("the migration does not complete".into())
}

/// The number of milliseconds in `text` behind `label`, in seconds.
fn milliseconds(text: &str, label: &str) -> Result<f64, Failure> {
    let number = text.split(label).nth(1).and_then(|rest| rest.split(" ms").next());
    let number = number.and_then(|number| number.parse::<f64>().ok());
    number.map(|number| number / 1000.0).ok_or_else(|| format!("no {label:?} in {text:?}").into())
}

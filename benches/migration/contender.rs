//! The programs that are measured: what they are told, and what they tell of a move.

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

/// A program that runs guests, and the way in which it is told to move them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contender {
    /// The program all this is about, as it comes.
    Kvm,
    /// QEMU, with the limits that it has for how much it sends in a second taken away.
    Qemu,
    /// The same, told that the guest may stand still for as long as `kvm` lets it: 30 ms instead of 300.
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

/// A move, as the program itself tells it: how long it took, and how long the guest stood still, in
/// seconds.
pub struct Told {
    /// All of it.
    pub total: f64,
    /// Of that, with the guest standing still.
    pub downtime: f64,
}

impl Contender {
    fn prompt(self) -> &'static str {
        if self == Kvm { "vmm console> " } else { "(qemu) " }
    }

    /// The program with the guest, which has filled its memory when this returns.
    pub fn run_guest(self, guests: &Guests) -> Result<(Program, Monitor), Failure> {
        let (mut command, monitor) = self.command(guests, "here");
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
        // It writes at its pace for a moment, too.
        program.wait_for(50)?;
        Ok((program, console))
    }

    /// Another one that waits for the guest on the port that is returned, too.
    pub fn wait_for_guest(self, guests: &Guests) -> Result<(Program, u16), Failure> {
        let port = ports::free()?;
        let (mut command, monitor) = self.command(guests, "there");
        match self {
            Kvm => command.args(["-migr", "-migrport", &port.to_string()]),
            Qemu | QemuShort => command.args(["-incoming", &format!("tcp:127.0.0.1:{port}")]),
        };
        let program = Program::start(command, &monitor)?;
        let start = Instant::now();
        while !ports::listens(port)? {
            if start.elapsed() > TIMEOUT {
                return Err("it does not wait for a guest".into());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok((program, port))
    }

    /// One that goes on with the guest in `file`, which stood still when it was saved.
    pub fn restore(self, guests: &Guests, file: &Path) -> Result<Program, Failure> {
        let (mut command, monitor) = self.command(guests, "there");
        match self {
            Kvm => command.arg("--restore").arg(file),
            Qemu | QemuShort => command.arg("-incoming").arg(format!("exec:cat {}", file.display())),
        };
        let mut program = Program::start(command, &monitor)?;
        if self != Kvm {
            let mut console = program.monitor(self.prompt())?;
            // Once all is there it stands still again.
            while program.said().first.is_none() && program.started().elapsed() < TIMEOUT {
                console.ask("cont")?;
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        Ok(program)
    }

    /// The command without what says where the guest comes from, and where its monitor is going to be.
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

    /// Has the guest move to whoever waits on `port`; it has begun when this returns.
    pub fn move_to(self, console: &mut Monitor, port: u16) -> Result<(), Failure> {
        match self {
            Kvm => console.send(&format!("migrate 127.0.0.1 {port}")),
            Qemu | QemuShort => console.ask(&format!("migrate -d tcp:127.0.0.1:{port}")).map(drop),
        }
    }

    /// What it tells of the move, once that is over.
    pub fn told(self, console: &mut Monitor) -> Result<Told, Failure> {
        if self == Kvm {
            let progress = console.wait_for("ms\n")?;
            let end = progress.lines().find(|line| line.contains("the guest has moved to"));
            let end = end.ok_or_else(|| format!("the guest has not moved: {progress}"))?;
            return Ok(Told {
                total: milliseconds(end, " sent in ")?,
                downtime: milliseconds(end, "downtime ")?,
            });
        }
        let status = completed(console)?;
        Ok(Told {
            total: milliseconds(&status, "total time: ")?,
            downtime: milliseconds(&status, "downtime: ")?,
        })
    }

    /// Stops the guest, and saves it in `file`; how many seconds saving takes, until the file is on the
    /// disk.
    pub fn save(self, console: &mut Monitor, file: &Path) -> Result<f64, Failure> {
        console.ask(if self == Kvm { "pause" } else { "stop" })?;
        let start = Instant::now();
        let told = match self {
            Kvm => format!("snapshot {}", file.display()),
            // Without `-d` it looks once in a second whether it is done.
            Qemu | QemuShort => format!("migrate -d \"exec:cat > {}\"", file.display()),
        };
        let said = console.ask(&told)?;
        match self {
            Kvm if said.contains("saved in") => {}
            Kvm => return Err(format!("the guest is not saved: {said}").into()),
            Qemu | QemuShort => {
                completed(console)?;
                // What `kvm` does by itself.
                File::open(file)?.sync_all()?;
            }
        }
        Ok(start.elapsed().as_secs_f64())
    }
}

/// Waits until QEMU has moved or saved the guest; what it tells of that.
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
    Err("the guest never moves".into())
}

/// The number of milliseconds in `text` behind `label`, in seconds.
fn milliseconds(text: &str, label: &str) -> Result<f64, Failure> {
    let behind = text.split(label).nth(1).and_then(|rest| rest.split(" ms").next());
    let number = behind.and_then(|number| number.parse::<f64>().ok());
    number.map(|number| number / 1000.0).ok_or_else(|| format!("no {label:?} in {text:?}").into())
}

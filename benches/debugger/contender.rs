//! The programs whose stubs are measured, and the bare loop without a stub.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::client::Client;
use crate::guest;
use crate::shared::guests::Guests;
use crate::shared::programs::{self, MICROVM, spawn};
use crate::shared::{Failure, kvm_binary, ports, rounds};

/// Longest time for a program to listen for a debugger.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A program that single-steps a guest, by itself or for a debugger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contender {
    /// This project.
    Kvm,
    /// The same, with conditions evaluated by the client instead of the stub.
    KvmByClient,
    /// QEMU's smallest machine.
    Qemu,
    /// The smallest KVM program, which reads no state between two steps.
    Bare,
    /// The same, reading the general registers after each step.
    BareRegisters,
}

impl rounds::Contender for Contender {
    fn name(self) -> &'static str {
        match self {
            Contender::Kvm => "kvm",
            Contender::KvmByClient => "kvm, condition evaluated by the client",
            Contender::Qemu => "QEMU microvm",
            Contender::Bare => "bare loop, steps",
            Contender::BareRegisters => "bare loop, steps and registers",
        }
    }

    /// Every stub may lack a function.
    fn is_optional(self) -> bool {
        true
    }
}

/// A running program that waits for a debugger. Dropping it kills the process.
pub struct Stub {
    child: Child,
    port: u16,
}

impl Drop for Stub {
    fn drop(&mut self) {
        // Fails only if the process has exited already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Stub {
    /// Starts `contender`, which listens when this returns.
    pub fn start(contender: Contender, guests: &Guests) -> Result<Stub, Failure> {
        let port = ports::free()?;
        let mut command = match contender {
            Contender::Qemu => qemu(guests, port),
            _ => {
                let mut command = Command::new(kvm_binary());
                command.arg(format!("--gdb={port}")).arg(guests.elf(guest::NAME));
                command
            }
        };
        command.current_dir(guests.folder()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let program = command.get_program().to_string_lossy().into_owned();
        let child = spawn(&mut command)?;
        let mut stub = Stub { child, port };
        let start = Instant::now();
        while !ports::listens(port)? {
            if let Some(status) = stub.child.try_wait()? {
                return Err(format!("{program} ended: {status}").into());
            }
            if start.elapsed() > TIMEOUT {
                return Err(format!("{program} does not listen").into());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(stub)
    }

    /// Connects a debugger.
    pub fn connect(&self) -> Result<Client, Failure> {
        Client::connect(self.port)
    }
}

fn qemu(guests: &Guests, port: u16) -> Command {
    let mut command = programs::qemu(MICROVM, "64");
    command
        .args(["-S", "-gdb", &format!("tcp:127.0.0.1:{port}"), "-kernel"])
        .arg(guests.elf(&format!("{}.qemu", guest::NAME)));
    command
}

/// Instructions per second that the bare loop steps.
pub fn bare_steps(guests: &Guests, registers: bool, steps: u32) -> Result<f64, Failure> {
    let mut command = Command::new(guests.bare_loop());
    command.arg("-s").arg(steps.to_string());
    if registers {
        command.arg("-r");
    }
    let output = command.arg(guests.elf(guest::NAME)).output()?;
    let report = String::from_utf8_lossy(&output.stderr).into_owned();
    let rate = report.split(", ").find_map(|part| part.strip_suffix(" exits/s"));
    match rate.filter(|_| output.status.success()) {
        Some(rate) => Ok(rate.parse()?),
        None => Err(report.trim_end().to_owned().into()),
    }
}

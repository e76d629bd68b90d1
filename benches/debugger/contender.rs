//! The programs whose stubs are measured, and what there is without a stub.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::client::Client;
use crate::guest;
use crate::shared::guests::Guests;
use crate::shared::programs::{self, MICROVM, spawn};
use crate::shared::{Failure, kvm_binary, ports, rounds};

/// Longest time for a program to listen for a debugger.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Something that runs a guest step by step, or lets a debugger do so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contender {
    /// The program all this is about.
    Kvm,
    /// The same, with the client doing what the stub can do itself.
    KvmByClient,
    /// QEMU's smallest machine.
    Qemu,
    /// The smallest KVM program: nobody looks at the guest between two steps.
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

    /// Every stub may lack something.
    fn is_optional(self) -> bool {
        true
    }
}

/// A running program that waits for a debugger. Dropping it ends it.
pub struct Stub {
    child: Child,
    port: u16,
}

impl Drop for Stub {
    fn drop(&mut self) {
        // Fails only when it has ended already.
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

/// Instructions per second that the bare loop steps through.
pub fn bare_steps(guests: &Guests, registers: bool, steps: u32) -> Result<f64, Failure> {
    let mut command = Command::new(guests.bare_loop());
    command.arg("-s").arg(steps.to_string());
    if registers {
        command.arg("-r");
    }
    let output = command.arg(guests.elf(guest::NAME)).output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let rate = said.split(", ").find_map(|part| part.strip_suffix(" exits/s"));
    match rate.filter(|_| output.status.success()) {
        Some(rate) => Ok(rate.parse()?),
        None => Err(said.trim_end().to_owned().into()),
    }
}

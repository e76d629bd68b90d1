//! One run of the program, from its arguments to its exit status.

use std::ffi::OsString;
use std::io::Write;
use std::path::Path;

use tracing::{error, info};

use crate::boot::{BootError, BootOptions, FileImage};
use crate::control::door::Door;
use crate::debug::{self, Server};
use crate::debug_server::client::{self, ClientError};
use crate::debug_server::{DebugServer, Guest};
use crate::frontends::console::Console;
use crate::frontends::session::{Connections, Session, SessionError};
use crate::frontends::vscode::{self, VscodeError};
use crate::frontends::words::tell;
use crate::frontends::{check, console_client, log};
use crate::host;
use crate::inspect::{dump, report};
use crate::machine::inputs::Inputs;
use crate::machine::outcome::status;
use crate::machine::outlets::{Doorbell, outlets};
use crate::machine::{Machine, MachineError, MachineSpec, Outcome};
use crate::settings::{self, DebugClient, Invocation, SerialEnd, Settings};

/// A failure before the guest's first instruction: what to tell the user, and the exit status.
struct Failure {
    status: u8,
    message: String,
}

impl Failure {
    fn new(status: u8, error: impl std::fmt::Display) -> Failure {
        Failure { status, message: error.to_string() }
    }
}

/// Does what `args` (whose first item is the program's name) ask for and gives the process exit
/// status, one of [`status`] or, odd, what the guest wrote to the debug exit port.
pub fn run(args: impl Iterator<Item = OsString>) -> u8 {
    let settings = match settings::from_args(args) {
        Ok(Invocation::Run(settings)) => settings,
        Ok(Invocation::Console { place }) => {
            return if console_client::run(&place) { status::HALTED } else { status::HOST };
        }
        Ok(Invocation::Check { json }) => {
            return if check::run(json) { status::HALTED } else { status::HOST };
        }
        Ok(Invocation::Help(text) | Invocation::Version(text)) => {
            // A reader that has seen enough may close the pipe.
            let _ = std::io::stdout().write_all(text.as_bytes());
            return status::HALTED;
        }
        Ok(Invocation::Vscode { folder, force }) => return write_for_editors(&folder, force),
        Ok(Invocation::DebugClient(wanted)) => return ask_debug_server(&wanted),
        Err(error) => return fail(Failure::new(status::USAGE, error)),
    };
    // Kept to the end: dropping it is what writes the last lines.
    let _log = match log::start(&settings.log) {
        Ok(log) => log,
        Err(error) => return fail(Failure::new(status::HOST, error)),
    };
    match run_guest(&settings) {
        Ok(status) => status,
        Err(failure) => {
            error!("{}", failure.message);
            fail(failure)
        }
    }
}

fn fail(failure: Failure) -> u8 {
    tell(&failure.message);
    failure.status
}

/// `kvm vscode`.
fn write_for_editors(folder: &Path, force: bool) -> u8 {
    match vscode::write(folder, force) {
        Ok(told) => {
            let _ = std::io::stdout().write_all(told.as_bytes());
            status::HALTED
        }
        Err(error) => {
            let status = match error {
                VscodeError::Write { .. } => status::HOST,
                VscodeError::Exists { .. } | VscodeError::NoFolder { .. } => status::USAGE,
            };
            fail(Failure::new(status, error))
        }
    }
}

/// `kvm debug-client`.
fn ask_debug_server(wanted: &DebugClient) -> u8 {
    match client::run(wanted, &mut std::io::stdout().lock()) {
        // A reader that has seen enough may close the pipe.
        Ok(()) | Err(ClientError::Unread) => status::HALTED,
        Err(error @ ClientError::NotRam { .. }) => fail(Failure::new(status::USAGE, error)),
        Err(error) => fail(Failure::new(status::HOST, error)),
    }
}

fn run_guest(settings: &Settings) -> Result<u8, Failure> {
    refuse_missing_parts(settings)?;
    let image = FileImage::open(&settings.guest).map_err(|error| match error {
        BootError::Missing { .. } => {
            Failure::new(status::GUEST_FILE, format_args!("The selected executable does not exist: {error}"))
        }
        error => Failure::new(status::GUEST_FILE, error),
    })?;
    let host_failure = |error: &dyn std::fmt::Display| Failure::new(status::HOST, error);
    let doorbell = Doorbell::new().map_err(|error| host_failure(&SessionError::from(error)))?;
    let (machine_outlets, outlet_ends) = outlets(doorbell.clone());
    let inputs = Inputs::new();
    let spec = MachineSpec {
        image: Box::new(image),
        memory: settings.memory,
        boot: boot_options(settings),
        keys: settings.keys,
        layout: settings.layout,
        terminal: (0..4).find(|port| settings.serial[usize::from(*port)] == SerialEnd::Stdio),
        no_reboot: settings.no_reboot,
    };
    let mut machine = Machine::new(spec, inputs.clone(), machine_outlets).map_err(|error| {
        let status = match error {
            MachineError::Boot(_) => status::GUEST_FILE,
            MachineError::Memory(_) | MachineError::Host(_) => status::HOST,
        };
        Failure::new(status, error)
    })?;
    let debugger = match &settings.gdb {
        Some(spec) => {
            let server = Server::bind(&spec.place, inputs.clone()).map_err(|error| host_failure(&error))?;
            match spec.wait {
                true => tell(&format!("waiting for gdb on {}", spec.place)),
                false => tell(&format!("gdb can connect to {} at any time", spec.place)),
            }
            Some((server, spec))
        }
        None => None,
    };
    let (door, caller) = Door::new(inputs.clone());
    let debug_server = match &settings.debug_server {
        Some(place) => {
            let server = DebugServer::start(place, Guest::at_door(machine.shared_memory(), caller.clone()))
                .map_err(|error| host_failure(&error))?;
            tell(&format!("the debug server listens on {place}"));
            Some(server)
        }
        None => None,
    };
    let console = match &settings.console {
        Some(spec) => {
            let console = Console::start(spec, caller).map_err(|error| host_failure(&error))?;
            tell(&format!("the console is on {}", console.place()));
            Some(console)
        }
        None => None,
    };
    let connections =
        Connections { inputs, outlets: outlet_ends, doorbell, screen: machine.screen().clone() };
    let session = Session::start(settings, connections).map_err(|error| host_failure(&error))?;
    host::forget_start();

    let (server, wait) = match &debugger {
        Some((server, spec)) => (Some(server), spec.wait),
        None => (None, false),
    };
    let outcome = match server.is_some() || console.is_some() || debug_server.is_some() {
        true => debug::run(&mut machine, server, wait, settings.gdb_arch, &door),
        // Nobody can ask for anything.
        false => machine.run(),
    };
    // In this order: a client that waits at the door is answered before it is hung up on.
    drop(door);
    drop(debug_server);
    let paragraph = report::paragraph(&machine, &outcome);
    // First what the guest still had to say, so that the end of the run is the end of the log.
    session.finish(matches!(outcome, Outcome::TimedOut | Outcome::Quit | Outcome::Terminated(_)));
    if let Some(console) = console {
        console.finish(&format!("kvm: {paragraph}"));
    }
    log_end(&machine, &outcome, &paragraph);
    tell(&paragraph);
    Ok(outcome.status())
}

/// What was asked for and this version does not have is an error: a guest that runs without the
/// debugger its user wanted would be a worse surprise.
fn refuse_missing_parts(settings: &Settings) -> Result<(), Failure> {
    let missing = [(settings.migration.is_some(), "live migration (-migr)")];
    match missing.into_iter().find(|(wanted, _)| *wanted) {
        None => Ok(()),
        Some((_, part)) => Err(Failure::new(
            status::USAGE,
            format_args!("this version of kvm does not have {part} yet; switch it off to run the guest"),
        )),
    }
}

fn boot_options(settings: &Settings) -> BootOptions {
    BootOptions {
        strict: settings.strict,
        command_line: settings.append.clone(),
        modules: settings
            .modules
            .iter()
            .map(|module| (module.path.clone(), module.arguments.clone()))
            .collect(),
    }
}

/// The end in the log: the words old tools look for, the paragraph, and after a crash everything
/// the vCPU's registers say.
fn log_end(machine: &Machine, outcome: &Outcome, paragraph: &str) {
    match outcome {
        Outcome::Halted { result } => info!("Program result (keycode): {result}"),
        Outcome::TripleFault => error!("kvm: TRIPLE FAULT. Shutting down"),
        _ => {}
    }
    if outcome.is_crash() {
        error!("{paragraph}");
    } else {
        info!("{paragraph}");
    }
    if (outcome.is_crash() || matches!(outcome, Outcome::TimedOut))
        && let Ok(registers) = machine.registers()
    {
        let pending = machine.vcpu().pending_events().ok().flatten();
        error!("{}", dump::dump(&registers, pending.as_deref()));
    }
}

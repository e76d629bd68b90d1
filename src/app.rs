//! One run of the program, from its arguments to its exit status.

mod at_exit;
mod coverage;
mod crash_files;
mod dashboard;
mod disks;
mod explain;
mod failure_status;
mod inspect_file;
mod log_header;
mod new_machine;
mod output_file;
mod receive;
mod restore;
mod test;

use std::ffi::OsString;
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::{error, info, warn};

use self::disks::Disks;
use self::new_machine::new_machine;
use self::restore::{check_snapshot, restored_machine, user_interface};
use crate::control::ControlCommands;
use crate::debug_server::client::{self, ClientError};
use crate::debug_server::{DebugServer, DebugTarget};
use crate::frontends::console::Console;
use crate::frontends::console_client::{self, ClientEnd};
use crate::frontends::messages::{tell, tell_during_run};
use crate::frontends::session::{Connections, Session, SessionError};
use crate::frontends::signals::Signals;
use crate::frontends::vscode::{self, VscodeError};
use crate::frontends::{check, log};
use crate::gdb::{GdbFrontEnd, Server};
use crate::inspect::crash::CrashReport;
use crate::inspect::events::unrecorded;
use crate::inspect::{dump, report};
use crate::kvm::HostError;
use crate::machine::disks::DiskOrigin;
use crate::machine::inputs::Inputs;
use crate::machine::outcome::status;
use crate::machine::output::{Doorbell, OutputQueue, output_queue};
use crate::machine::{Machine, Outcome};
use crate::migration::incoming::IN_DOUBT_TIMEOUT;
use crate::migration::outgoing::MigrationService;
use crate::migration::security::Credentials;
use crate::settings::{self, BootKind, DebugClientSpec, Invocation, Note, Settings};
use crate::state;
use crate::supervisor;
use crate::supervisor::explain::FirstInstruction;
use crate::supervisor::front_end::DebuggerFrontEnd;
use crate::supervisor::migrator::Migrator;
use crate::supervisor::request_queue::RequestQueue;
use crate::supervisor::session::{Services, StopNotice};

/// A failure before the guest's first instruction: the message for the user, and the exit status.
struct Failure {
    status: u8,
    message: String,
}

impl Failure {
    fn new(status: u8, error: impl std::fmt::Display) -> Failure {
        Failure { status, message: error.to_string() }
    }
}

/// Executes the command in `args` (whose first item is the program's name) and returns the process exit
/// status, one of [`status`] or, odd, what the guest wrote to the debug exit port.
pub fn run(args: impl Iterator<Item = OsString>) -> u8 {
    let arguments: Vec<OsString> = args.collect();
    let settings = match settings::from_args(arguments.iter().cloned()) {
        Ok(Invocation::Run(settings)) => settings,
        Ok(Invocation::Console { address, keep_going }) => {
            return match console_client::run(&address, keep_going) {
                ClientEnd::Completed => status::HALTED,
                ClientEnd::CommandFailed => status::USAGE,
                ClientEnd::ConnectionFailed => status::HOST,
            };
        }
        Ok(Invocation::Check { device, json }) => {
            return if check::run(&device, json) { status::HALTED } else { status::HOST };
        }
        Ok(Invocation::Inspect { run, json }) => return inspect_file::inspect(&run, json),
        Ok(Invocation::Test { run, spec }) => return test::run(&run, &spec, arguments),
        Ok(Invocation::CheckSnapshot { file }) => return check_snapshot(&file),
        Ok(Invocation::Help(text) | Invocation::Version(text) | Invocation::Document(text)) => {
            // The reader may close the pipe early.
            let _ = std::io::stdout().write_all(text.as_bytes());
            return status::HALTED;
        }
        Ok(Invocation::Vscode { folder, force }) => return write_for_editors(&folder, force),
        Ok(Invocation::DebugClient(wanted)) => return ask_debug_server(&wanted),
        Err(error) => return fail(Failure::new(status::USAGE, error)),
    };
    // Held until the end: dropping it writes the last lines.
    let header = {
        let settings = settings.clone();
        move || log_header::lines(&arguments, &settings)
    };
    let log = match log::start(&settings.log, settings.display, header) {
        Ok(log) => log,
        Err(error) => return fail(Failure::new(status::HOST, error)),
    };
    report_notes(&settings.notes);
    let log_file = log.is_open().then_some(settings.log.file.as_path());
    match run_guest(&settings, log_file) {
        Ok(status) => status,
        Err(failure) => {
            error!("{}", failure.message);
            fail(failure)
        }
    }
}

/// Reports what options of other programs mean here.
fn report_notes(notes: &[Note]) {
    for note in notes {
        info!("{note}");
    }
    let ignored: Vec<String> =
        notes.iter().filter(|note| note.ignored).map(|note| format!("`{}`", note.option)).collect();
    if !ignored.is_empty() {
        tell(&format!("ignored: {}. The log has the reasons.", ignored.join(", ")));
    }
}

fn fail(failure: Failure) -> u8 {
    tell(&failure.message);
    failure.status
}

/// `kvm vscode`.
fn write_for_editors(folder: &Path, force: bool) -> u8 {
    match vscode::write(folder, force) {
        Ok(report) => {
            let _ = std::io::stdout().write_all(report.as_bytes());
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
fn ask_debug_server(wanted: &DebugClientSpec) -> u8 {
    match client::run(wanted, &mut std::io::stdout().lock()) {
        // The reader may close the pipe early.
        Ok(()) | Err(ClientError::OutputClosed) => status::HALTED,
        Err(error @ ClientError::NotRam { .. }) => fail(Failure::new(status::USAGE, error)),
        Err(error) => fail(Failure::new(status::HOST, error)),
    }
}

/// Runs the guest of `settings`; `log` is the log file, if there is one.
fn run_guest(settings: &Settings, log: Option<&Path>) -> Result<u8, Failure> {
    if let Some(place) = settings.migration {
        return run_incoming(settings, place, log);
    }
    let disks = disks::open(settings)?;
    let run = Run::prepare(settings, |inputs, outputs| match &settings.restore {
        Some(file) => {
            let (machine, saved) = restored_machine(settings, file, inputs, outputs)?;
            disks::attach_saved(machine, disks, &saved, settings)
        }
        None => machine_with_disks(settings, disks, inputs, outputs),
    })?;
    Ok(run.go(settings, log))
}

/// A machine with a guest to be started, and its disks.
fn machine_with_disks(
    settings: &Settings,
    disks: Disks,
    inputs: Inputs,
    outputs: OutputQueue,
) -> Result<Machine, Failure> {
    let machine = new_machine(settings, inputs, outputs)?;
    let disks = match machine.boot_options().kind {
        Some(BootKind::Disk) => disks::with_guest(disks, settings)?,
        Some(BootKind::Cdrom) => disks::with_guest_cd(disks, settings)?,
        _ => disks,
    };
    disks::attach(machine, disks, DiskOrigin::New)
}

/// Receives a guest at `place` and runs it. A function of its own, so that other runs do not need its stack
/// space.
#[inline(never)]
fn run_incoming(settings: &Settings, place: SocketAddr, log: Option<&Path>) -> Result<u8, Failure> {
    let (incoming, arrived, disks) = receive::wait(place, credentials(settings)?, settings)?;
    let into_machine = |inputs, outputs| {
        let disks = disks.complete().map_err(|reason| Failure::new(status::HOST, reason))?;
        disks::attach(receive::into_machine(arrived, settings, inputs, outputs)?, disks, DiskOrigin::Received)
    };
    let prepared = Run::prepare(settings, into_machine).and_then(|run| {
        // The session handles signals as well, while it lasts.
        Ok((run, Signals::new().map_err(|error| Failure::new(status::HOST, SessionError::from(error)))?))
    });
    let (run, mut signals) = match prepared {
        Ok(prepared) => prepared,
        Err(failure) => {
            incoming.refuse(&failure.message);
            return Err(failure);
        }
    };
    let (committed, queries) = incoming.commit();
    let result = match committed {
        Ok(()) => {
            info!("the guest has been received and runs here");
            run.machine.take_back_disks();
            let status = run.go(settings, log);
            // The signal that ended the guest does not end the wait for a query.
            signals.take();
            Ok(status)
        }
        Err(error) => {
            run.session.finish(true);
            // The source uses its disks again.
            drop(run.machine);
            if !queries.is_over() {
                tell(&format!(
                    "the connection has ended; waiting up to {} s for the source to query the outcome (Ctrl-C ends \
                     the wait)",
                    IN_DOUBT_TIMEOUT.as_secs()
                ));
            }
            Err(Failure::new(status::HOST, error))
        }
    };
    if !queries.finish(&mut || signals.take().is_some()) {
        tell("the wait is ended by a signal; a source that gets no answer pauses its guest until `resume`");
    }
    result
}

/// The credentials of this process for a migration.
fn credentials(settings: &Settings) -> Result<Credentials, Failure> {
    Credentials::load(&settings.security).map_err(|error| Failure::new(status::USAGE, error))
}

/// A machine with everything around it, ready to run.
struct Run {
    machine: Machine,
    requests: RequestQueue,
    console: Option<Console>,
    debugger: Option<Server>,
    debug_server: Option<DebugServer>,
    migrator: Option<Arc<dyn Migrator>>,
    session: Session,
    has_dashboard: bool,
    /// For `--explain`.
    first: Option<FirstInstruction>,
}

impl Run {
    /// Everything that can fail before the guest runs; `make` makes the machine.
    fn prepare(
        settings: &Settings,
        make: impl FnOnce(Inputs, OutputQueue) -> Result<Machine, Failure>,
    ) -> Result<Run, Failure> {
        let host_failure = |error: &dyn std::fmt::Display| Failure::new(status::HOST, error);
        let has_dashboard = dashboard::is_wanted(settings)?;
        if let Some(file) = &settings.snapshot_at_exit {
            // A failure is reported before the run, not after hours.
            state::check_writable(file).map_err(|error| host_failure(&error))?;
        }
        crash_files::check(&settings.crash_files)?;
        let doorbell = Doorbell::new().map_err(|error| host_failure(&SessionError::from(error)))?;
        let (machine_outputs, output_reader) = output_queue(doorbell.clone());
        let inputs = Inputs::new();
        let mut machine = make(inputs.clone(), machine_outputs)?;
        machine.recorder_mut().set_logged(settings.log.trace);
        if settings.log.trace.interrupts
            && let [note, ..] = unrecorded(&machine)[..]
        {
            tell(&format!("--trace: {note}"));
            warn!("--trace: {note}");
        }
        new_machine::add_symbols(&mut machine, settings)?;
        let first = explain::prepare(&mut machine, settings)?;
        let (requests, caller) = RequestQueue::new(inputs.clone());
        // Migration is requested through one of these interfaces.
        let migrator: Option<Arc<dyn Migrator>> = match settings.console.is_some() || settings.gdb.is_some() {
            true => Some(Arc::new(MigrationService::new(
                caller.clone(),
                credentials(settings)?,
                settings.downtime,
            ))),
            false => None,
        };
        let debugger = match &settings.gdb {
            Some(spec) => {
                let server =
                    Server::bind(&spec.address, inputs.clone()).map_err(|error| host_failure(&error))?;
                match spec.wait {
                    true => tell(&format!("waiting for gdb on {}", spec.address)),
                    false => tell(&format!("gdb can connect to {} at any time", spec.address)),
                }
                Some(server)
            }
            None => None,
        };
        let debug_server = match &settings.debug_server {
            Some(place) => {
                let guest = DebugTarget::new(
                    machine.shared_memory(),
                    caller.clone(),
                    settings.debug_server_password.clone(),
                );
                let server = DebugServer::start(place, guest).map_err(|error| host_failure(&error))?;
                tell(&format!("the debug server listens on {place}"));
                Some(server)
            }
            None => None,
        };
        let console = match &settings.console {
            Some(spec) => {
                let console = Console::start(spec, caller.clone()).map_err(|error| host_failure(&error))?;
                tell(&format!("the console is on {}", console.place()));
                Some(console)
            }
            None => None,
        };
        let dashboard = match has_dashboard {
            true => Some(dashboard::start(settings, caller, doorbell.clone())?),
            false => None,
        };
        let screen = machine.screen().clone();
        let connections = Connections { inputs, outputs: output_reader, doorbell, screen, dashboard };
        let session = Session::start(settings, connections).map_err(|error| host_failure(&error))?;
        Ok(Run {
            machine,
            requests,
            console,
            debugger,
            debug_server,
            migrator,
            session,
            has_dashboard,
            first,
        })
    }

    /// Runs the guest to its end; returns the exit status.
    fn go(mut self, settings: &Settings, log: Option<&Path>) -> u8 {
        let first = self.first.take();
        let started = Instant::now();
        let wait = settings.gdb.as_ref().is_some_and(|spec| spec.wait);
        let has_requests = self.debugger.is_some()
            || self.console.is_some()
            || self.debug_server.is_some()
            || self.has_dashboard;
        let outcome = match has_requests || settings.log.trace.needs_stops() {
            true => {
                let server = self.debugger.as_ref();
                let arch = settings.gdb_arch.unwrap_or_else(|| self.machine.gdb_arch());
                let mut gdb = server.map(|it| GdbFrontEnd::new(it, &self.machine, arch));
                let front_end = gdb.as_mut().map(|gdb| gdb as &mut dyn DebuggerFrontEnd);
                let services = Services {
                    commands: Arc::new(ControlCommands),
                    migrator: self.migrator,
                    trace: settings.log.trace,
                    // The dashboard shows it, and would be written over.
                    stop_notice: (!self.has_dashboard).then(|| StopNotice {
                        print: tell_during_run,
                        remedy: remedy(settings, self.console.as_ref()),
                    }),
                };
                supervisor::run::run(&mut self.machine, front_end, wait, &self.requests, services)
            }
            // No requests can arrive.
            false => self.machine.run(),
        };
        let outcome = unless_memory_is_lost(&self.machine, outcome);
        // In this order: a client that waits for an answer gets it before its connection is closed.
        drop(self.requests);
        drop(self.debug_server);
        let outcome = match first {
            Some(first) => explain::explain(first, &mut self.machine, outcome),
            None => outcome,
        };
        let crash = CrashReport::capture(&self.machine, &outcome);
        let message = report::message(&outcome, crash.as_ref(), log);
        if settings.snapshot_at_exit.is_some()
            && let Err(error) = self.machine.complete_exits()
        {
            // Saving fails with the same error, and reports it to the user.
            info!("{error}");
        }
        if self.has_dashboard
            && let Some(last) = dashboard::last_picture(&mut self.machine, &outcome, &message)
        {
            self.session.show_end(last);
        }
        // The guest's last output comes first, so that the end of the run is the end of the log.
        self.session.finish(matches!(outcome, Outcome::TimedOut | Outcome::Quit | Outcome::Terminated(_)));
        if let Some(console) = self.console {
            console.finish(&format!("kvm: {message}"));
        }
        log_end(&outcome, crash.as_ref(), &message);
        log_totals(&self.machine, started.elapsed());
        let callers = crash.as_ref().filter(|_| is_dumped(&outcome)).and_then(report::callers);
        tell(&[Some(message), callers].into_iter().flatten().collect::<Vec<_>>().join("\n"));
        if let Some(crash) = &crash {
            crash_files::write(&settings.crash_files, &self.machine, &outcome, crash);
        }
        match &settings.snapshot_at_exit {
            Some(file) => at_exit::save(&mut self.machine, &outcome, file),
            None => outcome.status(),
        }
    }
}

/// What lets a guest go on that has stopped itself while no debugger is connected.
fn remedy(settings: &Settings, console: Option<&Console>) -> String {
    let gdb = settings.gdb.as_ref().map(|spec| format!("gdb on {}", spec.address));
    let console = console.map(|console| format!("`resume` on the console at {}", console.place()));
    format!("the guest waits for {}", [gdb, console].into_iter().flatten().collect::<Vec<_>>().join(" or "))
}

/// `outcome`, unless it is what the guest made of zeros in place of memory that could not be read.
fn unless_memory_is_lost(machine: &Machine, outcome: Outcome) -> Outcome {
    let lost = match outcome {
        Outcome::Moved { .. } => None,
        // The kernel does not say which memory it could not read: a page table, for example.
        Outcome::HostFailed(_) => machine.memory().suspected_file_failure(),
        _ if outcome.is_crash() => machine.memory().suspected_file_failure(),
        _ => machine.memory().file_failure(),
    };
    lost.map_or(outcome, |lost| Outcome::HostFailed(HostError::MemoryLost(lost)))
}

/// The end in the log: the phrases that other programs look for, the message, and after a crash or a time-out the
/// whole report.
fn log_end(outcome: &Outcome, crash: Option<&CrashReport>, message: &str) {
    match outcome {
        Outcome::Halted { result, .. } => info!("Program result (keycode): {result}"),
        Outcome::TripleFault(_) => error!("kvm: TRIPLE FAULT. Shutting down"),
        _ => {}
    }
    if outcome.is_crash() {
        error!("{message}");
    } else {
        info!("{message}");
    }
    if is_dumped(outcome)
        && let Some(text) = crash.and_then(dump::dump_crash)
    {
        error!("{text}");
    }
}

/// True if more than a message is reported of a run that has ended with `outcome`.
fn is_dumped(outcome: &Outcome) -> bool {
    outcome.is_crash() || matches!(outcome, Outcome::TimedOut)
}

/// The last line of the log: exits by reason, instructions emulated, and the duration of the run.
fn log_totals(machine: &Machine, time: Duration) {
    let counts = machine.exit_counts();
    info!(
        seconds = time.as_secs_f64(),
        exits = counts.total(),
        port_writes = counts.port_writes(),
        port_reads = counts.port_reads(),
        mmio_writes = counts.mmio_writes(),
        mmio_reads = counts.mmio_reads(),
        halts = counts.halts(),
        kicks = counts.kicks(),
        debug_stops = counts.debug_stops(),
        refusals = counts.refusals(),
        others = counts.others(),
        emulated_instructions = machine.emulated(),
        "totals"
    );
}

//! What commands have set, and what other rooms do for them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::Instant;

use super::command_interpreter::CommandInterpreter;
use super::exception_catch::ExceptionCatches;
use super::migrator::Migrator;
use super::notice::Notice;
use super::points::Points;
use crate::inspect::maps::Maps;
use crate::machine::CpuId;
use crate::machine::exit_counts::ExitCounts;
use crate::settings::TraceSpec;

/// The state that lasts from one command to the next.
#[derive(Debug, Default)]
pub struct CommandSession {
    /// Breakpoints and log points.
    pub points: Points,
    /// What is switched on and off.
    pub switches: Switches,
    /// The maps that `maps diff` compares with, of each CPU.
    pub maps: BTreeMap<CpuId, Maps>,
    /// The exceptions that stop the guest or are logged.
    pub catches: ExceptionCatches,
    /// Progress of what the last command has started, a line each, until it is done.
    pub progress: Option<Receiver<Notice>>,
    /// When the exits were last shown, and how many there were.
    pub exits_shown: Option<(Instant, ExitCounts)>,
}

/// What rooms above this one do for commands.
#[derive(Clone, Debug)]
pub struct Services {
    /// Carries out command lines.
    pub commands: Arc<dyn CommandInterpreter>,
    /// Starts migrations, if this run can migrate its guest.
    pub migrator: Option<Arc<dyn Migrator>>,
    /// What the guest does that is logged and that it has to be stopped for.
    pub trace: TraceSpec,
    /// Tells the user that the guest has stopped itself while no debugger is connected.
    pub stop_notice: Option<StopNotice>,
}

/// How the user learns that a guest without a debugger has stopped itself.
#[derive(Clone, Debug)]
pub struct StopNotice {
    /// Prints a line.
    pub print: fn(&str),
    /// What lets the guest go on, the end of the line.
    pub remedy: String,
}

/// Switches that commands turn on and off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Switches {
    /// The debugger's addresses are guest-physical ones.
    pub physical: bool,
    /// Interrupts are delivered while the guest is single-stepped.
    pub step_interrupts: bool,
    /// The guest's own `int3` stops it, instead of going to its handler.
    pub catch_int3: bool,
}

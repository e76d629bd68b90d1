//! The dashboard of a run: what has to be there for it, and what it shows when the run is over.

use std::sync::Arc;

use super::Failure;
use crate::control::ControlCommands;
use crate::frontends::dashboard::sample::Sample;
use crate::frontends::dashboard::{Dashboard, LastPicture, check_terminal};
use crate::frontends::session::SessionError;
use crate::inspect::source_text::SourceFiles;
use crate::machine::outcome::status;
use crate::machine::output::Doorbell;
use crate::machine::{Machine, Outcome};
use crate::settings::{DashboardMode, Settings, TraceSpec};
use crate::supervisor;
use crate::supervisor::request_queue::RequestSender;
use crate::supervisor::session::Services;

/// True if the run has a dashboard.
///
/// # Errors
///
/// [`Failure`] if there is no terminal for it.
pub(super) fn is_wanted(settings: &Settings) -> Result<bool, Failure> {
    let wanted = settings.dashboard != DashboardMode::Off;
    if wanted {
        check_terminal().map_err(|error| Failure::new(status::USAGE, error))?;
    }
    Ok(wanted)
}

/// The dashboard of a machine that is reached through `caller`.
///
/// # Errors
///
/// [`Failure`] if the host gives no thread.
pub(super) fn start(
    settings: &Settings,
    caller: RequestSender,
    doorbell: Arc<Doorbell>,
) -> Result<Box<Dashboard>, Failure> {
    let name = settings.guest.file_name().unwrap_or_default().to_string_lossy();
    let paused = settings.dashboard == DashboardMode::Paused;
    Dashboard::start(&name, caller, doorbell, paused)
        .map(Box::new)
        .map_err(|error| Failure::new(status::HOST, SessionError::from(error)))
}

/// What the dashboard shows after a run that has ended by itself; `None` if the user has ended it.
pub(super) fn last_picture(machine: &mut Machine, outcome: &Outcome, message: &str) -> Option<LastPicture> {
    if matches!(outcome, Outcome::TimedOut | Outcome::Quit | Outcome::Terminated(_)) {
        return None;
    }
    let services = Services {
        commands: Arc::new(ControlCommands),
        migrator: None,
        trace: TraceSpec::default(),
        stop_notice: None,
    };
    let mut sample = supervisor::run::view(machine, services, |machine| {
        Sample::take(machine, &Dashboard::wanted_at_end())
    });
    sample.add_source_texts(&mut SourceFiles::default());
    Some(LastPicture { message: message.to_owned(), sample })
}

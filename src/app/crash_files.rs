//! `--report` and `--core`: what a guest leaves behind that was stopped before it ended by itself.

use std::io;
use std::path::Path;

use tracing::{error, info};

use super::Failure;
use super::output_file::{self, cannot_write};
use crate::frontends::messages::tell;
use crate::inspect::core_file::{self, CoreFileError};
use crate::inspect::crash::CrashReport;
use crate::inspect::report_json::{self, ReportContext};
use crate::machine::{Machine, Outcome};
use crate::os::replacement_file::{Readers, replace};
use crate::settings::CrashFiles;

/// Checks before the run that the files can be written: a crash after hours is not lost then.
///
/// # Errors
///
/// A file that the user may want to keep, or that cannot be written.
pub(super) fn check(files: &CrashFiles) -> Result<(), Failure> {
    for (option, file) in [("--report", &files.report), ("--core", &files.core)] {
        let Some(file) = file else { continue };
        output_file::check(option, file, "kvm has not written it", Readers::Owner)?;
    }
    Ok(())
}

/// Writes the files about a run that has ended with `outcome`, and notifies the user.
#[cold]
pub(super) fn write(files: &CrashFiles, machine: &Machine, outcome: &Outcome, crash: &CrashReport) {
    if let Some(file) = &files.report {
        let context = ReportContext { guest: machine.image().name(), exit_status: Some(outcome.status()) };
        let written = replace(file, Readers::Umask, report_json::to_json(crash, context).as_bytes());
        notify(file, written.map(|()| format!("the report is in {}.", file.display())));
    }
    if let Some(file) = &files.core {
        match core_file::write(machine, crash, file) {
            Ok(written) => notify(file, Ok(written.sentence(file) + ".")),
            Err(CoreFileError::File(reason)) => notify(file, Err(reason)),
            Err(CoreFileError::Host(reason)) => notify(file, Err(io::Error::other(reason))),
        }
    }
}

/// A failure does not change the exit status, which tells of the crash.
fn notify(file: &Path, written: io::Result<String>) {
    match written {
        Ok(text) => {
            info!("{text}");
            tell(&text);
        }
        Err(reason) => {
            let text = cannot_write(file, &reason);
            error!("{text}");
            tell(&text);
        }
    }
}

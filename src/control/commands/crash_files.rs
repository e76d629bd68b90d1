//! Commands that write what a crash leaves behind, at any stop.

use std::path::Path;

use super::super::command::invalid;
use super::super::error::CommandError;
use super::super::overwrite;
use crate::inspect::core_file::CoreFileError;
use crate::os::replacement_file::{Readers, replace};
use crate::supervisor::stopped_machine::StoppedMachine;

/// Writes the report as JSON.
pub(in crate::control) fn report(
    guest: &mut dyn StoppedMachine,
    arguments: &str,
) -> Result<String, CommandError> {
    let file = file("report", arguments)?;
    let contents = guest.report();
    replace(file, Readers::Umask, contents.as_bytes())
        .map_err(|reason| CommandError::File { file: file.display().to_string(), reason })?;
    Ok(format!("the report is in {}, {} bytes\n", file.display(), contents.len()))
}

/// Writes a core file.
pub(in crate::control) fn core(
    guest: &mut dyn StoppedMachine,
    arguments: &str,
) -> Result<String, CommandError> {
    let file = file("core", arguments)?;
    let written = guest.write_core(file).map_err(|error| match error {
        CoreFileError::File(reason) => CommandError::File { file: file.display().to_string(), reason },
        CoreFileError::Host(error) => CommandError::Host(error),
    })?;
    Ok(written.sentence(file) + "\n")
}

/// The file in the arguments of `command`, if it may be written.
fn file<'a>(command: &'static str, arguments: &'a str) -> Result<&'a Path, CommandError> {
    let (force, name) = overwrite::split_force(arguments);
    if name.is_empty() {
        return Err(invalid("the name of the file is missing"));
    }
    let file = Path::new(name);
    overwrite::check(command, file, force)?;
    Ok(file)
}

//! Files about tests that have failed: the screen, the report of a crash.

use std::io;
use std::path::Path;

use super::guest_run::GuestRun;
use super::test_case::TestCase;
use super::verdict::{TestResult, Verdict};
use crate::inspect::core_file::{self, CoreFileError};
use crate::inspect::crash::CrashReport;
use crate::inspect::report_json::{self, ReportContext};
use crate::machine::Outcome;
use crate::os::replacement_file::{Readers, replace};
use crate::settings::TestSpec;

/// Saves what the user wants of a test that has failed, and notes it in the result.
pub(super) fn save(spec: &TestSpec, run: &GuestRun, case: &TestCase, result: &mut TestResult) {
    if result.verdict != Verdict::Failed {
        return;
    }
    let file = |folder: &Path, extension: &str| {
        let name = format!("{}.{extension}", file_name(&case.name));
        std::fs::create_dir_all(folder).map(|()| folder.join(name))
    };
    if let Some(folder) = &spec.screenshots
        && let Some(shot) = run.screen()
    {
        let saved = file(folder, "png").and_then(|file| {
            replace(&file, Readers::Umask, &shot.picture().to_png())?;
            Ok(format!("the screen is in {}.", file.display()))
        });
        result.notes.push(note(saved, folder));
    }
    // A guest that waits for ever is looked at like one whose time is up.
    let Some(crash) = CrashReport::capture(run.machine(), run.outcome().unwrap_or(&Outcome::TimedOut)) else {
        return;
    };
    if let Some(folder) = &spec.reports {
        let context = ReportContext { guest: run.machine().image().name(), exit_status: None };
        let saved = file(folder, "json").and_then(|file| {
            replace(&file, Readers::Umask, report_json::to_json(&crash, context).as_bytes())?;
            Ok(format!("the report is in {}.", file.display()))
        });
        result.notes.push(note(saved, folder));
    }
    if let Some(folder) = &spec.cores {
        let saved =
            file(folder, "core").and_then(|file| match core_file::write(run.machine(), &crash, &file) {
                Ok(written) => Ok(format!("{}.", written.sentence(&file))),
                Err(CoreFileError::File(reason)) => Err(reason),
                Err(CoreFileError::Host(reason)) => Err(io::Error::other(reason)),
            });
        result.notes.push(note(saved, folder));
    }
}

/// What has been saved, or why not.
fn note(saved: io::Result<String>, folder: &Path) -> String {
    saved.unwrap_or_else(|error| format!("nothing could be saved in {}: {error}.", folder.display()))
}

/// A file name for a test, which may be called anything.
fn file_name(test: &str) -> String {
    let letter = |letter: char| if letter.is_alphanumeric() || "-_".contains(letter) { letter } else { '-' };
    test.replace("::", "-").chars().take(100).map(letter).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_test_has_a_file_name() {
        assert_eq!(file_name("heap::grows twice/../x"), "heap-grows-twice----x");
        assert_eq!(file_name(&"x".repeat(5000)).len(), 100);
    }
}

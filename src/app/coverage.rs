//! `--coverage`: the tracefile, and the table that shows it.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tracing::info;

use super::new_machine::open_guest;
use super::{Failure, output_file};
use crate::coverage::{CoverageReport, CoveredCode, lcov, summary};
use crate::frontends::messages::{escaped, tell};
use crate::machine::outcome::status;
use crate::os::replacement_file::{Readers, replace};
use crate::settings::{Settings, TestFormat};

/// The coverage of a run.
pub(super) struct Coverage {
    file: PathBuf,
    guests: Vec<Arc<CoveredCode>>,
}

impl Coverage {
    /// Reads the code of the guest files, and checks that the tracefile can be written.
    ///
    /// # Errors
    ///
    /// A guest file without source lines, a file that the user may want to keep, or one that cannot be written.
    pub(super) fn prepare(file: &Path, guests: &[Settings]) -> Result<Coverage, Failure> {
        output_file::check("--coverage", file, "is no lcov tracefile", Readers::Umask)?;
        let read = |guest: &Settings| {
            let code = CoveredCode::read(open_guest(guest)?.as_ref());
            code.map(Arc::new).map_err(|problem| Failure::new(status::GUEST_FILE, problem))
        };
        Ok(Coverage { file: file.to_owned(), guests: guests.iter().map(read).collect::<Result<_, _>>()? })
    }

    /// The code of each guest.
    pub(super) fn guests(&self) -> &[Arc<CoveredCode>] {
        &self.guests
    }

    /// Writes the tracefile and shows the table: on standard output, unless something else than text is there.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub(super) fn write(&self, format: TestFormat) -> Result<(), Failure> {
        for guest in &self.guests {
            let (run, all) = guest.blocks_run();
            info!("coverage: {run} of {all} blocks, {} stops", guest.stops());
        }
        let report = CoverageReport::of(self.guests.iter().map(Arc::as_ref));
        replace(&self.file, Readers::Umask, lcov::to_lcov(&report).as_bytes())
            .map_err(|reason| output_file::failure(&self.file, &reason))?;
        let text = escaped(&summary(&report, &self.file.display().to_string()), &['\n']);
        match format {
            // The reader may close the pipe early.
            TestFormat::Pretty | TestFormat::Terse => {
                drop(io::stdout().write_all(format!("{text}\n").as_bytes()))
            }
            TestFormat::Json | TestFormat::Junit => tell(text.trim_end()),
        }
        Ok(())
    }
}

//! `kvm check-snapshot`: what is in a snapshot, for people.

use std::path::Path;

use crate::state::{Opened, SnapshotError};

/// Reads all of the snapshot in `file` and says what is in it.
///
/// # Errors
///
/// [`SnapshotError`] if it is none, or not whole.
#[cold]
pub fn describe(file: &Path) -> Result<String, SnapshotError> {
    let opened = Opened::open(file)?;
    opened.verify()?;
    let parts = opened.parts();
    Ok(format!(
        "{}: whole\n\
         written by   {}\n\
         guest        {}\n\
         memory       {} MiB, {} KiB of them in use\n\
         processor    {}\n\
         next         {:#x}\n",
        file.display(),
        parts.writer,
        parts.guest.path().display(),
        parts.memory >> 20,
        opened.memory_in_use() >> 10,
        parts.features.maker(),
        parts.machine.vcpu.rip(),
    ))
}

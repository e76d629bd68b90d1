//! The disks of a saved machine: their contents are not part of a snapshot file, but what their images looked like is,
//! so that an image that has changed since is noticed.

use serde::{Deserialize, Serialize};

use super::SnapshotError;
use super::container::{self, Section, SectionEntry};
use super::saved_machine::{check_version, section};
use crate::boot::Image;
use crate::machine::Machine;

/// Name of the section.
pub(super) const NAME: &str = "disks";
const VERSION: u16 = 1;

/// A disk and its image at the time of the snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedDisk {
    /// The number of the disk.
    pub unit: u8,
    /// When the image was changed last: seconds since 1970, and nanoseconds.
    pub modified: (i64, i64),
    /// What the guest had written was in memory, and is not part of the snapshot.
    pub in_memory: bool,
}

/// The disks of `machine`, which is stopped, once their images hold all that was written.
///
/// # Errors
///
/// [`SnapshotError::File`] for an image that cannot be looked at.
pub(super) fn of_machine(machine: &Machine) -> Result<Vec<SavedDisk>, SnapshotError> {
    machine.settle_disks();
    let saved = |(unit, image): (u8, &std::sync::Arc<crate::os::shared_image::SharedImage>)| {
        image.with(|image| {
            let modified = image
                .modified()
                .map_err(|error| SnapshotError::file("look at the disks of", image.path(), error))?;
            Ok(SavedDisk { unit, modified, in_memory: image.has_writes_in_memory() })
        })
    };
    machine.disk_images().map(saved).collect()
}

/// The section, if there are disks.
pub(super) fn to_section(disks: &[SavedDisk]) -> Option<Section> {
    (!disks.is_empty()).then(|| section((NAME, VERSION), &disks))
}

/// Reads the section; older files have none.
pub(super) fn read(image: &dyn Image, entries: &[SectionEntry]) -> Result<Vec<SavedDisk>, SnapshotError> {
    let Some(entry) = entries.iter().find(|entry| entry.name == NAME) else { return Ok(Vec::new()) };
    check_version(image, entry, VERSION)?;
    let section = container::read_section(image, entry)?;
    postcard::from_bytes(&section.bytes).map_err(|error| SnapshotError::Damaged {
        name: image.name().to_owned(),
        what: format!("section `{NAME}` cannot be read: {error}"),
    })
}

/// What the user has to know about the disks of `machine`, which was restored from a snapshot with `disks`, in
/// sentences.
pub fn differences(disks: &[SavedDisk], machine: &Machine) -> Vec<String> {
    let mut notes = Vec::new();
    for (unit, image) in machine.disk_images() {
        let Some(saved) = disks.iter().find(|disk| disk.unit == unit) else { continue };
        if saved.in_memory {
            notes.push(format!(
                "disk {unit} had `,snapshot` when the machine was saved: what the guest had written to it is lost"
            ));
        } else if image.with(|image| image.modified()).ok() != Some(saved.modified) {
            let path = image.with(|image| image.path().display().to_string());
            notes.push(format!(
                "disk {unit}: {path} was changed after the machine was saved, and the guest may remember other \
                 contents; use a copy of the image from the time of the snapshot"
            ));
        }
    }
    notes
}

//! The disks of a guest that is received: images that its source uses as well, or files for contents that are sent.

use super::{Disks, places};
use crate::machine::MachineError;
use crate::machine::disks::{UNITS, geometry};
use crate::migration::disk_target::DiskTarget;
use crate::migration::frame::DiskOffer;
use crate::os::disk_image::{DiskImage, DiskImageError};
use crate::os::received_image::{IncompleteFiles, ReceivedImage};
use crate::settings::{DiskMode, DiskSpec, Settings};

/// Most bytes of a disk that is received.
const MOST_BYTES: u64 = 1 << 44;

/// The disks of a guest on its way.
#[derive(Default)]
pub(in crate::app) struct ReceivedDisks {
    disks: [Option<ReceivedDisk>; UNITS],
    incomplete: IncompleteFiles,
}

enum ReceivedDisk {
    /// The source uses this image until it hands the guest over.
    Shared(DiskImage),
    /// The contents are sent to this file.
    Copied(DiskSpec, ReceivedImage),
}

impl ReceivedDisks {
    /// Checks that the disks of `settings` can be those of the guest, and prepares files for the contents that are
    /// sent; or says why not.
    pub(in crate::app) fn prepare(
        settings: &Settings,
        offers: &[DiskOffer],
    ) -> Result<(ReceivedDisks, Vec<DiskTarget>), String> {
        let mut received = ReceivedDisks::default();
        let mut targets = Vec::new();
        for (unit, spec) in places(settings).into_iter().enumerate() {
            let offer = offers.iter().find(|offer| usize::from(offer.unit) == unit);
            let (offer, spec) = match (offer, spec) {
                (None, None) => continue,
                (Some(offer), Some(spec)) => (offer, spec),
                _ => {
                    return Err(format!(
                        "the guest has {} and the destination {}. Start it with the disks that the guest has, in the \
                         same places.",
                        names(offers.iter().map(|offer| offer.unit.into())),
                        names(
                            places(settings).iter().enumerate().filter_map(|(unit, spec)| spec.map(|_| unit))
                        )
                    ));
                }
            };
            let disk = if offer.copied {
                let (image, target) = received.prepare_file(spec, offer, settings.overwrite_disks)?;
                targets.push(target);
                ReceivedDisk::Copied(spec.clone(), image)
            } else {
                ReceivedDisk::Shared(shared(spec, offer)?)
            };
            received.disks[unit] = Some(disk);
        }
        if offers.iter().any(|offer| usize::from(offer.unit) >= UNITS) {
            return Err(format!("the guest has more than {UNITS} disks"));
        }
        Ok((received, targets))
    }

    /// The file for the contents of a disk.
    fn prepare_file(
        &mut self,
        spec: &DiskSpec,
        offer: &DiskOffer,
        overwrite: bool,
    ) -> Result<(ReceivedImage, DiskTarget), String> {
        let (unit, geometry) = (offer.unit, offer.geometry);
        let size = geometry.sectors.checked_mul(512).filter(|size| (1..=MOST_BYTES).contains(size));
        let size =
            size.ok_or_else(|| format!("disk {unit} of the guest has {} sectors", geometry.sectors))?;
        let path = &spec.path;
        let read_only = match spec.mode {
            DiskMode::ReadWrite => false,
            DiskMode::ReadOnly => true,
            DiskMode::Snapshot => {
                return Err(format!(
                    "disk {unit}: the contents of a disk are received in a file, and `,snapshot` keeps them in memory. \
                     Leave it out at the destination."
                ));
            }
        };
        if read_only != geometry.read_only {
            let remedy = if read_only { "without" } else { "with" };
            let path = path.display();
            return Err(format!(
                "disk {unit}: start the destination {remedy} `,ro` behind {path}, as the source."
            ));
        }
        let image = ReceivedImage::open(path, size, overwrite).map_err(|error| error.to_string())?;
        if image.created {
            self.incomplete.add(path);
        }
        let target =
            DiskTarget { unit, size, file: image.file.try_clone().map_err(|error| error.to_string())? };
        Ok((image, target))
    }

    /// The images, which no other process uses any more and which hold everything that was sent; or why not.
    pub(in crate::app) fn complete(self) -> Result<Disks, String> {
        let mut images = Disks::default();
        for (place, disk) in images.iter_mut().zip(self.disks) {
            let Some(disk) = disk else { continue };
            *place = Some(match disk {
                ReceivedDisk::Shared(image) => {
                    image.lock().map_err(|error| error.to_string())?;
                    image
                }
                ReceivedDisk::Copied(spec, image) => {
                    let failed = |error| format!("the disk image {}: {error}", spec.path.display());
                    image.finish().map_err(failed)?;
                    DiskImage::open(&spec).map_err(|error| error.to_string())?
                }
            });
        }
        self.incomplete.keep();
        Ok(images)
    }
}

/// Disks by their numbers.
fn names(units: impl Iterator<Item = usize>) -> String {
    let numbers: Vec<String> = units.map(|unit| unit.to_string()).collect();
    match numbers.len() {
        0 => "no disk".to_owned(),
        1 => format!("disk {}", numbers[0]),
        _ => format!("disks {}", numbers.join(", ")),
    }
}

/// The image that the source uses, too.
fn shared(spec: &DiskSpec, offer: &DiskOffer) -> Result<DiskImage, String> {
    const REMEDY: &str = "Start the destination with the image that the guest uses, on storage that both hosts share; \
                          `migrate --with-disk` sends the contents instead.";
    let (unit, path) = (offer.unit, spec.path.display());
    let image = DiskImage::open_unlocked(spec).map_err(|error| match error {
        DiskImageError::Missing(_) => {
            format!("disk {unit}: {path} does not exist at the destination. {REMEDY}")
        }
        DiskImageError::Empty(_) => format!("disk {unit}: {path} is empty at the destination. {REMEDY}"),
        other => other.to_string(),
    })?;
    let (there, here) = (Some(offer.geometry), Some(geometry(&image)));
    if there != here {
        return Err(MachineError::Disk { unit: unit.into(), there, here }.to_string());
    }
    if image.is_locked_elsewhere() == Some(false) {
        return Err(format!(
            "disk {unit}: {path} at the destination is another file than the guest's. {REMEDY}"
        ));
    }
    Ok(image)
}

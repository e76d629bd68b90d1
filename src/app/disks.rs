//! `--disk` and `--cdrom`: the images, and the machine they belong to.

mod received;

use super::Failure;
use super::failure_status::machine_status;
use crate::frontends::messages::tell;
use crate::machine::Machine;
use crate::machine::disks::{DiskOrigin, UNITS};
use crate::machine::outcome::status;
use crate::os::disk_image::DiskImage;
use crate::settings::{CDROM_UNIT, DiskInterface, DiskMode, DiskSpec, MOST_DISKS, Settings};
use crate::state::saved_disks::{SavedDisk, differences};

pub(super) use received::ReceivedDisks;

/// The images of all disks, by their places.
pub(super) type Disks = [Option<DiskImage>; UNITS];

/// The disks of `settings` and the CD by their places. The disks of each interface take the places that the CD leaves, in
/// their order.
fn places(settings: &Settings) -> [Option<&DiskSpec>; UNITS] {
    let mut disks = [None; UNITS];
    disks[CDROM_UNIT] = settings.cdrom.as_ref();
    let (ide, virtio) = disks.split_at_mut(MOST_DISKS);
    let mut ide = ide.iter_mut().filter(|place| place.is_none());
    let mut virtio = virtio.iter_mut();
    for spec in &settings.disks {
        let place = match spec.interface {
            DiskInterface::Ide => ide.next(),
            DiskInterface::Virtio => virtio.next(),
            DiskInterface::Cdrom => None,
        };
        if let Some(place) = place {
            *place = Some(spec);
        }
    }
    disks
}

/// Opens the images of the disks.
pub(super) fn open(settings: &Settings) -> Result<Disks, Failure> {
    let mut disks = Disks::default();
    for (disk, spec) in disks.iter_mut().zip(places(settings)) {
        let image = spec.map(DiskImage::open).transpose();
        *disk = image.map_err(|error| Failure::new(status::HOST, error))?;
    }
    Ok(disks)
}

/// The guest file is a disk: it becomes the first one, unless it is one of `disks` already.
pub(super) fn with_guest(mut disks: Disks, settings: &Settings) -> Result<Disks, Failure> {
    if settings.disks.iter().any(|disk| disk.path == settings.guest) {
        return Ok(disks);
    }
    let spec =
        DiskSpec { path: settings.guest.clone(), mode: DiskMode::ReadWrite, interface: DiskInterface::Ide };
    let image = DiskImage::open(&spec).map_err(|error| Failure::new(status::HOST, error))?;
    let mut next = Some(image);
    let places = (0..MOST_DISKS).filter(|place| *place != CDROM_UNIT || settings.cdrom.is_none());
    for place in places {
        next = std::mem::replace(&mut disks[place], next);
        if next.is_none() {
            return Ok(disks);
        }
    }
    let message = format_args!(
        "{} would be the fifth disk on IDE; a machine has at most four, a CD-ROM drive included. Leave one of the others \
         out, or give it as a virtio disk.",
        settings.guest.display()
    );
    Err(Failure::new(status::USAGE, message))
}

/// `machine` with its disks.
pub(super) fn attach(mut machine: Machine, disks: Disks, origin: DiskOrigin) -> Result<Machine, Failure> {
    machine.attach_disks(disks, origin).map_err(|error| Failure::new(machine_status(&error), error))?;
    Ok(machine)
}

/// The machine of a snapshot with its disks; the user is told which of them have changed since it was `saved`.
pub(super) fn attach_saved(machine: Machine, disks: Disks, saved: &[SavedDisk]) -> Result<Machine, Failure> {
    let machine = attach(machine, disks, DiskOrigin::Restored)?;
    differences(saved, &machine).iter().for_each(|note| tell(note));
    Ok(machine)
}

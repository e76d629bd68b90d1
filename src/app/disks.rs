//! `--disk` and `--cdrom`: the images, and the machine they belong to.

mod received;

use std::path::PathBuf;

use super::Failure;
use super::failure_status::machine_status;
use crate::frontends::messages::tell;
use crate::machine::Machine;
use crate::machine::disks::{DiskOrigin, UNITS};
use crate::machine::outcome::status;
use crate::os::disk_image::DiskImage;
use crate::settings::{BootKind, CDROM_UNIT, DiskInterface, DiskMode, DiskSpec, MOST_DISKS, Settings};
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
pub(super) fn with_guest(disks: Disks, settings: &Settings) -> Result<Disks, Failure> {
    if settings.disks.iter().any(|disk| disk.path == settings.guest) {
        return Ok(disks);
    }
    let spec =
        DiskSpec { path: settings.guest.clone(), mode: settings.guest_disk, interface: DiskInterface::Ide };
    let image = DiskImage::open(&spec).map_err(|error| Failure::new(status::HOST, error))?;
    insert(image, disks, settings)
}

/// Puts `image` in front of the IDE disks among `disks`.
fn insert(image: DiskImage, mut disks: Disks, settings: &Settings) -> Result<Disks, Failure> {
    let has_cd = settings.cdrom.is_some();
    let places = disks[..MOST_DISKS].iter_mut().enumerate();
    let places = places.filter(|(place, _)| *place != CDROM_UNIT || !has_cd).map(|(_, disk)| disk);
    let name = image.path().to_owned();
    if push_front(image, places).is_none() {
        return Ok(disks);
    }
    let message = format_args!(
        "{} would be the fifth disk on IDE; a machine has at most four, a CD-ROM drive included. Leave one of the others \
         out, or give it as a virtio disk.",
        name.display()
    );
    Err(Failure::new(status::USAGE, message))
}

/// Puts `image` into the first of `places`; disks there and behind it move on, up to the first free place. What no place
/// is left for.
fn push_front<'a>(
    image: DiskImage,
    places: impl Iterator<Item = &'a mut Option<DiskImage>>,
) -> Option<DiskImage> {
    let mut next = Some(image);
    for place in places {
        next = std::mem::replace(place, next);
        if next.is_none() {
            break;
        }
    }
    next
}

/// The disk that a saved guest was started from, at the place where it was then; `None` if it is not there, the guest is of
/// another kind, or the user has given as many disks as it had.
fn guest_disk(machine: &Machine, saved: &[SavedDisk], settings: &Settings) -> Option<DiskSpec> {
    if machine.boot_options().kind != Some(BootKind::Disk) {
        return None;
    }
    let there = |unit: usize| machine.board().disk(unit).filter(|disk| !disk.cdrom);
    let count = (0..UNITS).filter(|unit| there(*unit).is_some()).count();
    let path = PathBuf::from(machine.image().name());
    let is_given = |disk: &DiskSpec| std::path::absolute(&disk.path).is_ok_and(|given| given == path);
    if settings.disks.len() >= count || settings.disks.iter().any(is_given) {
        return None;
    }
    let (unit, disk) = (0..UNITS).find_map(|unit| Some((unit, there(unit)?)))?;
    let in_memory = saved.iter().any(|disk| usize::from(disk.unit) == unit && disk.in_memory);
    let mode = match (disk.read_only, in_memory) {
        (true, _) => DiskMode::ReadOnly,
        (false, true) => DiskMode::Snapshot,
        (false, false) => DiskMode::ReadWrite,
    };
    let interface = if unit < MOST_DISKS { DiskInterface::Ide } else { DiskInterface::Virtio };
    Some(DiskSpec { path, mode, interface })
}

/// The guest file is a CD: it becomes the machine's, unless it is that already.
pub(super) fn with_guest_cd(disks: Disks, settings: &Settings) -> Result<Disks, Failure> {
    let spec = cd(settings.guest.clone());
    let message = match &settings.cdrom {
        Some(cdrom) if cdrom.path == spec.path => return Ok(disks),
        Some(cdrom) => format!(
            "{} would be the second CD, beside that of --cdrom, {}; a machine has one. Leave one of them out.",
            spec.path.display(),
            cdrom.path.display()
        ),
        None if disks[..MOST_DISKS].iter().all(Option::is_some) => format!(
            "the CD {} would be the fifth drive on IDE; a machine has at most four. Leave one of the disks out, or give \
             it as a virtio disk.",
            spec.path.display()
        ),
        None => {
            let image = DiskImage::open(&spec).map_err(|error| Failure::new(status::HOST, error))?;
            return Ok(with_cd(image, disks));
        }
    };
    Err(Failure::new(status::USAGE, message))
}

fn cd(path: PathBuf) -> DiskSpec {
    DiskSpec { path, mode: DiskMode::ReadOnly, interface: DiskInterface::Cdrom }
}

/// Puts a CD into its place; disks there and behind it move on, and one place is free.
fn with_cd(image: DiskImage, mut disks: Disks) -> Disks {
    push_front(image, disks[CDROM_UNIT..MOST_DISKS].iter_mut());
    disks
}

/// `machine` with its disks.
pub(super) fn attach(mut machine: Machine, disks: Disks, origin: DiskOrigin) -> Result<Machine, Failure> {
    machine.attach_disks(disks, origin).map_err(|error| Failure::new(machine_status(&error), error))?;
    Ok(machine)
}

/// The machine of a snapshot with its disks; the user is told which of them have changed since it was `saved`.
pub(super) fn attach_saved(
    machine: Machine,
    mut disks: Disks,
    saved: &[SavedDisk],
    settings: &Settings,
) -> Result<Machine, Failure> {
    let spec = match machine.boot_options().kind {
        Some(BootKind::Cdrom) if settings.cdrom.is_none() => Some(cd(PathBuf::from(machine.image().name()))),
        _ => guest_disk(&machine, saved, settings),
    };
    if let Some(spec) = spec {
        let image = DiskImage::open(&spec).map_err(|error| {
            let message = format_args!(
                "the guest was started from this disk: {error}; name it with `--{} FILE` if it has been moved",
                if spec.interface == DiskInterface::Cdrom { "cdrom" } else { "disk" }
            );
            Failure::new(status::HOST, message)
        })?;
        disks = match spec.interface {
            // One more fits: the user gave fewer than there were.
            DiskInterface::Virtio => {
                push_front(image, disks[MOST_DISKS..].iter_mut());
                disks
            }
            DiskInterface::Cdrom => with_cd(image, disks),
            DiskInterface::Ide => insert(image, disks, settings)?,
        };
    }
    let machine = attach(machine, disks, DiskOrigin::Restored)?;
    differences(saved, &machine).iter().for_each(|note| tell(note));
    Ok(machine)
}

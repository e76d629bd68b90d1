//! `--disk`: the images, and the machine they belong to.

use super::Failure;
use super::failure_status::machine_status;
use crate::machine::Machine;
use crate::machine::disks::DiskOrigin;
use crate::machine::outcome::status;
use crate::os::disk_image::DiskImage;
use crate::settings::Settings;

/// The images of all disks.
pub(super) type Disks = Vec<DiskImage>;

/// Opens the images of the disks.
pub(super) fn open(settings: &Settings) -> Result<Disks, Failure> {
    let open = |spec| DiskImage::open(spec).map_err(|error| Failure::new(status::HOST, error));
    settings.disks.iter().map(open).collect()
}

/// `machine` with its disks.
pub(super) fn attach(mut machine: Machine, disks: Disks, origin: DiskOrigin) -> Result<Machine, Failure> {
    machine.attach_disks(disks, origin).map_err(|error| Failure::new(machine_status(&error), error))?;
    Ok(machine)
}

//! `kvm inspect`: describes a guest file as a run would load it.

use std::io::Write;

use super::failure_status::boot_status;
use super::new_machine::{boot_options, find_protocol, memory_size, needs_framebuffer, open_guest};
use super::{Failure, fail};
use crate::boot;
use crate::frontends::guest_description::GuestDescription;
use crate::machine::outcome::status;
use crate::memory::GuestMemory;
use crate::settings::Settings;

/// Prints the description; returns the exit status.
#[cold]
pub(super) fn inspect(settings: &Settings, json: bool) -> u8 {
    match describe(settings, json) {
        Ok(text) => {
            // The reader may close the pipe early.
            let _ = std::io::stdout().write_all(text.as_bytes());
            status::HALTED
        }
        Err(failure) => fail(failure),
    }
}

fn describe(settings: &Settings, json: bool) -> Result<String, Failure> {
    let image = open_guest(settings)?;
    let image = image.as_ref();
    let options = boot_options(settings);
    let found = find_protocol(image, &options)?;
    let size = memory_size(settings, image, &options, found.protocol);
    let memory = GuestMemory::new(size).map_err(|error| Failure::new(status::HOST, error))?;
    if needs_framebuffer(settings, image, found.protocol) {
        memory.add_video_memory().map_err(|error| Failure::new(status::HOST, error))?;
    }
    let loaded =
        boot::load_as(found, image, &memory, &options).map_err(|e| Failure::new(boot_status(&e), e))?;
    let description = GuestDescription::new(image, &memory, &loaded);
    Ok(if json { description.to_json() } else { description.to_string() })
}

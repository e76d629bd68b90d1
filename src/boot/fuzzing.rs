//! Arbitrary bytes as a guest file.

use super::{BootOptions, BytesImage, load};
use crate::memory::GuestMemory;
use crate::settings::BOOT_KINDS;

/// Guest memory, in bytes.
const MEMORY: u64 = 4 << 20;

/// Loads `file` as a guest, with and without strict mode, and as each kind of guest.
///
/// # Panics
///
/// If the loaded guest lies outside of RAM, or overlaps itself.
pub fn load_anything(file: &[u8]) {
    let memory = GuestMemory::new(MEMORY).expect("a few MiB can be had");
    let kinds = BOOT_KINDS.iter().map(|spec| (false, Some(spec.kind)));
    for (strict, kind) in [(false, None), (true, None)].into_iter().chain(kinds) {
        let options = BootOptions { strict, kind, ..BootOptions::default() };
        if let Ok(boot) = load(&BytesImage::new("fuzz", file), &memory, &options) {
            for region in &boot.layout {
                assert!(memory.is_ram(region.range.start, region.range.end - region.range.start));
            }
            for pair in boot.layout.windows(2) {
                assert!(pair[0].range.end <= pair[1].range.start);
            }
        }
        memory.discard().expect("the host takes pages back");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzzing::FuzzDriver;

    #[test]
    fn any_guest_file_is_loaded_or_refused() {
        FuzzDriver::new("boot_elf").with_inputs_from("tests/bad-guests").run(load_anything);
    }
}

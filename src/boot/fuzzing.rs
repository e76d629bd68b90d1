//! Arbitrary bytes as a guest file.

use super::{BootOptions, BytesImage, DebugInfo, FrameRegisters, Protocol, TestSection, gzip, load};
use crate::memory::GuestMemory;
use crate::settings::{BOOT_KINDS, BootKind};

/// Guest memory, in bytes.
const MEMORY: u64 = 4 << 20;
/// Where the code of the known files with debug information is.
const CODE: std::ops::Range<u64> = 0x20_0000..0x20_0030;
/// Where the setup header begins in a bzImage.
const SETUP_HEADER: usize = 0x1F1;

/// Loads `file` as a guest, with and without strict mode, and as each kind of guest; unpacked if it is compressed.
///
/// # Panics
///
/// If the loaded guest lies outside of RAM, or overlaps itself.
pub fn load_anything(file: &[u8]) {
    let memory = GuestMemory::new(MEMORY).expect("a few MiB can be had");
    let unpacked = gzip::unpack(&BytesImage::new("fuzz", file));
    let file = unpacked.as_deref().unwrap_or(file);
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
        if let Some(section) = TestSection::find(&BytesImage::new("fuzz", file)) {
            let read = |address: u64, into: &mut [u8]| memory.read(address, into).is_ok();
            let _ = section.tests(0, &read);
        }
        memory.discard().expect("the host takes pages back");
    }
}

/// Loads a bzImage of three sectors, whose setup header is `header`, with the signatures that it needs.
///
/// # Panics
///
/// If the loaded kernel lies outside of RAM.
pub fn load_linux(header: &[u8]) {
    let mut file = vec![0; 3 * 512];
    let length = header.len().min(file.len() - SETUP_HEADER);
    file[SETUP_HEADER..][..length].copy_from_slice(&header[..length]);
    file[0x1FE..0x200].copy_from_slice(&[0x55, 0xAA]);
    file[0x202..0x206].copy_from_slice(b"HdrS");
    let memory = GuestMemory::new(MEMORY).expect("a few MiB can be had");
    let options = BootOptions {
        kind: Some(BootKind::Linux),
        command_line: "console=ttyS0".to_owned(),
        ..BootOptions::default()
    };
    let image = BytesImage::new("fuzz", &file);
    let protocol = Protocol::of(BootKind::Linux);
    let _ = protocol.default_memory(&image, &options);
    if let Ok(boot) = load(&image, &memory, &options) {
        for region in &boot.layout {
            assert!(memory.is_ram(region.range.start, region.range.end - region.range.start), "{region}");
        }
    }
}

/// Looks addresses up in the debug information of `file`: lines, functions and callers.
pub fn look_up_lines(file: &[u8]) {
    let info = DebugInfo::read(&BytesImage::new("fuzz", file));
    let load = |address: u64, _| Some(address ^ 0x20_0005);
    for width in [4, 8] {
        let registers = FrameRegisters { general: [Some(0x9000); 16], width };
        for address in CODE.step_by(5) {
            let _ = (info.place_at(address), info.functions_at(address));
            let _ = info.caller(address, &registers, &load);
        }
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

    #[test]
    fn any_debug_information_is_read_or_ignored() {
        FuzzDriver::new("debug_info").with_inputs_from("tests/debug-info").run(look_up_lines);
    }

    #[test]
    fn any_setup_header_of_linux_is_loaded_or_refused() {
        FuzzDriver::new("linux").run(load_linux);
    }
}

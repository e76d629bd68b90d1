//! The boot protocol of firmware: the file is the contents of a ROM, and the processor starts at the reset vector in it,
//! as on a PC that is switched on.
//!
//! The image ends at 4 GiB, and its last 128 KiB also at 1 MiB ([`GuestMemory::install_rom`]). A VGA BIOS is an option ROM
//! at 0xC0000. Firmware sets everything else up: it finds the disks, and boots from them.
//!
//! Manual: Intel SDM volume 3A, 10.1.4 "First Instruction Executed"; "PC firmware specification" of IBM's PC/AT for the
//! signature and length of option ROMs.

use std::path::Path;

use super::error::{BootError, GuestProblem};
use super::image::{self, FileImage};
use super::real_mode::{self, FarAddress};
use super::{BootOptions, Choice, Image, LoadedGuest, LoadedRegion, Protocol, SymbolSource};
use crate::arch::Registers;
use crate::memory::{GuestMemory, HIGH_RAM_BASE, MAX_OPTION_ROM, MAX_ROM, ROM_GRANULE};
use crate::settings::BootKind;

/// What the reset vector has room for, in bytes.
const RESET_VECTOR: usize = 16;
/// How an option ROM begins; its length in units of 512 bytes follows.
const OPTION_ROM: [u8; 2] = [0x55, 0xAA];
const OPTION_ROM_UNIT: u64 = 512;

/// CR0 after a reset: caches off, ET.
const CR0: u64 = 0x6000_0010;
/// The code segment: its base does not belong to its selector until it is loaded anew.
const CS_BASE: u64 = 0xFFFF_0000;
const CS: u16 = 0xF000;
const IP: u16 = 0xFFF0;
/// EDX after a reset: family 6. CPUID tells the rest.
const SIGNATURE: u64 = 0x600;

/// Loads the firmware in `image`.
pub(super) fn load(
    image: &dyn Image,
    memory: &GuestMemory,
    options: &BootOptions,
) -> Result<LoadedGuest, BootError> {
    let wrong = |problem| BootError::Guest { file: image.name().to_owned(), problem };
    let given = [
        ("module", !options.modules.is_empty()),
        ("initrd", options.initrd.is_some()),
        ("append", !options.command_line.is_empty()),
    ];
    if let Some((option, _)) = given.into_iter().find(|(_, given)| *given) {
        return Err(BootError::NotForRom { file: image.name().to_owned(), option });
    }
    let length = image.len();
    if length == 0 || length > MAX_ROM || !length.is_multiple_of(ROM_GRANULE) {
        return Err(wrong(GuestProblem::RomSize { length }));
    }
    let firmware = image::read(image, 0, length, "the firmware").map_err(wrong)?;
    let vector = &firmware[firmware.len() - RESET_VECTOR..];
    if vector.iter().all(|byte| *byte == vector[0]) {
        return Err(wrong(GuestProblem::NoResetVector { byte: vector[0] }));
    }
    let option_rom = match &options.vga_bios {
        Some(path) => option_rom(path)?,
        None => Vec::new(),
    };
    memory.install_rom(&firmware, &option_rom)?;
    let region = |name: &str, range| LoadedRegion { name: name.to_owned(), range };
    let mut layout = Vec::new();
    if !option_rom.is_empty() {
        layout.push(region("VGA BIOS", 0xC_0000..0xC_0000 + option_rom.len() as u64));
    }
    layout.push(region("firmware", (0x10_0000 - length.min(128 << 10))..0x10_0000));
    layout.push(region("firmware", HIGH_RAM_BASE - length..HIGH_RAM_BASE));
    Ok(LoadedGuest {
        kind: BootKind::Rom,
        choice: Choice::Chosen,
        other_processors: Vec::new(),
        framebuffer: None,
        registers: after_reset(),
        reset: Protocol::of(BootKind::Rom).reset(),
        symbols: SymbolSource::None,
        layout,
        warnings: Vec::new(),
    })
}

/// Reads an option ROM: as much of the file as its header says.
fn option_rom(path: &Path) -> Result<Vec<u8>, BootError> {
    let image = FileImage::open(path)?;
    let wrong = |problem| BootError::Guest { file: image.name().to_owned(), problem };
    let head = image::read(&image, 0, 3, "the option ROM").map_err(wrong)?;
    let length = u64::from(head[2]) * OPTION_ROM_UNIT;
    if head[..2] != OPTION_ROM || length == 0 || length > MAX_OPTION_ROM {
        return Err(wrong(GuestProblem::NoOptionRom { first: [head[0], head[1]], length }));
    }
    image::read(&image, 0, length, "the option ROM").map_err(wrong)
}

/// All registers of a processor that was reset.
pub fn after_reset() -> Registers {
    let vector = FarAddress { segment: CS, offset: IP };
    let mut registers = real_mode::registers(vector, FarAddress::default());
    let system = &mut registers.system;
    system.cs.base = CS_BASE;
    system.cr0 = CR0;
    system.idt.limit = 0xFFFF;
    registers.general.rdx = SIGNATURE;
    registers
}

#[cfg(test)]
#[path = "rom_test.rs"]
mod tests;

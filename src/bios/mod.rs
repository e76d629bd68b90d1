//! The services of the machine's own BIOS, as the supervisor carries them out.
//!
//! The ROM (`firmware/bios.S`) has entry points and nothing else: each writes to port 0xBF
//! ([`crate::devices::bios_port`]). The machine then takes the registers of the caller, calls [`serve`], and writes back
//! what has changed. A service acts on guest memory and on the devices' own registers alone, through [`BiosPlatform`]:
//! what it does is what a BIOS of instructions would have done, so a guest that programs the devices itself finds them
//! in the state that it expects.
//!
//! A service never waits. [`Served`] says what the caller waits for: an interrupt, after which the ROM asks again (a key
//! is in the keyboard buffer, a timer tick has come), or a disk, whose answer is passed to [`complete`].
//!
//! | file | interrupts |
//! |---|---|
//! | `rom` | the ROM and its entry points |
//! | `data_areas` | interrupt vectors, BIOS data area, extended BIOS data area |
//! | `post` | power-on: what is set up before the boot sector is loaded |
//! | `int10_video` | 10h, with `int10_text`, `int10_palette`, `int10_graphics` and `int10_vbe` |
//! | `int11_equipment` | 11h and 12h |
//! | `int13_disk` | 13h and 40h, with `int13_cd`, and `drives` for their numbers |
//! | `int14_serial` | 14h and 17h |
//! | `int15_system` | 15h, with `int15_memory_map` |
//! | `int16_keyboard` | 09h and 16h, with `key_codes` |
//! | `int19_boot` | 18h and 19h, with `el_torito` and `el_torito_state` for CDs |
//! | `int1a_time` | 08h, 70h and 1Ah |
//!
//! Manuals: IBM Personal Computer AT Technical Reference; IBM PS/2 and PC BIOS Interface Technical Reference; Ralf
//! Brown's Interrupt List; Phoenix, "BIOS Enhanced Disk Drive Specification" 1.1; ACPI specification, "System Address
//! Map Interfaces"; "El Torito" 1.0; VESA, "VBE Core Functions Standard" 3.0. Not implemented: fonts, formatting of
//! diskettes, printers, PCI BIOS, APM, the mouse (INT 15h, C2h), Print Screen, Ctrl-Break, and the switch to protected
//! mode (INT 15h, 89h). They report an error, as a BIOS without them does.

mod call;
pub mod data_areas;
mod drives;
pub mod el_torito;
mod el_torito_state;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod int10_graphics;
mod int10_palette;
mod int10_text;
mod int10_vbe;
mod int10_video;
mod int11_equipment;
mod int13_cd;
mod int13_disk;
mod int14_serial;
mod int15_memory_map;
mod int15_system;
mod int16_keyboard;
mod int19_boot;
mod int1a_time;
mod key_codes;
mod post;
pub mod rom;
// The tests use all of it, fuzz targets do not.
#[cfg(any(test, fuzzing))]
#[cfg_attr(not(test), allow(dead_code))]
mod testing;

pub use call::{BiosCall, BiosDisk, BiosPlatform, Served};

use crate::devices::bios_port::BiosTransfer;
use crate::devices::ide::DiskResult;

/// The number by which the ROM requests what is to be set up at power-on; no interrupt of the BIOS has it.
pub const POST: u8 = 0xFE;

/// Serves the call with this interrupt number. An unknown number has no effect: a guest can write to the port, too.
pub fn serve(call: &mut BiosCall, platform: &mut dyn BiosPlatform) -> Served {
    match call.vector {
        0x00 | 0x06 | 0x07 => int19_boot::unexpected_exception(call),
        0x08 => int1a_time::tick(platform),
        0x09 => int16_keyboard::key(call, platform),
        0x10 => int10_video::serve(call, platform),
        0x11 => int11_equipment::equipment(call, platform),
        0x12 => int11_equipment::memory(call, platform),
        0x13 => int13_disk::serve(call, platform),
        0x14 => int14_serial::serve(call, platform),
        0x15 => int15_system::serve(call, platform),
        0x16 => int16_keyboard::serve(call, platform),
        0x17 => int14_serial::printer(call),
        0x18 => int19_boot::failure(platform),
        0x19 => int19_boot::boot(call, platform),
        0x1A => int1a_time::serve(call, platform),
        0x40 => int13_disk::diskette(call, platform),
        0x70 => int1a_time::alarm(platform),
        POST => post::power_on(platform),
        _ => Served::Done,
    }
}

/// True if a key would be lost now: INT 09h of this BIOS takes the keys, and its buffer, which a program has not read for
/// a while, has no room. A PC beeps then; nobody types that fast there.
pub fn would_lose_keys(platform: &dyn BiosPlatform) -> bool {
    data_areas::is_vector(0x09, platform) && !int16_keyboard::has_room(platform)
}

/// Goes on with a call that has waited for a disk.
pub fn complete(
    call: &mut BiosCall,
    transfer: &BiosTransfer,
    result: DiskResult,
    platform: &mut dyn BiosPlatform,
) -> Served {
    match transfer.vector {
        0x19 => int19_boot::complete(call, transfer, result, platform),
        _ => int13_disk::complete(call, transfer, result, platform),
    }
}

/// Shows a text on the screen and sends it to COM1, as INT 10h, AH = 0Eh does.
pub fn print(text: &str, platform: &mut dyn BiosPlatform) {
    let bytes = text.bytes().map(|byte| if byte.is_ascii() { byte } else { b'?' });
    bytes.for_each(|byte| int10_text::teletype(byte, None, platform));
}

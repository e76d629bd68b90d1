//! The 16-bit boot protocol (Linux, Documentation/arch/x86/boot.rst, "Memory Layout", "The Kernel Command Line",
//! "Running the Kernel"): the kernel's setup code starts in real mode and calls a BIOS.
//!
//! The machine has its own BIOS ([`disk::load_bios_and_tables`]). The processor starts at the reset vector; the BIOS sets up the
//! devices and calls INT 19h, which would load a boot sector. That vector leads to a few instructions which give it back
//! to the BIOS, and start the kernel. So a kernel that ends with INT 19h boots a disk.
//!
//! Not implemented: the hook of `realmode_swtch`, as no kernel needs one, and the video mode in `vid_mode`.

use linux_loader::bootparam::{CAN_USE_HEAP, setup_header as RawHeader};
use vm_memory::ByteValued;

use super::initrd::Initrd;
use super::problem::LinuxProblem;
use super::setup_header::{self, SetupHeader};
use super::wrap_problem;
use crate::bios::rom;
use crate::boot::boot_information::check_command_lines;
use crate::boot::error::{BootError, GuestProblem};
use crate::boot::protocol::{Candidate, Recognition};
use crate::boot::{
    BootOptions, Choice, Image, LoadedGuest, LoadedRegion, Protocol, SymbolSource, disk, image,
};
use crate::memory::GuestMemory;
use crate::settings::BootKind;

/// Where the setup code is, and its segment.
const SETUP: u64 = (SETUP_SEGMENT as u64) << 4;
const SETUP_SEGMENT: u16 = 0x9000;
/// The setup code begins behind its first sector, where boot sectors were once.
const ENTRY_SEGMENT: u16 = SETUP_SEGMENT + 0x20;
/// Sectors of setup code that there is room for: behind them are its heap and its stack.
const MOST_SETUP_SECTORS: u8 = 63;
const SECTOR: u64 = 512;
/// Where heap and stack end, and the command line begins, as an offset in the segment.
const HEAP_END: u16 = 0xE000;
/// What the protocol subtracts for the stack.
const STACK_SIZE: u16 = 0x200;
/// Where the command line has to end: the extended BIOS data area follows.
const SETUP_END: u64 = crate::bios::data_areas::EBDA;

/// Before version 2.02: how the command line is found.
const COMMAND_LINE_MAGIC: u16 = 0xA33F;
const COMMAND_LINE_MAGIC_AT: u64 = 0x20;
/// A boot loader without a number of its own.
const UNKNOWN_LOADER: u8 = 0xFF;

/// Address of the vector of INT 19h.
const VECTOR_19: u64 = 0x19 * 4;
/// The instructions that it leads to: where a boot sector would be.
const STARTER: u16 = 0x7C00;
/// Offset of INT 19h in the BIOS.
const BIOS_INT_19: u16 = 0xE6F2;

/// A bzImage that only starts in real mode.
pub(in crate::boot) fn recognise(candidate: &Candidate<'_>) -> Recognition {
    match SetupHeader::read(candidate.image) {
        Ok(header) if setup_header::is_present(candidate.image) && header.entry().is_none() => {
            Recognition::ByContents
        }
        _ => Recognition::No,
    }
}

/// Loads a kernel; [`crate::boot::load`] is the contract.
pub(in crate::boot) fn load(
    image: &dyn Image,
    memory: &GuestMemory,
    options: &BootOptions,
) -> Result<LoadedGuest, BootError> {
    check_command_lines(options)?;
    let wrap = |problem: GuestProblem| BootError::Guest { file: image.name().to_owned(), problem };
    if !setup_header::is_present(image) {
        return Err(wrap(GuestProblem::NoSetupHeader));
    }
    let header = SetupHeader::read(image).map_err(wrap)?;
    let what = header.describe();
    let command_line = command_line(&header, options).map_err(wrap_problem(image))?;
    let needed = header.checked_memory(memory).map_err(wrap_problem(image))?;
    let sectors = header.setup_sectors();
    if sectors > MOST_SETUP_SECTORS {
        return Err(wrap_problem(image)(LinuxProblem::Header {
            field: "setup_sects",
            value: sectors.into(),
            expected: "at most 63",
        }));
    }

    let initrd = Initrd::open(options)?;
    let initrd_at =
        initrd.place(memory, needed.end, header.raw.initrd_addr_max).map_err(wrap_problem(image))?;
    let mut layout = disk::load_bios_and_tables(memory, options, BootKind::Linux16)?;
    initrd.load(memory, initrd_at.start)?;
    image::copy(image, 0, (1 + u64::from(sectors)) * SECTOR, memory, SETUP, wrap)?;
    let code = header.code.clone();
    image::copy(image, code.start, code.end - code.start, memory, needed.start, wrap)?;

    let mut raw = header.raw;
    raw.type_of_loader = UNKNOWN_LOADER;
    if raw.code32_start != 0 {
        raw.code32_start = needed.start as u32;
    }
    if !initrd_at.is_empty() {
        raw.ramdisk_image = initrd_at.start as u32;
        raw.ramdisk_size = (initrd_at.end - initrd_at.start) as u32;
    }
    if header.has(1) {
        raw.loadflags |= CAN_USE_HEAP;
        raw.heap_end_ptr = HEAP_END - STACK_SIZE;
    }
    if header.has(2) {
        raw.cmd_line_ptr = SETUP as u32 + u32::from(HEAP_END);
    } else {
        raw.setup_move_size = HEAP_END + command_line.len() as u16;
        let words = [COMMAND_LINE_MAGIC.to_le_bytes(), HEAP_END.to_le_bytes()].concat();
        memory.write(SETUP + COMMAND_LINE_MAGIC_AT, &words)?;
    }
    write_header(&raw, header.known_length(), memory)?;
    memory.write(SETUP + u64::from(HEAP_END), &command_line)?;

    let starter = starter();
    memory.write(u64::from(STARTER), &starter)?;
    memory.write(VECTOR_19, &[STARTER.to_le_bytes(), [0, 0]].concat())?;

    let starter_at = u64::from(STARTER);
    let mut add = |name: &str, range| layout.push(LoadedRegion { name: name.to_owned(), range });
    add("the jump to the kernel", starter_at..starter_at + starter.len() as u64);
    add("setup code, heap and command line", SETUP..SETUP_END);
    add(&what, needed);
    if !initrd_at.is_empty() {
        add("initrd", initrd_at);
    }
    layout.sort_by_key(|region| region.range.start);
    Ok(LoadedGuest {
        kind: BootKind::Linux16,
        choice: Choice::Chosen,
        registers: disk::registers_at_reset(),
        other_processors: Vec::new(),
        framebuffer: None,
        reset: Protocol::of(BootKind::Linux16).reset(),
        symbols: SymbolSource::None,
        layout,
        warnings: initrd.warnings(),
    })
}

/// The command line, with the zero byte at its end.
fn command_line(header: &SetupHeader, options: &BootOptions) -> Result<Vec<u8>, LinuxProblem> {
    let room = SETUP_END - SETUP - u64::from(HEAP_END) - 1;
    let limit = header.raw.cmdline_size.min(room as u32);
    let mut bytes = options.command_line.as_bytes().to_vec();
    if bytes.len() > limit as usize {
        return Err(LinuxProblem::CommandLine { length: bytes.len(), limit });
    }
    bytes.push(0);
    Ok(bytes)
}

/// Writes the fields that the image's version of the protocol has.
fn write_header(raw: &RawHeader, length: u64, memory: &GuestMemory) -> Result<(), BootError> {
    let bytes = raw.as_slice();
    let length = bytes.len().min(length as usize);
    Ok(memory.write(SETUP + setup_header::OFFSET, &bytes[..length])?)
}

/// The code that starts the kernel. All segments are those of the setup code; interrupts are off.
fn starter() -> Vec<u8> {
    let [int_19, segment, heap_end, entry] =
        [BIOS_INT_19, SETUP_SEGMENT, HEAP_END, ENTRY_SEGMENT].map(u16::to_le_bytes);
    let bios = rom::SEGMENT.to_le_bytes();
    let vector = VECTOR_19 as u8;
    let code: [&[u8]; 11] = [
        &[0xFA],                                        // cli
        &[0xC7, 0x06, vector, 0, int_19[0], int_19[1]], // movw $int_19, 0x64
        &[0xC7, 0x06, vector + 2, 0, bios[0], bios[1]], // movw $0xf000, 0x66
        &[0xB8, segment[0], segment[1]],                // movw $segment, %ax
        &[0x8E, 0xD8],                                  // movw %ax, %ds
        &[0x8E, 0xC0],                                  // movw %ax, %es
        &[0x8E, 0xE0],                                  // movw %ax, %fs
        &[0x8E, 0xE8],                                  // movw %ax, %gs
        &[0x8E, 0xD0],                                  // movw %ax, %ss
        &[0xBC, heap_end[0], heap_end[1]],              // movw $heap_end, %sp
        &[0xEA, 0, 0, entry[0], entry[1]],              // ljmpw $entry, $0
    ];
    code.concat()
}

#[cfg(test)]
#[path = "real_mode_entry_test.rs"]
mod tests;

//! The boot information of Multiboot2 (2.0, 3.6): tags, which the crate `multiboot2` encodes.
//!
//! Absent: BIOS boot device, VBE, APM, everything of EFI, SMBIOS, network.

use multiboot2::{
    BasicMemoryInfoTag, BootLoaderNameTag, Builder, CommandLineTag, ElfSectionsTag, FramebufferField,
    FramebufferTag, FramebufferType, ImageLoadPhysAddrTag, MaybeDynSized, MemoryArea, MemoryAreaType,
    MemoryMapTag, ModuleTag, RsdpV1Tag, RsdpV2Tag,
};

use super::memory_map::{self, Usage};
use super::{CELL_SIZE, Information, LOADER_NAME, SCREEN, SCREEN_COLUMNS, SCREEN_ROWS};
use crate::boot::framebuffer::Framebuffer;

/// The structure. It has no addresses of its own parts.
pub(super) fn build(information: &Information<'_>) -> Vec<u8> {
    let Information { command_line, modules, memory, sections, rsdp, load_base, framebuffer } = information;
    let (lower, upper) = memory_map::basic_sizes(memory);
    let areas: Vec<MemoryArea> = memory
        .iter()
        .map(|(range, usage)| {
            let kind = match usage {
                Usage::Available => MemoryAreaType::Available,
                Usage::Reserved => MemoryAreaType::Reserved,
                Usage::AcpiTables => MemoryAreaType::AcpiAvailable,
            };
            MemoryArea::new(range.start, range.end - range.start, kind)
        })
        .collect();
    let color = |position| FramebufferField { position, size: 8 };
    let screen = match framebuffer {
        Some(framebuffer) => FramebufferTag::new(
            framebuffer.range().start,
            framebuffer.pitch() as u32,
            framebuffer.width.into(),
            framebuffer.height.into(),
            Framebuffer::BITS,
            FramebufferType::RGB { red: color(16), green: color(8), blue: color(0) },
        ),
        None => FramebufferTag::new(
            SCREEN,
            SCREEN_COLUMNS * CELL_SIZE,
            SCREEN_COLUMNS,
            SCREEN_ROWS,
            CELL_SIZE as u8 * 8,
            FramebufferType::Text,
        ),
    };
    let mut builder = Builder::new()
        .cmdline(CommandLineTag::new(command_line))
        .bootloader(BootLoaderNameTag::new(LOADER_NAME))
        .meminfo(BasicMemoryInfoTag::new(lower, upper))
        .mmap(MemoryMapTag::new(&areas))
        .framebuffer(screen);
    for module in *modules {
        let (start, end) = (module.range.start as u32, module.range.end as u32);
        builder = builder.add_module(ModuleTag::new(start, end, module.command_line));
    }
    if let Some(sections) = sections {
        let tag = ElfSectionsTag::new(sections.count, sections.entry_size, sections.names, &sections.table);
        builder = builder.elf_sections(tag);
    }
    if let Some(rsdp) = rsdp {
        let mut oem_id = [0; 6];
        oem_id.copy_from_slice(&rsdp[9..15]);
        let word = |at: usize| u32::from_le_bytes([rsdp[at], rsdp[at + 1], rsdp[at + 2], rsdp[at + 3]]);
        let xsdt = u64::from(word(24)) | u64::from(word(28)) << 32;
        builder = builder.rsdpv1(RsdpV1Tag::new(oem_id, 0, word(16))).rsdpv2(RsdpV2Tag::new(
            oem_id,
            rsdp[15],
            word(16),
            word(20),
            xsdt,
        ));
    }
    if let Some(base) = load_base {
        builder = builder.image_load_addr(ImageLoadPhysAddrTag::new(*base));
    }
    builder.build().as_bytes().to_vec()
}

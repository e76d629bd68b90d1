//! The boot information of Multiboot 1 (0.6.96, 3.3), with what it points to.
//!
//! Absent, and their flags clear: boot device, a.out symbols, drives, ROM configuration table, APM, VBE.

use super::memory_map;
use super::{CELL_SIZE, Information, LOADER_NAME, SCREEN, SCREEN_COLUMNS, SCREEN_ROWS, Words};
use crate::boot::framebuffer::Framebuffer;

/// Bytes of the structure itself, with the framebuffer's fields.
const SIZE: usize = 116;
const MODULE_SIZE: usize = 16;
const REGION_SIZE: usize = 24;

// Flags: which fields are valid.
const MEMORY: u32 = 1 << 0;
const COMMAND_LINE: u32 = 1 << 2;
const MODULES: u32 = 1 << 3;
const ELF_SECTIONS: u32 = 1 << 5;
const MEMORY_MAP: u32 = 1 << 6;
const LOADER: u32 = 1 << 9;
const FRAMEBUFFER: u32 = 1 << 12;

// `framebuffer_type`: the pixels' fields follow; EGA text.
const RGB: u8 = 1;
const TEXT: u8 = 2;
/// Position and size of red, green and blue in a pixel.
const FIELDS: [u8; 6] = [16, 8, 8, 8, 0, 8];

/// The structure as it has to be at `base`. Its length does not depend on the address.
pub(super) fn build(base: u32, information: &Information<'_>) -> Vec<u8> {
    let Information { command_line, modules, memory, sections, .. } = information;
    let table = sections.map_or(&[][..], |sections| &sections.table);
    let modules_at = SIZE.next_multiple_of(8);
    let map_at = modules_at + MODULE_SIZE * modules.len();
    let map_size = REGION_SIZE * memory.len();
    let table_at = map_at + map_size;
    let strings_at = table_at + table.len();
    let address = |offset: usize| base.wrapping_add(offset as u32);

    let mut strings = Vec::new();
    let mut string = |text: &str| {
        let at = address(strings_at + strings.len());
        strings.extend_from_slice(text.as_bytes());
        strings.push(0);
        at
    };

    let (lower, upper) = memory_map::basic_sizes(memory);
    let mut flags = MEMORY | COMMAND_LINE | MODULES | MEMORY_MAP | LOADER | FRAMEBUFFER;
    if sections.is_some() {
        flags |= ELF_SECTIONS;
    }
    let mut words = Words::default();
    words.word(flags);
    words.word(lower);
    words.word(upper);
    words.word(0); // boot_device
    words.word(string(command_line));
    words.word(modules.len() as u32);
    words.word(address(modules_at));
    match sections {
        Some(sections) => {
            words.word(sections.count);
            words.word(sections.entry_size);
            words.word(address(table_at));
            words.word(sections.names);
        }
        None => words.0.extend([0; 16]),
    }
    words.word(map_size as u32);
    words.word(address(map_at));
    words.0.extend([0; 12]); // drives, config_table
    words.word(string(LOADER_NAME));
    words.0.extend([0; 20]); // apm_table, VBE
    match information.framebuffer {
        Some(framebuffer) => {
            words.long(framebuffer.range().start);
            words.word(framebuffer.pitch() as u32);
            words.word(framebuffer.width.into());
            words.word(framebuffer.height.into());
            words.0.extend([Framebuffer::BITS, RGB]);
            words.0.extend(FIELDS);
        }
        None => {
            words.long(SCREEN);
            words.word(SCREEN_COLUMNS * CELL_SIZE);
            words.word(SCREEN_COLUMNS);
            words.word(SCREEN_ROWS);
            words.0.extend([CELL_SIZE as u8 * 8, TEXT]);
        }
    }
    words.0.resize(modules_at, 0);
    for module in *modules {
        words.word(module.range.start as u32);
        words.word(module.range.end as u32);
        words.word(string(module.command_line));
        words.word(0);
    }
    for (range, usage) in *memory {
        words.word(REGION_SIZE as u32 - 4); // without this word
        words.long(range.start);
        words.long(range.end - range.start);
        words.word(*usage as u32);
    }
    words.0.extend_from_slice(table);
    words.0.extend(strings);
    words.0
}

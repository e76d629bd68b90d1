//! Reads the dynamic section of an executable (gABI chapter 5, "Dynamic Section"): its relocations, and
//! whether it needs shared libraries.

use goblin::elf::dynamic::{
    DT_JMPREL, DT_NEEDED, DT_NULL, DT_PLTREL, DT_PLTRELSZ, DT_REL, DT_RELA, DT_RELAENT, DT_RELASZ, DT_RELSZ,
    DT_SONAME, DT_STRTAB, DT_SYMTAB,
};
use goblin::elf::reloc::reloc64;

use super::elf64::{LONGEST_NAME, Segment, field, printable};
use super::error::GuestProblem;
use super::image::{self, Image};

/// Tags of compact relative relocations (gABI chapter 5, SHT_RELR).
const DT_RELRSZ: u64 = 35;
const DT_RELR: u64 = 36;
const DT_RELRENT: u64 = 37;

/// Size of a dynamic entry: a tag and a value.
const DYN_SIZE: u64 = 16;

/// Size of an entry of a DT_RELA table.
pub(super) const RELA_SIZE: u64 = reloc64::SIZEOF_RELA as u64;

/// Size of an entry of a DT_RELR table.
pub(super) const RELR_SIZE: u64 = 8;

/// More entries than any linker writes into a dynamic section.
const MOST_ENTRIES: u64 = 4096;

/// What a dynamic section says about relocations: addresses, as in the file, and sizes in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Dynamic {
    /// DT_RELA and DT_RELASZ, DT_JMPREL and DT_PLTRELSZ.
    pub rela: [(u64, u64); 2],
    /// DT_RELR and DT_RELRSZ.
    pub relr: (u64, u64),
    /// DT_SYMTAB; 0 without it.
    pub symbols: u64,
    /// DT_STRTAB; 0 without it.
    pub strings: u64,
}

/// Reads the dynamic section at `offset`, and rejects an executable that needs a dynamic linker.
pub(super) fn read(
    file: &dyn Image,
    position_independent: bool,
    segments: &[Segment],
    offset: u64,
    size: u64,
) -> Result<Dynamic, GuestProblem> {
    image::check_present(file, offset, size, "the dynamic section")?;
    if size / DYN_SIZE > MOST_ENTRIES {
        return Err(field("number of dynamic entries", size / DYN_SIZE, "at most 0x1000"));
    }
    let bytes = image::read(file, offset, size, "the dynamic section")?;
    let entries = bytes.chunks_exact(DYN_SIZE as usize).map(|entry| (long(&entry[..8]), long(&entry[8..])));
    let mut dynamic = Dynamic::default();
    let mut needed = None;
    for (tag, value) in entries.take_while(|(tag, _)| *tag != DT_NULL) {
        match tag {
            DT_NEEDED => needed = Some(value),
            DT_STRTAB => dynamic.strings = value,
            DT_SYMTAB => dynamic.symbols = value,
            DT_SONAME => {
                return Err(GuestProblem::NotAGuest {
                    what: "a shared library".to_owned(),
                    remedy: "link it as an executable: `-static-pie` in place of `-shared`",
                });
            }
            DT_RELA => dynamic.rela[0].0 = value,
            DT_RELASZ => dynamic.rela[0].1 = value,
            DT_JMPREL => dynamic.rela[1].0 = value,
            DT_PLTRELSZ => dynamic.rela[1].1 = value,
            DT_RELR => dynamic.relr.0 = value,
            DT_RELRSZ => dynamic.relr.1 = value,
            DT_RELAENT if value != RELA_SIZE => return Err(field("DT_RELAENT", value, "0x18")),
            DT_RELRENT if value != RELR_SIZE => return Err(field("DT_RELRENT", value, "0x8")),
            // x86-64 has relocations with addends only.
            DT_RELSZ if value != 0 => return Err(field("DT_RELSZ", value, "0")),
            DT_PLTREL if value == DT_REL => return Err(field("DT_PLTREL", value, "7 (DT_RELA)")),
            _ => {}
        }
    }
    match needed {
        Some(name) => Err(GuestProblem::Library {
            library: string(file, segments, dynamic.strings, name),
            position_independent,
        }),
        None => Ok(dynamic),
    }
}

/// The start of a string of the string table, for a message.
fn string(file: &dyn Image, segments: &[Segment], table: u64, name: u64) -> String {
    let address = table.wrapping_add(name);
    let bytes = segments.iter().find_map(|segment| {
        let inside = address.checked_sub(segment.virtual_address)?;
        let length = segment.file_size.checked_sub(inside)?.min(LONGEST_NAME);
        image::read(file, segment.offset.checked_add(inside)?, length, "the name of a library").ok()
    });
    printable(&bytes.unwrap_or_default())
}

/// The little-endian 64-bit word at the start of `bytes`.
pub(super) fn long(bytes: &[u8]) -> u64 {
    bytes.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

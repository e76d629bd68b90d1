//! The sections of a guest file with debug information, read whole.

use std::collections::BTreeMap;

use goblin::elf::header::ET_REL;
use goblin::elf::section_header::{SHF_COMPRESSED, SHT_NOBITS, SectionHeader};
use miniz_oxide::inflate::decompress_to_vec_zlib_with_limit;

use crate::boot::elf::ElfFile;
use crate::boot::image::{self, Image};
use crate::boot::symbols::name_at;

/// Most bytes of all of them; a file with more is taken for one without.
const MOST_BYTES: u64 = 512 << 20;
/// Most section headers that are looked at.
const MOST_SECTIONS: usize = 100_000;
/// The kind of compression of a section: zlib (ELF gABI, "Section Compression").
const ELFCOMPRESS_ZLIB: u32 = 1;
/// Deflate makes at most this many bytes of one.
const BEST_RATIO: u64 = 1032;

/// A section.
#[derive(Debug, Default)]
pub(super) struct DebugSection {
    /// Its address in the file's own terms; 0 for what is not loaded.
    pub address: u64,
    /// Its contents, not compressed.
    pub bytes: Vec<u8>,
}

/// The sections with debug information, by name.
#[derive(Debug, Default)]
pub(super) struct DebugSections {
    /// Size of an address, in bytes.
    pub address_size: u8,
    sections: BTreeMap<String, DebugSection>,
}

impl DebugSections {
    /// Reads those of `image`; `None` if it is no file with addresses of its own, or has more than can be read.
    pub fn read(image: &dyn Image) -> Option<DebugSections> {
        let file = ElfFile::read(image)?;
        // What an object file says is completed by its relocations, which are not read.
        if file.header.e_type == ET_REL {
            return None;
        }
        let headers = file.sections(image);
        let names = headers.get(usize::from(file.header.e_shstrndx))?.sh_offset;
        let address_size = if file.is_64_bit() { 8 } else { 4 };
        let mut found = DebugSections { address_size, sections: BTreeMap::new() };
        let mut left = MOST_BYTES;
        for header in headers.iter().take(MOST_SECTIONS).filter(|header| header.sh_type != SHT_NOBITS) {
            let Some(name) = names.checked_add(header.sh_name as u64).and_then(|name| name_at(image, name))
            else {
                continue;
            };
            if !(name.starts_with(".debug_") || name == ".eh_frame") {
                continue;
            }
            let bytes = contents(image, &file, header, left)?;
            left = left.checked_sub(bytes.len() as u64)?;
            found.sections.entry(name).or_insert(DebugSection { address: header.sh_addr, bytes });
        }
        Some(found)
    }

    /// Takes the section `name`; an empty one if the file has none.
    pub fn take(&mut self, name: &str) -> DebugSection {
        self.sections.remove(name).unwrap_or_default()
    }

    /// Number of bytes of all that have not been taken.
    pub fn size(&self) -> u64 {
        self.sections.values().map(|section| section.bytes.len() as u64).sum()
    }
}

/// The contents of a section, if those are at most `most` bytes.
fn contents(image: &dyn Image, file: &ElfFile, header: &SectionHeader, most: u64) -> Option<Vec<u8>> {
    if header.sh_size > most {
        return None;
    }
    let bytes =
        image::read(image, header.sh_offset, header.sh_size, "a section with debug information").ok()?;
    if header.sh_flags & u64::from(SHF_COMPRESSED) == 0 {
        return Some(bytes);
    }
    let word = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    let long = |at: usize| Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
    let (size, data) = match file.is_64_bit() {
        true => (long(8)?, bytes.get(24..)?),
        false => (u64::from(word(4)?), bytes.get(12..)?),
    };
    if word(0)? != ELFCOMPRESS_ZLIB || size > most || size > BEST_RATIO * data.len() as u64 {
        return None;
    }
    decompress_to_vec_zlib_with_limit(data, size as usize).ok()
}

//! The ELF sections of a kernel for its boot information: the table of their headers, and the sections that are in no
//! segment, such as the symbol table and its names (Multiboot 0.6.96, 3.3, `syms`; Multiboot2 2.0, 3.6.7).

use goblin::elf::section_header::{SHF_ALLOC, SHT_NOBITS, SHT_NULL, SectionHeader};
use scroll::Pwrite;

use crate::boot::BootError;
use crate::boot::allocator::Allocator;
use crate::boot::elf::ElfFile;
use crate::boot::image::{self, Image};
use crate::memory::GuestMemory;

/// Section headers that the boot information has at most: it is to fit below 1 MiB.
const MOST_SECTIONS: usize = 4096;

/// The table of section headers, and what it says of itself in the ELF header.
#[derive(Debug)]
pub(super) struct LoadedSections {
    /// Number of headers.
    pub count: u32,
    /// Size of one: 40 or 64.
    pub entry_size: u32,
    /// Number of the section that has the names of sections.
    pub names: u32,
    /// The headers, with the addresses in memory.
    pub table: Vec<u8>,
}

/// Loads the sections of `image` that are in no segment; `None` if it has no sections, or they do not fit.
pub(super) fn load(
    image: &dyn Image,
    memory: &GuestMemory,
    allocator: &mut Allocator,
    bias: u64,
    warnings: &mut Vec<String>,
) -> Result<Option<LoadedSections>, BootError> {
    let Some(file) = ElfFile::read(image) else { return Ok(None) };
    let mut headers = file.sections(image);
    if headers.is_empty() {
        return Ok(None);
    }
    if headers.len() > MOST_SECTIONS {
        warnings.push(format!(
            "the kernel has {} sections, more than {MOST_SECTIONS}: the boot information has none of them",
            headers.len()
        ));
        return Ok(None);
    }
    // Sections of a file do not overlap. In a damaged one they could, and take all memory.
    let mut left = image.len();
    let mut without_room = 0;
    for header in &mut headers {
        if header.sh_type == SHT_NULL || header.sh_size == 0 {
            continue;
        }
        if header.sh_flags & u64::from(SHF_ALLOC) != 0 {
            header.sh_addr = header.sh_addr.wrapping_add(bias);
            continue;
        }
        header.sh_addr = 0;
        let is_present = image::check_present(image, header.sh_offset, header.sh_size, "a section").is_ok();
        if header.sh_type == SHT_NOBITS || !is_present || header.sh_size > left {
            continue;
        }
        left -= header.sh_size;
        let Ok(start) = allocator.allocate_at_top("sections of the guest file", header.sh_size) else {
            without_room += 1;
            continue;
        };
        let wrap = |problem| BootError::Guest { file: image.name().to_owned(), problem };
        image::copy(image, header.sh_offset, header.sh_size, memory, start, wrap)?;
        header.sh_addr = start;
    }
    if without_room > 0 {
        warnings
            .push(format!("there is no room for {without_room} sections of the guest file, such as symbols"));
    }
    let entry_size = SectionHeader::size(file.context);
    let mut table = vec![0; headers.len() * entry_size];
    for (index, header) in headers.iter().enumerate() {
        // The table has room for each.
        let _ = table.pwrite_with(header.clone(), index * entry_size, file.context);
    }
    Ok(Some(LoadedSections {
        count: headers.len() as u32,
        entry_size: entry_size as u32,
        names: file.header.e_shstrndx.into(),
        table,
    }))
}

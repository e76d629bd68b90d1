//! The header and the section headers of an ELF file of either class, 32-bit or 64-bit.
//!
//! Manual: ELF gABI chapter 4, "ELF Header" and "Sections".

use goblin::container::{Container, Ctx, Endian};
use goblin::elf::header::{EI_CLASS, EI_DATA, ELFCLASS32, ELFCLASS64, ELFDATA2LSB, ELFMAG, Header};
use goblin::elf::section_header::SectionHeader;
use scroll::Pread;

use super::image::Image;

/// Size of the larger ELF header, that of the 64-bit class.
const LARGEST_HEADER: usize = 64;

/// The header of a little-endian ELF file.
#[derive(Clone, Copy, Debug)]
pub(super) struct ElfFile {
    /// The header.
    pub header: Header,
    /// The layout of the file's other structures.
    pub context: Ctx,
}

impl ElfFile {
    /// Reads the header of `image`; `None` if it has none.
    pub fn read(image: &dyn Image) -> Option<ElfFile> {
        let mut bytes = [0; LARGEST_HEADER];
        let length = image.len().min(LARGEST_HEADER as u64) as usize;
        image.read_at(0, &mut bytes[..length]).ok()?;
        let container = match bytes[EI_CLASS] {
            ELFCLASS32 => Container::Little,
            ELFCLASS64 => Container::Big,
            _ => return None,
        };
        let context = Ctx::new(container, Endian::Little);
        if !bytes.starts_with(ELFMAG) || bytes[EI_DATA] != ELFDATA2LSB || length < Header::size(context) {
            return None;
        }
        Some(ElfFile { header: bytes.pread_with(0, Endian::Little).ok()?, context })
    }

    /// True for the 64-bit class.
    pub fn is_64_bit(&self) -> bool {
        self.context.container == Container::Big
    }

    /// The section headers, as many as the file has.
    pub fn sections(&self, image: &dyn Image) -> Vec<SectionHeader> {
        let size = SectionHeader::size(self.context);
        let mut bytes = vec![0; size];
        let sections = (0..u64::from(self.header.e_shnum)).map_while(|index| {
            let at = self.header.e_shoff.checked_add(index * size as u64)?;
            image.read_at(at, &mut bytes).ok()?;
            bytes.pread_with(0, self.context).ok()
        });
        sections.collect()
    }
}

/// True for a 64-bit ELF file.
pub fn is_64_bit_elf(image: &dyn Image) -> bool {
    ElfFile::read(image).is_some_and(|file| file.is_64_bit())
}

/// The entry point of an ELF file, as the file has it; `None` for another file.
pub fn elf_entry(image: &dyn Image) -> Option<u64> {
    ElfFile::read(image).map(|file| file.header.e_entry)
}

#[cfg(test)]
mod tests {
    use super::super::BytesImage;
    use super::super::test_guest::TestGuest;
    use super::*;

    #[test]
    fn headers_of_both_classes_are_read() {
        for (guest, is_64_bit) in [(TestGuest::simple(), true), (TestGuest::simple().for_32_bits(), false)] {
            let bytes = guest.build();
            let file = ElfFile::read(&BytesImage::new("guest", &bytes)).unwrap();
            assert_eq!((file.is_64_bit(), file.header.e_entry), (is_64_bit, 0x20_0000));
            assert_eq!(file.header.e_phnum, 1);
            assert!(file.sections(&BytesImage::new("guest", &bytes)).is_empty());
            assert!(ElfFile::read(&BytesImage::new("guest", &bytes[..40])).is_none());
        }
        assert!(ElfFile::read(&BytesImage::new("text", b"no ELF file")).is_none());
    }
}

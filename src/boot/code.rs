//! Where a guest file has code: its executable segments, or the executable sections in them if it names any.

use std::ops::Range;

use goblin::elf::section_header::{SHF_EXECINSTR, SHT_NOBITS};

use super::elf::ElfFile;
use super::elf64;
use super::image::Image;

/// A piece of a guest file that is executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CodeRange {
    /// Its address in the file, before relocation (see [`SymbolSource`](super::SymbolSource)).
    pub address: u64,
    /// Its physical address, as the program header has it: the same as `address` unless the file gives another one.
    pub physical_address: u64,
    /// Its offset in the file.
    pub offset: u64,
    /// Bytes, all in the file.
    pub length: u64,
}

impl CodeRange {
    /// The part of `self` with addresses from `start` to `end` (exclusive); `None` if it is empty.
    fn part(self, start: u64, end: u64) -> Option<CodeRange> {
        let address = self.address.max(start);
        let end = self.address.saturating_add(self.length).min(end);
        let length = end.checked_sub(address).filter(|length| *length > 0)?;
        let skipped = address - self.address;
        let physical_address = self.physical_address.wrapping_add(skipped);
        Some(CodeRange { address, physical_address, offset: self.offset + skipped, length })
    }
}

/// The code in `image`; none if it is no guest file.
pub fn code_ranges(image: &dyn Image) -> Vec<CodeRange> {
    let Some(file) = ElfFile::read(image) else { return Vec::new() };
    let Some(segments) = elf64::segments(image) else { return Vec::new() };
    let segments = segments.iter().filter(|segment| segment.access.execute);
    let segments: Vec<CodeRange> = segments
        .map(|segment| CodeRange {
            address: segment.virtual_address,
            physical_address: match segment.physical_address {
                0 => segment.virtual_address,
                address => address,
            },
            offset: segment.offset,
            length: segment.file_size,
        })
        .collect();
    let sections: Vec<CodeRange> = file
        .sections(image)
        .iter()
        .filter(|section| section.sh_type != SHT_NOBITS && section.sh_flags & u64::from(SHF_EXECINSTR) != 0)
        .flat_map(|section| {
            let end = section.sh_addr.saturating_add(section.sh_size);
            segments.iter().filter_map(move |segment| segment.part(section.sh_addr, end))
        })
        .collect();
    if sections.is_empty() { segments } else { sections }
}

/// The addresses of the segments that are writable and executable, before relocation.
pub fn writable_code(image: &dyn Image) -> Vec<Range<u64>> {
    let segments = elf64::segments(image).unwrap_or_default();
    let both = segments.iter().filter(|segment| segment.access.write && segment.access.execute);
    both.map(|segment| segment.virtual_address..segment.virtual_address.saturating_add(segment.memory_size))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::BytesImage;
    use super::super::test_guest::{CODE, DATA, TestGuest};
    use super::*;

    #[test]
    fn a_file_without_sections_has_code_in_its_executable_segments() {
        let file = TestGuest::simple().load(DATA, 0x30_0000, b"data").load(CODE, 0x40_0000, b"more").build();
        let image = BytesImage::new("guest", file.leak());
        let ranges = code_ranges(&image);
        let found: Vec<(u64, u64)> = ranges.iter().map(|range| (range.address, range.length)).collect();
        assert_eq!(found, [(0x20_0000, 1), (0x40_0000, 4)]);
        let mut bytes = [0; 4];
        image.read_at(ranges[1].offset, &mut bytes).unwrap();
        assert_eq!(&bytes, b"more");
        assert!(code_ranges(&BytesImage::new("text", b"no guest file")).is_empty());
    }

    #[test]
    fn a_part_stays_within_its_range() {
        let range = CodeRange { address: 0x1000, physical_address: 0x5000, offset: 0x200, length: 0x100 };
        let part = range.part(0x1010, u64::MAX);
        let expected = CodeRange { address: 0x1010, physical_address: 0x5010, offset: 0x210, length: 0xF0 };
        assert_eq!(part, Some(expected));
        assert_eq!(range.part(0, 0x1001), Some(CodeRange { length: 1, ..range }));
        assert_eq!((range.part(0x1100, 0x2000), range.part(0, 0x1000)), (None, None));
    }
}

//! Notes of ELF files.
//!
//! Manual: System V ABI, "Note Section".

use goblin::elf::{Elf, program_header::PT_NOTE};

use super::image::{self, Image};

/// Bytes of notes that are examined, and bytes of program headers.
const MOST: u64 = 64 << 10;

/// True for the start of a 64-bit ELF file.
pub(super) fn is_elf64(file: &dyn Image) -> bool {
    let mut start = [0; 5];
    file.read_at(0, &mut start).is_ok() && start == *b"\x7FELF\x02"
}

/// True for the start of an ELF file of either class.
pub fn is_elf(file: &dyn Image) -> bool {
    let mut start = [0; 4];
    file.read_at(0, &mut start).is_ok() && start == *b"\x7FELF"
}

/// The contents of the first note of `file` that `wanted` accepts by its name, without the zero at its end, and its
/// type. `None` if there is none, or if the file is no ELF file or damaged.
pub(super) fn find(file: &dyn Image, wanted: impl Fn(&[u8], u32) -> bool) -> Option<Vec<u8>> {
    let head = image::read(file, 0, file.len().min(64), "the ELF header").ok()?;
    let header = Elf::parse_header(&head).ok()?;
    let ctx = goblin::container::Ctx::new(header.container().ok()?, header.endianness().ok()?);
    let length = (u64::from(header.e_phentsize) * u64::from(header.e_phnum)).min(MOST);
    let table = image::read(file, header.e_phoff, length, "the program headers").ok()?;
    let headers = goblin::elf::ProgramHeader::parse(&table, 0, usize::from(header.e_phnum), ctx).ok()?;
    headers.iter().filter(|header| header.p_type == PT_NOTE).find_map(|header| {
        let notes = image::read(file, header.p_offset, header.p_filesz.min(MOST), "PT_NOTE").ok()?;
        among(&notes, &wanted).map(<[u8]>::to_vec)
    })
}

/// The contents of the first note that `wanted` accepts, among little-endian notes whose parts are aligned to four
/// bytes.
fn among(mut notes: &[u8], wanted: impl Fn(&[u8], u32) -> bool) -> Option<&[u8]> {
    loop {
        let word = |at: usize| {
            let bytes = notes.get(at..at + 4)?;
            Some(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
        };
        let (name_length, length, kind) = (word(0)? as usize, word(4)? as usize, word(8)?);
        let aligned = |length: usize| length.checked_next_multiple_of(4);
        let start = aligned(name_length)?.checked_add(12)?;
        let name = notes.get(12..12usize.checked_add(name_length)?)?;
        let content = notes.get(start..start.checked_add(length)?)?;
        if wanted(name.strip_suffix(b"\0").unwrap_or(name), kind) {
            return Some(content);
        }
        notes = notes.get(start.checked_add(aligned(length)?)?..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_found_behind_others() {
        let other = b"\x04\0\0\0\x03\0\0\0\x05\0\0\0GNU\0abc\0";
        let id = b"\x04\0\0\0\x04\0\0\0\x03\0\0\0GNU\0\x01\xAB\0\xFF";
        let third = |notes: &[u8]| among(notes, |name, kind| name == b"GNU" && kind == 3).map(<[u8]>::to_vec);
        assert_eq!(third(&[&other[..], id].concat()), Some(vec![1, 0xAB, 0, 0xFF]));
        assert_eq!(third(other), None);
        for cut in 0..id.len() {
            assert_eq!(third(&id[..cut]), None, "{cut}");
        }
        assert_eq!(third(&[0xFF; 64]), None);
    }
}

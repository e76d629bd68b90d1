//! The build ID of an ELF file, which linkers store in a note.
//!
//! Manual: GNU ld, `--build-id`; System V ABI, "Note Section".

use goblin::elf::note::NT_GNU_BUILD_ID;
use goblin::elf::{Elf, program_header::PT_NOTE};

use super::image::{self, Image};

/// Bytes of notes that are examined, and bytes of program headers.
const MOST: u64 = 64 << 10;
/// Longest build ID: those of linkers have at most 32 bytes.
const LONGEST_ID: usize = 64;

/// The build ID of the ELF file `file` in hexadecimal; `None` if it has none, or is damaged.
pub fn build_id(file: &dyn Image) -> Option<String> {
    let head = image::read(file, 0, file.len().min(64), "the ELF header").ok()?;
    let header = Elf::parse_header(&head).ok()?;
    let ctx = goblin::container::Ctx::new(header.container().ok()?, header.endianness().ok()?);
    let length = (u64::from(header.e_phentsize) * u64::from(header.e_phnum)).min(MOST);
    let table = image::read(file, header.e_phoff, length, "the program headers").ok()?;
    let headers = goblin::elf::ProgramHeader::parse(&table, 0, usize::from(header.e_phnum), ctx).ok()?;
    headers.iter().filter(|header| header.p_type == PT_NOTE).find_map(|header| {
        let notes = image::read(file, header.p_offset, header.p_filesz.min(MOST), "PT_NOTE").ok()?;
        in_notes(&notes)
    })
}

/// The build ID among little-endian notes, whose parts are aligned to four bytes.
fn in_notes(mut notes: &[u8]) -> Option<String> {
    loop {
        let word = |at: usize| {
            let bytes = notes.get(at..at + 4)?;
            Some(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
        };
        let (name_length, length, kind) = (word(0)? as usize, word(4)? as usize, word(8)?);
        let aligned = |length: usize| length.checked_next_multiple_of(4);
        let start = aligned(name_length)?.checked_add(12)?;
        let content = notes.get(start..start.checked_add(length)?)?;
        if kind == NT_GNU_BUILD_ID && notes.get(12..16) == Some(b"GNU\0") && length <= LONGEST_ID {
            return Some(content.iter().map(|byte| format!("{byte:02x}")).collect());
        }
        notes = notes.get(start.checked_add(aligned(length)?)?..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_build_id_is_found_behind_other_notes() {
        let other = b"\x04\0\0\0\x03\0\0\0\x05\0\0\0GNU\0abc\0";
        let id = b"\x04\0\0\0\x04\0\0\0\x03\0\0\0GNU\0\x01\xAB\0\xFF";
        assert_eq!(in_notes(&[&other[..], id].concat()), Some("01ab00ff".to_owned()));
        assert_eq!(in_notes(other), None);
        for cut in 0..id.len() {
            assert_eq!(in_notes(&id[..cut]), None, "{cut}");
        }
        assert_eq!(in_notes(&[0xFF; 64]), None);
    }
}

//! The build ID of an ELF file, which linkers store in a note.
//!
//! Manual: GNU ld, `--build-id`.

use goblin::elf::note::NT_GNU_BUILD_ID;

use super::image::Image;
use super::notes;

/// Longest build ID: those of linkers have at most 32 bytes.
const LONGEST_ID: usize = 64;

/// The build ID of the ELF file `file` in hexadecimal; `None` if it has none, or is damaged.
pub fn build_id(file: &dyn Image) -> Option<String> {
    let id = notes::find(file, |name, kind| name == b"GNU" && kind == NT_GNU_BUILD_ID)?;
    (id.len() <= LONGEST_ID).then(|| id.iter().map(|byte| format!("{byte:02x}")).collect())
}

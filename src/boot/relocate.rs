//! Applies the relocations of a position-independent guest in place of a dynamic linker (gABI
//! chapter 5, "Dynamic Section" and "Relocation"; x86-64 psABI 4.4.1).
//!
//! Only R_X86_64_RELATIVE can be applied: every other type needs symbols of other files. The
//! tables are read from guest memory, after the segments were copied there.

use goblin::elf::dynamic::{
    DT_JMPREL, DT_NEEDED, DT_NULL, DT_PLTREL, DT_PLTRELSZ, DT_REL, DT_RELA, DT_RELAENT, DT_RELASZ, DT_RELSZ,
    DT_SONAME, DT_STRTAB,
};
use goblin::elf::header::EM_X86_64;
use goblin::elf::reloc::{R_X86_64_NONE, R_X86_64_RELATIVE, r_to_str, reloc64};

use super::elf64::{Executable, printable};
use super::error::{BootError, GuestProblem};
use super::image::{self, Image};
use super::segments::Placement;
use crate::memory::GuestMemory;

/// Tags of compact relative relocations (gABI chapter 5, SHT_RELR).
const DT_RELRSZ: u64 = 35;
const DT_RELR: u64 = 36;
const DT_RELRENT: u64 = 37;

/// Size of a dynamic entry: a tag and a value.
const DYN_SIZE: u64 = 16;

/// Size of an entry of a DT_RELA table.
const RELA_SIZE: u64 = reloc64::SIZEOF_RELA as u64;

/// Size of an entry of a DT_RELR table.
const RELR_SIZE: u64 = 8;

/// More entries than any linker writes into a dynamic section.
const MOST_ENTRIES: u64 = 4096;

/// What a dynamic section says about relocations. Addresses are as in the file.
#[derive(Debug, Default)]
struct Dynamic {
    /// DT_RELA and DT_RELASZ, DT_JMPREL and DT_PLTRELSZ.
    rela: [(u64, u64); 2],
    /// DT_RELR and DT_RELRSZ.
    relr: (u64, u64),
    /// DT_REL is there and not empty; x86-64 does not use it.
    rel: bool,
    /// Offset of the name of a library that is needed, in the string table.
    needed: Option<u64>,
    /// The file is a library itself.
    is_library: bool,
    /// DT_STRTAB.
    strings: u64,
}

/// Applies the relocations of `executable`, whose segments are already in `memory`.
pub(super) fn relocate(
    file: &dyn Image,
    executable: &Executable,
    placement: &Placement,
    memory: &GuestMemory,
) -> Result<(), BootError> {
    let Some((offset, size)) = executable.dynamic else { return Ok(()) };
    let guest = Guest { file, placement, memory };
    let dynamic = read_dynamic(file, offset, size).map_err(|problem| guest.error(problem))?;
    if let Some(name) = dynamic.needed {
        let library = guest.string(dynamic.strings.wrapping_add(name));
        return Err(guest.error(GuestProblem::Library { library }));
    }
    if dynamic.is_library {
        return Err(guest.error(GuestProblem::NotAGuest {
            what: "a shared library".to_owned(),
            remedy: "link it as an executable: `-static-pie` in place of `-shared`",
        }));
    }
    if dynamic.rel {
        return Err(guest.error(GuestProblem::Relocation { kind: "DT_REL".to_owned(), address: 0 }));
    }
    for table in dynamic.rela {
        guest.apply_rela(table)?;
    }
    // Without a bias these places already have the right value.
    if placement.bias != 0 {
        guest.apply_relr(dynamic.relr)?;
    }
    Ok(())
}

fn read_dynamic(file: &dyn Image, offset: u64, size: u64) -> Result<Dynamic, GuestProblem> {
    image::check_present(file, offset, size, "the dynamic section")?;
    let size = size.min(MOST_ENTRIES * DYN_SIZE);
    let bytes = image::read(file, offset, size, "the dynamic section")?;
    let mut dynamic = Dynamic::default();
    for entry in bytes.chunks_exact(DYN_SIZE as usize) {
        let (tag, value) = (long(&entry[..8]), long(&entry[8..]));
        match tag {
            DT_NULL => return Ok(dynamic),
            DT_NEEDED => dynamic.needed = Some(value),
            DT_SONAME => dynamic.is_library = true,
            DT_STRTAB => dynamic.strings = value,
            DT_RELA => dynamic.rela[0].0 = value,
            DT_RELASZ => dynamic.rela[0].1 = value,
            DT_JMPREL => dynamic.rela[1].0 = value,
            DT_PLTRELSZ => dynamic.rela[1].1 = value,
            DT_RELR => dynamic.relr.0 = value,
            DT_RELRSZ => dynamic.relr.1 = value,
            DT_RELSZ => dynamic.rel |= value != 0,
            DT_RELAENT if value != RELA_SIZE => return Err(field("DT_RELAENT", value, "0x18")),
            DT_RELRENT if value != RELR_SIZE => return Err(field("DT_RELRENT", value, "0x8")),
            DT_PLTREL if value == DT_REL => dynamic.rel = true,
            _ => {}
        }
    }
    match size < MOST_ENTRIES * DYN_SIZE {
        true => Ok(dynamic),
        false => Err(field("number of dynamic entries", MOST_ENTRIES, "less")),
    }
}

fn field(name: &str, value: u64, expected: &'static str) -> GuestProblem {
    GuestProblem::Field { field: name.to_owned(), value, expected }
}

fn long(bytes: &[u8]) -> u64 {
    bytes.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

/// The guest after its segments were copied.
struct Guest<'a> {
    file: &'a dyn Image,
    placement: &'a Placement,
    memory: &'a GuestMemory,
}

impl Guest<'_> {
    fn error(&self, problem: GuestProblem) -> BootError {
        BootError::Guest { file: self.file.name().to_owned(), problem }
    }

    /// The address in the running guest of an address in the file.
    fn moved(&self, address: u64) -> u64 {
        address.wrapping_add(self.placement.bias)
    }

    /// Where the eight bytes that a relocation changes lie.
    fn place(&self, address: u64) -> Result<u64, BootError> {
        let found = self.placement.find(self.moved(address), 8);
        let what = "a relocation applies to address";
        found.map(|(_, physical)| physical).ok_or_else(|| self.error(GuestProblem::Address { what, address }))
    }

    /// Where the entries of a table lie. It has to be in the part of a segment that comes from the
    /// file, so that a wrong size costs no more time than reading the file.
    fn table(
        &self,
        address: u64,
        size: u64,
        entry_size: u64,
    ) -> Result<impl Iterator<Item = u64> + use<>, BootError> {
        if !size.is_multiple_of(entry_size) {
            let expected = "a multiple of the size of an entry";
            return Err(self.error(field("size of the relocation table", size, expected)));
        }
        let found = self
            .placement
            .find(self.moved(address), size)
            .filter(|(segment, start)| start + size <= segment.range.start + segment.file_size);
        match found {
            Some((_, start)) => Ok((start..start + size).step_by(entry_size as usize)),
            None if size == 0 => Ok((0..0).step_by(entry_size as usize)),
            None => {
                let what = "the relocation table starts at address";
                Err(self.error(GuestProblem::Address { what, address }))
            }
        }
    }

    /// Applies relocations with addends.
    fn apply_rela(&self, (address, size): (u64, u64)) -> Result<(), BootError> {
        for entry in self.table(address, size, RELA_SIZE)? {
            let mut bytes = [0; RELA_SIZE as usize];
            self.memory.read(entry, &mut bytes)?;
            let (offset, info, addend) = (long(&bytes), long(&bytes[8..]), long(&bytes[16..]));
            match reloc64::r_type(info) {
                R_X86_64_NONE => {}
                R_X86_64_RELATIVE => self.memory.write_u64(self.place(offset)?, self.moved(addend))?,
                other => {
                    // The names come without their first two letters.
                    let kind = match r_to_str(other, EM_X86_64) {
                        name if name.starts_with("X86_64_") => format!("R_{name}"),
                        _ => other.to_string(),
                    };
                    return Err(self.error(GuestProblem::Relocation { kind, address: offset }));
                }
            }
        }
        Ok(())
    }

    /// Applies compact relocations: an even entry is the address of a place, an odd one a bitmap of
    /// the 63 places after the last one covered. The bias is added to each place.
    fn apply_relr(&self, (address, size): (u64, u64)) -> Result<(), BootError> {
        let mut next = 0u64;
        for entry in self.table(address, size, RELR_SIZE)? {
            let value = self.memory.read_u64(entry)?;
            if value & 1 == 0 {
                self.add_bias(value)?;
                next = value.wrapping_add(8);
                continue;
            }
            for bit in (0..63).filter(|bit| value >> (bit + 1) & 1 == 1) {
                self.add_bias(next.wrapping_add(bit * 8))?;
            }
            next = next.wrapping_add(63 * 8);
        }
        Ok(())
    }

    fn add_bias(&self, address: u64) -> Result<(), BootError> {
        let place = self.place(address)?;
        let value = self.memory.read_u64(place)?;
        Ok(self.memory.write_u64(place, self.moved(value))?)
    }

    /// The start of the zero-terminated string at `address`, for a message.
    fn string(&self, address: u64) -> String {
        let mut bytes = [0; 64];
        for (offset, byte) in (0..).zip(&mut bytes) {
            let Some(at) = self.moved(address).checked_add(offset) else { break };
            let Some((_, place)) = self.placement.find(at, 1) else { break };
            if self.memory.read(place, std::slice::from_mut(byte)).is_err() || *byte == 0 {
                break;
            }
        }
        printable(&bytes)
    }
}

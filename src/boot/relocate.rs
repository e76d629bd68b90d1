//! Applies the relocations of a position-independent guest in place of a dynamic linker (gABI
//! chapter 4, "Relocation"; x86-64 psABI 4.4.1).
//!
//! Only R_X86_64_RELATIVE can be applied, and what refers to a weak symbol that nothing defines, whose value is 0:
//! everything else needs symbols of other files. The tables are read from guest memory, after the segments were
//! copied there.

use goblin::elf::header::EM_X86_64;
use goblin::elf::reloc::{
    R_X86_64_64, R_X86_64_GLOB_DAT, R_X86_64_JUMP_SLOT, R_X86_64_NONE, R_X86_64_RELATIVE, r_to_str, reloc64,
};
use goblin::elf::sym::sym64::SIZEOF_SYM;
use goblin::elf::sym::{STB_WEAK, st_bind};

use super::dynamic::{Dynamic, RELA_SIZE, RELR_SIZE, long};
use super::elf64::{LONGEST_NAME, field, printable};
use super::error::{BootError, GuestProblem};
use super::segments::SegmentLayout;
use crate::memory::GuestMemory;

/// Applies the relocations that `dynamic` names to the guest called `file`, whose segments are
/// already in `memory`.
pub(super) fn relocate(
    file: &str,
    dynamic: &Dynamic,
    segment_layout: &SegmentLayout,
    memory: &GuestMemory,
) -> Result<(), BootError> {
    let guest = Guest { file, dynamic, segment_layout, memory };
    for table in dynamic.rela {
        guest.apply_rela(table)?;
    }
    // Without a bias these places already have the right value.
    if segment_layout.bias != 0 {
        guest.apply_relr(dynamic.relr)?;
    }
    Ok(())
}

/// A symbol that nothing defines.
struct Undefined {
    /// Its name, quoted.
    name: String,
    /// Its value is 0 then (gABI chapter 4, "Symbol Table").
    weak: bool,
}

/// The guest with its segments copied.
struct Guest<'a> {
    file: &'a str,
    dynamic: &'a Dynamic,
    segment_layout: &'a SegmentLayout,
    memory: &'a GuestMemory,
}

impl Guest<'_> {
    fn error(&self, problem: GuestProblem) -> BootError {
        BootError::Guest { file: self.file.to_owned(), problem }
    }

    /// The address in the running guest of an address in the file.
    fn moved(&self, address: u64) -> u64 {
        address.wrapping_add(self.segment_layout.bias)
    }

    /// Guest-physical address of the eight bytes that a relocation changes.
    fn place(&self, address: u64) -> Result<u64, BootError> {
        let found = self.segment_layout.find(self.moved(address), 8);
        let what = "a relocation applies to address";
        found.map(|(_, physical)| physical).ok_or_else(|| self.error(GuestProblem::Address { what, address }))
    }

    /// Address of a table's entries. The table has to be in the part of a segment that comes from the file,
    /// so that a wrong size costs no more time than reading the file.
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
            .segment_layout
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
                    let symbol = self.undefined_symbol(reloc64::r_sym(info));
                    // S + A, or S (psABI table 4.9).
                    let value = match other {
                        R_X86_64_64 => Some(addend),
                        R_X86_64_GLOB_DAT | R_X86_64_JUMP_SLOT => Some(0),
                        _ => None,
                    };
                    if let Some(value) = value.filter(|_| symbol.as_ref().is_some_and(|symbol| symbol.weak)) {
                        self.memory.write_u64(self.place(offset)?, value)?;
                        continue;
                    }
                    // The crate's names lack their first two letters.
                    let kind = match r_to_str(other, EM_X86_64) {
                        name if name.starts_with("X86_64_") => format!("R_{name}"),
                        _ => other.to_string(),
                    };
                    return Err(self.error(match symbol.filter(|symbol| !symbol.weak) {
                        Some(Undefined { name: symbol, .. }) => {
                            GuestProblem::UndefinedSymbol { symbol, kind, address: offset }
                        }
                        None => GuestProblem::Relocation { kind, address: offset },
                    }));
                }
            }
        }
        Ok(())
    }

    /// The symbol with this index, if it has a name and is undefined.
    fn undefined_symbol(&self, index: u32) -> Option<Undefined> {
        let Dynamic { symbols, strings, .. } = *self.dynamic;
        if index == 0 || symbols == 0 || strings == 0 {
            return None;
        }
        let address = symbols.checked_add(u64::from(index) * SIZEOF_SYM as u64)?;
        let (_, at) = self.segment_layout.find(self.moved(address), SIZEOF_SYM as u64)?;
        let mut symbol = [0; SIZEOF_SYM];
        self.memory.read(at, &mut symbol).ok()?;
        // st_name and st_shndx (gABI chapter 4, "Symbol Table").
        let (name, section) = (u32::from_le_bytes(*symbol.first_chunk()?), [symbol[6], symbol[7]]);
        if name == 0 || section != [0; 2] {
            return None;
        }
        let (segment, at) = self.segment_layout.find(self.moved(strings.checked_add(name.into())?), 1)?;
        let mut text = vec![0; (segment.range.end - at).min(LONGEST_NAME) as usize];
        self.memory.read(at, &mut text).ok()?;
        Some(Undefined { name: printable(&text), weak: st_bind(symbol[4]) == STB_WEAK })
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
}

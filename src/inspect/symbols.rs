//! Names for addresses, from the symbol table of the guest's ELF file.
//!
//! The table is read when somebody asks, which is when a run has gone wrong.

use goblin::container::{Container, Ctx, Endian};
use goblin::elf::header::header64::{Header, SIZEOF_EHDR};
use goblin::elf::section_header::section_header64::SIZEOF_SHDR;
use goblin::elf::section_header::{SHT_SYMTAB, SectionHeader};
use goblin::elf::sym::sym64::SIZEOF_SYM;
use goblin::elf::sym::{STT_FUNC, STT_NOTYPE, STT_OBJECT, Sym};
use scroll::Pread;

use crate::boot::Image;

/// Longest name that is read, in bytes.
const LONGEST_NAME: u64 = 256;
/// Symbols read at a time.
const BATCH: u64 = 1024;
/// How the file's structures are laid out.
const CONTEXT: Ctx = Ctx { container: Container::Big, le: Endian::Little };

/// A name and the distance from where it begins.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Symbol {
    /// The name, as the file has it.
    pub name: String,
    /// Bytes from the symbol's address to the address asked for.
    pub offset: u64,
}

impl std::fmt::Display for Symbol {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.offset == 0 {
            write!(f, "{}", self.name)
        } else {
            write!(f, "{}+{:#x}", self.name, self.offset)
        }
    }
}

/// The symbol that `address`, one of the file's own addresses, lies in; or the nearest one below it
/// that has no size, in the same section. `None` if the file has no symbols, or they do not say.
pub fn symbol_at(image: &dyn Image, address: u64) -> Option<Symbol> {
    let table = SymbolTable::open(image)?;
    let mut best: Option<Sym> = None;
    table.each(|symbol| {
        let better = best.as_ref().is_none_or(|best| symbol.st_value >= best.st_value);
        if symbol.st_value <= address && better {
            best = Some(symbol);
        }
        true
    })?;
    let best = best.filter(|best| reaches(best, &table.sections, address))?;
    let name = table.name(&best)?;
    Some(Symbol { name, offset: address - best.st_value })
}

/// The address, one of the file's own, of the first symbol called `name`; `None` if there is none.
pub fn address_of(image: &dyn Image, name: &str) -> Option<u64> {
    let table = SymbolTable::open(image)?;
    let mut found = None;
    table.each(|symbol| {
        if table.is_called(&symbol, name) {
            found = Some(symbol.st_value);
        }
        found.is_none()
    })?;
    found
}

/// Where in a file its symbols are.
struct SymbolTable<'i> {
    image: &'i dyn Image,
    sections: Vec<SectionHeader>,
    symbols: SectionHeader,
    names: SectionHeader,
}

impl SymbolTable<'_> {
    fn open(image: &dyn Image) -> Option<SymbolTable<'_>> {
        let mut header = [0; SIZEOF_EHDR];
        image.read_at(0, &mut header).ok()?;
        let header = Header::from_bytes(&header);
        let table_offset = header.e_shoff;
        let sections: Vec<SectionHeader> = (0..u64::from(header.e_shnum))
            .map_while(|index| {
                let mut bytes = [0; SIZEOF_SHDR];
                let at = table_offset.checked_add(index * SIZEOF_SHDR as u64)?;
                image.read_at(at, &mut bytes).ok()?;
                bytes.pread_with(0, CONTEXT).ok()
            })
            .collect();
        let symbols = sections.iter().find(|section| section.sh_type == SHT_SYMTAB)?.clone();
        let names = sections.get(symbols.sh_link as usize)?.clone();
        Some(SymbolTable { image, sections, symbols, names })
    }

    /// Gives each symbol that names something in the guest to `take`, until that returns false;
    /// `None` if the table cannot be read.
    fn each(&self, mut take: impl FnMut(Sym) -> bool) -> Option<()> {
        let start = self.symbols.sh_offset;
        let end = start.checked_add(self.symbols.sh_size)?.min(self.image.len());
        let count = end.checked_sub(start)? / SIZEOF_SYM as u64;
        let mut bytes = vec![0; BATCH.min(count) as usize * SIZEOF_SYM];
        for first in (0..count).step_by(BATCH as usize) {
            let length = BATCH.min(count - first) as usize * SIZEOF_SYM;
            self.image.read_at(start + first * SIZEOF_SYM as u64, &mut bytes[..length]).ok()?;
            for entry in bytes[..length].chunks_exact(SIZEOF_SYM) {
                let symbol: Sym = entry.pread_with(0, CONTEXT).ok()?;
                let kind = matches!(symbol.st_type(), STT_FUNC | STT_OBJECT | STT_NOTYPE);
                let defined = symbol.st_shndx != 0 && symbol.st_name != 0;
                if kind && defined && !take(symbol) {
                    return Some(());
                }
            }
        }
        Some(())
    }

    /// True if the symbol's name is `name`, with no letter more.
    fn is_called(&self, symbol: &Sym, name: &str) -> bool {
        let mut bytes = [0; LONGEST_NAME as usize + 1];
        let Some(bytes) = bytes.get_mut(..name.len() + 1) else { return false };
        let offset = self.names.sh_offset.checked_add(symbol.st_name as u64);
        offset.is_some_and(|offset| self.image.read_at(offset, bytes).is_ok())
            && bytes.split_last() == Some((&0, name.as_bytes()))
    }

    fn name(&self, symbol: &Sym) -> Option<String> {
        name_at(self.image, self.names.sh_offset.checked_add(symbol.st_name as u64)?)
    }
}

/// True if a symbol that is not above `address` says something about it. One without a size, a label
/// in assembly, stands for what follows it in its section.
fn reaches(symbol: &Sym, sections: &[SectionHeader], address: u64) -> bool {
    if symbol.st_size != 0 {
        return address - symbol.st_value < symbol.st_size;
    }
    sections.get(symbol.st_shndx).is_some_and(|section| {
        section.sh_addr <= symbol.st_value && address.wrapping_sub(section.sh_addr) < section.sh_size
    })
}

fn name_at(image: &dyn Image, offset: u64) -> Option<String> {
    let length = image.len().checked_sub(offset)?.min(LONGEST_NAME);
    let mut bytes = vec![0; length as usize];
    image.read_at(offset, &mut bytes).ok()?;
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    bytes.truncate(end);
    // A name goes to a terminal: nothing in it may drive one.
    let name: String = String::from_utf8_lossy(&bytes).chars().filter(|c| !c.is_control()).collect();
    (!name.is_empty()).then_some(name)
}

//! Symbols of a guest file: names for addresses, and addresses for names.
//!
//! [`SymbolIndex::read`] reads the symbol table of the file once; the machine keeps the index as long as
//! it has the file. Afterwards only names are read, from the string table. Addresses here are those in
//! the file (see [`SymbolSource`](super::SymbolSource)). In a relocatable file, whose sections have no addresses, they
//! are those that a loader gives them which places the sections of memory one behind the other, in the order of the file.

use goblin::elf::header::{ET_EXEC, ET_REL};
use goblin::elf::section_header::{SHF_ALLOC, SHT_SYMTAB, SectionHeader};
use goblin::elf::sym::{STT_FUNC, STT_NOTYPE, STT_OBJECT, Sym};
use scroll::Pread;

use super::elf::ElfFile;
use super::image::Image;

/// Entries of the symbol table that are read; an index has at most as many.
const MAX_SYMBOLS: u64 = 2_000_000;
/// Longest name that is read, in bytes.
const LONGEST_NAME: usize = 256;
/// Symbols read at a time.
const BATCH: u64 = 1024;
/// Bytes of the string table that are read at a time.
const WINDOW: u64 = 64 << 10;

/// A name and the distance from where it begins.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Symbol {
    /// The name; of a Rust function the path, as it is written in Rust.
    pub name: String,
    /// Bytes from the symbol's address to the address that was looked up.
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

/// The functions, objects and labels that a guest file defines; empty if it has no symbol table, or none
/// that can be read.
#[derive(Debug, Default)]
pub struct SymbolIndex {
    /// By address; of those with one address the last in the file comes last.
    by_address: Vec<Extent>,
    /// By the offset of the name; of those with one offset the first in the file comes first.
    by_name: Vec<Definition>,
    /// Where the string table begins in the file.
    names: u64,
}

/// The addresses that a symbol covers.
#[derive(Clone, Copy, Debug)]
struct Extent {
    address: u64,
    /// In bytes; 0 if it covers none.
    size: u64,
    /// Offset of its name in the string table.
    name: u32,
    kind: Kind,
}

/// What a symbol names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Function,
    Object,
    /// The file does not say: a label in assembly.
    Label,
}

/// A symbol that names code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CodeSymbol {
    /// Its address in the file.
    pub address: u64,
    /// Number of bytes that it covers.
    pub size: u64,
    /// The name, as [`Symbol::name`]; `None` for a label in assembly, and for a name that cannot be read.
    pub function: Option<String>,
}

/// Symbols of one address that are looked at for what they name.
const MOST_AT_ONE_ADDRESS: usize = 16;

/// The definition of a name.
#[derive(Clone, Copy, Debug)]
struct Definition {
    /// Offset of the name in the string table.
    name: u32,
    /// Number of the symbol in the file.
    position: u32,
    address: u64,
}

impl SymbolIndex {
    /// That of a file without symbols.
    pub const EMPTY: SymbolIndex = SymbolIndex { by_address: Vec::new(), by_name: Vec::new(), names: 0 };

    /// Reads the symbol table of `image`.
    pub fn read(image: &dyn Image) -> SymbolIndex {
        SymbolIndex::try_read(image).unwrap_or_default()
    }

    fn try_read(image: &dyn Image) -> Option<SymbolIndex> {
        let file = ElfFile::read(image)?;
        let sections = file.sections(image);
        let starts = (file.header.e_type == ET_REL).then(|| section_starts(&sections));
        let mut index = SymbolIndex::default();
        index.names = for_each(image, &file, &sections, &mut |symbol, position| {
            let kind = match symbol.st_type() {
                STT_FUNC => Kind::Function,
                STT_OBJECT => Kind::Object,
                STT_NOTYPE => Kind::Label,
                _ => return,
            };
            let start = match &starts {
                // Absolute and common symbols, and those of sections that are not loaded, have no place.
                Some(starts) => match starts.get(symbol.st_shndx).copied().flatten() {
                    Some(start) => start,
                    None => return,
                },
                None => 0,
            };
            let (address, name) = (start.wrapping_add(symbol.st_value), symbol.st_name as u32);
            index.by_address.push(Extent { address, size: size(symbol, &sections), name, kind });
            index.by_name.push(Definition { name, position, address });
        })?;
        index.by_address.shrink_to_fit();
        index.by_address.sort_by_key(|extent| extent.address);
        index.by_name.shrink_to_fit();
        index.by_name.sort_unstable_by_key(|definition| (definition.name, definition.position));
        Some(index)
    }

    /// The symbol that `address` lies in; or the nearest one below it that has no size, in the same
    /// section. `None` if there is none. `image` is the file that was read.
    pub fn symbol_at(&self, image: &dyn Image, address: u64) -> Option<Symbol> {
        let above = self.by_address.partition_point(|extent| extent.address <= address);
        let nearest = self.by_address[..above].last()?;
        let offset = address - nearest.address;
        if offset >= nearest.size {
            return None;
        }
        let name = name_at(image, self.names.checked_add(u64::from(nearest.name))?)?;
        Some(Symbol { name: demangled(name), offset })
    }

    /// Where decoding has to begin to find the instruction at `address`: at the nearest symbol below it;
    /// `Some(None)` if there is none, `None` if `address` is in an object, which is data.
    pub fn code_start(&self, address: u64) -> Option<Option<u64>> {
        let below = &self.by_address[..self.by_address.partition_point(|extent| extent.address <= address)];
        let Some(nearest) = below.last() else { return Some(None) };
        let here = below.iter().rev().take(MOST_AT_ONE_ADDRESS);
        let here = here.take_while(|extent| extent.address == nearest.address);
        let kinds = || here.clone().map(|extent| extent.kind);
        if kinds().any(|kind| kind == Kind::Function) || kinds().all(|kind| kind == Kind::Label) {
            return Some(Some(nearest.address));
        }
        let objects = here.clone().filter(|extent| extent.kind == Kind::Object);
        let end = nearest.address.saturating_add(objects.map(|object| object.size).max().unwrap_or(0));
        (end <= address).then_some(Some(end))
    }

    /// The functions and labels, by ascending addresses. `image` is the file that was read.
    pub fn code_symbols<'i>(&'i self, image: &'i dyn Image) -> impl Iterator<Item = CodeSymbol> + 'i {
        let code = self.by_address.iter().filter(|extent| extent.kind != Kind::Object);
        code.map(move |extent| {
            let name = self.names.checked_add(u64::from(extent.name));
            let name = name.filter(|_| extent.kind == Kind::Function).and_then(|name| name_at(image, name));
            CodeSymbol { address: extent.address, size: extent.size, function: name.map(demangled) }
        })
    }

    /// The address of the first symbol called `name`; `None` if there is none. `image` is the file that
    /// was read.
    pub fn address_of(&self, image: &dyn Image, name: &str) -> Option<u64> {
        if name.len() > LONGEST_NAME {
            return None;
        }
        let mut wanted = name.as_bytes().to_vec();
        wanted.push(0);
        let mut window = Window::new(image);
        self.by_name
            .iter()
            .filter(|definition| {
                let offset = self.names.checked_add(u64::from(definition.name));
                offset.and_then(|offset| window.get(offset, wanted.len())) == Some(&wanted)
            })
            .min_by_key(|definition| definition.position)
            .map(|definition| definition.address)
    }
}

/// Calls `visit` for every symbol of `image`, whose headers are given, that is defined and has a name, with its number in the file. Returns
/// where the string table begins in the file; `None` without a symbol table that can be read.
pub(super) fn for_each(
    image: &dyn Image,
    file: &ElfFile,
    sections: &[SectionHeader],
    visit: &mut dyn FnMut(&Sym, u32),
) -> Option<u64> {
    let entry_size = Sym::size(file.context.container);
    let table = sections.iter().find(|section| section.sh_type == SHT_SYMTAB)?;
    let names = sections.get(table.sh_link as usize)?.sh_offset;
    let start = table.sh_offset;
    let end = start.checked_add(table.sh_size)?.min(image.len());
    let count = (end.checked_sub(start)? / entry_size as u64).min(MAX_SYMBOLS);
    let mut bytes = vec![0; BATCH.min(count) as usize * entry_size];
    for first in (0..count).step_by(BATCH as usize) {
        let length = BATCH.min(count - first) as usize * entry_size;
        image.read_at(start + first * entry_size as u64, &mut bytes[..length]).ok()?;
        for (entry, position) in bytes[..length].chunks_exact(entry_size).zip(first as u32..) {
            let symbol: Sym = entry.pread_with(0, file.context).ok()?;
            if symbol.st_shndx != 0 && symbol.st_name != 0 {
                visit(&symbol, position);
            }
        }
    }
    Some(names)
}

/// Where each section of a relocatable file goes, if it is loaded at 0.
fn section_starts(sections: &[SectionHeader]) -> Vec<Option<u64>> {
    let mut end = 0u64;
    let place = |section: &SectionHeader| {
        if section.sh_flags & u64::from(SHF_ALLOC) == 0 {
            return None;
        }
        let start = end.checked_next_multiple_of(section.sh_addralign.max(1))?;
        end = start.checked_add(section.sh_size)?;
        Some(start)
    };
    sections.iter().map(place).collect()
}

/// True for a relocatable ELF file (an object file): somebody else decides where it is loaded.
pub fn is_relocatable(image: &dyn Image) -> bool {
    ElfFile::read(image).is_some_and(|file| file.header.e_type == ET_REL)
}

/// True for an ELF file that is linked at fixed addresses and has symbols: where it is used, it is there.
pub fn has_symbols_at_fixed_addresses(image: &dyn Image) -> bool {
    ElfFile::read(image).is_some_and(|file| file.header.e_type == ET_EXEC) && has_symbols(image)
}

/// True for an ELF file with a symbol table.
pub fn has_symbols(image: &dyn Image) -> bool {
    let sections = ElfFile::read(image).map(|file| file.sections(image)).unwrap_or_default();
    sections.iter().any(|section| section.sh_type == SHT_SYMTAB)
}

/// Number of bytes that `symbol` covers. One without a size, a label in assembly, covers what follows it in
/// its section.
fn size(symbol: &Sym, sections: &[SectionHeader]) -> u64 {
    if symbol.st_size != 0 {
        return symbol.st_size;
    }
    let rest = sections.get(symbol.st_shndx).and_then(|section| {
        let before = symbol.st_value.checked_sub(section.sh_addr)?;
        section.sh_size.checked_sub(before)
    });
    rest.unwrap_or(0)
}

/// The name at `offset` of the file, without control characters; `None` if there is none.
pub(super) fn name_at(image: &dyn Image, offset: u64) -> Option<String> {
    let length = image.len().checked_sub(offset)?.min(LONGEST_NAME as u64);
    let mut bytes = vec![0; length as usize];
    image.read_at(offset, &mut bytes).ok()?;
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    bytes.truncate(end);
    // Names are shown on a terminal: remove its control characters.
    let name: String = String::from_utf8_lossy(&bytes).chars().filter(|c| !c.is_control()).collect();
    (!name.is_empty()).then_some(name)
}

/// A name as the program has it, in place of what Rust's compiler makes of it: without the hash.
fn demangled(name: String) -> String {
    match rustc_demangle::try_demangle(&name) {
        // A short name may stand for a long one, and for any characters.
        Ok(path) => format!("{path:#}").chars().filter(|c| !c.is_control()).take(LONGEST_NAME).collect(),
        Err(_) => name,
    }
}

/// A piece of a file that moves forwards.
pub(super) struct Window<'i> {
    image: &'i dyn Image,
    start: u64,
    bytes: Vec<u8>,
}

impl<'i> Window<'i> {
    /// The beginning of `image`.
    pub fn new(image: &'i dyn Image) -> Window<'i> {
        Window { image, start: 0, bytes: Vec::new() }
    }

    /// The `length` bytes at `offset` of the file, if it has them. `length` is at most [`WINDOW`].
    pub fn get(&mut self, offset: u64, length: usize) -> Option<&[u8]> {
        let left = self.image.len().checked_sub(offset)?.min(WINDOW) as usize;
        if length > left {
            return None;
        }
        let present = offset >= self.start && offset - self.start + length as u64 <= self.bytes.len() as u64;
        if !present {
            self.start = offset;
            self.bytes.resize(left, 0);
            if self.image.read_at(offset, &mut self.bytes).is_err() {
                self.bytes.clear();
                return None;
            }
        }
        self.bytes.get((offset - self.start) as usize..)?.get(..length)
    }
}

#[cfg(test)]
#[path = "symbols_test.rs"]
mod tests;

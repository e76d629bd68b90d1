//! Names for guest-virtual addresses, and addresses for names: from the guest file, and from the files of `--symbols`.

use std::sync::OnceLock;

use super::Machine;
use crate::boot::{
    Caller, Contents, DebugInfo, FileSection, FrameRegisters, Image, NamedStack, SourceFunction, SourcePlace,
    Symbol, SymbolIndex, SymbolSource, contents_at, named_stacks, sections,
};

/// What has been read of a file.
#[derive(Default)]
struct Tables {
    /// Its symbol table; read when the first symbol is looked up.
    index: OnceLock<SymbolIndex>,
    /// Its debug information; read when the first source line or caller is looked up.
    debug_info: OnceLock<DebugInfo>,
}

impl Tables {
    fn index(&self, image: &dyn Image) -> &SymbolIndex {
        self.index.get_or_init(|| SymbolIndex::read(image))
    }

    fn debug_info(&self, image: &dyn Image) -> &DebugInfo {
        self.debug_info.get_or_init(|| DebugInfo::read(image))
    }
}

/// The symbol tables and debug information that have been read.
#[derive(Default)]
pub(super) struct Symbols {
    /// Those of the guest file.
    guest_file: Tables,
    /// In the order in which they are asked, after the guest file.
    files: Vec<SymbolFile>,
}

/// A file with symbols besides the guest file.
struct SymbolFile {
    image: Box<dyn Image>,
    /// Added to every address in it.
    offset: u64,
    tables: Tables,
}

impl Symbols {
    /// The guest file is another one, or may have been overwritten.
    pub(super) fn forget_guest_file(&mut self) {
        self.guest_file = Tables::default();
    }
}

/// A file in which an address is looked up.
#[derive(Clone, Copy)]
struct Source<'m> {
    image: &'m dyn Image,
    tables: &'m Tables,
    /// The address in it.
    address: u64,
}

impl<'m> Source<'m> {
    fn debug_info(&self) -> &'m DebugInfo {
        self.tables.debug_info(self.image)
    }
}

impl Machine {
    /// Adds a file with symbols: `offset` is added to the addresses in it.
    pub fn add_symbols(&mut self, image: Box<dyn Image>, offset: u64) {
        self.symbols.files.push(SymbolFile { image, offset, tables: Tables::default() });
    }

    /// Removes the files that were added.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn forget_symbol_files(&mut self) {
        self.symbols.files.clear();
    }

    /// The files that were added, each with what is added to the addresses in it.
    pub fn symbol_files(&self) -> impl Iterator<Item = (&str, u64)> {
        self.symbols.files.iter().map(|file| (file.image.name(), file.offset))
    }

    /// The file that a debugger reads: the guest file if that is an ELF file, or else the first of the others whose
    /// addresses need no offset.
    pub fn debugger_file(&self) -> Option<&dyn Image> {
        match self.symbols() {
            SymbolSource::GuestFile { .. } => Some(self.image()),
            SymbolSource::None => {
                self.symbols.files.iter().find(|file| file.offset == 0).map(|file| file.image.as_ref())
            }
        }
    }

    /// The symbol that a guest-virtual address lies in: that of the guest file, or else of the first other file that has
    /// one. What the guest has loaded into one of its objects is called by the names of its own file.
    pub fn symbol_at(&self, address: u64) -> Option<Symbol> {
        self.sources(address)
            .find_map(|source| source.tables.index(source.image).symbol_at(source.image, source.address))
    }

    /// The source line of the instruction at a guest-virtual address; looked up as [`Self::symbol_at`] does.
    pub fn source_at(&self, address: u64) -> Option<SourcePlace> {
        self.sources(address).find_map(|source| source.debug_info().place_at(source.address))
    }

    /// The functions of the instruction at a guest-virtual address, each inlined into the next one; empty if none is
    /// known.
    pub fn functions_at(&self, address: u64) -> Vec<SourceFunction> {
        let mut functions =
            self.sources(address).map(|source| source.debug_info().functions_at(source.address));
        functions.find(|functions| !functions.is_empty()).unwrap_or_default()
    }

    /// The registers in the caller of the function at the guest-virtual address `address`; see [`DebugInfo::caller`].
    pub fn caller(
        &self,
        address: u64,
        registers: &FrameRegisters,
        load: &dyn Fn(u64, u8) -> Option<u64>,
    ) -> Option<Caller> {
        self.sources(address).find_map(|source| source.debug_info().caller(source.address, registers, load))
    }

    /// The files that may know a guest-virtual address, in the order in which they are asked.
    fn sources(&self, address: u64) -> impl Iterator<Item = Source<'_>> {
        let in_file = self.symbols().address_in_file(address);
        let guest_file = match self.symbols() {
            SymbolSource::GuestFile { .. } => {
                Some(Source { image: self.image(), tables: &self.symbols.guest_file, address: in_file })
            }
            SymbolSource::None => None,
        };
        let is_object = self.symbol_index().code_start(in_file).is_none();
        let (first, last) = if is_object { (None, guest_file) } else { (guest_file, None) };
        let others = self.symbols.files.iter().filter_map(move |file| {
            let address = address.checked_sub(file.offset)?;
            Some(Source { image: file.image.as_ref(), tables: &file.tables, address })
        });
        first.into_iter().chain(others).chain(last)
    }

    /// The guest-virtual address of the first symbol called `name`.
    pub fn address_of(&self, name: &str) -> Option<u64> {
        if let Some(address) = self.symbol_index().address_of(self.image(), name) {
            return Some(address.wrapping_add(self.symbols().bias()));
        }
        self.symbols.files.iter().find_map(|file| {
            let address = file.tables.index(file.image.as_ref()).address_of(file.image.as_ref(), name)?;
            Some(address.wrapping_add(file.offset))
        })
    }

    /// Where decoding has to begin to find the instruction at `address` of the guest file; see
    /// [`SymbolIndex::code_start`].
    pub fn code_start(&self, address: u64) -> Option<Option<u64>> {
        self.symbol_index().code_start(address)
    }

    /// The section of the guest file that a guest-virtual address lies in.
    pub fn contents_at(&self, address: u64) -> Option<Contents> {
        match self.symbols() {
            SymbolSource::GuestFile { .. } => {
                contents_at(self.image(), self.symbols().address_in_file(address))
            }
            SymbolSource::None => None,
        }
    }

    /// The sections of the guest file that are loaded, at guest-virtual addresses.
    pub fn file_sections(&self) -> Vec<FileSection> {
        let SymbolSource::GuestFile { .. } = self.symbols() else { return Vec::new() };
        let bias = self.symbols().bias();
        let mut sections = sections(self.image());
        for FileSection { range, .. } in &mut sections {
            *range = range.start.wrapping_add(bias)..range.end.wrapping_add(bias);
        }
        sections.retain(|section| !section.range.is_empty());
        sections.sort_by_key(|section| section.range.start);
        sections
    }

    /// The stacks that the guest file names, at guest-virtual addresses.
    pub fn named_stacks(&self) -> Vec<NamedStack> {
        let bias = self.symbols().bias();
        let mut stacks = named_stacks(self.image());
        for NamedStack { range, .. } in &mut stacks {
            *range = range.start.wrapping_add(bias)..range.end.wrapping_add(bias);
        }
        stacks
    }

    fn symbol_index(&self) -> &SymbolIndex {
        static NONE: SymbolIndex = SymbolIndex::EMPTY;
        match self.symbols() {
            SymbolSource::GuestFile { .. } => self.symbols.guest_file.index(self.image()),
            SymbolSource::None => &NONE,
        }
    }
}

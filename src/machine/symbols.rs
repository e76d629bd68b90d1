//! Names for guest-virtual addresses, and addresses for names: from the guest file, and from the files of `--symbols`.

use std::sync::OnceLock;

use super::Machine;
use crate::boot::{
    Contents, FileSection, Image, NamedStack, Symbol, SymbolIndex, SymbolSource, contents_at, named_stacks,
    sections,
};

/// The symbol tables that have been read.
#[derive(Default)]
pub(super) struct Symbols {
    /// That of the guest file; built when the first symbol is looked up.
    guest_file: OnceLock<SymbolIndex>,
    /// In the order in which they are asked, after the guest file.
    files: Vec<SymbolFile>,
}

/// A file with symbols besides the guest file.
struct SymbolFile {
    image: Box<dyn Image>,
    /// Added to every address in it.
    offset: u64,
    /// Built when the first symbol is looked up.
    index: OnceLock<SymbolIndex>,
}

impl SymbolFile {
    fn index(&self) -> &SymbolIndex {
        self.index.get_or_init(|| SymbolIndex::read(self.image.as_ref()))
    }
}

impl Symbols {
    /// The guest file is another one, or may have been overwritten.
    pub(super) fn forget_guest_file(&mut self) {
        self.guest_file = OnceLock::new();
    }
}

impl Machine {
    /// Adds a file with symbols: `offset` is added to the addresses in it.
    pub fn add_symbols(&mut self, image: Box<dyn Image>, offset: u64) {
        self.symbols.files.push(SymbolFile { image, offset, index: OnceLock::new() });
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
        let in_file = self.symbols().address_in_file(address);
        let is_object = self.symbol_index().code_start(in_file).is_none();
        let of_guest_file = || self.symbol_index().symbol_at(self.image(), in_file);
        let of_others = || {
            self.symbols.files.iter().find_map(|file| {
                file.index().symbol_at(file.image.as_ref(), address.checked_sub(file.offset)?)
            })
        };
        if is_object { of_others().or_else(of_guest_file) } else { of_guest_file().or_else(of_others) }
    }

    /// The guest-virtual address of the first symbol called `name`.
    pub fn address_of(&self, name: &str) -> Option<u64> {
        if let Some(address) = self.symbol_index().address_of(self.image(), name) {
            return Some(address.wrapping_add(self.symbols().bias()));
        }
        self.symbols.files.iter().find_map(|file| {
            let address = file.index().address_of(file.image.as_ref(), name)?;
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
        self.symbols.guest_file.get_or_init(|| match self.symbols() {
            SymbolSource::GuestFile { .. } => SymbolIndex::read(self.image()),
            SymbolSource::None => SymbolIndex::default(),
        })
    }
}

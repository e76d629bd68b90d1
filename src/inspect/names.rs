//! What the guest file calls its addresses, for views of a stopped machine.

use crate::boot::{FileSection, NamedStack, Symbol};

/// Names of the guest's addresses. Views ask for them, so that they can be tested without a guest file.
pub trait Names {
    /// The symbol that a guest-virtual address lies in.
    fn symbol_at(&self, address: u64) -> Option<Symbol>;

    /// The loaded sections of the guest file, at guest-virtual addresses, ascending.
    fn sections(&self) -> Vec<FileSection>;

    /// The stacks that the guest file names, at guest-virtual addresses.
    fn stacks(&self) -> Vec<NamedStack>;
}

/// The names of a guest whose file has none.
#[derive(Clone, Copy, Debug)]
pub struct NoNames;

impl Names for NoNames {
    fn symbol_at(&self, _: u64) -> Option<Symbol> {
        None
    }

    fn sections(&self) -> Vec<FileSection> {
        Vec::new()
    }

    fn stacks(&self) -> Vec<NamedStack> {
        Vec::new()
    }
}

/// `address` as text, with the symbol it lies in.
pub fn place(names: &dyn Names, address: u64) -> String {
    match names.symbol_at(address) {
        Some(symbol) => format!("{address:#x} ({symbol})"),
        None => format!("{address:#x}"),
    }
}

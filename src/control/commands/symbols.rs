//! Commands for symbols.

use std::path::Path;

use super::super::command::{invalid, no_more};
use super::super::error::CommandError;
use super::values::{number, place, symbol};
use crate::boot::{FileImage, Image, has_symbols, is_relocatable};
use crate::supervisor::stopped_machine::StoppedMachine;

/// The symbol and the source line at an address, or the address of a symbol.
pub(in crate::control) fn look_up(
    guest: &mut dyn StoppedMachine,
    arguments: &str,
) -> Result<String, CommandError> {
    if arguments.is_empty() {
        return Err(invalid("an address or a name is missing"));
    }
    let (address, rest) = number(guest, arguments)?;
    no_more(rest)?;
    let none = if symbol(guest, address).is_none() { ": no symbol" } else { "" };
    let source = guest.source_at(address).map(|source| format!(" at {source}")).unwrap_or_default();
    Ok(format!("{}{none}{source}\n", place(guest, address)))
}

/// Adds the symbols of a file, or lists the files that were added.
pub(in crate::control) fn files(
    guest: &mut dyn StoppedMachine,
    arguments: &str,
) -> Result<String, CommandError> {
    if arguments.is_empty() {
        let files = guest.symbol_files();
        return Ok(match files.is_empty() {
            true => "no files were added to the guest file's symbols\n".to_owned(),
            false => files.iter().map(|(name, offset)| format!("{name} @{offset:#x}\n")).collect(),
        });
    }
    let (path, offset) = match arguments.rsplit_once('@') {
        Some((path, address)) => {
            let (address, rest) = number(guest, address)?;
            no_more(rest)?;
            (path.trim_end(), Some(address))
        }
        None => (arguments, None),
    };
    let image = FileImage::open(Path::new(path))?;
    if !has_symbols(&image) {
        return Err(invalid(format!("{path} is no ELF file with a symbol table")));
    }
    if offset.is_none() && is_relocatable(&image) {
        return Err(invalid(format!("{path} is relocatable: say behind an `@` where it was loaded")));
    }
    let (name, offset) = (image.name().to_owned(), offset.unwrap_or(0));
    guest.add_symbols(Box::new(image), offset);
    Ok(format!("symbols of {name} are added @{offset:#x}\n"))
}

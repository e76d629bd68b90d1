//! What a guest file says about an address besides its symbol: the section it lies in, and the stacks of the guest.
//!
//! Crash reports use both. Nothing is kept: the file is read when a report is made. Addresses are those in the file
//! (see [`SymbolSource`](super::SymbolSource)).
//!
//! Manual: ELF gABI chapter 4, "Sections"; chapter 5, "Program Header".

use std::collections::BTreeMap;
use std::ops::Range;

use goblin::elf::section_header::{SHF_ALLOC, SHF_EXECINSTR};
use goblin::elf::sym::{STT_NOTYPE, STT_OBJECT};

use super::elf::ElfFile;
use super::elf64;
use super::image::Image;
use super::symbols::{Window, for_each, name_at};

/// Size of the smallest object that is taken for a stack, in bytes.
const SMALLEST_STACK: u64 = 128;
/// Bytes below the end of a stack whose beginning has no name: they may belong to it.
const UNKNOWN_SIZE: u64 = 64 << 10;
/// Most symbols with `stack` in their names that are looked at.
const MOST_STACKS: usize = 1000;
/// Most sections that are looked at.
const MOST_SECTIONS: usize = 1000;
/// Longest name of a stack, in bytes.
const LONGEST_NAME: u64 = 128;

/// The section, or where the file has no sections the segment, that an address lies in.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Contents {
    /// Name of the section; empty for a segment.
    pub section: String,
    /// It holds instructions.
    pub executable: bool,
}

/// A stack that the guest file names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedStack {
    /// The symbol at its lowest address; `None` if only its end has a name.
    pub name: Option<String>,
    /// Its addresses. Without a name for the lowest one, addresses that may belong to it.
    pub range: Range<u64>,
}

/// A section of the guest file that is loaded, or a segment of a file without sections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileSection {
    /// Name of the section; empty for a segment.
    pub name: String,
    /// Its addresses, at least one.
    pub range: Range<u64>,
    /// It holds instructions.
    pub executable: bool,
}

/// The sections of the file that are loaded, by their addresses; at most 1000.
pub fn sections(image: &dyn Image) -> Vec<FileSection> {
    let Some(file) = ElfFile::read(image) else { return Vec::new() };
    let headers = file.sections(image);
    let names = headers.get(usize::from(file.header.e_shstrndx)).map(|names| names.sh_offset);
    let allocated = headers.iter().filter(|section| section.sh_flags & u64::from(SHF_ALLOC) != 0);
    let mut found: Vec<FileSection> = allocated
        .take(MOST_SECTIONS)
        .map(|section| FileSection {
            name: names
                .and_then(|names| name_at(image, names.checked_add(section.sh_name as u64)?))
                .unwrap_or_default(),
            range: section.sh_addr..section.sh_addr.saturating_add(section.sh_size),
            executable: section.sh_flags & u64::from(SHF_EXECINSTR) != 0,
        })
        .collect();
    if found.is_empty() {
        let segments = elf64::segments(image).unwrap_or_default();
        found.extend(segments.into_iter().take(MOST_SECTIONS).map(|segment| FileSection {
            name: String::new(),
            range: segment.virtual_address..segment.virtual_address.saturating_add(segment.memory_size),
            executable: segment.access.execute,
        }));
    }
    found.retain(|section| !section.range.is_empty());
    found.sort_by_key(|section| section.range.start);
    found
}

/// True if the file has DWARF information about source lines.
pub fn has_debug_info(image: &dyn Image) -> bool {
    let Some(file) = ElfFile::read(image) else { return false };
    let headers = file.sections(image);
    let Some(names) = headers.get(usize::from(file.header.e_shstrndx)).map(|names| names.sh_offset) else {
        return false;
    };
    headers.iter().take(MOST_SECTIONS).any(|section| {
        let name = names.checked_add(section.sh_name as u64).and_then(|at| name_at(image, at));
        name.is_some_and(|name| name == ".debug_line")
    })
}

/// What the file has at `address`; `None` if nothing.
pub fn contents_at(image: &dyn Image, address: u64) -> Option<Contents> {
    let file = ElfFile::read(image)?;
    let headers = file.sections(image);
    let has = |start: u64, size: u64| address.checked_sub(start).is_some_and(|offset| offset < size);
    let mut allocated =
        headers.iter().filter(|section| section.sh_flags & u64::from(SHF_ALLOC) != 0).peekable();
    if allocated.peek().is_none() {
        let segments = elf64::segments(image)?;
        let segment = segments.iter().find(|segment| has(segment.virtual_address, segment.memory_size))?;
        return Some(Contents { section: String::new(), executable: segment.access.execute });
    }
    let section = allocated.find(|section| has(section.sh_addr, section.sh_size))?;
    let names = headers.get(usize::from(file.header.e_shstrndx))?.sh_offset;
    Some(Contents {
        section: name_at(image, names.checked_add(section.sh_name as u64)?)?,
        executable: section.sh_flags & u64::from(SHF_EXECINSTR) != 0,
    })
}

/// The stacks that the symbols of `image` name: objects with `stack` in their names, and pairs of labels such as
/// `stack_bottom` and `stack_top`.
pub fn named_stacks(image: &dyn Image) -> Vec<NamedStack> {
    let mut symbols: Vec<(u64, u64, u64)> = Vec::new();
    let Some(file) = ElfFile::read(image) else { return Vec::new() };
    let names = for_each(image, &file, &file.sections(image), &mut |symbol, _| {
        // Labels in assembly have no size.
        if matches!(symbol.st_type(), STT_OBJECT | STT_NOTYPE) {
            symbols.push((symbol.st_name as u64, symbol.st_value, symbol.st_size));
        }
    });
    let Some(names) = names else { return Vec::new() };
    symbols.sort_unstable();
    let mut window = Window::new(image);
    let named = symbols.into_iter().filter_map(|(name, address, size)| {
        let offset = names.checked_add(name)?;
        let length = image.len().checked_sub(offset)?.min(LONGEST_NAME) as usize;
        let bytes = window.get(offset, length)?;
        let end = bytes.iter().position(|byte| *byte == 0)?;
        let is_stack = bytes[..end].to_ascii_lowercase().windows(5).any(|part| part == b"stack");
        is_stack.then(|| name_at(image, offset)).flatten().map(|name| (name, address, size))
    });
    stacks(named.collect())
}

/// The stacks among symbols, each with its name, address and size.
fn stacks(symbols: Vec<(String, u64, u64)>) -> Vec<NamedStack> {
    let mut stacks = Vec::new();
    let mut labels: BTreeMap<String, BTreeMap<u64, String>> = BTreeMap::new();
    for (name, address, size) in symbols.into_iter().filter(|(name, ..)| !is_other(name)).take(MOST_STACKS) {
        if size >= SMALLEST_STACK {
            stacks.push(NamedStack { name: Some(name), range: address..address.saturating_add(size) });
        } else if size == 0 {
            labels.entry(stem(&name)).or_default().entry(address).or_insert(name);
        }
    }
    for ends in labels.into_values() {
        // Which of two labels is the lowest address is not a matter of their names: some call it the start, some
        // the end.
        let ends: Vec<(u64, String)> = ends.into_iter().collect();
        match &ends[..] {
            [(start, name), (end, _)] => {
                stacks.push(NamedStack { name: Some(name.clone()), range: *start..*end });
            }
            ends => stacks.extend(
                ends.iter()
                    .map(|(end, _)| NamedStack { name: None, range: end.saturating_sub(UNKNOWN_SIZE)..*end }),
            ),
        }
    }
    stacks.sort_by_key(|stack| (stack.range.start, stack.range.end));
    stacks
}

/// True for names that are about stacks, and none of a stack.
fn is_other(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["size", "trace", "stackframe", "stack_frame", "haystack", "guard"].iter().any(|word| name.contains(word))
}

/// A label without the word for the end of the stack that it marks.
fn stem(name: &str) -> String {
    const ENDS: &[&str] =
        &["bottom", "top", "start", "begin", "base", "limit", "end", "low", "high", "lo", "hi"];
    let name = name.to_ascii_lowercase();
    let name = name.trim_matches(|c: char| !c.is_alphanumeric());
    let name = ENDS.iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
    name.trim_end_matches(|c: char| !c.is_alphanumeric()).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(symbols: &[(&str, u64, u64)]) -> Vec<(Option<String>, Range<u64>)> {
        let symbols = symbols.iter().map(|(name, address, size)| ((*name).to_owned(), *address, *size));
        stacks(symbols.collect()).into_iter().map(|stack| (stack.name, stack.range)).collect()
    }

    #[test]
    fn pairs_of_labels_and_objects_are_stacks() {
        let named = |name: &str| Some(name.to_owned());
        for (low, high) in [
            ("stack_bottom", "stack_top"),
            ("stack_end", "stack_start"),
            ("__stack_start", "__stack_end"),
            ("boot_stack", "boot_stack_top"),
        ] {
            assert_eq!(found(&[(high, 0x8000, 0), (low, 0x4000, 0)]), [(named(low), 0x4000..0x8000)]);
        }
        assert_eq!(found(&[("KERNEL_STACK", 0x4000, 0x1000)]), [(named("KERNEL_STACK"), 0x4000..0x5000)]);
    }

    #[test]
    fn a_stack_of_which_only_the_end_has_a_name_may_begin_anywhere_below() {
        assert_eq!(found(&[("stack_top", 0x4_0000, 0)]), [(None, 0x3_0000..0x4_0000)]);
        // Two stacks in two files, whose labels have the same names.
        let twice = [("stack_bottom", 0x4_0000, 0), ("stack_top", 0x5_0000, 0), ("stack_top", 0x6_0000, 0)];
        assert!(found(&twice).iter().all(|(name, _)| name.is_none()));
    }

    #[test]
    fn what_is_no_stack_is_none() {
        let others =
            [("__stack_chk_guard", 0x4000, 8), ("stack_pointer", 0x4000, 8), ("stack_trace", 0x4000, 4096)];
        assert_eq!(found(&others), []);
        assert_eq!(found(&[("__stack_size", 0x4000, 0)]), []);
    }
}

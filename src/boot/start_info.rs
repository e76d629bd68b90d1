//! The boot information handed to the guest: `hvm_start_info` version 1 of the Xen x86/HVM direct
//! boot ABI (`public/arch-x86/hvm/start_info.h`), with everything it points to.

use std::ops::Range;

/// `XEN_HVM_START_MAGIC_VALUE`: "xEn3" with bit 7 of the "E" set.
const MAGIC: u32 = 0x336E_C578;

/// The first version with a memory map.
const VERSION: u32 = 1;

const INFO_SIZE: usize = 56;
const MODULE_SIZE: usize = 32;
const MEMORY_ENTRY_SIZE: usize = 24;

/// A module as described to the guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Module<'a> {
    /// Where it lies in guest-physical memory.
    pub range: Range<u64>,
    /// Its command line.
    pub command_line: &'a str,
}

/// What memory is used for: the types of the memory map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MemoryKind {
    /// `XEN_HVM_MEMMAP_TYPE_RAM`.
    Ram = 1,
    /// `XEN_HVM_MEMMAP_TYPE_ACPI`: RAM once the guest has read the ACPI tables.
    AcpiTables = 3,
}

/// An entry of the memory map.
pub(super) type MemoryEntry = (Range<u64>, MemoryKind);

/// The memory map: all RAM, with the pages of the ACPI tables as an entry of their own.
///
/// Other memory in use (segments, modules, boot structures) is not excluded: the guest knows its own segments, gets
/// the addresses of its modules, and may reuse the rest when it no longer needs it.
pub(super) fn memory_map(ram: &[Range<u64>], acpi_tables: Option<&Range<u64>>) -> Vec<MemoryEntry> {
    let mut map = Vec::with_capacity(ram.len() + 2);
    for range in ram {
        let Range { mut start, end } = range.clone();
        if let Some(tables) = acpi_tables.filter(|tables| (start..end).contains(&tables.start)) {
            map.push((start..tables.start, MemoryKind::Ram));
            map.push((tables.clone(), MemoryKind::AcpiTables));
            start = tables.end;
        }
        map.push((start..end, MemoryKind::Ram));
    }
    map.retain(|(range, _)| !range.is_empty());
    map
}

/// The structure and what it points to, as it has to lie at `base`. Its length does not depend on
/// any address. `rsdp` is 0 if there are no ACPI tables.
pub(super) fn build(
    base: u64,
    command_line: &str,
    modules: &[Module<'_>],
    rsdp: u64,
    memory: &[MemoryEntry],
) -> Vec<u8> {
    let modules_at = INFO_SIZE;
    let memory_at = modules_at + modules.len() * MODULE_SIZE;
    let strings_at = memory_at + memory.len() * MEMORY_ENTRY_SIZE;
    let address = |offset: usize| base + offset as u64;

    let mut strings = Vec::new();
    let mut string_address = |text: &str| {
        let at = strings_at + strings.len();
        strings.extend_from_slice(text.as_bytes());
        strings.push(0);
        address(at)
    };

    let mut fields = Fields(Vec::with_capacity(strings_at));
    fields.word(MAGIC);
    fields.word(VERSION);
    fields.word(0); // flags: none is defined for such a guest
    fields.word(modules.len() as u32);
    fields.long(if modules.is_empty() { 0 } else { address(modules_at) });
    fields.long(string_address(command_line));
    fields.long(rsdp);
    fields.long(address(memory_at));
    fields.word(memory.len() as u32);
    fields.word(0);
    for module in modules {
        fields.long(module.range.start);
        fields.long(module.range.end - module.range.start);
        fields.long(string_address(module.command_line));
        fields.long(0);
    }
    for (range, kind) in memory {
        fields.long(range.start);
        fields.long(range.end - range.start);
        fields.word(*kind as u32);
        fields.word(0);
    }
    fields.0.extend(strings);
    fields.0
}

/// Little-endian fields, one after the other.
struct Fields(Vec<u8>);

impl Fields {
    fn word(&mut self, value: u32) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    fn long(&mut self, value: u64) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }
}

#[cfg(test)]
#[path = "start_info_test.rs"]
mod tests;

//! The text of `kvm inspect`: a guest that has been loaded and not run.

use std::fmt;

use serde::Serialize;

use super::messages::escaped;
use crate::boot::{
    FileSection, Image, LoadedGuest, LoadedRegion, NamedStack, Symbol, SymbolIndex, SymbolSource, cdrom,
    has_symbols, sections,
};
use crate::inspect::disassembly::{LONGEST_INSTRUCTION, decode};
use crate::inspect::file_lints::{FileLint, FileLintLevel, file_lints};
use crate::inspect::maps::{DescribedRange, Maps};
use crate::inspect::names::Names;
use crate::inspect::report_json::{Hex, RegistersJson};
use crate::inspect::translate::read_virtual;
use crate::memory::GuestMemory;
use crate::settings::BootKind;

/// Instructions that are shown.
const INSTRUCTIONS: usize = 4;

/// A guest that has been loaded and not run. Some of these strings come from the file.
#[derive(Debug, Serialize)]
pub struct GuestDescription {
    file: String,
    bytes: u64,
    unpacked: bool,
    kind: &'static str,
    description: String,
    boot_image: Option<String>,
    memory: u64,
    loaded: Vec<LoadedPart>,
    #[serde(skip)]
    mapped_lines: Vec<String>,
    mapped: Vec<MappedPart>,
    start: String,
    entry: Hex,
    #[serde(skip)]
    register_lines: Vec<String>,
    registers: RegistersJson,
    instructions: Vec<String>,
    symbols: String,
    findings: Vec<FileLint>,
    warnings: Vec<String>,
}

/// A part of guest-physical memory.
#[derive(Debug, Serialize)]
struct LoadedPart {
    start: Hex,
    end: Hex,
    name: String,
}

/// A range of virtual addresses.
#[derive(Debug, Serialize)]
struct MappedPart {
    start: Hex,
    last: Hex,
    physical: Hex,
    page_size: Hex,
    rights: String,
    contents: String,
}

impl From<&DescribedRange> for MappedPart {
    fn from(described: &DescribedRange) -> MappedPart {
        let range = &described.range;
        MappedPart {
            start: Hex(range.start),
            last: Hex(range.last),
            physical: Hex(range.physical),
            page_size: Hex(range.page_size),
            rights: range.attributes.to_string(),
            contents: described.what.clone(),
        }
    }
}

/// The names in a guest file that was loaded.
struct LoadedNames<'a> {
    image: &'a dyn Image,
    symbols: SymbolIndex,
    source: SymbolSource,
}

impl Names for LoadedNames<'_> {
    fn symbol_at(&self, address: u64) -> Option<Symbol> {
        self.symbols.symbol_at(self.image, self.source.address_in_file(address))
    }

    fn sections(&self) -> Vec<FileSection> {
        let SymbolSource::GuestFile { bias } = self.source else { return Vec::new() };
        let mut sections = sections(self.image);
        for FileSection { range, .. } in &mut sections {
            *range = range.start.wrapping_add(bias)..range.end.wrapping_add(bias);
        }
        sections
    }

    fn stacks(&self) -> Vec<NamedStack> {
        Vec::new()
    }
}

impl GuestDescription {
    /// Describes the guest that was `loaded` from `image` into `memory`.
    #[cold]
    pub fn new(image: &dyn Image, memory: &GuestMemory, loaded: &LoadedGuest) -> GuestDescription {
        let registers = &loaded.registers;
        let names = LoadedNames { image, symbols: SymbolIndex::read(image), source: loaded.symbols };
        let maps = Maps::capture(memory, registers, 0).describe(memory, &names);
        let boot_image = match loaded.kind {
            BootKind::Cdrom => cdrom::boot_image(image).ok().map(|boot_image| boot_image.to_string()),
            _ => None,
        };
        let part = |region: &LoadedRegion| {
            let (start, end) = (Hex(region.range.start), Hex(region.range.end));
            LoadedPart { start, end, name: region.name.clone() }
        };
        GuestDescription {
            file: image.name().to_owned(),
            bytes: image.len(),
            unpacked: image.is_unpacked(),
            kind: loaded.kind.name(),
            description: format!("{}, {}", loaded.kind.spec().file, loaded.choice),
            boot_image,
            memory: memory.size(),
            loaded: loaded.layout.iter().map(part).collect(),
            mapped_lines: maps.ranges.iter().map(DescribedRange::to_string).collect(),
            mapped: maps.ranges.iter().map(MappedPart::from).collect(),
            start: loaded.entry_state(),
            entry: Hex(registers.next_instruction()),
            register_lines: register_lines(loaded),
            registers: RegistersJson(*registers),
            instructions: first_instructions(memory, loaded),
            symbols: symbols(image, loaded, &names),
            findings: file_lints(image, loaded, &names),
            warnings: loaded.warnings.clone(),
        }
    }

    /// The same as one JSON object.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("keys are strings, and memory does not fail") + "\n"
    }
}

impl fmt::Display for GuestDescription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let packing = if self.unpacked { " when unpacked by gzip" } else { "" };
        let file = format!("{}, {} bytes{packing}", self.file, self.bytes);
        let kind = format!("{}: {}", self.kind, self.description);
        rows(f, "file", &[file])?;
        rows(f, "kind", &[kind])?;
        rows(f, "boot image", self.boot_image.as_slice())?;
        rows(f, "memory", &[format!("{} MiB", self.memory >> 20)])?;
        let loaded =
            self.loaded.iter().map(|part| format!("{:#x}..{:#x} {}", part.start.0, part.end.0, part.name));
        rows(f, "loaded", &loaded.collect::<Vec<_>>())?;
        rows(f, "mapped", &self.mapped_lines)?;
        rows(f, "start", std::slice::from_ref(&self.start))?;
        rows(f, "registers", &self.register_lines)?;
        rows(f, "instructions", &self.instructions)?;
        rows(f, "symbols", std::slice::from_ref(&self.symbols))?;
        for level in [FileLintLevel::Warning, FileLintLevel::Note] {
            let name = if level == FileLintLevel::Warning { "looks wrong" } else { "note" };
            let found = self.findings.iter().filter(|finding| finding.level == level);
            rows(f, name, &found.map(|finding| finding.text.clone()).collect::<Vec<_>>())?;
        }
        self.warnings.iter().try_for_each(|warning| rows(f, "warning", std::slice::from_ref(warning)))
    }
}

/// Writes `lines` behind `name`, which stands in front of the first one.
fn rows(f: &mut fmt::Formatter<'_>, name: &str, lines: &[String]) -> fmt::Result {
    lines.iter().enumerate().try_for_each(|(number, line)| {
        let row = format!("{:<14}{}", if number == 0 { name } else { "" }, escaped(line, &[]));
        writeln!(f, "{}", row.trim_end())
    })
}

/// The registers that are not 0, and all segments.
fn register_lines(loaded: &LoadedGuest) -> Vec<String> {
    let registers = &loaded.registers;
    let numbers = |named: &[(&str, u64)]| {
        let set = named.iter().filter(|(_, value)| *value != 0);
        set.map(|(name, value)| format!("{name} {value:#x}")).collect::<Vec<_>>().join(", ")
    };
    let mut lines = vec![numbers(&registers.named()), numbers(&registers.control())];
    let segments = registers.segments().map(|(name, segment)| match segment.unusable {
        0 => format!("{name} {:#x} (base {:#x}, limit {:#x})", segment.selector, segment.base, segment.limit),
        _ => format!("{name} null"),
    });
    lines.extend(segments.chunks(3).map(|part| part.join(", ")));
    let tables = registers
        .tables()
        .map(|(name, table)| format!("{name} at {:#x}, limit {:#x}", table.base, table.limit));
    lines.push(tables.join(", "));
    lines.retain(|line| !line.is_empty());
    lines
}

fn first_instructions(memory: &GuestMemory, loaded: &LoadedGuest) -> Vec<String> {
    let registers = &loaded.registers;
    let (bitness, base) =
        (registers.bitness(), registers.next_instruction().wrapping_sub(registers.general.rip));
    let mut pointer = registers.general.rip;
    let mut lines = Vec::new();
    while lines.len() < INSTRUCTIONS {
        let mut bytes = [0; LONGEST_INSTRUCTION];
        let linear = base.wrapping_add(pointer);
        let count = read_virtual(memory, registers, linear, &mut bytes);
        let Some(decoded) = decode(&bytes[..count], bitness, pointer) else {
            lines.push(format!("{linear:#x}: no instruction"));
            break;
        };
        lines.push(format!("{linear:#x}: {}", decoded.text));
        pointer = pointer.wrapping_add(decoded.length as u64);
    }
    lines
}

fn symbols(image: &dyn Image, loaded: &LoadedGuest, names: &dyn Names) -> String {
    match loaded.symbols {
        SymbolSource::GuestFile { .. } if has_symbols(image) => {
            match names.symbol_at(loaded.registers.next_instruction()) {
                Some(symbol) => format!("in the guest file; the first instruction is in {symbol}"),
                None => "in the guest file".to_owned(),
            }
        }
        _ => "none in the guest file; `--symbols FILE` names a file that has them".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boot::{BootOptions, BytesImage, load};

    #[test]
    fn a_flat_image_is_described_from_its_first_byte_on() {
        let image = BytesImage::new("a\x1b.bin", &[0xBE, 0x10, 0, 0xF4, 0x0F, 0xFF]);
        let memory = GuestMemory::new(1 << 20).unwrap();
        let loaded = load(&image, &memory, &BootOptions::default()).unwrap();
        let text = GuestDescription::new(&image, &memory, &loaded).to_string();
        for line in [
            "file          a\\u{1b}.bin, 6 bytes\n",
            "kind          flat: flat 16-bit image, recognised by the ending .bin\n",
            "loaded        0x0..0x6 image\n",
            "start         entry CS:IP 0x0:0x0 in real mode, stack SS:SP 0x0:0x0\n",
            "instructions  0x0: mov si, 0x10\n              0x3: hlt\n",
        ] {
            assert!(text.contains(line), "{line}: {text}");
        }
    }
}

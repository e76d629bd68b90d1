//! Where functions are declared, and which code was written in assembly.
//!
//! Manual: DWARF 5, sections 3.1.1 "Full and Partial Compilation Unit Entries" and 3.3 "Subroutine and Entry Point
//! Entries".

use std::ops::Range;

use gimli::{AttributeValue, DebuggingInformationEntry, Dwarf, Reader, Unit};

use super::reader::BoundedReader;
use super::{DebugInfo, SourcePlace, path};

/// Most entries that refer to one another: from a function to its declaration.
const MOST_REFERENCES: usize = 8;

/// What the compilation units say of a guest file's code.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Declarations {
    /// The addresses of functions in the file, each with the place of its declaration.
    pub functions: Vec<(u64, SourcePlace)>,
    /// The addresses of code that was written in assembly.
    pub assembly: Vec<Range<u64>>,
}

type Entry = DebuggingInformationEntry<BoundedReader>;

struct Units<'d> {
    dwarf: &'d Dwarf<BoundedReader>,
    /// In the order of the file.
    units: Vec<Unit<BoundedReader>>,
}

impl DebugInfo {
    /// Reads the declarations. What cannot be read of malformed debug information is missing.
    pub fn declarations(&self) -> Declarations {
        self.budget.refill(self.reads);
        let mut found = Declarations::default();
        let Some(dwarf) = &self.dwarf else { return found };
        let mut units = Units { dwarf, units: Vec::new() };
        let mut headers = dwarf.units();
        while let Ok(Some(header)) = headers.next() {
            units.units.extend(dwarf.unit(header).ok());
        }
        for unit in &units.units {
            // What was read before the error stays.
            let _ = units.read(unit, &mut found);
        }
        found
    }
}

impl Units<'_> {
    fn read(&self, unit: &Unit<BoundedReader>, found: &mut Declarations) -> gimli::Result<()> {
        let mut entries = unit.entries();
        while let Some(entry) = entries.next_dfs()? {
            match entry.tag() {
                gimli::DW_TAG_compile_unit => {
                    let language = entry.attr_value(gimli::DW_AT_language);
                    if matches!(language, Some(AttributeValue::Language(gimli::DW_LANG_Mips_Assembler))) {
                        let mut ranges = self.dwarf.die_ranges(unit, entry)?;
                        while let Some(range) = ranges.next()? {
                            found.assembly.push(range.begin..range.end);
                        }
                    }
                }
                gimli::DW_TAG_subprogram => {
                    if let Some(range) = self.dwarf.die_ranges(unit, entry)?.next()?
                        && let Some(place) = self.place(unit, entry, MOST_REFERENCES)
                    {
                        found.functions.push((range.begin, place));
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Where a function is declared: its entry may refer to another one that says so.
    fn place(&self, unit: &Unit<BoundedReader>, entry: &Entry, references: usize) -> Option<SourcePlace> {
        let line = entry.attr(gimli::DW_AT_decl_line).and_then(gimli::Attribute::udata_value);
        let file = entry.attr_value(gimli::DW_AT_decl_file);
        if let (Some(line), Some(AttributeValue::FileIndex(file))) = (line, file) {
            let line = u32::try_from(line).ok().filter(|line| *line != 0)?;
            return Some(SourcePlace { file: self.file(unit, file)?, line });
        }
        let references = references.checked_sub(1)?;
        let other = entry
            .attr_value(gimli::DW_AT_abstract_origin)
            .or_else(|| entry.attr_value(gimli::DW_AT_specification))?;
        match other {
            AttributeValue::UnitRef(offset) => self.place(unit, &unit.entry(offset).ok()?, references),
            AttributeValue::DebugInfoRef(offset) => {
                let begins = |unit: &Unit<BoundedReader>| {
                    unit.header.debug_info_offset().is_some_and(|start| start.0 <= offset.0)
                };
                let after = self.units.partition_point(begins);
                let unit = self.units.get(after.checked_sub(1)?)?;
                let offset = offset.to_unit_offset(&unit.header)?;
                self.place(unit, &unit.entry(offset).ok()?, references)
            }
            _ => None,
        }
    }

    /// The path of a file of a unit's line table.
    fn file(&self, unit: &Unit<BoundedReader>, index: u64) -> Option<String> {
        let header = unit.line_program.as_ref()?.header();
        let file = header.file(index)?;
        let text =
            |value| Some(self.dwarf.attr_string(unit, value).ok()?.to_string_lossy().ok()?.into_owned());
        let mut parts = vec![unit.comp_dir.as_ref()?.to_string_lossy().ok()?.into_owned()];
        if file.directory_index() != 0 {
            parts.push(text(file.directory(header)?)?);
        }
        parts.push(text(file.path_name())?);
        let mut whole = std::path::PathBuf::new();
        // An absolute part replaces those before it.
        parts.iter().for_each(|part| whole.push(part));
        Some(path(&whole.to_string_lossy()))
    }
}

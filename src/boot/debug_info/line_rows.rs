//! The line table as a whole: which instructions belong to which line.
//!
//! Manual: DWARF 5, section 6.2 "Line Number Information".

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use super::{DebugInfo, path};
use crate::boot::code::CodeRange;

/// Most rows that are read.
const MOST_ROWS: usize = 1 << 22;

/// Instructions side by side that belong to one line. The first one begins at `address`, which a compiler and an
/// assembler vouch for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineRow {
    /// Address of the first instruction in the file.
    pub address: u64,
    /// Number of bytes of all of them; never 0.
    pub length: u64,
    /// Index in [`LineTable::files`].
    pub file: usize,
    /// The line, from 1; 0 for instructions that belong to none.
    pub line: u32,
}

/// All rows of a guest file that lie in its code.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LineTable {
    /// The paths of source files, as [`SourcePlace::file`](super::SourcePlace) has them.
    pub files: Vec<String>,
    /// The rows, by ascending addresses. None begins where another one does.
    pub rows: Vec<LineRow>,
    /// There are more rows than are read.
    pub is_cut: bool,
}

impl DebugInfo {
    /// The rows of the line table in `code`. What cannot be read of a malformed table is missing.
    pub fn line_table(&self, code: &[CodeRange]) -> LineTable {
        let mut table = LineTable::default();
        let Some(lines) = &self.lines else { return table };
        let mut numbers: BTreeMap<String, usize> = BTreeMap::new();
        let mut rows: BTreeMap<u64, LineRow> = BTreeMap::new();
        for range in code {
            self.budget.refill(self.reads);
            let end = range.address.saturating_add(range.length);
            let Ok(found) = lines.find_location_range(range.address, end) else { continue };
            for (address, length, location) in found {
                // The first row of the library may begin before the range.
                if address < range.address || address >= end || length == 0 {
                    continue;
                }
                if rows.len() == MOST_ROWS {
                    table.is_cut = true;
                    break;
                }
                let name = location.file.unwrap_or_default();
                let file = match numbers.get(name) {
                    Some(number) => *number,
                    None => {
                        table.files.push(path(name));
                        numbers.insert(name.to_owned(), table.files.len() - 1);
                        table.files.len() - 1
                    }
                };
                let line = if location.file.is_some() { location.line.unwrap_or(0) } else { 0 };
                if let Entry::Vacant(vacant) = rows.entry(address) {
                    vacant.insert(LineRow { address, length: length.min(end - address), file, line });
                }
            }
        }
        table.rows = rows.into_values().collect();
        table
    }
}

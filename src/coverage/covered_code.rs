//! The code of a guest file: rows of the line table, basic blocks and functions, and which of them have been run.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use super::blocks::{CodeRows, SplitRows};
use super::code_bytes::CodeBytes;
use crate::boot::{DebugInfo, Image, LineRow, SourcePlace, SymbolIndex, code_ranges, is_64_bit_elf, is_elf};

/// Bytes of a block that are compared with memory before a breakpoint is inserted.
pub(super) const COMPARED: usize = 16;

/// Nothing is known of the block.
const UNKNOWN: u8 = 0;
/// A breakpoint for it has been inserted.
const WATCHED: u8 = 1;
/// It has been run.
const RUN: u8 = 2;

/// Why the coverage of a guest file cannot be measured.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum CoverageProblem {
    /// It is of another format.
    #[error(
        "--coverage needs source lines, and `{file}` is no ELF file; use the ELF file that it was made from"
    )]
    NotElf {
        /// The file.
        file: String,
    },
    /// It has no line table.
    #[error(
        "--coverage needs source lines, and `{file}` has none for its code: build it with debug information (-g; \
         `debug = true` in Cargo's profile), and do not strip it"
    )]
    NoLines {
        /// The file.
        file: String,
    },
    /// It is too large.
    #[error(
        "--coverage: `{file}` has more rows in its line table than can be covered; build less of it with -g"
    )]
    TooLarge {
        /// The file.
        file: String,
    },
}

/// A basic block, as far as rows of the line table say where one begins.
#[derive(Debug)]
pub(super) struct Block {
    /// Address of its first instruction in the file.
    pub(super) address: u64,
    /// Where the program headers put it in physical memory.
    pub(super) physical_address: u64,
    /// Number of its bytes.
    pub(super) length: u64,
    /// Its first bytes in the file, or those up to the end of its range of code.
    pub(super) code: Vec<u8>,
    /// The bytes in front of it, likewise.
    pub(super) before: Vec<u8>,
    /// It has a line that counts.
    counts: bool,
    state: AtomicU8,
}

/// A function with a line.
#[derive(Debug)]
pub(super) struct CoveredFunction {
    pub(super) name: String,
    /// The source file that declares it.
    pub(super) file: String,
    /// The line of its declaration.
    pub(super) line: u32,
    /// Index of the block that it begins with.
    pub(super) block: usize,
}

/// The code of a guest file.
#[derive(Debug)]
pub struct CoveredCode {
    pub(super) files: Vec<String>,
    /// For each of them, whether its lines count.
    files_count: Vec<bool>,
    pub(super) rows: Vec<LineRow>,
    /// For each row, the index of its block.
    block_of: Vec<usize>,
    pub(super) blocks: Vec<Block>,
    pub(super) functions: Vec<CoveredFunction>,
    /// How often breakpoints have stopped a guest.
    stops: AtomicU64,
}

/// True for source files that the user has not written: those of the compiler's libraries and of packages from elsewhere.
fn is_foreign(path: &str) -> bool {
    path.starts_with("/rustc/")
        || ["/.rustup/toolchains/", "/lib/rustlib/src/", "/.cargo/registry/", "/.cargo/git/"]
            .iter()
            .any(|part| path.contains(part))
}

impl CoveredCode {
    /// Reads the code of a guest file.
    ///
    /// # Errors
    ///
    /// [`CoverageProblem`] if it does not say which lines its code has.
    pub fn read(image: &dyn Image) -> Result<CoveredCode, CoverageProblem> {
        let file = image.name().to_owned();
        if !is_elf(image) {
            return Err(CoverageProblem::NotElf { file });
        }
        let ranges = code_ranges(image);
        let debug_info = DebugInfo::read(image);
        let table = debug_info.line_table(&ranges);
        if table.is_cut {
            return Err(CoverageProblem::TooLarge { file });
        }
        let files_count: Vec<bool> = table.files.iter().map(|path| !is_foreign(path)).collect();
        let counts = |row: &LineRow| row.line != 0 && files_count[row.file];
        if !table.rows.iter().any(counts) {
            return Err(CoverageProblem::NoLines { file });
        }
        let declarations = debug_info.declarations();
        let index = SymbolIndex::read(image);
        let symbols: Vec<_> = index.code_symbols(image).collect();
        let extents: Vec<(u64, u64)> = symbols.iter().map(|symbol| (symbol.address, symbol.size)).collect();
        let Some(code) = CodeBytes::read(image, &ranges) else {
            return Err(CoverageProblem::TooLarge { file });
        };
        let code_rows = CodeRows {
            rows: &table.rows,
            read: &|row| code.at(row.address, row.length as usize).map(|(_, bytes)| bytes),
            symbols: &extents,
            assembly: &merged(declarations.assembly),
            bitness: if is_64_bit_elf(image) { 64 } else { 32 },
        };
        let SplitRows { rows, starts } = code_rows.split();
        let mut blocks: Vec<Block> = Vec::new();
        let mut block_of = Vec::with_capacity(rows.len());
        for (row, starts) in rows.iter().zip(starts) {
            if starts || blocks.is_empty() {
                let (physical_address, bytes) = code.at(row.address, COMPARED).unwrap_or((row.address, &[]));
                let before = row.address.checked_sub(COMPARED as u64);
                let before = before.and_then(|address| code.at(address, COMPARED));
                let before = before.map(|(_, bytes)| bytes.to_vec()).unwrap_or_default();
                let code = bytes.to_vec();
                let state = AtomicU8::new(UNKNOWN);
                let address = row.address;
                blocks.push(Block {
                    address,
                    physical_address,
                    length: 0,
                    code,
                    before,
                    counts: false,
                    state,
                });
            }
            block_of.push(blocks.len() - 1);
            if let Some(block) = blocks.last_mut() {
                block.length += row.length;
                block.counts |= counts(row);
            }
        }
        let declared: BTreeMap<u64, SourcePlace> = declarations.functions.into_iter().collect();
        let mut functions = Vec::new();
        for symbol in symbols {
            let (Some(name), Ok(row)) =
                (symbol.function, rows.binary_search_by_key(&symbol.address, |row| row.address))
            else {
                continue;
            };
            let first = || SourcePlace { file: table.files[rows[row].file].clone(), line: rows[row].line };
            let SourcePlace { file, line } = declared.get(&symbol.address).cloned().unwrap_or_else(first);
            if line != 0 && !is_foreign(&file) {
                let block = block_of[row];
                blocks[block].counts = true;
                functions.push(CoveredFunction { name, file, line, block });
            }
        }
        let (files, stops) = (table.files, AtomicU64::new(0));
        Ok(CoveredCode { files, files_count, rows, block_of, blocks, functions, stops })
    }

    /// The blocks that get a breakpoint, with their numbers: those with a line that counts and that have not been run.
    pub(super) fn wanted(&self) -> impl Iterator<Item = (usize, &Block)> {
        let all = self.blocks.iter().enumerate();
        all.filter(|(_, block)| block.counts && !block.code.is_empty() && !block.has_run())
    }

    /// A breakpoint has stopped a guest at this block.
    pub(super) fn stopped_at(&self, block: usize) {
        self.stops.fetch_add(1, Ordering::Relaxed);
        self.blocks[block].state.store(RUN, Ordering::Relaxed);
    }

    /// As if every block had been run.
    #[cfg(any(test, fuzzing))]
    pub(super) fn pretend_all_is_run(&self) {
        self.blocks.iter().for_each(|block| block.state.store(RUN, Ordering::Relaxed));
    }

    /// How often breakpoints have stopped a guest.
    pub fn stops(&self) -> u64 {
        self.stops.load(Ordering::Relaxed)
    }

    /// How many basic blocks have been run, and how many would have been noticed.
    pub fn blocks_run(&self) -> (usize, usize) {
        let known = self.blocks.iter().filter(|block| block.is_known());
        known.fold((0, 0), |(run, all), block| (run + usize::from(block.has_run()), all + 1))
    }

    /// The rows that count, each with whether it has been run.
    pub(super) fn known_rows(&self) -> impl Iterator<Item = (&LineRow, bool)> {
        self.rows.iter().zip(&self.block_of).filter_map(|(row, block)| {
            let block = &self.blocks[*block];
            let counts = row.line != 0 && block.is_known() && self.files_count[row.file];
            counts.then(|| (row, block.has_run()))
        })
    }
}

impl Block {
    /// A breakpoint has been inserted for it.
    pub(super) fn watch(&self) {
        let _ = self.state.compare_exchange(UNKNOWN, WATCHED, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// True if it has been run.
    pub(super) fn has_run(&self) -> bool {
        self.state.load(Ordering::Relaxed) == RUN
    }

    /// True if it is known whether it has been run.
    pub(super) fn is_known(&self) -> bool {
        self.state.load(Ordering::Relaxed) != UNKNOWN
    }
}

/// The same addresses as ranges that do not overlap, ascending.
fn merged(mut ranges: Vec<Range<u64>>) -> Vec<Range<u64>> {
    ranges.sort_by_key(|range| range.start);
    let mut merged: Vec<Range<u64>> = Vec::new();
    for range in ranges {
        match merged.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => merged.push(range),
        }
    }
    merged
}

#[cfg(test)]
#[path = "covered_code_test.rs"]
mod tests;

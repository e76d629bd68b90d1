//! Source lines, inlined functions and call frames: what a compiler with `-g` writes into a guest file.
//!
//! [`DebugInfo::read`] reads the sections once, when the first address is looked up; nothing of it is read at the start
//! of a run. Addresses are those in the file (see [`SymbolSource`](super::SymbolSource)). A file without debug
//! information, or with one that cannot be read, answers like one that says nothing about an address.
//!
//! | file | what it does |
//! |---|---|
//! | `sections` | the sections, uncompressed |
//! | `reader` | reads them within a budget |
//! | `call_frames` | the caller of a function by its call frame information |
//! | `declarations` | where functions are declared |
//! | `line_rows` | the line table as a whole |
//!
//! Manual: DWARF 5, sections 3.3 "Subroutine and Entry Point Entries", 6.2 "Line Number Information" and 6.4 "Call
//! Frame Information".

mod call_frames;
mod declarations;
mod line_rows;
mod reader;
mod sections;

use std::fmt;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use addr2line::Context;
use serde::Serialize;

use super::image::Image;
use call_frames::CallFrames;
pub use call_frames::{Caller, FrameRegisters};
pub use declarations::Declarations;
pub use line_rows::{LineRow, LineTable};
use reader::{BoundedReader, Budget};
use sections::DebugSections;

/// Reads that a look-up may take besides those in proportion to the file.
const FEWEST_READS: u64 = 1 << 20;
/// Reads that a look-up may take for each byte of the file's debug information.
const READS_PER_BYTE: u64 = 4;
/// Most functions of one address: those that are inlined into each other, and the one that contains them.
const MOST_FUNCTIONS: usize = 32;
/// Longest name of a file or a function, in characters.
const LONGEST_NAME: usize = 256;

/// A line of a source file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SourcePlace {
    /// The path of the file: relative to the working directory, if it lies in that.
    pub file: String,
    /// The line, from 1.
    pub line: u32,
}

impl fmt::Display for SourcePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// A function that an instruction belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceFunction {
    /// Its name; `None` if the file has none.
    pub name: Option<String>,
    /// The line of the instruction in this function: for a function that another one is inlined into, that of the call.
    pub place: Option<SourcePlace>,
}

/// The debug information of a file.
#[derive(Default)]
pub struct DebugInfo {
    lines: Option<Context<BoundedReader>>,
    dwarf: Option<Arc<gimli::Dwarf<BoundedReader>>>,
    call_frames: Option<CallFrames>,
    budget: Rc<Budget>,
    /// What the budget of a look-up is, in reads.
    reads: u64,
}

impl fmt::Debug for DebugInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DebugInfo").field("reads", &self.reads).finish_non_exhaustive()
    }
}

impl DebugInfo {
    /// Reads the debug information of `image`.
    pub fn read(image: &dyn Image) -> DebugInfo {
        let Some(mut sections) = DebugSections::read(image) else { return DebugInfo::default() };
        let budget = Rc::new(Budget::default());
        let reads = FEWEST_READS + READS_PER_BYTE * sections.size();
        budget.refill(reads);
        let call_frames = CallFrames::new(&mut sections, &budget);
        let section = |id: gimli::SectionId| -> Result<BoundedReader, gimli::Error> {
            Ok(BoundedReader::new(sections.take(id.name()).bytes, &budget))
        };
        let dwarf = gimli::Dwarf::load(section).map(Arc::new).ok();
        let lines = dwarf.clone().and_then(|dwarf| Context::from_arc_dwarf(dwarf).ok());
        DebugInfo { lines, dwarf, call_frames: Some(call_frames), budget, reads }
    }

    /// The source line of the instruction at `address`.
    pub fn place_at(&self, address: u64) -> Option<SourcePlace> {
        let location = self.lines_for(address)?.find_location(address).ok()??;
        place(&location)
    }

    /// The lines, to look `address` up.
    fn lines_for(&self, address: u64) -> Option<&Context<BoundedReader>> {
        self.budget.refill(self.reads);
        // The library adds 1 to an address.
        self.lines.as_ref().filter(|_| address != u64::MAX)
    }

    /// The functions of the instruction at `address`, each inlined into the next one; empty if none is known.
    pub fn functions_at(&self, address: u64) -> Vec<SourceFunction> {
        let Some(lines) = self.lines_for(address) else { return Vec::new() };
        let mut functions = Vec::new();
        let Ok(mut frames) = lines.find_frames(address).skip_all_loads() else { return functions };
        while let Ok(Some(frame)) = frames.next() {
            let name = frame.function.as_ref().and_then(|function| Some(shown(&function.demangle().ok()?)));
            functions.push(SourceFunction { name, place: frame.location.as_ref().and_then(place) });
            if functions.len() == MOST_FUNCTIONS {
                break;
            }
        }
        functions
    }

    /// The registers in the caller of a function, by the function's call frame information; `None` if it has none for
    /// `address`, which is the next instruction or, if that follows a call, the byte before. `load` reads a number of
    /// bytes of memory.
    pub fn caller(
        &self,
        address: u64,
        registers: &FrameRegisters,
        load: &dyn Fn(u64, u8) -> Option<u64>,
    ) -> Option<Caller> {
        self.budget.refill(self.reads);
        self.call_frames.as_ref()?.caller(address, registers, load)
    }
}

/// A place whose file and line are known.
fn place(location: &addr2line::Location<'_>) -> Option<SourcePlace> {
    let line = location.line.filter(|line| *line != 0)?;
    Some(SourcePlace { file: path(location.file?), line })
}

/// A path as users write it.
fn path(file: &str) -> String {
    let file = shown(file).replace("/./", "/");
    let here = std::env::current_dir().ok();
    let inside = here.and_then(|here| Some(Path::new(&file).strip_prefix(here).ok()?.to_str()?.to_owned()));
    let file = inside.unwrap_or(file);
    file.strip_prefix("./").map(str::to_owned).unwrap_or(file)
}

/// A name without what does not belong on a terminal.
fn shown(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).take(LONGEST_NAME).collect()
}

#[cfg(test)]
#[path = "debug_info/debug_info_test.rs"]
mod tests;

//! The text of a source line, from the file that debug information names, if that is at hand.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;

use rustix::fs::OFlags;

use crate::boot::SourcePlace;

/// Largest source file that is read, in bytes.
const LARGEST_FILE: u64 = 4 << 20;
/// Longest text that is shown, in characters.
const LONGEST: usize = 80;

/// Most files that are kept.
const MOST_FILES: usize = 16;

/// The source files that have been read. A file is read once, so what changes in it later is not seen.
#[derive(Debug, Default)]
pub struct SourceFiles {
    /// By name; `None` for what is no readable file.
    files: BTreeMap<String, Option<Vec<u8>>>,
}

impl SourceFiles {
    /// The line `source` without the space around it, cut off where it is long; `None` if it cannot be read, or is empty.
    pub fn line(&mut self, source: &SourcePlace) -> Option<String> {
        if self.files.len() >= MOST_FILES && !self.files.contains_key(&source.file) {
            self.files.clear();
        }
        let bytes = self.files.entry(source.file.clone()).or_insert_with(|| read(&source.file)).as_ref()?;
        let line = bytes.split(|byte| *byte == b'\n').nth((source.line as usize).checked_sub(1)?)?;
        let text = String::from_utf8_lossy(line);
        let mut text: Vec<char> = text.trim().chars().filter(|c| !c.is_control()).collect();
        if text.len() > LONGEST {
            text.truncate(LONGEST);
            text.extend("...".chars());
        }
        (!text.is_empty()).then(|| text.into_iter().collect())
    }
}

/// The contents of a file that is none of the special ones, nor too large.
fn read(name: &str) -> Option<Vec<u8>> {
    let mut options = File::options();
    // A pipe of this name would have to be waited for.
    let file = options.read(true).custom_flags(OFlags::NONBLOCK.bits() as i32).open(name).ok()?;
    let metadata = file.metadata().ok().filter(|metadata| metadata.is_file())?;
    let size = Some(metadata.len()).filter(|size| *size <= LARGEST_FILE)?;
    let mut bytes = Vec::new();
    file.take(size).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_without_the_space_around_it() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/debug-info/inlined.c").to_owned();
        let mut files = SourceFiles::default();
        let mut text = |line| files.line(&SourcePlace { file: file.clone(), line });
        assert_eq!(text(8).unwrap(), "where = value; /* line 8 */");
        assert_eq!((text(0), text(3), text(1000)), (None, None, None), "empty, or not there");
    }

    #[test]
    fn a_limited_number_of_files_is_kept() {
        let mut files = SourceFiles::default();
        for number in 0..3 * MOST_FILES {
            assert_eq!(files.line(&SourcePlace { file: format!("/no/such/file-{number}"), line: 1 }), None);
        }
        assert!(files.files.len() <= MOST_FILES);
    }

    #[test]
    fn what_is_no_source_file_is_left_alone() {
        for file in ["/no/such/file", "/", "/dev/zero", "/proc/self/status"] {
            let source = SourcePlace { file: file.to_owned(), line: 1 };
            assert_eq!(SourceFiles::default().line(&source), None, "{file}");
        }
    }
}

//! The text of a source line, from the file that debug information names, if that is at hand.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;

use rustix::fs::OFlags;

use crate::boot::SourcePlace;

/// Largest source file that is read, in bytes.
const LARGEST_FILE: u64 = 4 << 20;
/// Longest text that is shown, in characters.
const LONGEST: usize = 80;

/// The line `source` without the space around it, cut off where it is long; `None` if it cannot be read, or is empty.
pub(super) fn line(source: &SourcePlace) -> Option<String> {
    let mut options = File::options();
    // A pipe of this name would have to be waited for.
    let file = options.read(true).custom_flags(OFlags::NONBLOCK.bits() as i32).open(&source.file).ok()?;
    let metadata = file.metadata().ok().filter(|metadata| metadata.is_file())?;
    let size = Some(metadata.len()).filter(|size| *size <= LARGEST_FILE)?;
    let mut bytes = Vec::new();
    file.take(size).read_to_end(&mut bytes).ok()?;
    let line = bytes.split(|byte| *byte == b'\n').nth((source.line as usize).checked_sub(1)?)?;
    let text = String::from_utf8_lossy(line);
    let mut text: Vec<char> = text.trim().chars().filter(|c| !c.is_control()).collect();
    if text.len() > LONGEST {
        text.truncate(LONGEST);
        text.extend("...".chars());
    }
    (!text.is_empty()).then(|| text.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_without_the_space_around_it() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/debug-info/inlined.c").to_owned();
        let text = |line| super::line(&SourcePlace { file: file.clone(), line });
        assert_eq!(text(8).unwrap(), "where = value; /* line 8 */");
        assert_eq!((text(0), text(3), text(1000)), (None, None, None), "empty, or not there");
    }

    #[test]
    fn what_is_no_source_file_is_left_alone() {
        for file in ["/no/such/file", "/", "/dev/zero", "/proc/self/status"] {
            assert_eq!(line(&SourcePlace { file: file.to_owned(), line: 1 }), None, "{file}");
        }
    }
}

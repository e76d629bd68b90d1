//! Random input for the reader of snapshots.

use super::check_bytes;
use super::container::{self, Section};
use super::saved_machine::ReceivedMachine;
use crate::boot::BytesImage;

/// Reads `input` as a snapshot, once as it is and once with corrected checksums, since most random input
/// fails at the checksums. It must not panic, hang or allocate much memory.
pub fn read_snapshot(input: &[u8]) {
    let _ = check_bytes(&BytesImage::new("fuzz", input));
    let _ = ReceivedMachine::read("fuzz", input);
    let sections: Vec<Section> = sections(input);
    if let Ok(bytes) = container::to_bytes(&sections) {
        let _ = check_bytes(&BytesImage::new("fuzz", &bytes));
        let _ = ReceivedMachine::read("fuzz", &bytes);
    }
}

/// Splits `input` into sections: by its own table if it has one, ignoring checksums.
fn sections(input: &[u8]) -> Vec<Section> {
    let table = input.get(32..).unwrap_or_default();
    let mut sections = Vec::new();
    for entry in table.as_chunks::<48>().0.iter().take(64) {
        let end = entry.iter().take(24).position(|byte| *byte == 0).unwrap_or(24);
        let Ok(name) = std::str::from_utf8(&entry[..end]) else { break };
        let word = |at: usize| u32::from_le_bytes([entry[at], entry[at + 1], entry[at + 2], entry[at + 3]]);
        let (offset, length) = (word(32) as usize, word(40) as usize);
        let bytes = offset.checked_add(length).and_then(|end| input.get(offset..end)).unwrap_or_default();
        let (number, version) = (word(24) as u16, (word(24) >> 16) as u16);
        sections.push(Section { name: name.to_owned(), number, version, bytes: bytes.to_vec() });
    }
    sections
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzzing::FuzzDriver;

    #[test]
    fn any_snapshot_is_read_or_refused() {
        FuzzDriver::new("snapshot")
            .dictionary(&[b"serial\0", b"memory-map\0", b"lapic\0"])
            .run(read_snapshot);
    }
}

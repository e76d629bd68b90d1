//! The bytes of a guest file's code.

use crate::boot::{CodeRange, Image};

/// Most bytes of code that are read.
const MOST_BYTES: u64 = 256 << 20;

/// The code of a guest file, read whole.
#[derive(Debug)]
pub(super) struct CodeBytes {
    /// By ascending addresses.
    pieces: Vec<(CodeRange, Vec<u8>)>,
}

impl CodeBytes {
    /// Reads the code in `ranges`; `None` if it is too much. A piece that cannot be read is missing.
    pub(super) fn read(image: &dyn Image, ranges: &[CodeRange]) -> Option<CodeBytes> {
        let mut left = MOST_BYTES;
        let mut pieces = Vec::new();
        for range in ranges {
            left = left.checked_sub(range.length)?;
            let mut bytes = vec![0; usize::try_from(range.length).ok()?];
            if image.read_at(range.offset, &mut bytes).is_ok() {
                pieces.push((*range, bytes));
            }
        }
        pieces.sort_by_key(|(range, _)| range.address);
        Some(CodeBytes { pieces })
    }

    /// Up to `length` bytes at an address in the file, as many as its piece of code has, and their physical address.
    pub(super) fn at(&self, address: u64, length: usize) -> Option<(u64, &[u8])> {
        let above = self.pieces.partition_point(|(range, _)| range.address <= address);
        let (range, bytes) = self.pieces.get(above.checked_sub(1)?)?;
        let skipped = address - range.address;
        let bytes = bytes.get(usize::try_from(skipped).ok()?..).filter(|bytes| !bytes.is_empty())?;
        Some((range.physical_address.wrapping_add(skipped), &bytes[..length.min(bytes.len())]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boot::BytesImage;

    #[test]
    fn bytes_are_found_by_their_address() {
        let image = BytesImage::new("guest", b"0123456789");
        let range = |address, offset, length| CodeRange {
            address,
            physical_address: address + 0x100,
            offset,
            length,
        };
        let code = CodeBytes::read(&image, &[range(0x2000, 5, 5), range(0x1000, 0, 5)]).unwrap();
        assert_eq!(code.at(0x1001, 3), Some((0x1101, &b"123"[..])));
        assert_eq!(code.at(0x2004, 3), Some((0x2104, &b"9"[..])));
        assert_eq!((code.at(0xFFF, 1), code.at(0x1005, 1), code.at(0x2005, 1)), (None, None, None));
        assert!(CodeBytes::read(&image, &[range(0, 0, MOST_BYTES + 1)]).is_none());
        assert_eq!(CodeBytes::read(&image, &[range(0, 8, 5)]).unwrap().at(0, 1), None);
    }
}

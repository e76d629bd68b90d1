//! Pictures of half blocks: a character shows two pixels, one above the other.

use std::io::Write;

use crate::devices::vga::VideoFrame;

/// The upper half of a cell in the foreground's colour, the lower one in the background's.
const UPPER_HALF: &str = "\u{2580}";

/// Appends the rows of the picture that `before`, a picture of the same size, does not have, from the top left corner of
/// the terminal on.
pub(super) fn append(frame: &VideoFrame, before: Option<&VideoFrame>, out: &mut Vec<u8>) {
    let width = frame.size.0.max(1);
    let mut old = before.map(|frame| frame.pixels.chunks(2 * width));
    for (row, pixels) in frame.pixels.chunks(2 * width).enumerate() {
        if old.as_mut().and_then(Iterator::next) == Some(pixels) {
            continue;
        }
        // Writing to memory does not fail.
        let _ = write!(out, "\x1b[{};1H", row + 1);
        let (upper, lower) = pixels.split_at(width.min(pixels.len()));
        let mut pen = None;
        for (at, upper) in upper.iter().enumerate() {
            let lower = lower.get(at).unwrap_or(&[0; 3]);
            if pen != Some((upper, lower)) {
                let ([r, g, b], [red, green, blue]) = (*upper, *lower);
                let _ = write!(out, "\x1b[38;2;{r};{g};{b};48;2;{red};{green};{blue}m");
                pen = Some((upper, lower));
            }
            out.extend_from_slice(UPPER_HALF.as_bytes());
        }
    }
    out.extend_from_slice(b"\x1b[0m");
}

//! Pictures as sixels: columns of six pixels, colour by colour.

use std::collections::BTreeMap;
use std::io::Write;

use crate::devices::vga::VideoFrame;

/// Most colours that a terminal is expected to have.
const MOST_COLOURS: usize = 256;
/// Steps of each component where a picture has more colours.
const STEPS: u32 = 6;
/// Pixels of a sixel.
const LINES: usize = 6;

/// Appends the picture.
pub(super) fn append(frame: &VideoFrame, out: &mut Vec<u8>) {
    let (width, height) = frame.size;
    let exact = numbers(frame.pixels.iter().copied());
    let few = exact.len() <= MOST_COLOURS;
    let shown = |pixel: [u8; 3]| if few { pixel } else { reduced(pixel) };
    let palette = if few { exact } else { numbers(frame.pixels.iter().map(|pixel| reduced(*pixel))) };
    // Pixels are square, and the background stays.
    let _ = write!(out, "\x1bP0;1q\"1;1;{width};{height}");
    for (colour, number) in &palette {
        let [red, green, blue] = colour.map(|component| (u32::from(component) * 100 + 127) / 255);
        let _ = write!(out, "#{number};2;{red};{green};{blue}");
    }
    for band in frame.pixels.chunks(width.max(1) * LINES) {
        let mut lines: BTreeMap<usize, Vec<u8>> = BTreeMap::new();
        for (at, pixel) in band.iter().enumerate() {
            let number = palette.get(&shown(*pixel)).copied().unwrap_or(0);
            let line = lines.entry(number).or_insert_with(|| vec![0; width]);
            line[at % width] |= 1 << (at / width);
        }
        for (number, line) in lines {
            let _ = write!(out, "#{number}");
            for run in line.chunk_by(|one, other| one == other) {
                let sixel = run[0] + b'?';
                if run.len() > 3 {
                    let _ = write!(out, "!{}", run.len());
                    out.push(sixel);
                } else {
                    out.extend(std::iter::repeat_n(sixel, run.len()));
                }
            }
            out.push(b'$');
        }
        out.push(b'-');
    }
    out.extend_from_slice(b"\x1b\\");
}

/// The colours of the pixels, with a number each; one more than [`MOST_COLOURS`] if there are too many.
fn numbers(pixels: impl Iterator<Item = [u8; 3]>) -> BTreeMap<[u8; 3], usize> {
    let mut numbers = BTreeMap::new();
    for pixel in pixels {
        let next = numbers.len();
        numbers.entry(pixel).or_insert(next);
        if numbers.len() > MOST_COLOURS {
            break;
        }
    }
    numbers
}

/// The nearest colour of those with few steps.
fn reduced(colour: [u8; 3]) -> [u8; 3] {
    let most = STEPS - 1;
    colour.map(|component| ((u32::from(component) * most + 127) / 255 * 255 / most) as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sixels(size: (usize, usize), pixel: impl Fn(usize) -> [u8; 3]) -> String {
        let mut out = Vec::new();
        append(&VideoFrame { size, pixels: (0..size.0 * size.1).map(pixel).collect() }, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn each_band_has_its_colours_in_runs() {
        let found = sixels((5, 7), |at| if at == 1 { [255, 0, 0] } else { [0; 3] });
        let expected = "\x1bP0;1q\"1;1;5;7#0;2;0;0;0#1;2;100;0;0#0~}~~~$#1?@???$-#0!5@$-\x1b\\";
        assert_eq!(found, expected);
    }

    #[test]
    fn a_picture_of_many_colours_gets_the_nearest_ones() {
        let found = sixels((100, 60), |at| [(at / 24) as u8, (at % 251) as u8, (at % 13) as u8]);
        assert!(found.matches(";2;").count() <= MOST_COLOURS, "{}", found.matches(";2;").count());
        assert_eq!((reduced([0, 127, 255]), reduced([26, 25, 77])), ([0, 102, 255], [51, 0, 102]));
    }
}

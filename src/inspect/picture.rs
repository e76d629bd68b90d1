//! A picture, as a PNG file or as a portable pixmap.
//!
//! Manual: *Portable Network Graphics (PNG) Specification*, sections "Chunk layout", "IHDR", "PLTE", "tEXt" and
//! "Deflate/Inflate compression".

use std::collections::BTreeSet;

use miniz_oxide::deflate::compress_to_vec_zlib;

/// First bytes of every PNG file.
const SIGNATURE: &[u8] = b"\x89PNG\r\n\x1A\n";
/// First bytes of a portable pixmap: the comment names the program.
const PIXMAP: &[u8] = b"P6\n# kvm\n";
/// The text that names the program by which a file was written.
const SOFTWARE: &[u8] = b"Software\0kvm";
/// Compression level, from 0 to 10: most of a text screen is repetition.
const LEVEL: u8 = 6;

/// Bytes of a line before which its filter is named.
const NO_FILTER: u8 = 0;

/// A picture: red, green and blue of each pixel, 0 to 255.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    width: usize,
    pixels: Vec<[u8; 3]>,
}

impl Picture {
    /// A picture of one colour.
    pub fn new(width: usize, height: usize, colour: [u8; 3]) -> Picture {
        Picture { width, pixels: vec![colour; width * height] }
    }

    /// A picture with these pixels, line by line.
    pub fn with_pixels(width: usize, pixels: Vec<[u8; 3]>) -> Picture {
        Picture { width, pixels }
    }

    /// Pixels from left to right.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Pixels from top to bottom.
    pub fn height(&self) -> usize {
        self.pixels.len().checked_div(self.width).unwrap_or(0)
    }

    /// The pixels, line by line.
    pub fn pixels(&self) -> &[[u8; 3]] {
        &self.pixels
    }

    /// The colour of a pixel; `None` outside of the picture.
    pub fn get(&self, x: usize, y: usize) -> Option<[u8; 3]> {
        if x < self.width { self.pixels.get(y * self.width + x).copied() } else { None }
    }

    /// Gives a pixel a colour; outside of the picture there is nothing to colour.
    pub fn set(&mut self, x: usize, y: usize, colour: [u8; 3]) {
        if x < self.width
            && let Some(pixel) = self.pixels.get_mut(y * self.width + x)
        {
            *pixel = colour;
        }
    }

    /// The colours in use, ascending, if they are at most 256.
    fn palette(&self) -> Option<Vec<[u8; 3]>> {
        let mut colours = BTreeSet::new();
        for pixel in &self.pixels {
            if colours.insert(*pixel) && colours.len() > 256 {
                return None;
            }
        }
        Some(colours.into_iter().collect())
    }

    /// The PNG file: with a palette if few colours are in use.
    pub fn to_png(&self) -> Vec<u8> {
        let palette = self.palette();
        // Bits of a sample, and the type of colour: with a palette, or three samples.
        let (bits, kind) = match palette.as_ref().map(Vec::len) {
            Some(0..=16) => (4, 3),
            Some(_) => (8, 3),
            None => (8, 2),
        };
        let mut file = SIGNATURE.to_vec();
        let mut header = Vec::new();
        for length in [self.width, self.height()] {
            header.extend((length as u32).to_be_bytes());
        }
        // The methods are the only ones that there are.
        header.extend([bits, kind, 0, 0, 0]);
        chunk(&mut file, b"IHDR", &header);
        chunk(&mut file, b"tEXt", SOFTWARE);
        let mut lines = Vec::with_capacity(self.pixels.len() * 3 + self.height());
        if let Some(palette) = &palette {
            chunk(&mut file, b"PLTE", palette.as_flattened());
        }
        for line in self.pixels.chunks(self.width.max(1)) {
            lines.push(NO_FILTER);
            let Some(palette) = &palette else {
                lines.extend_from_slice(line.as_flattened());
                continue;
            };
            let number = |pixel: &[u8; 3]| palette.binary_search(pixel).unwrap_or(0) as u8;
            if bits == 8 {
                lines.extend(line.iter().map(number));
            } else {
                lines
                    .extend(line.chunks(2).map(|pair| number(&pair[0]) << 4 | pair.get(1).map_or(0, number)));
            }
        }
        chunk(&mut file, b"IDAT", &compress_to_vec_zlib(&lines, LEVEL));
        chunk(&mut file, b"IEND", &[]);
        file
    }

    /// The picture as a portable pixmap, as QEMU writes it.
    pub fn to_ppm(&self) -> Vec<u8> {
        let mut file = PIXMAP.to_vec();
        file.extend(format!("{} {}\n255\n", self.width, self.height()).into_bytes());
        file.extend_from_slice(self.pixels.as_flattened());
        file
    }
}

fn chunk(file: &mut Vec<u8>, kind: &[u8; 4], content: &[u8]) {
    file.extend((content.len() as u32).to_be_bytes());
    let start = file.len();
    file.extend(kind);
    file.extend(content);
    let check = crc32fast::hash(&file[start..]);
    file.extend(check.to_be_bytes());
}

/// True if `start`, the first bytes of a file, are those of [`Picture::to_ppm`].
pub fn is_own_pixmap(start: &[u8]) -> bool {
    start.starts_with(PIXMAP)
}

/// True if `start`, the first bytes of a file, are those of [`Picture::to_png`].
pub fn is_own_png(start: &[u8]) -> bool {
    // The header chunk has 13 bytes, and every chunk a length, a kind and a checksum of four bytes each.
    const TEXT: usize = 8 + 12 + 13 + 8;
    start.starts_with(SIGNATURE) && start.get(TEXT..).is_some_and(|text| text.starts_with(SOFTWARE))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The pixels in a file, unpacked by the decoder of the compression library.
    fn pixels_of(picture: &Picture) -> Vec<u8> {
        let file = picture.to_png();
        let at = file.windows(4).position(|bytes| bytes == b"IDAT").unwrap();
        let length = u32::from_be_bytes(file[at - 4..at].try_into().unwrap());
        miniz_oxide::inflate::decompress_to_vec_zlib(&file[at + 4..][..length as usize]).unwrap()
    }

    #[test]
    fn a_picture_of_any_size_becomes_a_file() {
        for (width, height) in [(0, 0), (1, 1), (3, 2), (0, 7), (7, 0), (640, 400)] {
            let mut picture = Picture::new(width, height, [7; 3]);
            picture.set(width, height, [3; 3]);
            picture.set(width.wrapping_sub(1), 0, [3; 3]);
            let file = picture.to_png();
            assert!(file.starts_with(b"\x89PNG\r\n\x1A\n\0\0\0\x0DIHDR"));
            assert!(file.ends_with(b"IEND\xAE\x42\x60\x82"));
        }
    }

    #[test]
    fn few_colours_become_a_palette_and_many_do_not() {
        let colours = |count: usize| {
            let pixels = (0..count).map(|at| [(at / 256) as u8, at as u8, 7]).collect();
            pixels_of(&Picture::with_pixels(count, pixels))
        };
        assert_eq!(colours(3), [0, 0x01, 0x20], "two pixels share a byte");
        assert_eq!(colours(17), (0..18).map(|at: u8| at.saturating_sub(1)).collect::<Vec<u8>>());
        assert_eq!(colours(257)[..7], [0, 0, 0, 7, 0, 1, 7]);
    }

    #[test]
    fn a_pixmap_has_the_pixels_behind_its_size() {
        let picture = Picture::with_pixels(1, vec![[1, 2, 3], [4, 5, 6]]);
        assert_eq!(picture.to_ppm(), b"P6\n# kvm\n1 2\n255\n\x01\x02\x03\x04\x05\x06");
    }

    #[test]
    fn a_text_screen_becomes_a_small_file() {
        let mut picture = Picture::new(640, 400, [7; 3]);
        for (x, y) in
            (0..400).flat_map(|y| (0..640).map(move |x| (x, y))).filter(|(x, y)| x / 3 % (y / 5 + 1) == 0)
        {
            picture.set(x, y, [170; 3]);
        }
        let file = picture.to_png();
        assert!(file.len() < 24 << 10, "{} bytes", file.len());
        assert_eq!(pixels_of(&picture).len(), 400 * 321);
    }

    #[test]
    fn own_files_are_recognised() {
        let file = Picture::new(3, 1, [0; 3]).to_png();
        assert!(is_own_png(&file) && is_own_png(&file[..100]));
        assert!(!is_own_png(&file[..40]) && !is_own_png(b""));
        let other = [&file[..33], &file[33 + 12 + SOFTWARE.len()..]].concat();
        assert!(!is_own_png(&other));
    }
}

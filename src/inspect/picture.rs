//! A picture of sixteen colours, as a PNG file.
//!
//! Manual: *Portable Network Graphics (PNG) Specification*, sections "Chunk layout", "IHDR", "PLTE", "tEXt" and
//! "Deflate/Inflate compression".

use miniz_oxide::deflate::compress_to_vec_zlib;

/// First bytes of every PNG file.
const SIGNATURE: &[u8] = b"\x89PNG\r\n\x1A\n";
/// The text that names the program by which a file was written.
const SOFTWARE: &[u8] = b"Software\0kvm";
/// Compression level, from 0 to 10: most of a text screen is repetition.
const LEVEL: u8 = 6;

/// A picture whose pixels are numbers of colours, 0 to 15.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    width: usize,
    pixels: Vec<u8>,
    colours: [[u8; 3]; 16],
}

impl Picture {
    /// A picture of one colour, the first of `colours`, which are red, green and blue, 0 to 255 each.
    pub fn new(width: usize, height: usize, colours: [[u8; 3]; 16]) -> Picture {
        Picture { width, pixels: vec![0; width * height], colours }
    }

    /// Pixels from left to right.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Pixels from top to bottom.
    pub fn height(&self) -> usize {
        self.pixels.len().checked_div(self.width).unwrap_or(0)
    }

    /// The colour of a pixel; `None` outside of the picture.
    pub fn get(&self, x: usize, y: usize) -> Option<u8> {
        if x < self.width { self.pixels.get(y * self.width + x).copied() } else { None }
    }

    /// Gives a pixel a colour; outside of the picture there is nothing to colour.
    pub fn set(&mut self, x: usize, y: usize, colour: u8) {
        if x < self.width
            && let Some(pixel) = self.pixels.get_mut(y * self.width + x)
        {
            *pixel = colour & 15;
        }
    }

    /// The PNG file.
    pub fn to_png(&self) -> Vec<u8> {
        let mut file = SIGNATURE.to_vec();
        let mut header = Vec::new();
        for length in [self.width, self.height()] {
            header.extend((length as u32).to_be_bytes());
        }
        // Four bits a pixel, a palette, and the only methods there are.
        header.extend([4, 3, 0, 0, 0]);
        chunk(&mut file, b"IHDR", &header);
        chunk(&mut file, b"tEXt", SOFTWARE);
        chunk(&mut file, b"PLTE", self.colours.as_flattened());
        let mut lines = Vec::with_capacity(self.pixels.len() / 2 + self.height());
        for line in self.pixels.chunks(self.width.max(1)) {
            // No filter.
            lines.push(0);
            lines.extend(line.chunks(2).map(|pair| pair[0] << 4 | pair.get(1).copied().unwrap_or(0)));
        }
        chunk(&mut file, b"IDAT", &compress_to_vec_zlib(&lines, LEVEL));
        chunk(&mut file, b"IEND", &[]);
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
    fn pixels(file: &[u8]) -> Vec<u8> {
        let at = file.windows(4).position(|bytes| bytes == b"IDAT").unwrap();
        let length = u32::from_be_bytes(file[at - 4..at].try_into().unwrap());
        miniz_oxide::inflate::decompress_to_vec_zlib(&file[at + 4..][..length as usize]).unwrap()
    }

    #[test]
    fn a_picture_of_any_size_becomes_a_file() {
        for (width, height) in [(0, 0), (1, 1), (3, 2), (0, 7), (7, 0), (640, 400)] {
            let mut picture = Picture::new(width, height, [[7; 3]; 16]);
            picture.set(width, height, 3);
            picture.set(width.wrapping_sub(1), 0, 3);
            let file = picture.to_png();
            assert!(file.starts_with(b"\x89PNG\r\n\x1A\n\0\0\0\x0DIHDR"));
            assert!(file.ends_with(b"IEND\xAE\x42\x60\x82"));
        }
    }

    #[test]
    fn odd_pixels_share_a_byte_with_nothing() {
        let mut picture = Picture::new(3, 1, [[0; 3]; 16]);
        for (x, colour) in [1, 2, 3].into_iter().enumerate() {
            picture.set(x, 0, colour);
        }
        assert_eq!(pixels(&picture.to_png()), [0, 0x12, 0x30]);
    }

    #[test]
    fn a_text_screen_becomes_a_small_file() {
        let mut picture = Picture::new(640, 400, [[7; 3]; 16]);
        for (x, y) in
            (0..400).flat_map(|y| (0..640).map(move |x| (x, y))).filter(|(x, y)| x / 3 % (y / 5 + 1) == 0)
        {
            picture.set(x, y, 7);
        }
        let file = picture.to_png();
        assert!(file.len() < 24 << 10, "{} bytes", file.len());
        assert_eq!(pixels(&file).len(), 400 * 321);
    }

    #[test]
    fn own_files_are_recognised() {
        let file = Picture::new(3, 1, [[0; 3]; 16]).to_png();
        assert!(is_own_png(&file) && is_own_png(&file[..100]));
        assert!(!is_own_png(&file[..40]) && !is_own_png(b""));
        let other = [&file[..33], &file[33 + 12 + SOFTWARE.len()..]].concat();
        assert!(!is_own_png(&other));
    }
}

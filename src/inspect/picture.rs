//! A picture of sixteen colours, as a PNG file.
//!
//! Manual: *Portable Network Graphics (PNG) Specification*, sections "Chunk layout", "IHDR", "PLTE" and
//! "Deflate/Inflate compression"; RFC 1950 and, for blocks that are stored as they are, RFC 1951.

/// Most bytes of a block that is stored as it is.
const LONGEST_BLOCK: usize = 0xFFFF;

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

    /// The PNG file. It is not compressed: there is not much of it.
    pub fn to_png(&self) -> Vec<u8> {
        let mut file = b"\x89PNG\r\n\x1A\n".to_vec();
        let mut header = Vec::new();
        for length in [self.width, self.height()] {
            header.extend((length as u32).to_be_bytes());
        }
        // Four bits a pixel, a palette, and the only methods there are.
        header.extend([4, 3, 0, 0, 0]);
        chunk(&mut file, b"IHDR", &header);
        chunk(&mut file, b"PLTE", self.colours.as_flattened());
        let mut lines = Vec::with_capacity(self.pixels.len() / 2 + self.height());
        for line in self.pixels.chunks(self.width.max(1)) {
            // No filter.
            lines.push(0);
            lines.extend(line.chunks(2).map(|pair| pair[0] << 4 | pair.get(1).copied().unwrap_or(0)));
        }
        chunk(&mut file, b"IDAT", &stored(&lines));
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

/// A zlib stream of blocks that are stored as they are.
fn stored(content: &[u8]) -> Vec<u8> {
    let mut stream = vec![0x78, 0x01];
    let mut blocks = content.chunks(LONGEST_BLOCK).peekable();
    while let Some(block) = blocks.next() {
        let length = block.len() as u16;
        stream.push(u8::from(blocks.peek().is_none()));
        stream.extend(length.to_le_bytes());
        stream.extend((!length).to_le_bytes());
        stream.extend(block);
    }
    stream.extend(adler32(content).to_be_bytes());
    stream
}

fn adler32(bytes: &[u8]) -> u32 {
    let (mut low, mut high) = (1u32, 0u32);
    for byte in bytes {
        low = (low + u32::from(*byte)) % 65521;
        high = (high + low) % 65521;
    }
    high << 16 | low
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_those_of_their_standards() {
        assert_eq!(crc32fast::hash(b"123456789"), 0xCBF4_3926);
        assert_eq!(adler32(b"Wikipedia"), 0x11E6_0398);
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
        let file = picture.to_png();
        let at = file.windows(4).position(|bytes| bytes == b"IDAT").unwrap();
        assert_eq!(file[at + 4..][..10], [0x78, 1, 1, 3, 0, 0xFC, 0xFF, 0, 0x12, 0x30]);
    }
}

//! Pictures by kitty's graphics protocol.

use std::io::Write;

use miniz_oxide::deflate::compress_to_vec_zlib;

use crate::devices::vga::VideoFrame;

/// Removes all pictures.
pub(super) const DELETE: &[u8] = b"\x1b_Ga=d,d=A,q=2\x1b\\";

/// Most bytes of a picture in one sequence.
const PIECE: usize = 4096;
/// Compression level, from 0 to 10: fast.
const LEVEL: u8 = 1;

/// Appends the picture, which the terminal scales to so many columns and rows. It replaces the one before.
pub(super) fn append(frame: &VideoFrame, (columns, rows): (usize, usize), out: &mut Vec<u8>) {
    let (width, height) = frame.size;
    let packed = base64(&compress_to_vec_zlib(frame.pixels.as_flattened(), LEVEL));
    let pieces = packed.chunks(PIECE).count();
    for (at, piece) in packed.chunks(PIECE).enumerate() {
        out.extend_from_slice(b"\x1b_G");
        if at == 0 {
            // Transmit and show; 24 bits a pixel; compressed; number 1; no answers; the cursor stays.
            let keys = format!("a=T,f=24,o=z,s={width},v={height},i=1,p=1,q=2,C=1,c={columns},r={rows},");
            out.extend_from_slice(keys.as_bytes());
        }
        // Writing to memory does not fail.
        let _ = write!(out, "m={};", u8::from(at + 1 < pieces));
        out.extend_from_slice(piece);
        out.extend_from_slice(b"\x1b\\");
    }
}

/// Base 64 (RFC 4648, section 4).
fn base64(bytes: &[u8]) -> Vec<u8> {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = Vec::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let byte = |at: usize| u32::from(group.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for digit in 0..4 {
            let is_filled = digit <= group.len();
            text.push(if is_filled { DIGITS[(bits >> (18 - 6 * digit) & 63) as usize] } else { b'=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base_64_is_that_of_the_rfc() {
        for (bytes, text) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")]
        {
            assert_eq!(base64(bytes.as_bytes()), text.as_bytes());
        }
    }

    #[test]
    fn a_large_picture_comes_in_pieces() {
        let mut random = 1u32;
        let mut next = || {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (random >> 24) as u8
        };
        let pixels = (0..4000).map(|_| [next(), next(), next()]).collect();
        let mut out = Vec::new();
        append(&VideoFrame { size: (80, 50), pixels }, (40, 12), &mut out);
        let text = String::from_utf8(out).unwrap();
        let pieces: Vec<&str> = text.split_terminator("\x1b\\").collect();
        assert!(
            pieces.len() > 2 && pieces[0].starts_with("\x1b_Ga=T,f=24,o=z,s=80,v=50,"),
            "{}",
            pieces.len()
        );
        assert!(pieces[0].contains(",c=40,r=12,m=1;") && pieces[1].starts_with("\x1b_Gm=1;"));
        assert!(pieces[pieces.len() - 1].starts_with("\x1b_Gm=0;"));
    }
}

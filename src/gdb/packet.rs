//! Packets: found in the bytes that a client sends, and written.
//!
//! A packet is `$BODY#CHECKSUM`. Numbers in it are hexadecimal; data is hexadecimal, or binary with four bytes
//! escaped. The protocol library also finds packets, but takes one byte at a time and does not report which packet
//! it is handling, which [`super::extensions`] has to know.
//!
//! Manual: "Overview" in "Appendix E: gdb Remote Serial Protocol" of *Debugging with gdb*.

/// Finds packets in a stream of bytes.
#[derive(Debug)]
pub(crate) struct PacketScanner {
    packet: Vec<u8>,
    /// Bytes of the checksum that are still to come, once the body is over.
    checksum_left: Option<usize>,
    max_size: usize,
}

/// The result of [`PacketScanner::take`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scanned {
    /// RegisterPart of a packet whose end has not arrived yet.
    Inside,
    /// Outside of any packet: an acknowledgement, Ctrl-C, or a byte without a meaning.
    Loose,
    /// The end of [`PacketScanner::packet`].
    Last,
    /// A packet longer than it may be.
    TooLong,
}

impl PacketScanner {
    /// A scanner for packets of at most `max_size` bytes, with `$` and checksum.
    pub(crate) fn new(max_size: usize) -> PacketScanner {
        PacketScanner { packet: Vec::new(), checksum_left: None, max_size }
    }

    /// Takes as many of `bytes` as are of one kind. Returns the kind and how many: one outside of packets, a
    /// stretch within them, as data for memory is long.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> (Scanned, usize) {
        if self.checksum_left == Some(0) {
            self.packet.clear();
            self.checksum_left = None;
        }
        if self.packet.is_empty() && bytes.first() != Some(&b'$') {
            return (Scanned::Loose, bytes.len().min(1));
        }
        let count = match self.checksum_left {
            Some(left) => left.min(bytes.len()),
            None => bytes.iter().position(|byte| *byte == b'#').map_or(bytes.len(), |end| end + 1),
        };
        if count > self.max_size - self.packet.len() {
            return (Scanned::TooLong, 0);
        }
        self.packet.extend_from_slice(&bytes[..count]);
        match &mut self.checksum_left {
            Some(left) => *left -= count,
            None if self.packet.ends_with(b"#") => self.checksum_left = Some(2),
            None => {}
        }
        (if self.checksum_left == Some(0) { Scanned::Last } else { Scanned::Inside }, count)
    }

    /// The packet that has just ended, from `$` to the checksum.
    pub(crate) fn packet(&self) -> &[u8] {
        &self.packet
    }

    /// Its body; `None` if the checksum is wrong.
    pub(crate) fn body(&self) -> Option<&[u8]> {
        let [b'$', body @ .., b'#', high, low] = self.packet.as_slice() else { return None };
        let sum = number(&[*high, *low])?;
        (sum == u64::from(checksum(body))).then_some(body)
    }
}

/// An address and a length.
pub(super) fn memory_range(text: &[u8]) -> Option<(u64, u64)> {
    let (address, length) = split(text, b',')?;
    Some((number(address)?, number(length)?))
}

pub(super) fn split(text: &[u8], at: u8) -> Option<(&[u8], &[u8])> {
    let position = text.iter().position(|byte| *byte == at)?;
    Some((&text[..position], &text[position + 1..]))
}

/// A hexadecimal number of at most 64 bits.
pub(super) fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u64, |value, digit| {
        let digit = (*digit as char).to_digit(16)?;
        (value >> 60 == 0).then_some(value << 4 | u64::from(digit))
    })
}

/// The bytes that `digits` encode in hexadecimal, two digits each.
pub(crate) fn from_hex(digits: &[u8]) -> Option<Vec<u8>> {
    // The library accepts a prefix.
    const_hex::decode(digits).ok().filter(|bytes| 2 * bytes.len() == digits.len())
}

/// The bytes that `data` encodes in binary; `None` if it ends in the middle of an escaped byte.
pub(crate) fn from_binary(data: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(data.len());
    let mut rest = data;
    while let Some(plain) = rest.iter().position(|byte| *byte == b'}') {
        bytes.extend_from_slice(&rest[..plain]);
        bytes.push(rest.get(plain + 1)? ^ 0x20);
        rest = &rest[plain + 2..];
    }
    bytes.extend_from_slice(rest);
    Some(bytes)
}

/// The sum of all bytes, modulo 256. Answers are long: eight bytes are added at once, in lanes of 16 bits, which hold
/// the sums of up to `WORDS` words.
pub(crate) fn checksum(body: &[u8]) -> u8 {
    const EVERY_OTHER: u64 = 0x00FF_00FF_00FF_00FF;
    const WORDS: usize = 128;
    let (words, rest) = body.as_chunks::<8>();
    let mut sum = rest.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte));
    for words in words.chunks(WORDS) {
        let lanes = words.iter().fold(0, |lanes, word| {
            let word = u64::from_le_bytes(*word);
            lanes + (word & EVERY_OTHER) + (word >> 8 & EVERY_OTHER)
        });
        for lane in 0..4 {
            sum = sum.wrapping_add((lanes >> (16 * lane)) as u8);
        }
    }
    sum
}

/// Appends a packet with the body that `body` writes to `out`.
pub(crate) fn write_packet(out: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>)) {
    out.push(b'$');
    let start = out.len();
    body(out);
    let sum = checksum(&out[start..]);
    out.push(b'#');
    add_hex(out, &[sum]);
}

/// Replaces the body of the packet at the end of `out` by the result of `change`.
pub(crate) fn change_last_packet(out: &mut Vec<u8>, change: impl FnOnce(&str) -> String) {
    let Some(start) = out.iter().rposition(|byte| *byte == b'$') else { return };
    let packet = String::from_utf8_lossy(&out[start + 1..]).into_owned();
    let body = change(packet.split('#').next().unwrap_or_default());
    out.truncate(start);
    write_packet(out, |out| out.extend_from_slice(body.as_bytes()));
}

/// Adds bytes in hexadecimal.
pub(crate) fn add_hex(out: &mut Vec<u8>, bytes: &[u8]) {
    let start = out.len();
    out.resize(start + 2 * bytes.len(), 0);
    const_hex::encode_to_slice(bytes, &mut out[start..]).expect("two digits for each byte fit");
}

/// Adds bytes in binary, with the four special bytes of packets escaped. Stops before `out` is longer than
/// `max_size`.
pub(crate) fn add_binary(out: &mut Vec<u8>, bytes: &[u8], max_size: usize) {
    let mut rest = bytes;
    while let Some(room) = max_size.checked_sub(out.len() + 2) {
        let window = &rest[..rest.len().min(room)];
        let plain = window.iter().position(|byte| matches!(byte, b'#' | b'$' | b'}' | b'*'));
        out.extend_from_slice(&window[..plain.unwrap_or(window.len())]);
        let Some(plain) = plain else { return };
        out.extend([b'}', window[plain] ^ 0x20]);
        rest = &rest[plain + 1..];
    }
}

#[cfg(test)]
#[path = "packet_test.rs"]
mod tests;

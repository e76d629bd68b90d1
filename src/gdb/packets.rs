//! Packets of gdb's protocol: found in what a client sends, read, and written.
//!
//! The library knows most packets. The ones that are read here are those it does not know, those whose
//! refusal is to be told in words, those that carry registers and memory, as it handles bytes one by one, and
//! those that name threads, as it hangs up on a client that names a wrong one.
//!
//! Manual: "Overview" and "Packets" in "Appendix E: gdb Remote Serial Protocol" of *Debugging with gdb*;
//! the packets that begin with `qqemu` and `Qqemu`: "GDB usage" in QEMU's *System Emulation*.

use std::num::NonZeroUsize;

use super::threads::PROCESS;

/// Finds packets in a stream of bytes.
#[derive(Debug)]
pub(crate) struct Scanner {
    packet: Vec<u8>,
    /// Bytes of the checksum that are still to come, once the body is over.
    checksum_left: Option<usize>,
    most: usize,
}

/// What some bytes were.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    /// Part of a packet that goes on.
    Inside,
    /// Outside of any packet: an acknowledgement, Ctrl-C, or rubbish.
    Loose,
    /// The end of [`Scanner::packet`].
    Last,
    /// More than a packet may have.
    TooMuch,
}

impl Scanner {
    /// A scanner for packets of at most `most` bytes, with everything that belongs to them.
    pub(crate) fn new(most: usize) -> Scanner {
        Scanner { packet: Vec::new(), checksum_left: None, most }
    }

    /// Takes as many of `bytes` as are of one kind; what they are, and how many. Outside of packets that
    /// is one; within them a stretch, because what is written to memory is long.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> (Piece, usize) {
        if self.checksum_left == Some(0) {
            self.packet.clear();
            self.checksum_left = None;
        }
        if self.packet.is_empty() && bytes.first() != Some(&b'$') {
            return (Piece::Loose, bytes.len().min(1));
        }
        let count = match self.checksum_left {
            Some(left) => left.min(bytes.len()),
            None => bytes.iter().position(|byte| *byte == b'#').map_or(bytes.len(), |end| end + 1),
        };
        if count > self.most - self.packet.len() {
            return (Piece::TooMuch, 0);
        }
        self.packet.extend_from_slice(&bytes[..count]);
        match &mut self.checksum_left {
            Some(left) => *left -= count,
            None if self.packet.ends_with(b"#") => self.checksum_left = Some(2),
            None => {}
        }
        (if self.checksum_left == Some(0) { Piece::Last } else { Piece::Inside }, count)
    }

    /// The packet whose end was taken just now, from `$` to the checksum.
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

/// A question that is answered here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Question<'a> {
    /// `m`, `x`: so many bytes of memory from an address.
    Read {
        /// The address.
        address: u64,
        /// How many bytes.
        length: u64,
        /// As they are, instead of in hexadecimal.
        binary: bool,
    },
    /// `M`, `X`: so many bytes of memory from an address are to be these.
    Write {
        /// The address.
        address: u64,
        /// How many bytes.
        length: u64,
        /// The bytes, for [`from_hex`] or [`from_binary`].
        data: &'a [u8],
        /// As they are, but for the escaped ones, instead of in hexadecimal.
        binary: bool,
    },
    /// `g`: all registers.
    ReadRegisters,
    /// `G`: all registers are to have these values, in hexadecimal.
    WriteRegisters(&'a [u8]),
    /// `p`: the register with this number.
    ReadRegister(u64),
    /// `P`: the register with this number is to have this value, in hexadecimal.
    WriteRegister(u64, &'a [u8]),
    /// `Hg`: questions about registers and memory are about this thread from now on.
    LookAt(Meant),
    /// `Hc`: `c` and `s` are for this thread from now on.
    Choose(Meant),
    /// `T`: whether there is such a thread.
    IsThread(Meant),
    /// `qC`: which thread is looked at.
    Thread,
    /// What is to be said of a thread.
    ThreadInfo(Meant),
    /// So many bytes, from an offset on, of a document on all threads.
    Threads {
        /// The offset.
        offset: u64,
        /// How many bytes.
        length: u64,
    },
    /// What QEMU has beyond gdb's own protocol, and is here, too.
    Extensions,
    /// Whether addresses are physical.
    Physical,
    /// Addresses are to be physical, or virtual.
    SetPhysical(bool),
    /// The names of the flags of a step.
    StepFlagNames,
    /// The flags of a step.
    StepFlags,
    /// Sets them.
    SetStepFlags(u64),
    /// What cannot be: threads are asked for it, or threads that there are not, or it is too long.
    Impossible,
    /// It begins as one of the above and does not go on like it.
    Malformed,
}

/// Which threads are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meant {
    /// All of them.
    All,
    /// Whichever there is.
    Any,
    /// The one that `Hc` has chosen.
    Chosen,
    /// The one with this number.
    One(NonZeroUsize),
    /// None that there can be.
    Nobody,
}

/// The threads that `text` names, with the process or without.
fn meant(text: &[u8]) -> Meant {
    let (process, thread) = match text.strip_prefix(b"p") {
        Some(rest) => split(rest, b'.').unwrap_or((rest, b"-1")),
        None => (&b"0"[..], text),
    };
    if process != b"-1" && !matches!(number(process), Some(0 | PROCESS)) {
        return Meant::Nobody;
    }
    match thread {
        b"-1" => Meant::All,
        b"0" => Meant::Any,
        _ => number(thread)
            .and_then(|number| NonZeroUsize::new(usize::try_from(number).ok()?))
            .map_or(Meant::Nobody, Meant::One),
    }
}

/// What threads are asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Asked<'a> {
    /// To go on, to step, and so on, in the words of `vCont`.
    pub(crate) action: &'a [u8],
    /// Which of them.
    pub(crate) meant: Meant,
}

/// What a packet's body asks threads to do; the first that is for a thread counts. `None` if the packet
/// is about something else.
pub(crate) fn resumption(body: &[u8]) -> Option<Vec<Asked<'_>>> {
    match body {
        b"c" | b"s" => Some(vec![Asked { action: body, meant: Meant::Chosen }]),
        // From another address, which the library would not mind.
        [b'c' | b's', address @ ..] if number(address).is_some() => {
            Some(vec![Asked { action: &body[..1], meant: Meant::Nobody }])
        }
        _ => {
            let actions = body.strip_prefix(b"vCont;")?.split(|byte| *byte == b';');
            Some(actions.map(asked).collect())
        }
    }
}

/// An action of `vCont`, with the threads it is for.
fn asked(text: &[u8]) -> Asked<'_> {
    let (action, threads) = split(text, b':').unwrap_or((text, b"-1"));
    let is_action = match action {
        b"c" | b"s" => true,
        [b'C' | b'S', signal @ ..] => number(signal).is_some_and(|signal| signal < 256),
        [b'r', range @ ..] => memory_range(range).is_some(),
        _ => false,
    };
    Asked { action, meant: if is_action { meant(threads) } else { Meant::Nobody } }
}

/// The question in a packet's body; `None` if the library is to answer it.
pub(crate) fn question(body: &[u8]) -> Option<Question<'_>> {
    match body {
        [b'g' | b'G' | b'm' | b'M' | b'p' | b'P' | b'x' | b'X', ..] => {
            Some(about_state(body).unwrap_or(Question::Malformed))
        }
        [b'H', b'g', thread @ ..] => Some(Question::LookAt(meant(thread))),
        [b'H', b'c', thread @ ..] => Some(Question::Choose(meant(thread))),
        [b'T', thread @ ..] => Some(Question::IsThread(meant(thread))),
        b"qC" => Some(Question::Thread),
        b"qqemu.Supported" => Some(Question::Extensions),
        b"qqemu.PhyMemMode" => Some(Question::Physical),
        b"Qqemu.PhyMemMode:0" => Some(Question::SetPhysical(false)),
        b"Qqemu.PhyMemMode:1" => Some(Question::SetPhysical(true)),
        b"qqemu.sstepbits" => Some(Question::StepFlagNames),
        b"qqemu.sstep" => Some(Question::StepFlags),
        _ => with_argument(body),
    }
}

/// True if a client that sends this `qSupported` packet says that it has a feature.
pub(crate) fn has_feature(body: &[u8], feature: &[u8]) -> bool {
    body.split(|byte| matches!(byte, b':' | b';')).any(|part| part == feature)
}

/// A question with a long name, and something behind it.
fn with_argument(body: &[u8]) -> Option<Question<'_>> {
    if let Some(thread) = body.strip_prefix(b"qThreadExtraInfo,") {
        return Some(Question::ThreadInfo(meant(thread)));
    }
    if let Some(range) = body.strip_prefix(b"qXfer:threads:read::") {
        let range = memory_range(range);
        return Some(
            range.map_or(Question::Malformed, |(offset, length)| Question::Threads { offset, length }),
        );
    }
    let flags = body.strip_prefix(b"Qqemu.sstep=")?;
    number(flags.strip_prefix(b"0x").unwrap_or(flags)).map(Question::SetStepFlags)
}

/// A question about registers or memory.
fn about_state(body: &[u8]) -> Option<Question<'_>> {
    match body {
        b"g" => Some(Question::ReadRegisters),
        [b'G', digits @ ..] => Some(Question::WriteRegisters(digits)),
        [b'p', digits @ ..] => number(digits).map(Question::ReadRegister),
        [b'P', rest @ ..] => {
            let (register, value) = split(rest, b'=')?;
            Some(Question::WriteRegister(number(register)?, value))
        }
        [kind @ (b'm' | b'x'), range @ ..] => {
            let (address, length) = memory_range(range)?;
            Some(Question::Read { address, length, binary: *kind == b'x' })
        }
        [kind @ (b'M' | b'X'), rest @ ..] => {
            let (range, data) = split(rest, b':')?;
            let (address, length) = memory_range(range)?;
            Some(Question::Write { address, length, data, binary: *kind == b'X' })
        }
        _ => None,
    }
}

/// An address and a length.
fn memory_range(text: &[u8]) -> Option<(u64, u64)> {
    let (address, length) = split(text, b',')?;
    Some((number(address)?, number(length)?))
}

fn split(text: &[u8], at: u8) -> Option<(&[u8], &[u8])> {
    let place = text.iter().position(|byte| *byte == at)?;
    Some((&text[..place], &text[place + 1..]))
}

/// A hexadecimal number of at most 64 bits.
fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u64, |value, digit| {
        let digit = (*digit as char).to_digit(16)?;
        (value >> 60 == 0).then_some(value << 4 | u64::from(digit))
    })
}

/// The bytes that `digits` stand for in hexadecimal, two each.
pub(crate) fn from_hex(digits: &[u8]) -> Option<Vec<u8>> {
    // The library lets a prefix be in front.
    const_hex::decode(digits).ok().filter(|bytes| 2 * bytes.len() == digits.len())
}

/// The bytes that `data` stands for as they are, but for the escaped ones.
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

/// A register's value from its bytes, the lowest first; `None` for more than 16 bytes.
pub(crate) fn register_value(bytes: &[u8]) -> Option<u128> {
    (bytes.len() <= 16).then(|| bytes.iter().rev().fold(0, |value, byte| value << 8 | u128::from(*byte)))
}

/// The sum of all bytes, modulo 256. Answers are long: eight bytes are added at once, in lanes of 16
/// bits, which hold the sums of so many words and no more.
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

/// Puts a packet with what `body` adds at the end of `out`.
pub(crate) fn write_packet(out: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>)) {
    out.push(b'$');
    let start = out.len();
    body(out);
    let sum = checksum(&out[start..]);
    out.push(b'#');
    add_hex(out, &[sum]);
}

/// Changes the packet at the end of `out`, a list of what the library can do: packets may be larger than it
/// says, and `more` can be done.
pub(crate) fn tell_more(out: &mut Vec<u8>, packet_size: usize, more: &str) {
    let Some(start) = out.iter().rposition(|byte| *byte == b'$') else { return };
    let list = String::from_utf8_lossy(&out[start..]).into_owned();
    let list = list.trim_start_matches('$').split('#').next().unwrap_or_default();
    let kept = list.split(';').filter(|feature| !feature.starts_with("PacketSize="));
    let told = kept.fold(format!("PacketSize={packet_size:x}"), |told, feature| told + ";" + feature);
    out.truncate(start);
    write_packet(out, |out| out.extend_from_slice((told + ";" + more).as_bytes()));
}

/// Adds bytes in hexadecimal.
pub(crate) fn add_hex(out: &mut Vec<u8>, bytes: &[u8]) {
    let start = out.len();
    out.resize(start + 2 * bytes.len(), 0);
    const_hex::encode_to_slice(bytes, &mut out[start..]).expect("there is room for two digits each");
}

/// Adds bytes as they are, the four that mean something in a packet escaped; stops before `out` is
/// longer than `most`.
pub(crate) fn add_binary(out: &mut Vec<u8>, bytes: &[u8], most: usize) {
    let mut rest = bytes;
    while let Some(room) = most.checked_sub(out.len() + 2) {
        let window = &rest[..rest.len().min(room)];
        let plain = window.iter().position(|byte| matches!(byte, b'#' | b'$' | b'}' | b'*'));
        out.extend_from_slice(&window[..plain.unwrap_or(window.len())]);
        let Some(plain) = plain else { return };
        out.extend([b'}', window[plain] ^ 0x20]);
        rest = &rest[plain + 1..];
    }
}

#[cfg(test)]
#[path = "packets_test.rs"]
mod tests;

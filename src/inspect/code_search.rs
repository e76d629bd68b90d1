//! Finds instructions in the code of a guest file: `xchg bx, bx`, which is Bochs' magic breakpoint, and `lidt`.
//!
//! The bytes alone may also be part of another instruction, or data. They count where decoding from the symbol
//! before them, or from the start of the section or segment, comes to them, and that symbol is no object.

use iced_x86::{Decoder, DecoderOptions, Mnemonic};

use super::disassembly::LONGEST_INSTRUCTION;
use crate::boot::{CodeRange, Image, code_ranges};
use crate::machine::Machine;

/// `xchg bx, bx` in 32-bit and 64-bit code.
pub const BYTES: [u8; 3] = [0x66, 0x87, 0xDB];

/// Bytes of an instruction that are enough to look closer.
const LOOK: usize = 3;
/// Prefixes that an instruction may have before these.
const MOST_PREFIXES: u64 = 4;

/// Bytes of the file that are read at a time.
const WINDOW: usize = 64 << 10;

/// What is searched for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sought {
    /// `xchg bx, bx` ([`BYTES`]).
    MagicBreakpoint,
    /// `lidt`, with any operand (Intel SDM volume 2A, "LGDT/LIDT").
    IdtLoad,
}

impl Sought {
    /// True if these bytes may be the instruction, behind its prefixes.
    fn may_be(self, bytes: &[u8]) -> bool {
        match (self, bytes) {
            (Sought::MagicBreakpoint, _) => bytes == BYTES,
            (Sought::IdtLoad, [0x0F, 0x01, operand]) => operand >> 3 & 7 == 3 && operand >> 6 != 3,
            (Sought::IdtLoad, _) => false,
        }
    }

    /// Prefixes that it may have in front of the bytes that [`Self::may_be`] knows.
    fn most_prefixes(self) -> u64 {
        if self == Sought::IdtLoad { MOST_PREFIXES } else { 0 }
    }

    /// True if `code` begins with the instruction, in code of `bitness` bits.
    pub fn is_at(self, code: &[u8], bitness: u32) -> bool {
        match self {
            Sought::MagicBreakpoint => code.starts_with(&BYTES) && bitness != 16,
            Sought::IdtLoad => {
                Decoder::new(bitness, code, DecoderOptions::NONE).decode().mnemonic() == Mnemonic::Lidt
            }
        }
    }
}

/// The guest-virtual addresses of the first `most` of them, ascending within each piece of code, and true if there
/// are more.
pub fn find(machine: &Machine, sought: Sought, most: usize) -> (Vec<u64>, bool) {
    let mut found = Vec::new();
    let start_of = |address| machine.code_start(address);
    for range in code_ranges(machine.image()) {
        Code { image: machine.image(), range, sought }.find(&start_of, most, &mut found);
        if found.len() > most {
            break;
        }
    }
    let more = found.len() > most;
    found.truncate(most);
    let bias = machine.symbols().bias();
    (found.into_iter().map(|address| address.wrapping_add(bias)).collect(), more)
}

struct Code<'i> {
    image: &'i dyn Image,
    range: CodeRange,
    sought: Sought,
}

impl Code<'_> {
    /// Adds addresses in the file until there are more than `most`. `start_of` gives the start of the code that an
    /// address belongs to: `Some(None)` if nothing names one, `None` if it is data.
    fn find(&self, start_of: &dyn Fn(u64) -> Option<Option<u64>>, most: usize, found: &mut Vec<u64>) {
        // Where decoding goes on: each byte is decoded at most once.
        let mut decoded: Option<(u64, u64)> = None;
        let mut from = self.range.address;
        while found.len() <= most
            && let Some(candidate) = self.candidate(from)
        {
            from = candidate + 1;
            let Some(start) = start_of(candidate) else { continue };
            let start = start.unwrap_or(self.range.address).max(self.range.address);
            let at = decoded.filter(|(of, _)| *of == start).map_or(start, |(_, at)| at);
            let mut at = self.decode_to(candidate.saturating_sub(self.sought.most_prefixes()).max(start), at);
            while at < candidate && !self.is_at(at) {
                at = self.decode_to(at + 1, at);
            }
            decoded = Some((start, at));
            if at <= candidate && self.is_at(at) {
                found.push(at);
            }
        }
    }

    /// True if decoding at `address` gives the instruction.
    fn is_at(&self, address: u64) -> bool {
        let mut window = [0; LONGEST_INSTRUCTION];
        self.sought.is_at(self.read(address, &mut window), 64)
    }

    /// The first address from `from` on where the bytes are.
    fn candidate(&self, mut from: u64) -> Option<u64> {
        let mut window = vec![0; WINDOW];
        loop {
            let bytes = self.read(from, &mut window);
            if bytes.len() < LOOK {
                return None;
            }
            if let Some(index) = bytes.windows(LOOK).position(|bytes| self.sought.may_be(bytes)) {
                return Some(from + index as u64);
            }
            from += (bytes.len() - LOOK + 1) as u64;
        }
    }

    /// Decodes from `at` to the first instruction that does not begin before `end`; its address.
    fn decode_to(&self, end: u64, mut at: u64) -> u64 {
        let mut window = vec![0; WINDOW];
        while at < end {
            let bytes = self.read(at, &mut window);
            let mut decoder = Decoder::with_ip(64, bytes, at, DecoderOptions::NONE);
            let whole = at + (bytes.len().saturating_sub(LONGEST_INSTRUCTION)) as u64;
            let last = self.range.address + self.range.length <= at + bytes.len() as u64;
            let before = at;
            while at < end && (last || at < whole) && decoder.can_decode() {
                at += decoder.decode().len() as u64;
            }
            if at == before {
                break;
            }
        }
        at
    }

    /// The bytes at `address`, at most as many as `window` has room for.
    fn read<'w>(&self, address: u64, window: &'w mut [u8]) -> &'w [u8] {
        let Some(skipped) = address.checked_sub(self.range.address) else { return &[] };
        let left = self.range.length.saturating_sub(skipped);
        let window = match usize::try_from(left) {
            Ok(left) if left < window.len() => &mut window[..left],
            _ => window,
        };
        if self.image.read_at(self.range.offset + skipped, window).is_ok() { window } else { &[] }
    }
}

#[cfg(test)]
#[path = "code_search_test.rs"]
mod tests;

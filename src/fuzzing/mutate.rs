//! Generates inputs from known ones.

use super::Random;

/// Maximum number of random bytes inserted at once.
const MOST_RANDOM: usize = 1 << 10;

/// Boundary values.
const EDGES: [u64; 18] = [
    0,
    1,
    2,
    0x7F,
    0x80,
    0xFF,
    0x100,
    0xFFF,
    0x1000,
    0x7FFF,
    0xFFFF,
    0x1_0000,
    0x7FFF_FFFF,
    0x8000_0000,
    0xFFFF_FFFF,
    0x1_0000_0000,
    u64::MAX >> 1,
    u64::MAX,
];

/// The material for generated inputs.
pub(super) struct Corpus<'a> {
    /// Whole inputs, at least one.
    pub(super) inputs: &'a [Vec<u8>],
    /// Meaningful pieces of input.
    pub(super) words: &'a [&'a [u8]],
    /// Bytes before which a part of an input begins.
    pub(super) marks: &'a [u8],
    /// Maximum length of a generated input.
    pub(super) longest: usize,
}

impl Corpus<'_> {
    /// A known input with some changes.
    pub(super) fn relative(&self, random: &mut Random) -> Vec<u8> {
        let mut bytes = random.pick(self.inputs).clone();
        // Usually few changes: a target rejects most input with many changes early.
        let most = 1 << random.below(4);
        for _ in 0..=random.below(most) {
            self.change(&mut bytes, random);
        }
        bytes.truncate(self.longest);
        bytes
    }

    fn change(&self, bytes: &mut Vec<u8>, random: &mut Random) {
        let at = self.place(bytes, random);
        match random.below(14) {
            0 => change_byte(bytes, at, |byte, random| byte ^ 1 << random.below(8), random),
            1 => change_byte(bytes, at, |_, random| random.next() as u8, random),
            2 => change_byte(bytes, at, |_, random| *random.pick(&EDGES) as u8, random),
            3 => change_number(bytes, at, |_, random| *random.pick(&EDGES), random),
            4 => change_number(bytes, at, near, random),
            5 => length_of_rest(bytes, at, random),
            6 => bytes.truncate(at),
            7 => _ = bytes.drain(at..self.end_of_piece(bytes, at, random)),
            8 => {
                let piece = bytes[at..self.end_of_piece(bytes, at, random)].to_vec();
                let to = self.place(bytes, random);
                insert(bytes, to, &piece);
            }
            9 => {
                let other = random.pick(self.inputs);
                let from = self.place(other, random);
                bytes.truncate(at);
                bytes.extend_from_slice(&other[from..]);
            }
            10 => {
                let other = random.pick(self.inputs);
                let from = self.place(other, random);
                insert(bytes, at, &other[from..self.end_of_piece(other, from, random)]);
            }
            11 if !self.words.is_empty() => {
                insert(bytes, at, self.words[random.below(self.words.len())]);
            }
            12 if !self.words.is_empty() => {
                let word = self.words[random.below(self.words.len())];
                bytes.resize(bytes.len().max(at + word.len()), 0);
                bytes[at..at + word.len()].copy_from_slice(word);
            }
            _ => {
                let most = 1 << random.below(MOST_RANDOM.ilog2() as usize + 1);
                let count = 1 + random.below(most);
                let noise: Vec<u8> = std::iter::repeat_with(|| random.next() as u8).take(count).collect();
                insert(bytes, at, &noise);
            }
        }
    }

    /// An offset in `bytes`, or its end; often the start of a part.
    fn place(&self, bytes: &[u8], random: &mut Random) -> usize {
        let at = random.below(bytes.len() + 1);
        if self.marks.is_empty() || random.below(2) == 0 {
            return at;
        }
        let mark = bytes[at..].iter().position(|byte| self.marks.contains(byte));
        mark.map_or(at, |distance| at + distance)
    }

    fn end_of_piece(&self, bytes: &[u8], at: usize, random: &mut Random) -> usize {
        let end = self.place(bytes, random);
        if end > at { end } else { bytes.len().min(at + 1 + random.below(16)) }
    }
}

fn insert(bytes: &mut Vec<u8>, at: usize, piece: &[u8]) {
    bytes.splice(at..at, piece.iter().copied());
}

fn change_byte(bytes: &mut [u8], at: usize, to: fn(u8, &mut Random) -> u8, random: &mut Random) {
    if let Some(byte) = bytes.get_mut(at) {
        *byte = to(*byte, random);
    }
}

/// Changes the number of 1, 2, 4 or 8 bytes at `at`, in either byte order.
fn change_number(bytes: &mut [u8], at: usize, to: fn(u64, &mut Random) -> u64, random: &mut Random) {
    let size = 1 << random.below(4);
    let Some(place) = bytes.get_mut(at..at + size) else { return };
    let turned = random.below(2) == 0;
    let mut number = [0; 8];
    number[..size].copy_from_slice(place);
    if turned {
        number[..size].reverse();
    }
    let mut number = to(u64::from_le_bytes(number), random).to_le_bytes();
    if turned {
        number[..size].reverse();
    }
    place.copy_from_slice(&number[..size]);
}

/// A little more or less.
fn near(number: u64, random: &mut Random) -> u64 {
    number.wrapping_add(random.next() % 33).wrapping_sub(16)
}

/// Writes the number of bytes that follow, or a number close to it.
fn length_of_rest(bytes: &mut [u8], at: usize, random: &mut Random) {
    let size = [1, 2, 4][random.below(3)];
    let Some((place, rest)) = bytes.get_mut(at..).and_then(|from| from.split_at_mut_checked(size)) else {
        return;
    };
    let length = (rest.len() as u32).wrapping_add(random.below(3) as u32).wrapping_sub(1);
    let mut number = length.to_le_bytes();
    if random.below(2) == 0 {
        number[..size].reverse();
    }
    place.copy_from_slice(&number[..size]);
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn mutated_inputs_vary_and_are_reproducible_by_seed() {
        let inputs = [b"first input;second part".to_vec(), Vec::new()];
        let corpus = Corpus { inputs: &inputs, words: &[b"WORD"], marks: b";", longest: 40 };
        let made = |seed| {
            let mut random = Random::new(seed);
            (0..500).map(|_| corpus.relative(&mut random)).collect::<Vec<_>>()
        };
        let all = made(1);
        assert_eq!(all, made(1));
        assert_ne!(all, made(2));
        assert!(all.iter().all(|input| input.len() <= 40));
        let different: HashSet<_> = all.iter().collect();
        assert!(different.len() > 200, "{}", different.len());
        assert!(all.iter().any(|input| input.windows(4).any(|piece| piece == b"WORD")));
    }

    #[test]
    fn numbers_are_changed_in_both_byte_orders() {
        let mut random = Random::new(5);
        let (mut little, mut big) = (false, false);
        for _ in 0..500 {
            let mut bytes = [1, 0, 0, 2];
            change_number(&mut bytes, 0, |number, _| number + 1, &mut random);
            little |= bytes == [2, 0, 0, 2];
            big |= bytes == [1, 0, 0, 3];
        }
        assert!(little && big);
    }
}

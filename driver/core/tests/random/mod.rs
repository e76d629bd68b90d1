// SPDX-License-Identifier: MIT OR GPL-2.0
//! Random numbers that are the same in every run (xorshift64*).

#![allow(dead_code)]

pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub fn below(&mut self, limit: usize) -> usize {
        (self.next() >> 32) as usize % limit
    }

    pub fn bytes(&mut self) -> [u8; 15] {
        let (low, high) = (self.next().to_le_bytes(), self.next().to_le_bytes());
        std::array::from_fn(|i| if i < 8 { low[i] } else { high[i - 8] })
    }

    /// A number in which mistakes show: small, at a border of a size, one bit, or any.
    pub fn number(&mut self) -> u64 {
        let any = self.next();
        match self.below(4) {
            0 => (any & 3).wrapping_sub(1),
            1 => (1 << [0, 7, 8, 15, 16, 31, 32, 63][self.below(8)]) - (any & 1),
            2 => 1 << (any & 63),
            _ => any,
        }
    }
}

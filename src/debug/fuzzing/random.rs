//! Choices that are the same for the same bytes.

/// Xorshift: Marsaglia, "Xorshift RNGs".
pub(super) struct Random(u64);

impl Random {
    /// Choices for `bytes`, by FNV-1a of them.
    pub(super) fn of(bytes: &[u8]) -> Random {
        let hash = bytes.iter().fold(0xCBF2_9CE4_8422_2325, |hash: u64, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01B3)
        });
        Random(hash | 1)
    }

    /// A number less than `most`, which is not 0.
    pub(super) fn below(&mut self, most: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) as usize % most
    }
}

//! Choices that are the same for the same seed.

/// Xorshift: Marsaglia, "Xorshift RNGs".
pub(crate) struct Random(u64);

impl Random {
    /// Choices for `seed`.
    #[cfg(test)]
    pub(crate) fn new(seed: u64) -> Random {
        // Similar seeds must lead to different choices (the finaliser of splitmix64).
        let mixed = (seed ^ seed >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        Random((mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB) | 1)
    }

    /// Choices for `bytes`, by FNV-1a of them.
    pub(crate) fn of(bytes: &[u8]) -> Random {
        let hash = bytes.iter().fold(0xCBF2_9CE4_8422_2325, |hash: u64, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01B3)
        });
        Random(hash | 1)
    }

    /// Any number.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A number less than `most`, which must not be 0.
    pub(crate) fn below(&mut self, most: usize) -> usize {
        (self.next() >> 16) as usize % most
    }

    /// One of `all`, which must not be empty.
    #[cfg(test)]
    pub(crate) fn pick<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }
}

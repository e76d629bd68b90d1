//! A set of pages of guest memory.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::arch::PAGE_SIZE;

/// Pages in one word of bits.
const WORD: u64 = 64;

/// Pages of guest-physical memory, ascending.
///
/// Its size grows with the pages in it: nothing for an empty one, about 3 MiB for 64 GiB of neighbouring pages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PageSet {
    /// A bit for each page, by the number of the first page of the word divided by [`WORD`]. No word is 0.
    words: BTreeMap<u64, u64>,
}

impl PageSet {
    /// True if it has no page.
    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// The number of pages.
    pub fn len(&self) -> u64 {
        self.words.values().map(|bits| u64::from(bits.count_ones())).sum()
    }

    /// True if the page that holds `address` is in it.
    pub fn contains(&self, address: u64) -> bool {
        let page = address / PAGE_SIZE;
        self.words.get(&(page / WORD)).is_some_and(|bits| bits >> (page % WORD) & 1 == 1)
    }

    /// Adds the page that holds `address`.
    pub fn insert(&mut self, address: u64) {
        let page = address / PAGE_SIZE;
        self.add(page / WORD, 1 << (page % WORD));
    }

    /// Adds the pages that hold a byte of `range`.
    pub fn insert_range(&mut self, range: Range<u64>) {
        let (mut page, end) = (range.start / PAGE_SIZE, range.end.div_ceil(PAGE_SIZE));
        while page < end {
            let count = (WORD - page % WORD).min(end - page);
            self.add(page / WORD, (u64::MAX >> (WORD - count)) << (page % WORD));
            page += count;
        }
    }

    /// Adds the pages whose bits are set in `bits`, the lowest of the first word for the page at
    /// `start`: the form of KVM_GET_DIRTY_LOG.
    pub fn insert_bits(&mut self, start: u64, bits: &[u64]) {
        let first = start / PAGE_SIZE;
        for (index, bits) in (0..).zip(bits).filter(|(_, bits)| **bits != 0) {
            let page = first + index * WORD;
            let shift = page % WORD;
            self.add(page / WORD, bits << shift);
            if shift > 0 {
                self.add(page / WORD + 1, bits >> (WORD - shift));
            }
        }
    }

    /// Adds the pages of `other`.
    pub fn extend(&mut self, other: &PageSet) {
        for (word, bits) in &other.words {
            self.add(*word, *bits);
        }
    }

    /// Removes the page that holds `address`; false if it was not in the set.
    pub fn remove(&mut self, address: u64) -> bool {
        let (word, bit) = (address / PAGE_SIZE / WORD, 1 << (address / PAGE_SIZE % WORD));
        let Some(bits) = self.words.get_mut(&word).filter(|bits| **bits & bit != 0) else { return false };
        *bits &= !bit;
        if *bits == 0 {
            self.words.remove(&word);
        }
        true
    }

    /// Guest-physical addresses of the pages, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u64> + '_ {
        self.words.iter().flat_map(|(word, bits)| Bits { page: word * WORD, bits: *bits })
    }

    fn add(&mut self, word: u64, bits: u64) {
        if bits != 0 {
            *self.words.entry(word).or_default() |= bits;
        }
    }
}

impl FromIterator<u64> for PageSet {
    /// The pages that hold these addresses.
    fn from_iter<I: IntoIterator<Item = u64>>(addresses: I) -> PageSet {
        let mut set = PageSet::default();
        addresses.into_iter().for_each(|address| set.insert(address));
        set
    }
}

/// The pages of one word.
struct Bits {
    page: u64,
    bits: u64,
}

impl Iterator for Bits {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        if self.bits == 0 {
            return None;
        }
        let bit = self.bits.trailing_zeros();
        self.bits &= self.bits - 1;
        Some((self.page + u64::from(bit)) * PAGE_SIZE)
    }
}

#[cfg(test)]
#[path = "page_set_test.rs"]
mod tests;

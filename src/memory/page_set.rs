//! A set of pages of guest memory.

use std::collections::BTreeMap;
use std::ops::Range;

use super::PAGE;

/// Pages in one word of bits.
const WORD: u64 = 64;

/// Pages of guest-physical memory, ascending.
///
/// What it needs grows with the pages in it: nothing for an empty one, about 3 MiB for 64 GiB of
/// neighbouring pages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PageSet {
    /// A bit for each page, by the number of the first page of a word divided by [`WORD`]; never 0.
    words: BTreeMap<u64, u64>,
}

impl PageSet {
    /// True if there is no page in it.
    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// How many pages there are in it.
    pub fn len(&self) -> u64 {
        self.words.values().map(|bits| u64::from(bits.count_ones())).sum()
    }

    /// True if the page that holds `address` is in it.
    pub fn contains(&self, address: u64) -> bool {
        let page = address / PAGE;
        self.words.get(&(page / WORD)).is_some_and(|bits| bits >> (page % WORD) & 1 == 1)
    }

    /// Adds the page that holds `address`.
    pub fn insert(&mut self, address: u64) {
        let page = address / PAGE;
        self.add(page / WORD, 1 << (page % WORD));
    }

    /// Adds the pages that hold a byte of `range`.
    pub fn insert_range(&mut self, range: Range<u64>) {
        let (mut page, end) = (range.start / PAGE, range.end.div_ceil(PAGE));
        while page < end {
            let count = (WORD - page % WORD).min(end - page);
            self.add(page / WORD, (u64::MAX >> (WORD - count)) << (page % WORD));
            page += count;
        }
    }

    /// Adds the pages whose bits are set in `bits`, the lowest of the first word for the page at
    /// `start`: the form of KVM_GET_DIRTY_LOG.
    pub fn insert_bits(&mut self, start: u64, bits: &[u64]) {
        let first = start / PAGE;
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

    /// Takes the page that holds `address` out; false if it was not in it.
    pub fn remove(&mut self, address: u64) -> bool {
        let (word, bit) = (address / PAGE / WORD, 1 << (address / PAGE % WORD));
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
        Some((self.page + u64::from(bit)) * PAGE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pages(set: &PageSet) -> Vec<u64> {
        set.iter().map(|address| address / PAGE).collect()
    }

    #[test]
    fn a_page_is_in_it_once_whatever_byte_of_it_is_named() {
        let mut set: PageSet = [0x1_0000_0FFF, 0x1000, 0x1FFF, 0x4_0000].into_iter().collect();
        assert_eq!(set.iter().collect::<Vec<_>>(), [0x1000, 0x4_0000, 0x1_0000_0000]);
        assert_eq!(set.len(), 3);
        assert!(set.contains(0x1234) && !set.contains(0x2000) && !set.contains(u64::MAX));
        assert!(set.remove(0x1800) && !set.remove(0x1800));
        assert_eq!(set.len(), 2);
        assert!(set.remove(0x4_0000) && set.remove(0x1_0000_0000) && set.is_empty());
        assert_eq!(set, PageSet::default());
    }

    #[test]
    fn a_range_adds_every_page_it_touches_and_no_other() {
        for (start, end) in [(0, 0), (0, 1), (63, 65), (0, 64), (5, 200), (64, 128), (127, 129)] {
            let mut set = PageSet::default();
            set.insert_range(start * PAGE..end * PAGE);
            assert_eq!(pages(&set), (start..end).collect::<Vec<_>>(), "{start}..{end}");
        }
        let mut set = PageSet::default();
        set.insert_range(0x1FFF..0x2001);
        assert_eq!(pages(&set), [1, 2]);
        set.insert_range(0x5000..0x5000);
        assert_eq!(set.len(), 2);
    }

    #[test]
    fn bits_count_from_the_first_page_of_their_slot_wherever_that_lies() {
        for first in [0, 1, 63, 64, 100] {
            let mut set = PageSet::default();
            set.insert_bits(first * PAGE, &[1 | 1 << 63, 0, 1 << 5]);
            assert_eq!(pages(&set), [first, first + 63, first + 128 + 5], "from page {first}");
        }
    }

    #[test]
    fn sets_are_added_up() {
        let mut set: PageSet = [0x1000, 0x2000].into_iter().collect();
        set.extend(&[0x2000, 0x9_0000].into_iter().collect());
        assert_eq!(pages(&set), [1, 2, 0x90]);
    }
}

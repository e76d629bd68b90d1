//! Pages are added, removed and listed exactly.

use super::*;

fn pages(set: &PageSet) -> Vec<u64> {
    set.iter().map(|address| address / PAGE_SIZE).collect()
}

#[test]
fn any_address_of_a_page_stands_for_the_page() {
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
fn a_range_adds_exactly_the_pages_it_overlaps() {
    for (start, end) in [(0, 0), (0, 1), (63, 65), (0, 64), (5, 200), (64, 128), (127, 129)] {
        let mut set = PageSet::default();
        set.insert_range(start * PAGE_SIZE..end * PAGE_SIZE);
        assert_eq!(pages(&set), (start..end).collect::<Vec<_>>(), "{start}..{end}");
    }
    let mut set = PageSet::default();
    set.insert_range(0x1FFF..0x2001);
    assert_eq!(pages(&set), [1, 2]);
    set.insert_range(0x5000..0x5000);
    assert_eq!(set.len(), 2);
}

#[test]
fn bits_count_from_the_first_page_of_their_slot() {
    for first in [0, 1, 63, 64, 100] {
        let mut set = PageSet::default();
        set.insert_bits(first * PAGE_SIZE, &[1 | 1 << 63, 0, 1 << 5]);
        assert_eq!(pages(&set), [first, first + 63, first + 128 + 5], "from page {first}");
    }
}

#[test]
fn extending_adds_the_pages_of_the_other_set() {
    let mut set: PageSet = [0x1000, 0x2000].into_iter().collect();
    set.extend(&[0x2000, 0x9_0000].into_iter().collect());
    assert_eq!(pages(&set), [1, 2, 0x90]);
}

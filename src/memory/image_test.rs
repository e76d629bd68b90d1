//! Images of RAM: what they bring back, share and cost.

use super::*;

fn large_budget() -> Arc<ImageBudget> {
    let budget = Arc::new(ImageBudget::default());
    budget.allow(1 << 30);
    budget
}

fn pages(addresses: &[u64]) -> PageSet {
    addresses.iter().copied().collect()
}

#[test]
fn each_image_of_a_chain_restores_its_contents_and_shares_equal_pages() {
    let memory = GuestMemory::new(4 << 20).unwrap();
    let budget = large_budget();
    memory.write(0x1000, b"one").unwrap();
    memory.write(0x3000, b"three").unwrap();
    let first = MemoryImage::take(&memory, &budget).unwrap();
    assert_eq!((first.pages(), budget.held()), (2, 2 * PAGE_SIZE));
    // One page changes, one becomes zero, one is new, one is written with the same bytes.
    memory.write(0x1000, b"ONE").unwrap();
    memory.write(0x3000, &[0; 5]).unwrap();
    memory.write(0x9000, b"nine").unwrap();
    let second = first.retake(&memory, &pages(&[0x1000, 0x3000, 0x9000]), &budget).unwrap();
    assert_eq!((second.pages(), budget.held()), (2, 4 * PAGE_SIZE));
    let third = second.retake(&memory, &pages(&[0x1000, 0x9000, 0xA000]), &budget).unwrap();
    assert_eq!(budget.held(), 4 * PAGE_SIZE, "nothing has changed");
    assert!(third.changed_pages(&second).is_empty());

    let changed = first.changed_pages(&third);
    assert_eq!(changed, pages(&[0x1000, 0x3000, 0x9000]));
    first.restore(&memory, &changed).unwrap();
    for (address, word) in [(0x1000, &b"one\0\0"[..]), (0x3000, b"three"), (0x9000, &[0; 5])] {
        let mut bytes = [9; 5];
        memory.read(address, &mut bytes).unwrap();
        assert_eq!(bytes, word);
    }
    drop((second, third));
    assert_eq!(budget.held(), 2 * PAGE_SIZE);
    drop(first);
    assert_eq!(budget.held(), 0);
}

#[test]
fn an_image_above_the_budget_is_refused_and_holds_nothing() {
    let memory = GuestMemory::new(4 << 20).unwrap();
    for page in 1..=8 {
        memory.write(page * PAGE_SIZE, b"x").unwrap();
    }
    let budget = Arc::new(ImageBudget::default());
    budget.allow(7 * PAGE_SIZE);
    let error = MemoryImage::take(&memory, &budget).unwrap_err();
    assert!(matches!(error, ImageError::TooLarge { .. }), "{error}");
    assert_eq!(budget.held(), 0);
    budget.allow(8 * PAGE_SIZE);
    assert_eq!(MemoryImage::take(&memory, &budget).unwrap().pages(), 8);
}

#[test]
fn ram_that_was_never_written_is_not_read() {
    let memory = GuestMemory::new(64 << 30).unwrap();
    memory.write(0x9000, b"x").unwrap();
    assert_eq!(MemoryImage::take(&memory, &large_budget()).unwrap().pages(), 1);
    let held = memory.committed().len();
    assert!(held <= 512, "{held} pages");
}

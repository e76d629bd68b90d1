//! Measures how much memory a piece of code allocates, for tests of memory limits.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    /// Bytes that this thread has allocated and not freed, less those it has freed for other threads.
    static NOW: Cell<isize> = const { Cell::new(0) };
    /// The maximum so far.
    static MOST: Cell<isize> = const { Cell::new(0) };
}

/// The system's allocator, with counters for each thread.
struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn count(change: isize) {
    // A thread that is exiting has no counters any more.
    let _ = NOW.try_with(|now| {
        now.set(now.get() + change);
        let _ = MOST.try_with(|most| most.set(most.get().max(now.get())));
    });
}

// SAFETY: all calls are forwarded to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller upholds the same contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller upholds the same contract.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: the caller upholds the same contract.
        unsafe { System.dealloc(place, layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size as isize - layout.size() as isize);
        // SAFETY: the caller upholds the same contract.
        unsafe { System.realloc(place, layout, size) }
    }
}

/// The result of `code`, and the peak number of bytes that it had allocated, in this thread.
pub fn peak_allocation<T>(code: impl FnOnce() -> T) -> (T, usize) {
    let before = NOW.get();
    MOST.set(before);
    let result = code();
    (result, MOST.get().saturating_sub(before).max(0) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peak_of_allocated_bytes_is_reported() {
        let (_, most) = peak_allocation(|| {
            for _ in 0..10 {
                std::hint::black_box(vec![0u8; 1 << 20]);
            }
        });
        assert!((1 << 20..1 << 21).contains(&most), "{most}");
        let (_, none) = peak_allocation(|| 1 + 1);
        assert_eq!(none, 0);
    }
}

//! Breakpoints that the guest has copied with its code: a start-up routine of processors, for example.
//!
//! The copy has the inserted byte in place of its own. Where the guest stops at one, its surroundings say which block it
//! was, and the copy gets its byte back.

use super::covered_code::{COMPARED, CoveredCode};
use crate::memory::GuestMemory;

/// Bytes around the breakpoint that must be the same in a copy.
const FEWEST_ALIKE: usize = 6;

/// The number of the block that the bytes at the guest-physical address `at` are a copy of, if `inserted` is there in
/// place of its first one: the block with most bytes around it that are the same.
pub(super) fn copied_block(code: &CoveredCode, memory: &GuestMemory, at: u64, inserted: u8) -> Option<usize> {
    let mut after = [0; COMPARED];
    memory.read_original(at, &mut after).ok()?;
    let mut before = [0; COMPARED];
    let has_before = at >= COMPARED as u64 && memory.read_original(at - COMPARED as u64, &mut before).is_ok();
    before.reverse();
    if after[0] != inserted {
        return None;
    }
    let alike = |number: &usize| {
        let block = &code.blocks[*number];
        let before = if has_before { run(&before, block.before.iter().rev(), inserted) } else { 0 };
        run(&after[1..], block.code.iter().skip(1), inserted) + before
    };
    let candidates = (0..code.blocks.len()).filter(|number| {
        let block = &code.blocks[*number];
        block.is_known() && block.code.first().is_some_and(|first| *first != inserted)
    });
    candidates.max_by_key(alike).filter(|number| alike(number) >= FEWEST_ALIKE)
}

/// How many bytes from the first one on are the same as those of the file. Some may have been breakpoints when they were
/// copied, and do not count.
fn run<'b>(found: &[u8], own: impl Iterator<Item = &'b u8>, inserted: u8) -> usize {
    let pairs = found.iter().zip(own).take_while(|(found, own)| found == own || **found == inserted);
    pairs.filter(|(found, own)| found == own).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_alike_up_to_the_first_other_one() {
        assert_eq!(run(&[1, 2, 3, 4], [1, 2, 9, 4].iter(), 0xF4), 2);
        assert_eq!(run(&[1, 0xF4, 3, 4], [1, 2, 3].iter(), 0xF4), 2);
    }
}

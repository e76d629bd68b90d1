//! Arbitrary page tables, descriptor tables, code and registers: the views must show all of them, without a panic, a hang
//! or unbounded memory.

use super::find::find_virtual_in;
use super::lint::lint_maps;
use super::maps::{Maps, MapsDiff};
use super::names::Names;
use super::tables::{GdtView, IdtView, TssView};
use crate::arch::{Registers, SegmentRegister};
use crate::boot::{FileSection, NamedStack, Symbol};
use crate::memory::{GuestMemory, RAM_GRANULE};

/// Where the input goes.
pub(super) const TABLES: u64 = 0x1000;
/// Most entries of page tables that are looked at: fewer than outside of tests, so that each input is short.
pub(super) const MOST_ENTRIES: usize = 1 << 12;
/// Most text that a view makes.
const LONGEST: usize = 4 << 20;

/// Names at every address.
struct Anything;

impl Names for Anything {
    fn symbol_at(&self, address: u64) -> Option<Symbol> {
        Some(Symbol { name: "name".to_owned(), offset: address % 64 })
    }

    fn sections(&self) -> Vec<FileSection> {
        let code = |range| FileSection { name: ".text".to_owned(), range, executable: true };
        vec![code(0..0x4000), code(0x10_0000..0x10_2000), code(u64::MAX - 0x1000..u64::MAX)]
    }

    fn stacks(&self) -> Vec<NamedStack> {
        vec![
            NamedStack { name: Some("low".to_owned()), range: 0..0x1000 },
            NamedStack { name: None, range: 0x2000..0x3000 },
            NamedStack { name: Some("high".to_owned()), range: u64::MAX - 0x1000..u64::MAX },
        ]
    }
}

/// The words that `input` consists of, and zeros behind them.
pub(super) fn words(input: &[u8]) -> impl Iterator<Item = u64> {
    let word = |bytes: &[u8]| bytes.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte));
    input.chunks(8).map(word).chain(std::iter::repeat(0))
}

/// Registers of any mode, whose page tables begin at [`TABLES`].
pub(super) fn any_registers(words: &mut dyn Iterator<Item = u64>) -> Registers {
    let mut word = || words.next().unwrap_or(0);
    let mut registers = Registers::default();
    let choice = word();
    let system = &mut registers.system;
    (system.cr0, system.efer) = (choice & 0x8001_0001, choice >> 32 & 0xD00);
    (system.cr4, system.cr3) = (word() & 0x30_10B0, TABLES | word() & 0xFE0);
    (system.cs.l, system.cs.db) = ((choice >> 8 & 1) as u8, (choice >> 9 & 1) as u8);
    (system.gdt.base, system.idt.base, system.tr.base) = (word(), word(), word());
    (system.gdt.limit, system.idt.limit) = ((choice >> 40) as u16, (choice >> 48) as u16);
    let type_ = (choice >> 12 & 0xF) as u8;
    system.tr = SegmentRegister { limit: word() as u32, selector: 8, type_, present: 1, ..system.tr };
    system.ss.dpl = (choice >> 10 & 3) as u8;
    (registers.general.rip, registers.general.rsp) = (word(), word());
    registers
}

/// Makes all views of a guest whose registers and memory are `input`.
///
/// # Panics
///
/// If a view does not hold what it promises.
pub fn view_anything(input: &[u8]) {
    let Ok(memory) = GuestMemory::new(RAM_GRANULE) else { return };
    let registers = any_registers(&mut words(input));
    let size = input.len().min((RAM_GRANULE - TABLES) as usize);
    let before = Maps::capture_at_most(&memory, &registers, 0, MOST_ENTRIES);
    if memory.write(TABLES, &input[..size]).is_err() {
        return;
    }
    let maps = Maps::capture_at_most(&memory, &registers, 0, MOST_ENTRIES);
    for pair in maps.ranges.windows(2) {
        assert!(pair[0].last < pair[1].start, "{:x?} are not ascending", pair);
    }
    let diff = MapsDiff::between(&before, &maps, &memory, &Anything);
    let same = MapsDiff::between(&maps, &maps, &memory, &Anything);
    assert!(same.changes.is_empty(), "{same}");
    let texts = [
        maps.describe(&memory, &Anything).to_string(),
        diff.to_string(),
        GdtView::of(&memory, &registers).to_string(),
        IdtView::of(&memory, &registers, &Anything).to_string(),
        TssView::of(&memory, &registers, &Anything).to_string(),
        find_virtual_in(&memory, &Anything, &maps, 0..=u64::MAX, &[0x55, 0xAA]).to_string(),
        lint_maps(&memory, &registers, &Anything, maps).to_string(),
    ];
    assert!(texts.iter().all(|text| text.len() < LONGEST));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzzing::FuzzDriver;
    use std::time::Duration;

    #[test]
    fn any_input_is_shown_by_the_views() {
        FuzzDriver::new("views")
            .dictionary(&[
                b"\x07\x20\0\0\0\0\0\0",
                b"\x83\0\0\0\0\0\0\0",
                b"\x03\x10\0\0\0\0\0\0",
                b"\x8E\0\0",
            ])
            .time_limit(Duration::from_secs(5))
            .run(view_anything);
    }
}

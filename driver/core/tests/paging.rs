// SPDX-License-Identifier: MIT OR GPL-2.0
//! Walks of page tables with random entries in all four modes end as a second reading of the manual says.

mod random;

use random::Random;
use yakvm_core::paging::*;
use yakvm_core::{EFAULT, EINVAL};

const PRESENT: u64 = 1;
const WRITABLE: u64 = 2;
const USER: u64 = 4;
const LARGE: u64 = 0x80;
const NX: u64 = 1 << 63;
const PHYSICAL_BITS: u32 = 40;

/// No paging, 32-bit tables, PAE, four levels.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Mode {
    None,
    Legacy,
    Pae,
    Long,
}

/// What the manual says about `entries`, from the root on: the operand's address, or an error code.
fn expected(mode: Mode, walk: &Walk, entries: &[u64]) -> Result<u64, u32> {
    let linear = if mode == Mode::Long { walk.linear } else { walk.linear & 0xffff_ffff };
    if mode == Mode::None {
        return Ok(linear);
    }
    let (cr0_wp, nxe) = (walk.cr0 & 1 << 16 != 0, walk.efer & 0x800 != 0);
    let (smep, smap) = (walk.cr4 & 1 << 20 != 0, walk.cr4 & 1 << 21 != 0);
    let (write, user, fetch) = (walk.access & 2 != 0, walk.access & 4 != 0, walk.access & 16 != 0);
    let bit = |condition: bool, bit: u32| if condition { bit } else { 0 };
    let code = |bits: u32| bits | bit(write, 2) | bit(user, 4) | bit(fetch && (nxe || smep), 16);
    let mut page = (true, true, true);
    for (depth, entry) in entries.iter().enumerate() {
        let bit = |mask: u64| entry & mask != 0;
        // Address bits that an entry of this depth translates.
        let size: u64 = match (mode, depth) {
            (Mode::Legacy, 0) => 22,
            (Mode::Pae, depth) => [30, 21, 12][depth],
            (Mode::Long, depth) => [39, 30, 21, 12][depth],
            _ => 12,
        };
        if !bit(PRESENT) {
            return Err(code(0));
        }
        let pae_root = mode == Mode::Pae && depth == 0;
        let last = match size {
            12 => true,
            22 => bit(LARGE) && walk.cr4 & 0x10 != 0,
            30 => bit(LARGE) && mode == Mode::Long,
            21 => bit(LARGE),
            _ => false,
        };
        let mut reserved = 0;
        if mode == Mode::Legacy {
            reserved = if last && size == 22 { 1 << 21 } else { 0 };
        } else {
            for position in PHYSICAL_BITS..52 {
                reserved |= 1 << position;
            }
            if last && size > 12 {
                for position in 13..size {
                    reserved |= 1 << position;
                }
            }
            if !nxe {
                reserved |= NX;
            }
            if pae_root {
                reserved |= NX | WRITABLE | USER | LARGE | 0x100;
            }
            if size == 39 {
                reserved |= LARGE;
            }
        }
        if bit(reserved) {
            return Err(code(9));
        }
        if !pae_root {
            page.0 &= bit(WRITABLE);
            page.1 &= bit(USER);
            page.2 &= !(bit(NX) && mode != Mode::Legacy);
        }
        if !last {
            continue;
        }
        let (writable, user_page, executable) = page;
        let allowed = if user {
            user_page && (writable || !write) && (executable || !fetch)
        } else {
            (writable || !write || !cr0_wp)
                && (executable || !fetch)
                && !(smep && fetch && user_page)
                && !(smap && !fetch && user_page && walk.rflags & 1 << 18 == 0)
        };
        if !allowed {
            return Err(code(1));
        }
        let mut address = entry & 0x000f_ffff_ffff_f000;
        if mode == Mode::Legacy {
            address = entry & 0xffff_f000;
            if size == 22 {
                address = entry & 0xffc0_0000 | (entry >> 13 & 0xff) << 32;
            }
        }
        return Ok(address >> size << size | linear & ((1 << size) - 1));
    }
    panic!("the last entry did not end the walk")
}

/// An entry in which most bits are as they should be, at `table` for the next level.
fn entry(random: &mut Random, table: u64, mode: Mode, depth: usize) -> u64 {
    let mut entry = table | PRESENT | WRITABLE | USER;
    if mode == Mode::Pae && depth == 0 {
        entry = table | PRESENT;
    }
    for bit in [PRESENT, WRITABLE, USER, NX, LARGE, 1 << 45, 1 << 20, 1 << 12, 1 << 21] {
        if random.below(8) == 0 {
            entry ^= bit;
        }
    }
    if mode == Mode::Legacy { entry & 0xffff_ffff } else { entry }
}

#[test]
fn walks_end_as_the_manual_says() {
    let mut random = Random::new(7);
    let mut outcomes = std::collections::BTreeMap::new();
    for round in 0..1_200_000 {
        let mode = [Mode::None, Mode::Legacy, Mode::Pae, Mode::Long][round % 4];
        let mut flag = |bit: u64| if random.next() & 1 == 0 { bit } else { 0 };
        let mut walk = Walk {
            cr0: flag(1 << 16) | 1 | if mode == Mode::None { 0 } else { 1 << 31 },
            cr4: flag(0x10) | flag(1 << 20) | flag(1 << 21),
            efer: flag(0x800),
            rflags: flag(1 << 18),
            access: (flag(2) | flag(4) | flag(16)) as u32,
            physical_bits: PHYSICAL_BITS,
            cr3: 0x5000,
            ..Walk::default()
        };
        // A fetch does not write.
        if walk.access & FETCH != 0 {
            walk.access &= !WRITE;
        }
        walk.linear = ((random.next() as i64) << 16 >> 16) as u64;
        match mode {
            Mode::Long => {
                walk.efer |= 0x500;
                walk.cr4 |= 0x20;
            }
            Mode::Pae => walk.cr4 |= 0x20,
            _ => {}
        }
        let depth = [0, 2, 3, 4][mode as usize];
        let entries: Vec<u64> =
            (0..depth).map(|depth| entry(&mut random, 0x10_0000 * (depth as u64 + 1), mode, depth)).collect();
        let given = walk;
        let mut result = yakvm_walk_begin(&mut walk);
        let mut steps = 0;
        while result == 0 && walk.entry_size != 0 {
            let size = if mode == Mode::Legacy { 4 } else { 8 };
            assert_eq!(walk.entry_size, size);
            let shift = match (mode, steps) {
                (Mode::Legacy, steps) => [22, 12][steps],
                (Mode::Pae, steps) => [30, 21, 12][steps],
                (_, steps) => [39, 30, 21, 12][steps],
            };
            let entries_of_table = if mode == Mode::Legacy { 1024 } else { 512 };
            let mut index = given.linear >> shift & (entries_of_table - 1);
            if mode == Mode::Pae && steps == 0 {
                index &= 3;
            }
            let table = if steps == 0 { given.cr3 } else { table_of(entries[steps - 1], mode) };
            assert_eq!(walk.gpa, table + index * u64::from(size), "{mode:?} {given:x?} {entries:x?}");
            result = yakvm_walk_step(&mut walk, entries[steps]);
            steps += 1;
        }
        let context = || format!("{mode:?} {given:x?} {entries:x?}");
        match expected(mode, &given, &entries) {
            Ok(address) => {
                assert_eq!(result, 0, "{}", context());
                assert_eq!(walk.gpa, address, "{}", context());
            }
            Err(code) => {
                assert_eq!(result, EFAULT, "{}", context());
                assert_eq!(walk.error_code, code, "{}", context());
            }
        }
        *outcomes.entry((mode as u8, result == 0)).or_insert(0) += 1;
    }
    assert!(outcomes.len() == 7 && outcomes.values().all(|count| *count > 10_000), "{outcomes:?}");
}

fn table_of(entry: u64, mode: Mode) -> u64 {
    entry & if mode == Mode::Legacy { 0xffff_f000 } else { 0x000f_ffff_ffff_f000 }
}

#[test]
fn an_address_that_is_not_canonical_is_refused() {
    let walk = |linear| yakvm_walk_begin(&mut Walk { efer: 0x500, cr0: 1 << 31, linear, ..Walk::default() });
    assert_eq!(walk(0x8000_0000_0000), EINVAL);
    assert_eq!(walk(0xffff_7fff_ffff_ffff), EINVAL);
    assert_eq!(walk(0xffff_8000_0000_0000), 0);
    assert_eq!(walk(0x7fff_ffff_ffff), 0);
}

#[test]
fn nested_tables_are_indexed_by_nine_bits_a_level() {
    let gpa = 1 << 39 | 2 << 30 | 3 << 21 | 4 << 12 | 5;
    assert_eq!([4, 3, 2, 1].map(|level| yakvm_npt_index(gpa, level)), [1, 2, 3, 4]);
    assert_eq!(yakvm_npt_index(u64::MAX, 4), 511);
    assert_eq!([1, 2, 3, 4].map(|level| yakvm_npt_size(level)), [1 << 12, 1 << 21, 1 << 30, 1 << 39]);
    assert_eq!(yakvm_npt_page(0x1234_5000, false, false), 0x1234_5000 | 0x25);
    assert_eq!(yakvm_npt_page(0x1234_5000, true, true), 0x1234_5000 | 0xe7);
    assert_eq!(yakvm_npt_table(0x7000), 0x7027);
    assert_eq!(yakvm_npt_address(NX | 0x1234_5fff), 0x1234_5000);
}

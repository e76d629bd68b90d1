//! Position-independent guests: where they are moved, and their relocations.

use super::*;

#[test]
fn a_static_pie_guest_is_moved_and_its_pointers_follow() {
    // At 0x2000 two relocations, at 0x3000 the dynamic section, at 0x4000 the pointers.
    let relocations = words(&[0x4000, 8, 0x1000, 0x4008, 8, 0x4000]);
    let dynamic = words(&[7, 0x2000, 8, 48, 9, 24, 0, 0]);
    let guest = TestGuest::relocatable(0x1000)
        .load(CODE, 0x1000, b"\xF4")
        .load(CONSTANTS, 0x2000, &relocations)
        .load(DATA, 0x3000, &dynamic)
        .load(DATA, 0x4000, &[0; 16])
        .header(2, DATA, 0x3000, &dynamic);
    let guest = boot(&guest, 8);
    assert_eq!(guest.boot.registers.general.rip, 0x20_1000);
    assert_eq!(guest.memory.read_u64(0x20_4000).unwrap(), 0x20_1000);
    assert_eq!(guest.memory.read_u64(0x20_4008).unwrap(), 0x20_4000);
}

#[test]
fn compact_relocations_move_pointers_too() {
    // The place 0x4000, then bits 0 and 2 of the places after it: 0x4008 and 0x4018.
    let relocations = words(&[0x4000, 0b101 << 1 | 1]);
    let dynamic = words(&[36, 0x2000, 35, 16, 37, 8, 0, 0]);
    let guest = TestGuest::relocatable(0x1000)
        .load(CODE, 0x1000, b"\xF4")
        .load(CONSTANTS, 0x2000, &relocations)
        .load(DATA, 0x4000, &words(&[1, 2, 3, 4]))
        .header(2, DATA, 0x3000, &dynamic);
    let guest = boot(&guest, 8);
    let pointers: Vec<u64> = (0..4).map(|n| guest.memory.read_u64(0x20_4000 + n * 8).unwrap()).collect();
    assert_eq!(pointers, [0x20_0001, 0x20_0002, 3, 0x20_0004]);
}

#[test]
fn a_pie_guest_linked_above_1_mib_stays_there() {
    let guest = TestGuest::relocatable(0x30_0000).load(CODE, 0x30_0000, b"\xF4");
    assert_eq!(boot(&guest, 8).boot.registers.general.rip, 0x30_0000);
}

#[test]
fn a_pie_guest_is_moved_as_far_as_its_alignment_demands() {
    let guest = TestGuest::relocatable(0).load(CODE, 0, b"\xF4").aligned_to(0x80_0000);
    assert_eq!(boot(&guest, 16).boot.registers.general.rip, 0x80_0000);
}

/// A guest with relocations of these types, all about one undefined symbol of this binding, and where they apply.
fn with_undefined_symbol(binding: u64, kinds: &[(u64, u64)]) -> TestGuest {
    let places = (0x5000..).step_by(8);
    let relocations: Vec<u64> =
        places.zip(kinds).flat_map(|(place, (kind, addend))| [place, 1 << 32 | kind, *addend]).collect();
    // The null symbol, and one with name 1 and the binding in the upper half of st_info.
    let symbols = words(&[0, 0, 0, binding << 36 | 1, 0, 0]);
    let size = relocations.len() as u64 * 8;
    let dynamic = words(&[7, 0x2000, 8, size, 9, 24, 6, 0x3000, 5, 0x3100, 0, 0]);
    TestGuest::relocatable(0x1000)
        .load(CODE, 0x1000, b"\xF4")
        .load(CONSTANTS, 0x2000, &words(&relocations))
        .load(CONSTANTS, 0x3000, &[symbols, vec![0; 0x100 - 48], b"\0hook\0".to_vec()].concat())
        .load(DATA, 0x4000, &dynamic)
        .load(DATA, 0x5000, &words(&[u64::MAX; 4]))
        .header(2, DATA, 0x4000, &dynamic)
}

#[test]
fn a_weak_symbol_that_nothing_defines_is_0() {
    // R_X86_64_64, which adds its addend, R_X86_64_GLOB_DAT and R_X86_64_JUMP_SLOT.
    let guest = boot(&with_undefined_symbol(2, &[(1, 0), (1, 16), (6, 0), (7, 0)]), 8);
    let values: Vec<u64> = (0..4).map(|n| guest.memory.read_u64(0x20_5000 + n * 8).unwrap()).collect();
    assert_eq!(values, [0, 16, 0, 0]);
}

#[test]
fn a_strong_symbol_that_nothing_defines_is_refused_by_name() {
    for kind in [1, 6, 7] {
        let error = refusal(&with_undefined_symbol(1, &[(kind, 0)]), 8);
        assert!(error.contains("the symbol \"hook\" is not defined"), "{error}");
    }
    // Nothing can be computed of a weak thread-local one.
    let error = refusal(&with_undefined_symbol(2, &[(18, 0)]), 8);
    assert!(error.contains("relocation of type R_X86_64_TPOFF64 at 0x5000"), "{error}");
}

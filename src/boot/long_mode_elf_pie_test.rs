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

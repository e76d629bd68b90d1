use super::*;

#[test]
fn instructions_are_told_apart_behind_their_prefixes() {
    for (bytes, bitness, expected) in [
        (&[0xF4][..], 64, Kind::Halt),
        (&[0xF3, 0xA4], 64, Kind::Repeated),
        (&[0xF3, 0x48, 0xAB], 64, Kind::Repeated),
        (&[0xA4], 64, Kind::Plain),
        (&[0x48, 0xCC], 64, Kind::Interrupt),
        (&[0x48, 0xCC], 32, Kind::Plain),
        (&[0xCE], 32, Kind::Interrupt),
        (&[0xCE], 64, Kind::Plain),
        (&[0xCD, 0x80], 16, Kind::Interrupt),
        (&[0x66, 0x9C], 64, Kind::PushFlags),
        (&[0x48, 0xCF], 64, Kind::InterruptReturn),
        (&[0xEB, 0xFE], 64, Kind::Jump),
        (&[0x0F, 0x84], 64, Kind::Jump),
        (&[0x0F, 0xA2], 64, Kind::Plain),
        (&[0x66; LOOK], 64, Kind::Plain),
        (&[], 64, Kind::Plain),
    ] {
        assert_eq!(kind(bytes, bitness), expected, "{bytes:x?}");
    }
}

#[test]
fn instructions_that_change_translations_are_known_behind_their_prefixes() {
    for (bytes, bitness, expected) in [
        (&[0x0F, 0x01, 0x38][..], 64, true),
        (&[0x41, 0x0F, 0x01, 0x38], 64, true),
        (&[0x41, 0x0F, 0x01, 0x38], 32, false),
        (&[0x0F, 0x22, 0xD8], 32, true),
        (&[0x66, 0x0F, 0x38, 0x82, 0x00], 64, true),
        (&[0x0F, 0x20, 0xD8], 64, false),
        (&[0x0F], 64, false),
        (&[], 64, false),
    ] {
        assert_eq!(changes_translations(bytes, bitness), expected, "{bytes:x?}");
    }
}

#[test]
fn a_changed_mapping_is_seen_after_mov_cr3_and_invlpg() {
    let memory = GuestMemory::new(1 << 20).unwrap();
    for (at, entry) in [(0x1000, 0x2003), (0x2000, 0x3003), (0x3000, 0x4003), (0x4000, 0x6003)] {
        memory.write_u64(at, entry).unwrap();
    }
    memory.write(0x6000, &[0xF4, 0x0F, 0x01, 0x38, 0x0F, 0x22, 0xD8]).unwrap();
    memory.write(0x7000, &[0xCC]).unwrap();
    let mut registers = Registers::default();
    registers.system.cr0 = 1 << 31 | 1;
    registers.system.cr3 = 0x1000;
    registers.system.efer = 1 << 10;
    let mut ahead = Lookahead::default();
    assert_eq!(ahead.kind(&memory, &registers, 0), Kind::Halt);
    memory.write_u64(0x4000, 0x7003).unwrap();
    assert_eq!(ahead.kind(&memory, &registers, 0), Kind::Halt, "as a processor may see it, too");
    assert_eq!(ahead.kind(&memory, &registers, 1), Kind::Plain);
    assert_eq!(ahead.kind(&memory, &registers, 0), Kind::Interrupt);
    memory.write_u64(0x4000, 0x6003).unwrap();
    registers.system.cr3 = 0x1018;
    assert_eq!(ahead.kind(&memory, &registers, 0), Kind::Halt);
    memory.write_u64(0x4000, 0x7003).unwrap();
    assert_eq!(ahead.kind(&memory, &registers, 4), Kind::Plain);
    assert_eq!(ahead.kind(&memory, &registers, 0), Kind::Interrupt, "the same CR3, written again");
}

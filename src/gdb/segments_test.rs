use super::*;

const GDT: u64 = 0x1000;

/// Protected mode without paging: a GDT with a code segment at 8, data at 0x10, read-only data at
/// 0x18 and data that is not present at 0x20.
fn protected() -> (GuestMemory, Registers) {
    let memory = GuestMemory::new(1 << 20).unwrap();
    for (at, value) in [
        (8, 0x00CF_9A00_0000_FFFF),
        (0x10, 0x12CF_9234_5678_FFFF),
        (0x18, 0x0040_9000_0000_00FF),
        (0x20, 0x00CF_1200_0000_FFFF),
    ] {
        memory.write_u64(GDT + at, value).unwrap();
    }
    let mut registers = Registers::default();
    registers.system.cr0 = CR0_PE;
    (registers.system.gdt.base, registers.system.gdt.limit) = (GDT, 0x27);
    (memory, registers)
}

#[test]
fn in_real_mode_a_selector_is_a_sixteenth_of_the_base() {
    let (memory, mut registers) = protected();
    registers.system.cr0 = 0;
    registers.system.ds.limit = 0xFFFF;
    let loaded = load(&memory, &registers, DS, 0xB800).unwrap();
    assert_eq!((loaded.selector, loaded.base, loaded.limit), (0xB800, 0xB_8000, 0xFFFF));
    assert!(load(&memory, &registers, DS, 0x1_0000).is_err());
}

#[test]
fn in_protected_mode_the_descriptor_is_loaded() {
    let (memory, registers) = protected();
    let data = load(&memory, &registers, DS, 0x10).unwrap();
    assert_eq!((data.base, data.limit, data.type_, data.db), (0x1234_5678, u32::MAX, 3, 1));
    assert_eq!(load(&memory, &registers, CS, 8).unwrap().type_, 11);
    assert_eq!(load(&memory, &registers, DS, 0x18).unwrap().limit, 0xFF);
    assert_eq!(load(&memory, &registers, FS, 3).unwrap().unusable, 1, "a null selector in FS");
}

#[test]
fn selectors_that_the_processor_would_not_load_are_refused_with_the_reason() {
    let (memory, mut registers) = protected();
    registers.system.cs.selector = 8;
    registers.system.ss.selector = 0x10;
    for (register, selector, why) in [
        (CS, 0x10, "is no code segment"),
        (CS, 0, "null selector"),
        (SS, 0, "null selector"),
        (SS, 8, "is no writable data segment"),
        (SS, 0x18, "is no writable data segment"),
        (DS, 0x20, "is not present"),
        (DS, 0x28, "beyond the end of the GDT"),
        (DS, 0x14, "there is none"),
    ] {
        let error = load(&memory, &registers, register, selector).unwrap_err();
        assert!(error.contains(why), "{selector:#x} in {register:?}: {error}");
    }
}

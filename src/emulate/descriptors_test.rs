use crate::emulate::testing::FakeCpu;

/// Writes a GDT with a code segment of 4 GiB at selector 0x10.
fn with_code_segment(fake: &mut FakeCpu) -> u64 {
    const GDT: u64 = 0x4000;
    fake.memory.write_u64(GDT + 0x10, 0x12CF_9A34_5678_FFFF).unwrap();
    let system = &mut fake.registers.get_mut().system;
    (system.gdt.base, system.gdt.limit) = (GDT, 0x17);
    GDT
}

#[test]
fn a_descriptor_is_decoded_as_in_the_manual() {
    let mut fake = FakeCpu::long_mode(&[]);
    with_code_segment(&mut fake);
    fake.with_cpu(|cpu| {
        let code = cpu.descriptor(0x13).unwrap().unwrap();
        assert_eq!((code.base(), code.limit()), (0x1234_5678, u32::MAX));
        assert!(code.is_code() && code.is_readable() && !code.is_writable() && code.is_present());
        assert!(!code.is_system() && !code.is_conforming() && !code.is_long() && code.is_big());
        assert_eq!((code.dpl(), code.kind()), (0, 10));
        let loaded = code.loaded(0x10);
        assert_eq!((loaded.base, loaded.limit, loaded.selector), (0x1234_5678, u32::MAX, 0x10));
        assert_eq!((loaded.type_, loaded.db, loaded.g, loaded.l, loaded.s), (11, 1, 1, 0, 1));
    });
}

#[test]
fn null_and_out_of_range_selectors_have_no_descriptor() {
    let mut fake = FakeCpu::long_mode(&[]);
    with_code_segment(&mut fake);
    fake.with_cpu(|cpu| {
        // Null, beyond the limit, and in an absent LDT.
        for selector in [0, 3, 0x18, 0x14] {
            assert_eq!(cpu.descriptor(selector).unwrap(), None, "{selector:#x}");
        }
    });
}

#[test]
fn loading_a_segment_marks_it_in_the_table() {
    let mut fake = FakeCpu::long_mode(&[]);
    let gdt = with_code_segment(&mut fake);
    fake.with_cpu(|cpu| {
        let code = cpu.descriptor(0x10).unwrap().unwrap();
        cpu.mark_accessed(&code).unwrap();
    });
    assert_eq!(fake.memory.read_u64(gdt + 0x10).unwrap(), 0x12CF_9B34_5678_FFFF);
}

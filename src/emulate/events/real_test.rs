use super::*;
use crate::emulate::Emulated;
use crate::emulate::events::raise;
use crate::emulate::exception::Exception;

/// Real mode, with code at 0x1000:0, a stack at 0x700:0x1000 and vectors at 0x5000.
fn real_mode(code: &[u8]) -> FakeCpu {
    let mut fake = virtual_8086(code);
    let registers = fake.registers.get_mut();
    registers.system.cr0 = 0x10;
    for segment in [&mut registers.system.cs, &mut registers.system.ss] {
        segment.dpl = 0;
    }
    registers.general.rflags = 0x4_0302;
    registers.system.idt.limit = 0x3FF;
    fake.memory.write(IDT + 4 * 0x21, &[0x34, 0x12, 0x00, 0x20]).unwrap();
    fake
}

#[test]
fn an_interrupt_pushes_three_words_and_jumps_to_its_vector() {
    let mut fake = real_mode(&[0xCD, 0x21]);
    fake.registers.get_mut().general.rflags = 0x4_0202;
    assert_eq!(fake.emulate(), Emulated::Done);
    let now = fake.now();
    assert_eq!((now.general.rip, now.system.cs.selector, now.system.cs.base), (0x1234, 0x2000, 0x2_0000));
    assert_eq!((now.general.rflags, now.general.rsp), (2, 0xFFA), "IF and AC are clear");
    assert_eq!(values(&fake, 0x7FFA, 2, 3), [2, 0x1000, 0x202]);
}

#[test]
fn an_interrupt_clears_tf_and_is_not_stepped_over() {
    let mut fake = real_mode(&[0xCD, 0x21]);
    assert_eq!(fake.emulate(), Emulated::Done);
    assert_eq!(fake.now().general.rip, 0x1234);
    assert_eq!(values(&fake, 0x7FFE, 2, 1), [0x302]);
}

#[test]
fn a_vector_beyond_the_table_is_a_protection_fault_without_a_code() {
    let mut fake = real_mode(&[0xCD, 0x21]);
    fake.registers.get_mut().system.idt.limit = 4 * 0x21 + 2;
    fake.memory.write(IDT + 4 * 13, &[0x78, 0x56, 0x00, 0x20]).unwrap();
    assert_eq!(fake.emulate(), Emulated::Done);
    assert_eq!(fake.now().general.rip, 0x5678);
    assert_eq!(values(&fake, 0x7FFA, 2, 2), [0, 0x1000], "it returns to the interrupt itself");
}

#[test]
fn without_any_vectors_the_result_is_a_triple_fault() {
    let mut fake = real_mode(&[0xCD, 0x21]);
    fake.registers.get_mut().system.idt.limit = 0;
    assert_eq!(fake.emulate(), Emulated::TripleFault);
    assert_eq!((fake.now().general.rip, fake.now().general.rsp), (0, 0x1000));
}

#[test]
fn exceptions_push_no_code() {
    let mut fake = real_mode(&[]);
    fake.with_cpu(|cpu| raise(cpu, Exception::stack(0)).unwrap());
    assert_eq!(values(&fake, 0x7FFA, 2, 2), [0, 0x1000]);
}

#[test]
fn the_stack_wraps_around_at_64_kib() {
    let mut fake = real_mode(&[0xCD, 0x21]);
    fake.registers.get_mut().general.rsp = 0x5555_0002;
    assert_eq!(fake.emulate(), Emulated::Done);
    assert_eq!(fake.now().general.rsp, 0x5555_FFFC, "only SP moves");
    assert_eq!(values(&fake, 0x7000, 2, 1), [0x302]);
    assert_eq!(values(&fake, 0x7000 + 0xFFFC, 2, 2), [2, 0x1000]);
}

#[test]
fn a_word_across_the_end_of_the_stack_is_a_stack_fault() {
    let mut fake = real_mode(&[0xCD, 0x21]);
    fake.registers.get_mut().general.rsp = 1;
    // That cannot be delivered on this stack, nor can the double fault.
    assert_eq!(fake.emulate(), Emulated::TripleFault);
    assert_eq!(fake.now().general.rsp, 1);
}

#[test]
fn iret_returns_to_the_interrupted_code() {
    for wide in [false, true] {
        let code: &[u8] = if wide { &[0x66, 0xCF] } else { &[0xCF] };
        let mut fake = real_mode(code);
        fake.registers.get_mut().general.rflags = 0x1A_0002;
        let frame: [u64; 3] = [0x1234, 0xFFFF_2000, 0xFFFF_FFFF];
        let width = if wide { 4 } else { 2 };
        for (index, value) in (0..).zip(frame) {
            fake.memory.write(0x8000 + index * width, &value.to_le_bytes()[..width as usize]).unwrap();
        }
        assert_eq!(fake.emulate(), Emulated::Done);
        let now = fake.now();
        assert_eq!((now.general.rip, now.system.cs.selector), (0x1234, 0x2000));
        assert_eq!(now.system.cs.base, 0x2_0000);
        let flags = if wide { 0x3F_7FD7 } else { 0x1A_7FD7 };
        assert_eq!(now.general.rflags, flags, "VM, VIF and VIP stay");
        assert_eq!(now.general.rsp, 0x1000 + 3 * width);
    }
}

#[test]
fn iret_beyond_the_segment_is_a_protection_fault() {
    let mut fake = real_mode(&[0x66, 0xCF]);
    fake.registers.get_mut().general.rflags = 2;
    fake.memory.write(0x8000, &0x1_0000_u32.to_le_bytes()).unwrap();
    fake.memory.write(IDT + 4 * 13, &[0x78, 0x56, 0x00, 0x20]).unwrap();
    assert_eq!(fake.emulate(), Emulated::Done);
    assert_eq!(fake.now().general.rip, 0x5678);
}

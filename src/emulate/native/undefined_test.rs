//! Bytes that are no instruction raise #UD where no processor has one, and stay refused elsewhere.

use super::guest;
use crate::emulate::exception::Exception;
use crate::emulate::native::processor;
use crate::emulate::{Emulated, Obstacle};

#[test]
fn encodings_that_no_processor_has_are_undefined() {
    let undefined: [&[u8]; 17] = [
        &[0xF3, 0x49, 0x0F, 0x38, 0x14, 0xCC], // pblendvb's neighbour with a prefix
        &[0xDA, 0xEA],                         // between fucompp
        &[0xD9, 0x0F],                         // fld's neighbour, in memory
        &[0xDB, 0x37],                         // the same
        &[0xC5, 0xF0, 0x51, 0xC0],             // vsqrtps with vvvv
        &[0xC4, 0xE2, 0x7D, 0x41, 0xC0],       // vphminposuw of 256 bits
        &[0xC4, 0xE2, 0xF9, 0x1A, 0xC0],       // vbroadcastf128 of 128 bits
        &[0xC4, 0xE0, 0x79, 0x58, 0xC0],       // a map that is not there
        &[0xF0, 0x48, 0x89, 0xC8],             // lock mov rax, rcx
        &[0xF0, 0x48, 0x8B, 0x07],             // lock mov rax, [rdi]
        &[0xF0, 0x0F, 0x58, 0xC1],             // lock addps xmm0, xmm1
        &[0xF0, 0x90],                         // lock nop
        &[0xF2, 0x0F, 0x5B, 0xC1],             // cvtdq2ps's neighbour
        &[0x06],                               // push es
        &[0x0F, 0x04],                         // no opcode
        &[0xFF, 0xFF],                         // the last of a group
        &[0x8E, 0xC8],                         // mov cs, eax
    ];
    for code in undefined {
        // What follows does not matter.
        let mut fake = guest(&[code, &[0x05, 0, 0, 0, 0, 0xE9, 1, 2, 3, 4]].concat());
        // There is no handler.
        assert_eq!(fake.emulate(), Emulated::TripleFault, "{code:x?}");
    }
}

/// LOCK before an instruction that cannot have it is an invalid opcode, which has priority over faults of memory
/// operands (Intel SDM volume 3A, "Priority Among Concurrent Events"; AMD APM volume 2, "Priorities"). Some
/// processors find the fault of `verw`'s operand first; the guest gets what the manuals say.
#[test]
fn lock_before_verw_is_undefined_even_if_its_operand_cannot_be_accessed() {
    for code in [[0xF0, 0x0F, 0x00, 0x28], [0xF0, 0x0F, 0x00, 0x20]] {
        for address in [1 << 63, 1 << 40, 0x2_0000] {
            let mut fake = guest(&code);
            fake.registers.borrow_mut().general.rax = address;
            assert_eq!(fake.raises(), Some(Exception::UNDEFINED), "{code:x?} {address:#x}");
        }
    }
}

#[test]
fn encodings_of_3dnow_that_no_processor_has_are_undefined() {
    if std::arch::x86_64::__cpuid(0x8000_0001).edx >> 31 == 0 {
        for code in [[0x0F, 0x0F, 0xC1, 0], [0x0F, 0x0F, 0x07, 0x33]] {
            assert_eq!(guest(&code).raises(), Some(Exception::UNDEFINED), "{code:x?}");
        }
    }
}

/// Other processors execute another instruction in place of some, or none: those stay refused.
#[test]
fn instructions_without_a_prefix_that_the_processor_does_not_have_are_undefined() {
    let code = [0xF2, 0x0F, 0x79, 0xC1]; // insertq xmm0, xmm1
    if std::arch::x86_64::__cpuid(0x8000_0001).ecx >> 6 & 1 == 0 {
        assert_eq!(guest(&code).raises(), Some(Exception::UNDEFINED));
    }
}

#[test]
fn encodings_that_may_be_instructions_of_ring_0_stay_refused() {
    let unknown: [&[u8]; 4] = [
        &[0x0F, 0x01, 0xCE],       // beside clac
        &[0xF3, 0x0F, 0xC7, 0xC8], // beside senduipi
        &[0x0F, 0x38, 0x83, 0x07], // beside invpcid
        &[0x0F, 0x3E],             // beside getsec
    ];
    for code in unknown {
        let mut fake = guest(code);
        assert_eq!(fake.emulate(), Emulated::Unsupported(Obstacle::Unknown), "{code:x?}");
        // In ring 3, the guest's kernel handles it.
        let mut fake = guest(code);
        fake.registers.borrow_mut().system.cs.dpl = 3;
        fake.registers.borrow_mut().system.ss.dpl = 3;
        assert_eq!(fake.raises(), Some(Exception::UNDEFINED), "{code:x?}");
    }
}

#[test]
fn an_instruction_that_cannot_be_fetched_raises_the_fault_of_its_second_page() {
    let mut fake = guest(&[]);
    // The first page of the last two MiB of RAM that are mapped.
    let last = (1 << 30) - 1;
    fake.memory.write_u64(0x3000 + 8 * 511, 0x87).unwrap();
    fake.memory.write(0x1F_FFFF, &[0x0F]).unwrap();
    fake.registers.borrow_mut().general.rip = last;
    let fault = fake.raises().unwrap();
    assert_eq!((fault.vector, fault.address), (14, Some(1 << 30)));
    // More than 15 bytes are none, whatever they are.
    let mut fake = guest(&[0x66; 20]);
    assert_eq!(fake.raises(), Some(Exception::protection(0)));
}

#[test]
fn an_undefined_encoding_of_15_bytes_is_undefined_and_one_of_16_is_too_long() {
    let undefined: [&[u8]; 12] = [
        &[0x0F, 0x04],                   // no opcode
        &[0x06],                         // push es
        &[0xD9, 0xD1],                   // between instructions of x87
        &[0xDB, 0x37],                   // the same, in memory
        &[0xDB, 0xB7, 0, 0, 0, 0],       // the same, with a displacement
        &[0xDB, 0x77, 0],                // the same, with a short one
        &[0xFF, 0xFF],                   // the last of a group
        &[0xC5, 0xF0, 0x51, 0xC0],       // vsqrtps with vvvv
        &[0xC4, 0xE2, 0x7D, 0x41, 0xC0], // vphminposuw of 256 bits
        &[0xC7, 0xC8, 0, 0, 0, 0],       // between mov and xbegin, with an immediate
        &[0x0F, 0x3A, 0xFF, 0xC0, 0],    // no opcode, with an immediate
        &[0xF0, 0x48, 0x89, 0xC8],       // lock mov rax, rcx
    ];
    for code in undefined {
        for (length, raised) in
            [(14, Exception::UNDEFINED), (15, Exception::UNDEFINED), (16, Exception::protection(0))]
        {
            let padding = vec![0x2E; length - code.len()];
            let mut fake = guest(&[&padding, code].concat());
            assert_eq!(fake.raises(), Some(raised), "{length} bytes: {code:02x?}");
        }
    }
}

#[test]
fn instructions_of_evex_are_undefined_where_the_processor_has_none() {
    if processor::has_evex() {
        return;
    }
    let evex: [&[u8]; 4] = [
        &[0x62, 0xF1, 0x7C, 0x48, 0x58, 0xC1],       // vaddps zmm0, zmm0, zmm1
        &[0x62, 0xF1, 0x7C, 0x4A, 0x11, 0x07],       // vmovups [rdi]{k2}, zmm0
        &[0x62, 0xF2, 0x7D, 0x49, 0x92, 0x04, 0x07], // vgatherdps zmm0{k1}, [rdi + zmm0]
        &[0xC5, 0xF8, 0x92, 0xC8],                   // kmovw k1, eax
    ];
    for code in evex {
        assert_eq!(guest(code).raises(), Some(Exception::UNDEFINED), "{code:x?}");
        // The same in 32-bit code, where this is no `bound` or `lds`.
        let mut fake = guest(code);
        let system = &mut fake.registers.get_mut().system;
        (system.cs.l, system.cs.db) = (0, 1);
        assert_eq!(fake.raises(), Some(Exception::UNDEFINED), "{code:x?}");
    }
}

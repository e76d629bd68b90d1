use super::*;
use crate::arch::flags::{CR0_PE, CR0_PG, CR4_PAE, EFER_LMA};
use crate::inspect::fault::{AddressMeaning, PageState};

/// 64-bit code in ring 0 with the first 2 MiB identity-mapped.
fn guest() -> (GuestMemory, Registers) {
    let memory = GuestMemory::new(4 << 20).unwrap();
    for (entry, value) in [(0x1000, 0x2003), (0x2000, 0x3003), (0x3000, 0x83)] {
        memory.write_u64(entry, value).unwrap();
    }
    let mut registers = Registers::default();
    let system = &mut registers.system;
    (system.cs.l, system.cr0, system.cr3) = (1, CR0_PG | CR0_PE, 0x1000);
    (system.cr4, system.efer) = (CR4_PAE, EFER_LMA);
    (memory, registers)
}

fn explained(cr2: u64, vector: u8, error_code: Option<u32>, found: &[RaisedException]) -> RaisedException {
    let (memory, mut registers) = guest();
    registers.system.cr2 = cr2;
    explain(&memory, &registers, RescuedException { vector, error_code }, found.to_vec())
}

fn raised(vector: u8, error_code: Option<u32>, diagnosis: Diagnosis) -> RaisedException {
    RaisedException { vector, error_code, diagnosis }
}

#[test]
fn a_guess_that_fits_explains_the_exception() {
    let division = raised(0, None, Diagnosis::DivisionByZero);
    let trap = raised(1, None, Diagnosis::TrapFlag);
    let found = [division.clone(), trap.clone()];
    assert_eq!(explained(0, 0, None, &found), division);
    assert_eq!(explained(0, 1, None, &found), trap);
    // What was recorded is right.
    let privileged = raised(13, Some(0), Diagnosis::Privileged);
    assert_eq!(explained(0, 13, Some(0x50), &[privileged]), raised(13, Some(0x50), Diagnosis::Privileged));
    assert_eq!(explained(0, 6, None, &found), raised(6, None, Diagnosis::Unexplained));
}

#[test]
fn a_page_fault_is_that_of_cr2() {
    let elsewhere = Diagnosis::Page {
        address: 0x30_0000,
        access: AccessKind::Read,
        page: PageState::Unmapped,
        meaning: AddressMeaning::Unknown,
    };
    let exception = explained(0x70_0008, 14, Some(2), &[raised(14, Some(0), elsewhere)]);
    let there = Diagnosis::Page {
        address: 0x70_0008,
        access: AccessKind::Write,
        page: PageState::Unmapped,
        meaning: AddressMeaning::Unknown,
    };
    assert_eq!(exception, raised(14, Some(2), there));
    // The tables allow the access now.
    assert_eq!(explained(0x8000, 14, Some(0), &[]), raised(14, Some(0), Diagnosis::Unexplained));
}

#[test]
fn an_error_code_that_names_a_gate_leads_to_the_interrupt() {
    let software = raised(0x80, None, Diagnosis::SoftwareInterrupt);
    assert_eq!(explained(0, 13, Some(0x402), std::slice::from_ref(&software)), software);
    assert_eq!(explained(0, 13, Some(0x802), std::slice::from_ref(&software)), software);
    assert_eq!(explained(0, 13, Some(0x802), &[]), raised(13, Some(0x802), Diagnosis::Unexplained));
    // From outside, while that instruction was next.
    assert_eq!(explained(0, 13, Some(0x103), &[software]), raised(0x20, None, Diagnosis::Interrupt));
    assert_eq!(explained(0, 11, Some(0x402), &[]), raised(11, Some(0x402), Diagnosis::Unexplained));
}

#[test]
fn an_exception_that_is_not_delivered_is_named() {
    let division = raised(0, None, Diagnosis::DivisionByZero);
    let exception = explained(0, 8, Some(0), std::slice::from_ref(&division));
    assert_eq!(exception.first(), &division);
    let text = "double fault, #DF (vector 8, error code 0x0): divide error, #DE (vector 0): a division by zero, could not \
                be delivered";
    assert_eq!(exception.sentence(0), text);
    // The selector in a gate; the gate itself, when the processor raises the exception and not the program.
    for (vector, code) in [(13, 0x50), (13, 3)] {
        let exception = explained(0, vector, Some(code), std::slice::from_ref(&division));
        assert_eq!((exception.vector, exception.first()), (vector, &division), "{code:#x}");
    }
}

#[test]
fn what_no_instruction_raises_is_an_interrupt() {
    for (vector, code, diagnosis) in [
        (2, None, Diagnosis::Interrupt),
        (8, None, Diagnosis::Interrupt),
        (15, None, Diagnosis::Interrupt),
        (31, None, Diagnosis::Interrupt),
        (8, Some(0), Diagnosis::Undelivered(None)),
        (18, None, Diagnosis::Unexplained),
    ] {
        assert_eq!(explained(0, vector, code, &[]), raised(vector, code, diagnosis), "{vector}");
    }
}

use super::delivery::{DeliveryFailure, DeliveryProblem, failure};
use super::*;
use crate::arch::Registers;
use crate::arch::flags::{
    CR0_AM, CR0_PE, CR0_PG, CR4_OSFXSR, CR4_OSXSAVE, CR4_PAE, EFER_LMA, RFLAGS_AC, RFLAGS_TF,
};
use crate::memory::GuestMemory;

const CODE: u64 = 0x8000;
const GDT: u64 = 0x4000;
const IDT: u64 = 0x5000;
const TSS: u64 = 0x6000;
const STACK: u64 = 0x9000;

/// 64-bit code in ring 0, the first 2 MiB identity-mapped, a GDT with 64-bit code and an empty IDT.
fn guest() -> (GuestMemory, Registers) {
    let memory = GuestMemory::new(4 << 20).unwrap();
    memory.write_u64(0x1000, 0x2003).unwrap();
    memory.write_u64(0x2000, 0x3003).unwrap();
    memory.write_u64(0x3000, 0x83).unwrap();
    memory.write_u64(GDT + 8, 0x00AF_9B00_0000_FFFF).unwrap();
    memory.write_u64(GDT + 16, 0x00CF_1300_0000_FFFF).unwrap();
    let mut registers = Registers::default();
    registers.general.rip = CODE;
    registers.general.rsp = STACK;
    let system = &mut registers.system;
    (system.cs.l, system.cr0, system.cr3) = (1, CR0_PG | CR0_PE, 0x1000);
    (system.cr4, system.efer) = (CR4_PAE | CR4_OSFXSR, EFER_LMA);
    (system.gdt.base, system.gdt.limit) = (GDT, 23);
    (system.idt.base, system.idt.limit) = (IDT, 0xFFF);
    (system.tr.base, system.tr.limit) = (TSS, 103);
    (memory, registers)
}

/// The same in ring 3, which may access all pages.
fn ring_3() -> (GuestMemory, Registers) {
    let (memory, mut registers) = guest();
    for entry in [0x1000, 0x2000, 0x3000] {
        memory.write_u64(entry, memory.read_u64(entry).unwrap() | 4).unwrap();
    }
    registers.system.ss.dpl = 3;
    (memory, registers)
}

fn found(registers: &Registers, memory: &GuestMemory, code: &[u8]) -> Option<RaisedException> {
    find(memory, registers, code, &|| None)
}

#[test]
fn divisions_fault_exactly_where_the_quotient_does_not_fit() {
    let (memory, mut registers) = guest();
    let div = [0xF7, 0xF1]; // div ecx
    let idiv = [0xF7, 0xF9]; // idiv ecx
    let small = [0xF6, 0xF1]; // div cl
    for (code, rax, rdx, rcx, fault) in [
        (div, 7, 0, 0, Some(Diagnosis::DivisionByZero)),
        (div, 7, 0, 2, None),
        (div, 0, 1, 1, Some(Diagnosis::QuotientTooLarge)),
        (div, 0xFFFF_FFFF, 0, 1, None),
        // -1 / -1 and INT_MIN / -1.
        (idiv, 0xFFFF_FFFF, 0xFFFF_FFFF, 0xFFFF_FFFF, None),
        (idiv, 0x8000_0000, 0xFFFF_FFFF, 0xFFFF_FFFF, Some(Diagnosis::QuotientTooLarge)),
        (idiv, 0x8000_0000, 0, 1, Some(Diagnosis::QuotientTooLarge)),
        // AX is the dividend of the 8-bit form.
        (small, 0x1FF, 0, 1, Some(Diagnosis::QuotientTooLarge)),
        (small, 0x0FF, 9, 1, None),
    ] {
        (registers.general.rax, registers.general.rdx, registers.general.rcx) = (rax, rdx, rcx);
        let exception = found(&registers, &memory, &code);
        assert_eq!(exception.map(|it| it.diagnosis), fault, "{code:x?} {rax:#x} {rdx:#x} {rcx:#x}");
    }
}

#[test]
fn an_instruction_with_nothing_wrong_raises_nothing() {
    let (memory, mut registers) = guest();
    registers.general.rbx = 0x7010;
    for code in [
        &[0x90][..],                              // nop
        &[0x48, 0x8B, 0x03],                      // mov rax, [rbx]
        &[0x0F, 0x28, 0x03],                      // movaps xmm0, [rbx]
        &[0x0F, 0x10, 0x43, 0x01],                // movups xmm0, [rbx + 1]
        &[0x8E, 0xD8],                            // mov ds, eax (null)
        &[0xFB],                                  // sti
        &[0x50],                                  // push rax
        &[0x48, 0x8D, 0x04, 0x25, 0, 0, 0, 0x80], // lea rax, [0xffffffff80000000]
    ] {
        assert_eq!(found(&registers, &memory, code), None, "{code:x?}");
    }
}

#[test]
fn a_far_return_and_an_unaligned_masked_store_are_no_false_alarm() {
    let (memory, mut registers) = guest();
    // A far return pops four bytes each in 64-bit mode: together they are no canonical address.
    memory.write_u64(STACK, 8 << 32 | CODE).unwrap();
    memory.write_u64(STACK + 4, 8).unwrap();
    assert_eq!(found(&registers, &memory, &[0xCB]), None);
    registers.general.rdi = 0x7001;
    assert_eq!(found(&registers, &memory, &[0x66, 0x0F, 0xF7, 0xC1]), None); // maskmovdqu xmm0, xmm1
}

#[test]
fn an_operand_that_is_not_accessed_raises_nothing() {
    let (memory, mut registers) = guest();
    let unmapped = 0x70_0000;
    (registers.general.rdi, registers.general.rsi, registers.general.rbx) = (unmapped, unmapped, unmapped);
    let copy = [0xF3, 0xA4]; // rep movsb
    assert_eq!(found(&registers, &memory, &copy), None);
    registers.general.rcx = 1;
    assert_eq!(found(&registers, &memory, &copy).unwrap().vector, vector::PAGE_FAULT);
    // The bit that RCX selects lies below the operand.
    registers.general.rcx = 0x90_0000_u64.wrapping_neg();
    assert_eq!(found(&registers, &memory, &[0x48, 0x0F, 0xA3, 0x0B]), None); // bt [rbx], rcx
    registers.system.cr4 |= CR4_OSXSAVE;
    assert_eq!(found(&registers, &memory, &[0xC4, 0xE2, 0x71, 0x2E, 0x03]), None); // vmaskmovps [rbx], xmm1, xmm0
}

#[test]
fn alignment_is_checked_in_ring_3_where_both_flags_are_set() {
    let (memory, mut registers) = ring_3();
    registers.general.rbx = 0x7002;
    let load = [0x8B, 0x03]; // mov eax, [rbx]
    registers.system.cr0 |= CR0_AM;
    assert_eq!(found(&registers, &memory, &load), None);
    registers.general.rflags |= RFLAGS_AC;
    let exception = found(&registers, &memory, &load).unwrap();
    assert_eq!((exception.vector, exception.error_code), (vector::ALIGNMENT, Some(0)));
    assert_eq!(exception.diagnosis, Diagnosis::AlignmentCheck { address: 0x7002, alignment: 4 });
    assert_eq!(found(&registers, &memory, &[0x66, 0x8B, 0x03]), None); // mov ax, [rbx]
    assert_eq!(found(&registers, &memory, &[0x0F, 0x10, 0x03]), None); // movups xmm0, [rbx]
    registers.general.rsp = STACK - 4;
    assert_eq!(found(&registers, &memory, &[0x50]).unwrap().vector, vector::ALIGNMENT); // push rax
    registers.system.ss.dpl = 0;
    assert_eq!(found(&registers, &memory, &load), None);
}

#[test]
fn only_floating_point_instructions_are_executed_for_their_exception() {
    let (memory, registers) = guest();
    let raised = RaisedException {
        vector: vector::X87,
        error_code: None,
        diagnosis: Diagnosis::FloatingPoint { flags: 5, x87_instruction: Some(0x8123) },
    };
    let with = |code: &[u8]| find(&memory, &registers, code, &|| Some(raised.clone()));
    assert_eq!(with(&[0x90]), None); // nop
    for code in [&[0xD9, 0xE8][..], &[0x9B], &[0x0F, 0x5E, 0xC1], &[0x0F, 0xFE, 0xC1]] {
        assert_eq!(with(code).as_ref(), Some(&raised), "{code:x?}"); // fld1, fwait, divps, paddd
    }
    assert_eq!(
        raised.sentence(0),
        "x87 floating-point error, #MF (vector 16): an invalid operation and a division by zero in the x87 \
         instruction at 0x8123, which FCW does not mask"
    );
}

#[test]
fn the_trap_flag_takes_effect_after_the_instruction_behind_popf() {
    let (memory, mut registers) = guest();
    assert_eq!(trap(&memory, &registers), None);
    registers.general.rflags |= RFLAGS_TF;
    assert_eq!(trap(&memory, &registers).unwrap().vector, vector::DEBUG);
    memory.write(CODE - 1, &[0x9D]).unwrap();
    assert_eq!(trap(&memory, &registers), None);
}

#[test]
fn into_raises_its_exception_only_after_an_overflow() {
    let (memory, mut registers) = guest();
    (registers.system.cs.l, registers.system.cs.db) = (0, 1);
    assert_eq!(found(&registers, &memory, &[0xCE]), None);
    registers.general.rflags |= 1 << 11;
    assert_eq!(found(&registers, &memory, &[0xCE]).unwrap().vector, vector::OVERFLOW);
}

#[test]
fn what_lies_before_an_unmapped_instruction_is_named() {
    let (memory, mut registers) = guest();
    (registers.general.rip, registers.general.rax) = (0x20_0000, 0x70_0000);
    let ending = |registers: &Registers| {
        let text = found(registers, &memory, &[]).unwrap().sentence(0);
        text.split_once("): ").unwrap().1.to_owned()
    };
    let zeros = "the next instruction is at 0x200000, where nothing is mapped; the bytes before it are zeros, which \
                 execute as `add [rax], al`";
    assert_eq!(ending(&registers), "a jump to 0x200000, where nothing is mapped", "zeros would fault");
    registers.general.rax = 0x7000;
    assert_eq!(ending(&registers), zeros);
    memory.write(0x1F_FFFD, &[0x0F, 0x22, 0xD8]).unwrap(); // mov cr3, rax
    assert_eq!(
        ending(&registers),
        "the next instruction is at 0x200000, where nothing is mapped: the instruction before has changed the \
         paging, and the new page tables do not map the code"
    );
}

#[test]
fn a_pop_above_mapped_memory_is_no_stack_overflow() {
    let (memory, mut registers) = guest();
    registers.general.rsp = 0x20_0000;
    let text = found(&registers, &memory, &[0x58]).unwrap().sentence(0); // pop rax
    assert!(text.ends_with(", above the stack: more was popped than pushed"), "{text}");
    // RBP is not near RSP: it is no frame pointer.
    (registers.general.rsp, registers.general.rbp) = (STACK, 0x3F_0000);
    let text = found(&registers, &memory, &[0x8B, 0x45, 0]).unwrap().sentence(0); // mov eax, [rbp]
    assert!(text.ends_with("a read of 0x3f0000, where nothing is mapped"), "{text}");
}

#[test]
fn an_operand_across_two_pages_faults_in_the_second() {
    let (memory, mut registers) = guest();
    registers.general.rbx = 0x1F_FFFC;
    let exception = found(&registers, &memory, &[0x48, 0x8B, 0x03]).unwrap();
    assert_eq!(exception.error_code, Some(0));
    assert!(
        matches!(exception.diagnosis, Diagnosis::Page { address: 0x20_0000, page: PageState::Unmapped, .. }),
        "{exception:?}"
    );
}

#[test]
fn a_stack_pointer_that_leads_nowhere_is_no_overflow() {
    let (memory, mut registers) = guest();
    registers.general.rsp = 0;
    let text = found(&registers, &memory, &[0x50]).unwrap().sentence(0);
    assert!(
        text.ends_with(
            "a write to 0xfffffffffffffff8, where nothing is mapped: RSP does not point to a stack"
        ),
        "{text}"
    );
}

#[test]
fn real_mode_and_32_bit_segments_are_checked_by_their_limits() {
    let memory = GuestMemory::new(1 << 20).unwrap();
    let mut registers = Registers::default();
    (registers.system.ds.limit, registers.general.rbx) = (0xFFFF, 0xFFFF);
    let exception = found(&registers, &memory, &[0x8B, 0x07]).unwrap(); // mov ax, [bx]
    assert_eq!((exception.vector, exception.error_code), (vector::PROTECTION, Some(0)));
    assert!(matches!(exception.diagnosis, Diagnosis::OutsideSegment { offset: 0xFFFF, .. }), "{exception:?}");
    registers.general.rbx = 0xFFFE;
    assert_eq!(found(&registers, &memory, &[0x8B, 0x07]), None);
}

fn set_gate(memory: &GuestMemory, vector: u64, low: u64, high: u64) {
    memory.write_u64(IDT + 16 * vector, low).unwrap();
    memory.write_u64(IDT + 16 * vector + 8, high).unwrap();
}

#[test]
fn a_delivery_fails_for_the_first_thing_that_is_wrong() {
    let (memory, mut registers) = guest();
    let problem = |registers: &Registers| failure(&memory, registers, vector::UNDEFINED).map(|it| it.problem);
    assert_eq!(problem(&registers), Some(DeliveryProblem::NoTable));
    let good = 0x0000_8E00_0008_0000 | CODE;
    // A table with nothing but an interrupt of a device is one, and lacks this gate; what leads to no code is none.
    set_gate(&memory, 0x20, good & !0xFFFF_0000, 0);
    assert_eq!(problem(&registers), Some(DeliveryProblem::NoTable));
    set_gate(&memory, 0x20, good, 0);
    assert_eq!(problem(&registers), Some(DeliveryProblem::NotPresent));
    set_gate(&memory, 0x20, 0, 0);
    set_gate(&memory, 3, good, 0);
    assert_eq!(problem(&registers), Some(DeliveryProblem::NotPresent));
    set_gate(&memory, 6, good, 0);
    assert_eq!(problem(&registers), None, "{:?}", failure(&memory, &registers, 6));
    for (low, high, expected) in [
        (good & !(1 << 47), 0, DeliveryProblem::NotPresent),
        (good & !(0xF << 40) | 0xC << 40, 0, DeliveryProblem::WrongType),
        (good, 0x8000, DeliveryProblem::Handler { address: 0x8000_0000_8000 }),
        (good & !0xFFFF_0000, 0, DeliveryProblem::Segment { selector: 0, problem: SelectorProblem::Null }),
        (
            good | 0x10 << 16,
            0,
            DeliveryProblem::Segment {
                selector: 0x18,
                problem: SelectorProblem::BeyondLimit { limit: 23, ldt: false },
            },
        ),
        (
            good ^ 0x18 << 16,
            0,
            DeliveryProblem::Segment { selector: 0x10, problem: SelectorProblem::WrongType },
        ),
    ] {
        set_gate(&memory, 6, low, high);
        assert_eq!(problem(&registers), Some(expected), "{low:#x}");
    }
    // The second stack of the task state segment is not set: 0.
    set_gate(&memory, 6, good | 2 << 32, 0);
    assert!(
        matches!(problem(&registers), Some(DeliveryProblem::Stack { rsp: 0, from_task_state: true, .. })),
        "{:?}",
        problem(&registers)
    );
    registers.system.tr.limit = 0x20;
    assert_eq!(problem(&registers), Some(DeliveryProblem::NoTaskState));
    registers.system.idt.limit = 0x5F;
    assert_eq!(problem(&registers), Some(DeliveryProblem::BeyondLimit { limit: 0x5F }));
}

#[test]
fn a_stack_below_mapped_memory_has_overflowed() {
    let (memory, mut registers) = guest();
    set_gate(&memory, 6, 0x0000_8E00_0008_0000 | CODE, 0);
    // A frame below the first page wraps around to addresses that are not mapped.
    registers.general.rsp = 0x10;
    let DeliveryFailure { problem, .. } = failure(&memory, &registers, 6).unwrap();
    assert_eq!(problem, DeliveryProblem::Stack { rsp: 0x10, from_task_state: false, overflow: true });
}

#[test]
fn a_handler_of_protected_mode_needs_a_stack_with_room_for_its_frame() {
    let (memory, mut registers) = guest();
    registers.system.efer = 0;
    registers.system.cr0 = CR0_PE;
    (registers.system.cs.l, registers.system.cs.db) = (0, 1);
    memory.write_u64(GDT + 8, 0x00CF_9B00_0000_FFFF).unwrap();
    memory.write_u64(GDT + 16, 0x00CF_9300_0000_FFFF).unwrap();
    memory.write_u64(IDT + 8 * 6, 0x0000_8E00_0008_8000).unwrap();
    (registers.system.ss.limit, registers.system.ss.db) = (STACK as u32 - 1, 1);
    let problem = |registers: &Registers| failure(&memory, registers, 6).map(|it| it.problem);
    assert_eq!(problem(&registers), None);
    for esp in [STACK + 4, 8, 0] {
        registers.general.rsp = esp;
        let expected = DeliveryProblem::StackLimit { esp, limit: STACK as u32 - 1 };
        assert_eq!(problem(&registers), Some(expected), "{esp:#x}");
    }
    // A segment that grows downwards allows what is above its limit.
    registers.system.ss.type_ = 0b0111;
    registers.general.rsp = STACK + 12;
    assert_eq!(problem(&registers), None);
    registers.general.rsp = STACK + 8;
    assert!(matches!(problem(&registers), Some(DeliveryProblem::StackLimit { .. })));
    // Ring 3 changes to the stack of the task state segment.
    registers.system.ss.dpl = 3;
    registers.system.tr.type_ = 11;
    memory.write_u64(TSS + 4, 0x10_0000_9000).unwrap();
    assert_eq!(problem(&registers), None);
    for (selector, wrong) in [
        (0, SelectorProblem::Null),
        (8, SelectorProblem::WrongType),
        (24, SelectorProblem::BeyondLimit { limit: 23, ldt: false }),
    ] {
        memory.write_u64(TSS + 8, selector).unwrap();
        let selector = selector as u16;
        let expected = DeliveryProblem::StackSegment { selector, problem: wrong };
        assert_eq!(problem(&registers), Some(expected), "{selector:#x}");
    }
    registers.system.tr.limit = 6;
    assert_eq!(problem(&registers), Some(DeliveryProblem::NoTaskState));
}

#[test]
fn an_idt_that_is_not_mapped_is_not_called_missing() {
    let (memory, mut registers) = guest();
    registers.system.idt.base = 0x70_0000;
    let DeliveryFailure { problem, .. } = failure(&memory, &registers, 6).unwrap();
    assert_eq!(problem, DeliveryProblem::Unmapped { address: 0x70_0060 });
}

#[test]
fn vectors_have_their_names_and_others_their_number() {
    let names = [14, 21, 9, 255].map(crate::arch::exceptions::short_name);
    assert_eq!(names, ["#PF", "#CP", "vector 0x9", "vector 0xff"]);
    let int13 = RaisedException { vector: 13, error_code: None, diagnosis: Diagnosis::SoftwareInterrupt };
    assert_eq!(int13.sentence(0), "software interrupt 0xd (vector 13)");
}

#[test]
fn an_error_code_that_a_handler_has_left_is_named() {
    let (memory, mut registers) = guest();
    for (at, word) in (STACK..).step_by(8).zip([2, CODE, 8, 0x202, 0x9100, 0]) {
        memory.write_u64(at, word).unwrap();
    }
    let iretq = [0x48, 0xCF];
    let fault = found(&registers, &memory, &iretq).unwrap();
    assert_eq!(fault.vector, vector::PROTECTION);
    assert_eq!(fault.diagnosis, Diagnosis::ErrorCodeLeft { code: 2, address: CODE });
    registers.general.rsp = STACK + 8;
    assert_eq!(found(&registers, &memory, &iretq), None, "the frame itself is good");
}

#[test]
fn a_stack_that_is_off_by_half_an_operand_is_named() {
    let (memory, mut registers) = guest();
    let movaps = [0x0F, 0x28, 0x44, 0x24, 0x10]; // movaps xmm0, [rsp+16]
    registers.general.rsp = STACK + 8;
    let diagnosis = |registers: &Registers| found(registers, &memory, &movaps).map(|fault| fault.diagnosis);
    let misaligned = |on_stack, address| Some(Diagnosis::Misaligned { address, alignment: 16, on_stack });
    assert_eq!(diagnosis(&registers), misaligned(true, STACK + 24));
    registers.general.rsp = STACK + 1;
    assert_eq!(diagnosis(&registers), misaligned(false, STACK + 17), "no call does that");
}

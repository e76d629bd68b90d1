use super::*;
use crate::arch::flags::{CR0_PE, CR0_PG, CR4_PAE, EFER_LMA};

const STACK: Range<u64> = 0x1_0000..0x1_1000;
const IDT: u64 = 0x8000;
const GDT: u64 = 0x9000;
const CODE: Range<u64> = 0x4000..0x5000;
const RETURN: u64 = 0x4123;

/// 64-bit code in ring 0 with the first 2 MiB identity-mapped, an IDT and a GDT.
fn guest() -> (GuestMemory, Registers) {
    let memory = GuestMemory::new(4 << 20).unwrap();
    memory.write_u64(0x1000, 0x2003).unwrap();
    memory.write_u64(0x2000, 0x3003).unwrap();
    memory.write_u64(0x3000, 0x83).unwrap();
    memory.write_u64(GDT + 8, 0x00AF_9B00_0000_FFFF).unwrap();
    for vector in 0..32 {
        memory.write_u64(IDT + 16 * vector, 0x0000_8E00_0008_4000).unwrap();
    }
    let mut registers = Registers::default();
    let system = &mut registers.system;
    (system.cs.l, system.cr0, system.cr3) = (1, CR0_PG | CR0_PE, 0x1000);
    (system.cr4, system.efer, system.cs.selector) = (CR4_PAE, EFER_LMA, 8);
    (system.idt.base, system.idt.limit) = (IDT, 0xFFF);
    (system.gdt.base, system.gdt.limit) = (GDT, 0xFFFF);
    registers.general.rsp = STACK.start + 0x800;
    (memory, registers)
}

fn known(name: Option<&str>, range: Range<u64>) -> KnownStack {
    KnownStack { name: name.map(str::to_owned), range }
}

fn sentence(
    memory: &GuestMemory,
    registers: &Registers,
    fault: Option<u64>,
    stacks: &[KnownStack],
) -> Option<String> {
    let contents =
        |address| CODE.contains(&address).then(|| Contents { section: ".text".to_owned(), executable: true });
    let surroundings = Surroundings {
        stacks,
        contents: &contents,
        symbol: &|_| Some(Symbol { name: "recurse".to_owned(), offset: 4 }),
    };
    examine(memory, registers, fault, &surroundings).map(|finding| finding.sentence(false))
}

#[test]
fn rsp_below_a_full_stack_is_a_stack_overflow() {
    let (memory, mut registers) = guest();
    let stacks = [known(Some("`stack_bottom`"), STACK)];
    assert_eq!(sentence(&memory, &registers, None, &stacks), None);
    registers.general.rsp = STACK.start - 0x40;
    assert_eq!(sentence(&memory, &registers, None, &stacks), None, "the stack is not in use");
    memory.write_u64(STACK.start, RETURN).unwrap();
    assert_eq!(
        sentence(&memory, &registers, None, &stacks).unwrap(),
        "RSP is 0xffc0, 0x40 bytes below `stack_bottom`: a stack overflow"
    );
    registers.general.rsp = STACK.start - 0x4000;
    assert_eq!(sentence(&memory, &registers, None, &stacks), None, "it may be another stack");
    registers.general.rsp = CODE.start + 0x10;
    assert_eq!(
        sentence(&memory, &registers, None, &stacks).unwrap(),
        "RSP is 0x4010, 0xbff0 bytes below `stack_bottom`, in section `.text`: a stack overflow"
    );
    assert_eq!(sentence(&memory, &registers, None, &[]).unwrap(), "RSP is 0x4010, in section `.text`");
    registers.general.rip = CODE.start + 0x20;
    let text = sentence(&memory, &registers, None, &stacks).unwrap();
    assert!(text.ends_with(": a stack overflow, which has reached the code at RIP"), "{text}");
    // A push with RSP 0 wraps around.
    registers.general.rsp = 0;
    assert_eq!(sentence(&memory, &registers, Some(u64::MAX - 7), &stacks), None);
}

#[test]
fn rsp_in_another_stack_is_no_overflow() {
    let (memory, mut registers) = guest();
    memory.write_u64(STACK.start, RETURN).unwrap();
    registers.general.rsp = STACK.start;
    let upper = || known(Some("`stack`"), STACK);
    for below in [known(Some("`interrupt_stack`"), 0xF000..STACK.start), known(None, 0..STACK.start)] {
        assert_eq!(sentence(&memory, &registers, None, &[below, upper()]), None);
    }
}

#[test]
fn a_push_that_faults_below_a_full_stack_is_a_stack_overflow() {
    let (memory, mut registers) = guest();
    memory.write_u64(STACK.start, RETURN).unwrap();
    registers.general.rsp = STACK.start;
    let stacks = [known(Some("`stack_bottom`"), STACK)];
    assert_eq!(
        sentence(&memory, &registers, Some(STACK.start - 8), &stacks).unwrap(),
        "What is pushed goes to 0xfff8, 0x8 bytes below `stack_bottom`: a stack overflow"
    );
    assert_eq!(sentence(&memory, &registers, Some(STACK.start - 0x2000), &stacks), None, "it is no push");
}

#[test]
fn a_stack_that_has_grown_over_a_descriptor_table_is_recognised_by_its_contents() {
    let (memory, mut registers) = guest();
    memory.write_u64(IDT + 6 * 16, RETURN).unwrap();
    assert_eq!(
        sentence(&memory, &registers, None, &[]).unwrap(),
        "A stack has overwritten the IDT: at 0x8060 it holds 0x4123 (recurse+0x5), an address of code"
    );
    // A limit that is larger than the table.
    let (memory, _) = guest();
    memory.write_u64(GDT + 16, RETURN).unwrap();
    assert_eq!(sentence(&memory, &registers, None, &[]), None);
    registers.system.ss.selector = 16;
    assert!(sentence(&memory, &registers, None, &[]).unwrap().starts_with("A stack has overwritten the GDT"));
    assert_eq!(sentence(&memory, &registers, None, &[known(None, GDT + 16..GDT + 32)]), None);
}

#[test]
fn an_exception_frame_in_a_descriptor_table_is_recognised() {
    let (memory, mut registers) = guest();
    registers.general.rsp = GDT;
    let rsp = GDT + 0x30;
    for (index, word) in [RETURN + 1, 8, 2, rsp, 0].into_iter().enumerate() {
        memory.write_u64(rsp - 40 + 8 * index as u64, word).unwrap();
    }
    let overwritten = "A stack has overwritten the GDT: at 0x9008 it holds the frame of an exception";
    let stacks = [known(Some("`stack_bottom`"), GDT + 0x28..GDT + 0x800)];
    // Nothing shows that it is this stack.
    assert_eq!(sentence(&memory, &registers, None, &stacks).unwrap(), overwritten);
    memory.write_u64(GDT + 0x30, 1).unwrap();
    assert_eq!(
        sentence(&memory, &registers, None, &stacks).unwrap(),
        format!("RSP is 0x9000, 0x28 bytes below `stack_bottom`: a stack overflow. {overwritten}")
    );
}

use super::*;
use crate::inspect::fault::{AccessKind, AddressMeaning, PageState};
use crate::inspect::testing::{NoInformation, long_mode};

/// A guest with the first 2 MiB mapped, a handler of page faults at 0x6000, and at 0x5000 a read through RBX.
fn guest() -> (GuestMemory, Registers) {
    let memory = GuestMemory::new(1 << 20).unwrap();
    let mut registers = long_mode(&memory);
    // A gate for an interrupt, and a GDT with a code segment of 64 bits.
    memory.write_u64(0x7000 + 14 * 16, 0x0000_8E00_0008_6000).unwrap();
    memory.write_u64(0x7800 + 8, 0x00AF_9B00_0000_FFFF).unwrap();
    // mov eax, [rbx]
    memory.write(0x5000, &[0x8B, 0x03]).unwrap();
    registers.system.cs.selector = 8;
    registers.system.cr2 = 0x4000_0000;
    (registers.system.idt.base, registers.system.idt.limit) = (0x7000, 0xFFF);
    (registers.system.gdt.base, registers.system.gdt.limit) = (0x7800, 0xF);
    (registers.general.rip, registers.general.rsp) = (0x5000, 0x9000);
    registers.general.rbx = 0x4000_0000;
    (memory, registers)
}

/// The same in its handler, whose code is `handler`.
fn in_handler(handler: &[u8]) -> (GuestMemory, Registers) {
    let (memory, mut registers) = guest();
    memory.write(0x6000, handler).unwrap();
    for (at, word) in (0x8000..).step_by(8).zip([0x5000, 8, 0x202, 0x9000, 0]) {
        memory.write_u64(at, word).unwrap();
    }
    (registers.general.rip, registers.general.rsp) = (0x6000, 0x8000);
    (memory, registers)
}

fn found((memory, registers): (GuestMemory, Registers)) -> Option<FaultLoop> {
    find(&NoInformation, &memory, &registers)
}

#[test]
fn an_instruction_that_faults_again_is_found() {
    let fault = found(guest()).unwrap();
    assert_eq!((fault.place.address, fault.in_handler, fault.exception.vector), (0x5000, false, 14));
    let page = Diagnosis::Page {
        address: 0x4000_0000,
        access: AccessKind::Read,
        page: PageState::Unmapped,
        meaning: AddressMeaning::Unknown,
    };
    assert_eq!(fault.exception.diagnosis, page);
    let (memory, mut registers) = guest();
    registers.system.cr2 = 0x1234;
    assert_eq!(found((memory, registers)), None, "the last page fault was another one");
    let (memory, mut registers) = guest();
    registers.system.idt.limit = 0;
    assert_eq!(found((memory, registers)), None, "there is no handler");
}

#[test]
fn a_handler_that_returns_to_the_fault_is_found() {
    // iretq
    let fault = found(in_handler(&[0x48, 0xCF])).unwrap();
    assert_eq!((fault.place.address, fault.in_handler), (0x5000, true));
    // hlt; jmp -3
    assert_eq!(found(in_handler(&[0xF4, 0xEB, 0xFD])), None, "it does not return");
    let (memory, mut registers) = in_handler(&[0x48, 0xCF]);
    registers.general.rbx = 0x4000;
    assert_eq!(found((memory, registers)), None, "the instruction does not fault");
}

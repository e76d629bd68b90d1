use super::*;
use crate::inspect::testing::long_mode;

const CODE: u64 = 0x8000;
const STACK: u64 = 0x9000;

/// What the instruction `code` touches, with RBX = 0x7010 and RDX = 0x3FD.
fn plain(code: &[u8]) -> Option<PlainInstruction> {
    let memory = GuestMemory::new(4 << 20).unwrap();
    let mut registers = long_mode(&memory);
    registers.general.rip = CODE;
    registers.general.rsp = STACK;
    (registers.general.rbx, registers.general.rdx) = (0x7010, 0x3FD);
    memory.write(CODE, code).unwrap();
    PlainInstruction::next(&memory, &registers)
}

#[test]
fn the_memory_and_the_ports_of_plain_code_are_known() {
    let one = |physical, length, write| vec![TouchedMemory { physical, length, write }];
    for (code, memory) in [
        (&[0x90][..], vec![]),                             // nop
        (&[0xF3, 0x90], vec![]),                           // pause
        (&[0x48, 0x8D, 0x03], vec![]),                     // lea rax, [rbx]
        (&[0x8B, 0x03], one(0x7010, 4, false)),            // mov eax, [rbx]
        (&[0x88, 0x43, 0xEF], one(0x6FFF, 1, true)),       // mov [rbx-17], al
        (&[0xFF, 0x03], one(0x7010, 4, true)),             // inc dword [rbx]
        (&[0x50], one(STACK - 8, 8, true)),                // push rax
        (&[0xE8, 0, 1, 0, 0], one(STACK - 8, 8, true)),    // call
        (&[0xF0, 0x0F, 0xB1, 0x0B], one(0x7010, 4, true)), // lock cmpxchg [rbx], ecx
    ] {
        assert_eq!(plain(code).unwrap().memory, memory, "{code:x?}");
    }
    let crossing = plain(&[0x8B, 0x43, 0xEE]).unwrap().memory; // mov eax, [rbx-18]
    assert_eq!(
        crossing.iter().map(|one| (one.physical, one.length)).collect::<Vec<_>>(),
        [(0x6FFE, 2), (0x7000, 2)]
    );
    let ports = |code: &[u8]| plain(code).unwrap().ports;
    assert_eq!(ports(&[0xEC]), Some(TouchedPorts { first: 0x3FD, count: 1, write: false })); // in al, dx
    assert_eq!(ports(&[0xE5, 0x64]), Some(TouchedPorts { first: 0x64, count: 4, write: false })); // in eax, 0x64
    assert_eq!(ports(&[0xE6, 0x80]), Some(TouchedPorts { first: 0x80, count: 1, write: true })); // out 0x80, al
}

#[test]
fn where_an_instruction_leads_is_known() {
    let jump = plain(&[0xEB, 0xFE]).unwrap();
    assert!(jump.is_endless && jump.may_lead_to(CODE) && !jump.may_lead_to(CODE + 2));
    let branch = plain(&[0x74, 0x10]).unwrap();
    assert!(!branch.is_endless && branch.may_lead_to(CODE + 2) && branch.may_lead_to(CODE + 0x12));
    assert!(!branch.may_lead_to(0), "a handler of an exception");
    assert!(!plain(&[0x74, 0xFE]).unwrap().is_endless, "it depends on the flags");
    assert!(plain(&[0xC3]).unwrap().may_lead_to(0x1234), "a return");
}

#[test]
fn an_instruction_that_knows_more_is_refused() {
    for code in [
        &[0x0F, 0x31][..],                  // rdtsc
        &[0x0F, 0x01, 0xF9],                // rdtscp
        &[0x0F, 0xC7, 0xF0],                // rdrand eax
        &[0x0F, 0xC7, 0xF8],                // rdseed eax
        &[0x0F, 0x33],                      // rdpmc
        &[0x0F, 0x32],                      // rdmsr
        &[0x0F, 0xA2],                      // cpuid
        &[0x0F, 0x20, 0xC0],                // mov rax, cr0
        &[0x44, 0x0F, 0x22, 0xC0],          // mov cr8, rax
        &[0x8E, 0xD8],                      // mov ds, eax
        &[0xFB],                            // sti
        &[0xF4],                            // hlt
        &[0x9C],                            // pushf
        &[0x9D],                            // popf
        &[0xCD, 0x80],                      // int 0x80
        &[0x48, 0xCF],                      // iretq
        &[0x0F, 0x05],                      // syscall
        &[0x0F, 0x01, 0xC1],                // vmcall
        &[0x0F, 0x01, 0xC9],                // mwait
        &[0xF3, 0xA4],                      // rep movsb
        &[0x6C],                            // insb
        &[0x0F, 0xAB, 0x03],                // bts [rbx], eax
        &[0xD9, 0xE8],                      // fld1
        &[0x0F, 0x58, 0xC1],                // addps xmm0, xmm1
        &[0x8B, 0x04, 0x25, 0, 0, 0x40, 0], // mov eax, [0x400000], which is not mapped
        &[0xF7, 0xF1],                      // div ecx, by 0
        &[0x0F, 0x0B],                      // ud2
    ] {
        assert_eq!(plain(code), None, "{code:x?}");
    }
}

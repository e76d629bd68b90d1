//! The state of a vCPU can be restored in another vCPU.

use std::sync::Arc;

use super::*;
use crate::kvm::{Kicker, Vm, VmEntry, VmExit};
use crate::memory::{AttachedSlots, GuestMemory, RAM_GRANULE};

/// A vCPU in real mode at 0x1000, where `code` is.
fn machine(kvm: &Kvm, code: &[u8]) -> (Vm, Vcpu) {
    let memory = Arc::new(GuestMemory::new(RAM_GRANULE).unwrap());
    memory.write(0x1000, code).unwrap();
    let vm = kvm.create_vm(memory.clone()).unwrap();
    let vcpu = vm.create_vcpu(kvm, 0, 1, &Kicker::default()).unwrap();
    for part in AttachedSlots::default().attach_written(&memory) {
        vm.attach(part, false).unwrap();
    }
    let mut registers = vcpu.registers().unwrap();
    (registers.system.cs.base, registers.system.cs.selector) = (0, 0);
    (registers.general.rip, registers.general.rflags) = (0x1000, 2);
    vcpu.set_registers(&registers).unwrap();
    (vm, vcpu)
}

/// STAR, LSTAR, SFMASK, KERNEL_GS_BASE, SYSENTER_CS, SYSENTER_ESP, SYSENTER_EIP and PAT, each with something
/// in it that is not there after a reset.
const MSRS: [(u32, u64); 8] = [
    (0xC000_0081, 0x0013_0008_0000_0000),
    (0xC000_0082, 0xFFFF_8000_0000_1000),
    (0xC000_0084, 0x4_7700),
    (0xC000_0102, 0xFFFF_8000_0000_2000),
    (0x174, 8),
    (0x175, 0x7000),
    (0x176, 0xFFFF_8000_0000_3000),
    (0x277, 0x0606_0606_0606_0606),
];

#[test]
fn every_register_is_restored_in_another_vcpu() {
    let Ok(kvm) = Kvm::open_default() else { return };
    let (_vm, mut vcpu) = machine(&kvm, &[0xF4]);
    let mut registers = vcpu.registers().unwrap();
    (registers.general.r15, registers.general.rsp) = (0x1122_3344_5566_7788, 0x8000);
    (registers.system.cr8, registers.system.cr2) = (5, 0xDEAD_B000);
    (registers.system.idt.base, registers.system.idt.limit) = (0x4000, 0x1FF);
    registers.system.gs.base = 0x56780;
    (registers.system.fs.base, registers.system.fs.selector) = (0x12340, 0x1234);
    vcpu.set_system_registers(&registers.system).unwrap();
    vcpu.set_general_registers(&registers.general).unwrap();
    let mut extended = vcpu.extended_registers().unwrap();
    // XMM3, and in XSTATE_BV that x87 and SSE state is there.
    extended[160 + 48..160 + 64].copy_from_slice(&[0xA5; 16]);
    extended[512] |= 3;
    vcpu.set_extended_registers(&extended).unwrap();
    for (index, value) in MSRS {
        assert!(vcpu.set_msr(index, value).unwrap(), "{index:#x}");
    }
    let debug = kvm_debugregs { db: [1, 2, 3, 4], dr6: 0xFFFF_0FF1, dr7: 0x401, ..Default::default() };
    vcpu.fd.set_debug_regs(&debug).unwrap();
    let mut events = vcpu.fd.get_vcpu_events().unwrap();
    events.nmi.masked = 1;
    let exception = &mut events.exception;
    (exception.injected, exception.nr, exception.has_error_code, exception.error_code) = (1, 13, 1, 0x18);
    vcpu.fd.set_vcpu_events(&events).unwrap();

    let state = vcpu.state(&kvm).unwrap();
    let bytes = postcard::to_stdvec(&state).unwrap();
    let (_other_vm, mut other) = machine(&kvm, &[0xF4]);
    other.set_state(&postcard::from_bytes(&bytes).unwrap()).unwrap();
    assert_eq!(other.registers().unwrap(), vcpu.registers().unwrap());
    // A register that is omitted in both states would compare equal.
    for (index, value) in MSRS {
        assert_eq!(other.msr(index).unwrap(), Some(value), "{index:#x}");
    }
    let arrived = other.fd.get_debug_regs().unwrap();
    assert_eq!((arrived.db, arrived.dr6, arrived.dr7), (debug.db, debug.dr6, debug.dr7));
    assert_eq!(other.extended_registers().unwrap()[160..416], extended[160..416]);
    let arrived = other.fd.get_vcpu_events().unwrap();
    assert_eq!(arrived.nmi.masked, 1);
    let exception = arrived.exception;
    assert_eq!((exception.injected, exception.nr, exception.error_code), (1, 13, 0x18));
    let mut again = other.state(&kvm).unwrap();
    // Time goes on.
    for (there, here) in again.msrs.iter_mut().zip(&state.msrs) {
        if there.0 == TSC {
            assert!(there.1 >= here.1 || !tsc_can_be_set(&kvm), "{:#x} after {:#x}", there.1, here.1);
            *there = *here;
        }
    }
    assert_eq!(again, state);
}

/// Some hosts show the processor's own counter regardless of the written value.
fn tsc_can_be_set(kvm: &Kvm) -> bool {
    let (_vm, vcpu) = machine(kvm, &[0xF4]);
    vcpu.set_msr(TSC, 1 << 60).unwrap() && vcpu.msr(TSC).unwrap().is_some_and(|now| now >= 1 << 60)
}

#[test]
fn a_vcpu_in_the_middle_of_an_access_has_no_state() {
    let Ok(kvm) = Kvm::open_default() else { return };
    // out %al, $0x10
    let (_vm, mut vcpu) = machine(&kvm, &[0xE6, 0x10, 0xF4]);
    assert!(vcpu.is_at_instruction_boundary());
    assert!(matches!(vcpu.run(VmEntry::Resume).unwrap(), VmExit::PortOut { port: 0x10, .. }));
    assert!(!vcpu.is_at_instruction_boundary());
    assert!(vcpu.state(&kvm).unwrap_err().to_string().contains("in the middle of an instruction"));
    assert_eq!(vcpu.complete(VmEntry::Resume).unwrap(), VmExit::Interrupted);
    assert_eq!(vcpu.state(&kvm).unwrap().rip(), 0x1002);
}

#[test]
fn a_guest_continues_in_another_vcpu_in_the_middle_of_a_repeated_instruction() {
    let Ok(kvm) = Kvm::open_default() else { return };
    // cld; mov $4, %cx; mov $0x1000, %si; rep outsb to the port in %dx; hlt
    let code = [0xFC, 0xB9, 4, 0, 0xBE, 0, 0x10, 0xF3, 0x6E, 0xF4];
    let (_vm, mut vcpu) = machine(&kvm, &code);
    let mut sent = Vec::new();
    let take = |exit, sent: &mut Vec<u8>| match exit {
        VmExit::PortOut { value, .. } => sent.push(value as u8),
        exit => panic!("{exit:?}"),
    };
    for _ in 0..2 {
        let exit = vcpu.run(VmEntry::Resume).unwrap();
        take(exit, &mut sent);
    }
    // KVM may have completed all four at once: then the rest of them is completed, too.
    loop {
        match vcpu.complete(VmEntry::Resume).unwrap() {
            VmExit::Interrupted => break,
            exit => take(exit, &mut sent),
        }
    }
    let state = vcpu.state(&kvm).unwrap();
    drop(vcpu);
    let (_vm, mut other) = machine(&kvm, &code);
    other.set_state(&state).unwrap();
    loop {
        match other.run(VmEntry::Resume).unwrap() {
            VmExit::Halt { .. } => break,
            exit => take(exit, &mut sent),
        }
    }
    assert_eq!(sent, &code[..4]);
}

#[test]
fn invalid_lengths_are_refused() {
    let Ok(kvm) = Kvm::open_default() else { return };
    let (_vm, mut vcpu) = machine(&kvm, &[0xF4]);
    let state = vcpu.state(&kvm).unwrap();
    for wrong in [
        VcpuState { extended: vec![0; 4095], ..state.clone() },
        VcpuState { xcrs: vec![(0, 1); 17], ..state.clone() },
        VcpuState { msrs: vec![(0x10, 1); 1025], ..state.clone() },
    ] {
        assert!(vcpu.set_state(&wrong).is_err());
    }
    let unknown = VcpuState { msrs: vec![(0x4242_4242, 1)], ..state };
    let text = vcpu.set_state(&unknown).unwrap_err().to_string();
    assert!(text.contains("register 0x42424242"), "{text}");
}

//! Virtual machines with several vCPUs.

use super::*;
use crate::kvm::{VmEntry, VmExit};
use crate::memory::AttachedSlots;

/// A virtual machine with `code` at 0x1000, where `count` vCPUs start in real mode, each with its kicker.
fn machine(kvm: &Kvm, count: u8, code: &[u8]) -> (Vm, Vec<(Vcpu, Kicker)>) {
    let memory = Arc::new(GuestMemory::new(RAM_GRANULE).unwrap());
    memory.write(0x1000, code).unwrap();
    let vm = kvm.create_vm(memory.clone()).unwrap();
    for part in AttachedSlots::default().attach_written(&memory) {
        vm.attach(part, false).unwrap();
    }
    let vcpus = (0..count).map(|index| {
        let kicker = Kicker::default();
        let vcpu = vm.create_vcpu(kvm, index, count, &kicker).unwrap();
        let mut registers = vcpu.registers().unwrap();
        (registers.system.cs.base, registers.system.cs.selector) = (0, 0);
        (registers.general.rip, registers.general.rflags) = (0x1000, 2);
        vcpu.set_registers(&registers).unwrap();
        (vcpu, kicker)
    });
    let vcpus = vcpus.collect();
    (vm, vcpus)
}

#[test]
fn every_vcpu_runs_with_its_own_registers_and_apic_id() {
    let Ok(kvm) = Kvm::open_default() else { return };
    let (_vm, mut vcpus) = machine(&kvm, 3, &[0xE6, 0xE1, 0xF4]); // out %al, $0xE1; hlt
    for (index, (vcpu, _)) in (0..).zip(&vcpus) {
        assert_eq!(vcpu.index(), index);
        assert_eq!(vcpu.cpuid(1, 0)[1] >> 24, u32::from(index));
        let mut registers = vcpu.general_registers().unwrap();
        registers.rax = 100 + u64::from(index);
        vcpu.set_general_registers(&registers).unwrap();
    }
    for (vcpu, _) in vcpus.iter_mut().rev() {
        let written = VmExit::PortOut { port: 0xE1, size: 1, value: 100 + u32::from(vcpu.index()) };
        assert_eq!(vcpu.run(VmEntry::Resume).unwrap(), written);
    }
    for (vcpu, _) in &mut vcpus {
        assert_eq!(vcpu.run(VmEntry::Resume).unwrap(), VmExit::Halt { interruptible: false });
    }
}

#[test]
fn a_kick_stops_the_vcpu_it_is_for_and_no_other_one() {
    let Ok(kvm) = Kvm::open_default() else { return };
    let (_vm, mut vcpus) = machine(&kvm, 2, &[0xF4]);
    vcpus[1].1.kick();
    assert_eq!(vcpus[0].0.run(VmEntry::Resume).unwrap(), VmExit::Halt { interruptible: false });
    assert_eq!(vcpus[1].0.run(VmEntry::Resume).unwrap(), VmExit::Interrupted);
    assert_eq!(vcpus[1].0.run(VmEntry::Resume).unwrap(), VmExit::Halt { interruptible: false });
}

#[test]
fn vcpus_run_at_the_same_time_on_their_own_threads() {
    let Ok(kvm) = Kvm::open_default() else { return };
    let (_vm, mut vcpus) = machine(&kvm, 3, &[0xEB, 0xFE]); // jmp .
    let exits = Arc::new(std::sync::atomic::AtomicU8::new(0));
    for (vcpu, _) in &mut vcpus {
        let exits = exits.clone();
        vcpu.run_on_own_thread(Box::new(move || {
            exits.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        }))
        .unwrap();
    }
    for (vcpu, _) in &mut vcpus {
        assert_eq!(vcpu.begin(VmEntry::Resume).unwrap(), None);
        assert!(vcpu.is_away());
    }
    for (vcpu, kicker) in vcpus.iter_mut().rev() {
        kicker.kick();
        assert_eq!(vcpu.finish().unwrap(), VmExit::Interrupted);
        assert!(!vcpu.is_away());
    }
    assert_eq!(exits.load(std::sync::atomic::Ordering::SeqCst), 3);
    // Also one at a time, and dropped while one of them is in the guest.
    vcpus[0].1.kick();
    assert_eq!(vcpus[0].0.run(VmEntry::Resume).unwrap(), VmExit::Interrupted);
    assert_eq!(vcpus[1].0.begin(VmEntry::Resume).unwrap(), None);
}

#[test]
fn an_index_is_given_to_one_vcpu_only() {
    let Ok(kvm) = Kvm::open_default() else { return };
    assert!(kvm.max_vcpus() >= 1);
    let (vm, _vcpus) = machine(&kvm, 1, &[0xF4]);
    assert!(matches!(vm.create_vcpu(&kvm, 0, 1, &Kicker::default()), Err(HostError::Refused { .. })));
}

#[test]
fn coalesced_writes_keep_their_width_and_come_before_the_exit_that_followed() {
    let Ok(kvm) = Kvm::open_default() else { return };
    let code = [
        0xBA, 0xF8, 0x0C, // mov $0xCF8, %dx
        0x66, 0xB8, 0x04, 0x03, 0x02, 0x80, // mov $0x80020304, %eax
        0x66, 0xEF, // out %eax, %dx
        0xEF, // out %ax, %dx
        0x42, // inc %dx
        0xEE, // out %al, %dx
        0x66, 0xED, // in %dx, %eax
        0xF4, // hlt
    ];
    let (vm, mut vcpus) = machine(&kvm, 1, &code);
    let (vcpu, _) = &mut vcpus[0];
    if vcpu.can_coalesce_writes() {
        vm.coalesce_port_writes(0xCF8, 4, true).unwrap();
    }
    for (port, size, value) in [(0xCF8, 4, 0x8002_0304), (0xCF8, 2, 0x0304), (0xCF9, 1, 0x04)] {
        assert_eq!(vcpu.run(VmEntry::Resume).unwrap(), VmExit::PortOut { port, size, value });
    }
    assert_eq!(vcpu.run(VmEntry::Resume).unwrap(), VmExit::PortIn { port: 0xCF9, size: 4 });
    assert_eq!(vcpu.run(VmEntry::Value(1)).unwrap(), VmExit::Halt { interruptible: false });
    assert_eq!(vcpu.general_registers().unwrap().rax, 1);
}

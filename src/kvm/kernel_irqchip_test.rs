use super::*;
use crate::kvm::Kicker;
use crate::memory::RAM_GRANULE;

/// A virtual machine with KVM's interrupt controllers; `None` where there is no `/dev/kvm`.
fn vm() -> Option<(Vm, Vcpu)> {
    let kvm = Kvm::open_default().ok()?;
    let memory = Arc::new(GuestMemory::new(RAM_GRANULE).unwrap());
    let vm = kvm.create_vm_with_irqchip(memory, 0x0C00).unwrap();
    let vcpu = vm.create_vcpu(&kvm, 0, 1, &Kicker::default()).unwrap();
    Some((vm, vcpu))
}

fn state(vm: &Vm, vcpu: &Vcpu) -> KernelIrqchipState {
    vm.irqchip_state([vcpu].into_iter()).unwrap()
}

#[test]
fn the_chips_are_as_a_bios_leaves_them() {
    let Some((vm, vcpu)) = vm() else { return };
    let state = state(&vm, &vcpu);
    assert_eq!(state.check(1), Ok(()));
    assert_eq!(state.pics.map(|pic| (pic.imr, pic.elcr)), [(0xFF, 0), (0xFF, 0x0C)]);
    let lapic = &state.lapics[0];
    let enabled = lapic.register(0xF0) >> 8 & 1;
    assert_eq!((enabled, lapic.register(0x350), lapic.register(0x360)), (1, 0x700, 0x400));
}

#[test]
fn a_restored_state_is_the_same() {
    let Some((vm, vcpu)) = vm() else { return };
    let mut wanted = state(&vm, &vcpu);
    wanted.pics[0] = PicRegisters { irq_base: 0x20, imr: 0xFA, isr: 1, ..wanted.pics[0] };
    wanted.ioapic.entries[4] = 0x0100_0000_0000_8034 | 1 << 16;
    wanted.ioapic.select = 0x18;
    wanted.pit.speaker = true;
    vm.set_irqchip_state(&wanted).unwrap();
    let found = state(&vm, &vcpu);
    assert_eq!((found.pics, found.ioapic), (wanted.pics, wanted.ioapic));
    assert!(found.pit.speaker && !found.pit.replaced);
}

#[test]
fn lines_reach_the_controllers_they_are_connected_to() {
    let Some((vm, vcpu)) = vm() else { return };
    vm.set_irq_line(4, true).unwrap();
    vm.set_ioapic_pin(16, true).unwrap();
    let found = state(&vm, &vcpu);
    assert_eq!((found.pics[0].irr, found.ioapic.irr), (1 << 4, 1 << 4 | 1 << 16));
    vm.set_ioapic_pin(16, false).unwrap();
    // An edge that the 8259A has latched stays requested.
    vm.set_irq_line(4, false).unwrap();
    let found = state(&vm, &vcpu);
    assert_eq!((found.pics[0].irr, found.pics[0].last_irr, found.ioapic.irr), (1 << 4, 0, 0));
}

#[test]
fn a_vcpu_can_be_put_to_sleep_and_woken() {
    let Some((_vm, mut vcpu)) = vm() else { return };
    assert_eq!(vcpu.halt_state().unwrap(), HaltState::Running);
    vcpu.set_halted(true).unwrap();
    assert_eq!(vcpu.halt_state().unwrap(), HaltState::Halted { interruptible: false });
    vcpu.set_halted(false).unwrap();
    assert_eq!(vcpu.halt_state().unwrap(), HaltState::Running);
}

#[test]
fn impossible_states_are_refused() {
    let Some((vm, vcpu)) = vm() else { return };
    let good = state(&vm, &vcpu);
    let changes: [fn(&mut KernelIrqchipState); 6] = [
        |state| state.pics[1].init_state = 4,
        |state| state.pics[0].priority_add = 8,
        |state| state.pit.counters[2].mode = 8,
        |state| state.pit.counters[0].count = 0x1_0001,
        |state| state.ioapic.irr = 1 << 24,
        |state| state.lapics.clear(),
    ];
    for change in changes {
        let mut bad = good.clone();
        change(&mut bad);
        assert!(bad.check(1).is_err(), "{bad:?}");
    }
}

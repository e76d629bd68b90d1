//! How debug facilities are passed to KVM, and which debug exceptions belong to the guest.

use super::*;

#[test]
fn no_facility_is_on_by_default() {
    assert_eq!(GuestDebug::default().to_kvm(), kvm_guest_debug::default());
}

#[test]
fn interrupts_wait_while_the_guest_is_stepped() {
    let debug = GuestDebug { single_step: true, block_interrupts: true, ..GuestDebug::default() };
    let control = debug.to_kvm().control;
    assert_eq!(control, KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP | KVM_GUESTDBG_BLOCKIRQ);
}

#[test]
fn hardware_breakpoints_keep_their_slots() {
    let debug = GuestDebug {
        hardware_breakpoints: [None, Some(0x10_0000), None, Some(0x20_0000)],
        ..GuestDebug::default()
    }
    .to_kvm();
    assert_eq!(debug.control, KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_HW_BP);
    assert_eq!(debug.arch.debugreg, [0, 0x10_0000, 0, 0x20_0000, 0, 0, 0, 0x688]);
}

#[test]
fn watchpoints_share_the_debug_registers_with_breakpoints() {
    let write = Watchpoint { address: 0x5000, length: WatchLength::Eight, reads: false };
    let either = Watchpoint { address: 0x6004, length: WatchLength::Four, reads: true };
    let debug = GuestDebug {
        hardware_breakpoints: [Some(0x10_0000), None, None, None],
        watchpoints: [None, Some(write), None, Some(either)],
        block_interrupts: true,
        ..GuestDebug::default()
    }
    .to_kvm();
    assert_eq!(debug.control, KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_HW_BP | KVM_GUESTDBG_BLOCKIRQ);
    assert_eq!(debug.arch.debugreg, [0x10_0000, 0x5000, 0, 0x6004, 0, 0, 0, 0xF090_068A]);
}

#[test]
fn a_debug_exception_belongs_to_the_guest_if_no_debug_register_of_the_host_matches() {
    let write = Watchpoint { address: 0x5000, length: WatchLength::Eight, reads: false };
    let debug = GuestDebug {
        hardware_breakpoints: [Some(0x10_0000), None, None, None],
        watchpoints: [None, Some(write), None, None],
        ..GuestDebug::default()
    };
    let own = |debug: GuestDebug, exception, dr6| {
        debug.guest_exception_bits(&DebugStop { exception, pc: 0, dr6, dr7: 0 })
    };
    for (dr6, wanted) in [
        (0xFFFF_0FF1, None),
        (0xFFFF_0FF2, None),
        (0xFFFF_4FF0, Some(0x4000)),
        (0xFFFF_4FF1, Some(0x4000)),
        (0xFFFF_2FF0, Some(0x2000)),
        (0xFFFF_0FF4, Some(0)),
        (0xFFFF_0FF0, Some(0)),
    ] {
        assert_eq!(own(debug, DebugStop::DEBUG, dr6), wanted, "{dr6:#x}");
    }
    assert_eq!(own(debug, DebugStop::BREAKPOINT, 0xFFFF_4FF0), None);
    assert_eq!(own(GuestDebug { single_step: true, ..debug }, DebugStop::DEBUG, 0xFFFF_4FF0), None);
}

#[test]
fn interrupts_are_not_held_back_when_nothing_is_debugged() {
    let debug = GuestDebug { block_interrupts: true, ..GuestDebug::default() };
    assert_eq!(debug.to_kvm(), kvm_guest_debug::default());
}

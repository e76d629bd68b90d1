//! kernel-tests: a kernel with tests: one that passes, one that fails, one that hangs and one that crashes.
//!
//! Run:   kvm test kernel-tests.elf
//! See:   a line per test, and why three of them fail: see docs/testing.md.
//! Exit status 101. `kvm kernel-tests.elf` runs one after another, up to the first that fails.
#![no_std]

use core::arch::asm;
use core::panic::PanicInfo;

#[path = "lib/kernel_test.rs"]
mod kernel_test;

const COM1: u16 = 0x3f8;

fn write_port(port: u16, value: u8) {
    // SAFETY: a write to a serial port changes nothing that Rust knows of.
    unsafe { asm!("out dx, al", in("dx") port, in("al") value, options(nomem, nostack)) }
}

fn print(text: &str) {
    text.bytes().for_each(|byte| write_port(COM1, byte));
}

/// Counts how often it was called.
fn visits() -> u64 {
    static VISITS: core::sync::atomic::AtomicU64 = core::sync::atomic::AtomicU64::new(0);
    VISITS.fetch_add(1, core::sync::atomic::Ordering::Relaxed) + 1
}

kernel_test! {
    fn each_test_starts_from_the_same_state() {
        assert!(visits() == 1);
    }
}

kernel_test! {
    fn a_second_test_does_not_see_the_first() {
        assert!(visits() == 1);
    }
}

kernel_test! {
    fn a_failed_assertion_fails() {
        print("two visits are expected\n");
        assert!(visits() == 2);
    }
}

kernel_test! {
    fn waiting_for_no_interrupt_hangs() {
        // SAFETY: no interrupt is set up, so none comes.
        unsafe { asm!("sti", "hlt") }
    }
}

kernel_test! {
    fn a_null_pointer_crashes() {
        // SAFETY: there is nothing at address 0; that is what the test shows.
        unsafe { asm!("mov qword ptr [rax], 1", in("rax") 0u64) }
    }
}

kernel_test! {
    #[should_panic]
    fn a_panic_can_be_expected() {
        panic!("as expected");
    }
}

kernel_test! {
    #[ignore]
    fn an_endless_loop_is_ignored() {
        loop {}
    }
}

/// Called by lib/start.S.
#[unsafe(no_mangle)]
extern "C" fn guest_main() -> u64 {
    print("started\n");
    kernel_test::run()
}

#[panic_handler]
fn panic(info: &PanicInfo) -> ! {
    print("panicked at ");
    if let Some(place) = info.location() {
        print(place.file());
    }
    if let Some(message) = info.message().as_str() {
        print(": ");
        print(message);
    }
    print("\n");
    kernel_test::exit(false)
}

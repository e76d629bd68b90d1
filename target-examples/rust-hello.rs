//! rust-hello: a guest in Rust, with the `core` library only.
//!
//! Run:   kvm rust-hello.elf
//! See:   Hello from Rust! and the squares from 1 to 5.
//! Exit status 0; the result is their sum, 55.
#![no_std]

use core::arch::asm;
use core::panic::PanicInfo;

const COM1: u16 = 0x3f8;

fn write_port(port: u16, value: u8) {
    // SAFETY: a write to a serial port changes nothing that Rust knows of.
    unsafe { asm!("out dx, al", in("dx") port, in("al") value, options(nomem, nostack)) }
}

fn print(text: &str) {
    text.bytes().for_each(|byte| write_port(COM1, byte));
}

/// Prints in decimal. `core::fmt` built for Linux would use SSE registers.
fn print_number(number: u64) {
    if number >= 10 {
        print_number(number / 10);
    }
    write_port(COM1, b'0' + (number % 10) as u8);
}

/// Called by lib/start.S; the result is left in RAX when the CPU halts.
#[unsafe(no_mangle)]
extern "C" fn guest_main() -> u64 {
    print("Hello from Rust!\n");
    let mut sum = 0;
    for square in (1..=5).map(|n: u64| n * n) {
        print_number(square);
        print(if square < 25 { " " } else { "\n" });
        sum += square;
    }
    sum
}

#[panic_handler]
fn panic(_: &PanicInfo) -> ! {
    print("panic\n");
    loop {
        // SAFETY: halting with interrupts off ends the run.
        unsafe { asm!("cli", "hlt") }
    }
}

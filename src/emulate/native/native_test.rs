//! Tests of what runs on the host's processor.

#[path = "direct_test.rs"]
mod direct;
#[path = "exceptions_test.rs"]
mod exceptions;
#[path = "forms_test.rs"]
mod forms;
#[path = "modes_test.rs"]
mod modes;
#[path = "oracle_test.rs"]
mod oracle;
#[path = "random_test.rs"]
mod random;
#[path = "random_undefined_test.rs"]
mod random_undefined;
#[path = "undefined_test.rs"]
mod undefined;

use std::cell::Cell;

use iced_x86::{Decoder, DecoderOptions, Instruction};

use crate::emulate::cpu::Extended;
use crate::emulate::testing::FakeCpu;

/// Random numbers that are the same in every run (xorshift64).
pub struct Random(Cell<u64>);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(Cell::new(seed | 1))
    }

    pub fn next(&self) -> u64 {
        let mut state = self.0.get();
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        self.0.set(state);
        state
    }

    pub fn below(&self, limit: u64) -> u64 {
        self.next() % limit
    }
}

/// A processor with `code` at RIP on which AVX and AVX-512 are switched on as far as the host has them.
pub fn guest(code: &[u8]) -> FakeCpu {
    let fake = FakeCpu::long_mode(code);
    fake.registers.borrow_mut().system.cr4 |= 1 << 18;
    fake.xcr0.set(super::processor::components() | 1);
    fake
}

/// An instruction of 64-bit code.
pub fn decode(code: &[u8]) -> Instruction {
    Decoder::with_ip(64, code, 0, DecoderOptions::NONE).decode()
}

/// The extended registers of `fake` as they are now.
pub fn image_of(fake: &FakeCpu) -> Extended {
    *fake.xsave.borrow()
}

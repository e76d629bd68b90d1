//! A guest with the things that a debugger must handle: a loop with calls, data that is written, a repeated
//! instruction, a port access, and flags on the stack.

use std::sync::OnceLock;

use crate::boot::test_guest::{CODE, DATA, TestGuest};
use crate::boot::{BootOptions, BytesImage, Protocol};
use crate::machine::inputs::Inputs;
use crate::machine::output::{Doorbell, output_queue};
use crate::machine::{Machine, MachineError, MachineSpec};
use crate::settings::{ClockMode, DEFAULT_DEVICE, IrqchipMode, KeyTarget, LayoutName, Schedule};

/// RAX when it halts: the sum of the numbers up to 20.
pub(crate) const RESULT: u64 = 210;

/// Its file name, which recorded sessions contain.
const NAME: &str = "/guest.elf";

const CODE_AT: u64 = 0x20_0000;
const DATA_AT: u64 = 0x20_1000;

/// At [`CODE_AT`].
const PROGRAM: [u8; 0x36] = [
    0x31, 0xC0, // 00: xor eax, eax
    0xB9, 0x14, 0, 0, 0, // 02: mov ecx, 20
    0xE8, 0x19, 0, 0, 0, // 07: call 25
    0xFF, 0xC9, // 0C: dec ecx
    0x75, 0xF7, // 0E: jnz 07
    0xBF, 0x20, 0x10, 0x20, 0,    // 10: mov edi, 0x201020
    0x50, // 15: push rax
    0xB9, 0x10, 0, 0, 0, // 16: mov ecx, 16
    0xB0, 0x2A, // 1B: mov al, 0x2A
    0xF3, 0xAA, // 1D: rep stosb
    0xE6, 0xE9, // 1F: out 0xE9, al
    0x9C, // 21: pushf
    0x5A, // 22: pop rdx
    0x58, // 23: pop rax
    0xF4, // 24: hlt
    0x55, // 25: push rbp
    0x48, 0x89, 0xE5, // 26: mov rbp, rsp
    0x48, 0x89, 0x0C, 0x25, 0, 0x10, 0x20, 0, // 29: mov [0x201000], rcx
    0x48, 0x01, 0xC8, // 31: add rax, rcx
    0x5D, // 34: pop rbp
    0xC3, // 35: ret
];

/// The guest file.
pub(crate) fn file() -> &'static [u8] {
    static FILE: OnceLock<Vec<u8>> = OnceLock::new();
    FILE.get_or_init(|| {
        TestGuest::new(CODE_AT).load(CODE, CODE_AT, &PROGRAM).load(DATA, DATA_AT, &[0; 64]).build()
    })
}

/// A machine with the guest, which has not run yet. Its output is discarded.
pub(crate) fn machine(inputs: Inputs) -> Result<Machine, MachineError> {
    let (machine_outputs, _) = output_queue(Doorbell::new().expect("a file descriptor is available"));
    let image = Box::new(BytesImage::new(NAME, file()));
    let found = Protocol::find(image.as_ref(), None)?;
    let spec = MachineSpec {
        device: DEFAULT_DEVICE.into(),
        memory: 4 << 20,
        boot: BootOptions::default(),
        keys: KeyTarget::Auto,
        layout: LayoutName::Us,
        terminal: None,
        no_reboot: false,
        cpus: 1,
        schedule: Schedule::Parallel,
        clock: ClockMode::Host,
        irqchip: IrqchipMode::User,
        time_of_day: 0,
        flat_ide_bars: false,
        framebuffer: false,
        magic_break: false,
    };
    Machine::new((image, found), spec, inputs, machine_outputs)
}

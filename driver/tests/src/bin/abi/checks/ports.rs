// SPDX-License-Identifier: MIT OR GPL-2.0
//! Ports.

use std::path::Path;

use super::{Check, ensure, equal};
use crate::guest::{DATA, Machine, code};
use crate::kvm::Exit;

/// Data of `outs` until it halts, and the ports and sizes.
fn strings_out(machine: &mut Machine, port: u16, size: u8) -> Result<Vec<u8>, String> {
    let mut all = Vec::new();
    loop {
        match machine.vcpu.run()? {
            Exit::Out { port: at, size: found, data } if at == port && found == size => all.extend(data),
            Exit::Halt => return Ok(all),
            other => return Err(machine.instead(&other, "outs")),
        }
    }
}

/// Answers `ins` with 1, 2, 3 ... until it halts.
fn strings_in(machine: &mut Machine, port: u16, size: u8) -> Result<u32, String> {
    let mut next = 0_u8;
    let mut total = 0;
    loop {
        match machine.vcpu.run()? {
            Exit::In { port: at, size: found, count } if at == port && found == size => {
                let bytes: Vec<u8> = (0..count * u32::from(size))
                    .map(|_| {
                        next = next.wrapping_add(1);
                        next
                    })
                    .collect();
                machine.vcpu.answer_port(&bytes);
                total += count;
            }
            Exit::Halt => return Ok(total),
            other => return Err(machine.instead(&other, "ins")),
        }
    }
}

fn real(device: &Path, code: &[u8]) -> Result<Machine, String> {
    Machine::real(device, code)
}

pub const CHECKS: &[Check] = &[
    ("out of 8, 16 and 32 bits, in real mode", |device| {
        let code = code!(16: "mov $0x11223344, %eax", "mov $0x3F8, %dx", "out %al, %dx", "out %ax, %dx",
            "out %eax, %dx", "out %al, $0xE1", "hlt");
        let mut machine = real(device, code)?;
        machine.expect(Exit::Out { port: 0x3F8, size: 1, data: vec![0x44] })?;
        machine.expect(Exit::Out { port: 0x3F8, size: 2, data: vec![0x44, 0x33] })?;
        machine.expect(Exit::Out { port: 0x3F8, size: 4, data: vec![0x44, 0x33, 0x22, 0x11] })?;
        machine.expect(Exit::Out { port: 0xE1, size: 1, data: vec![0x44] })?;
        machine.expect(Exit::Halt)
    }),
    ("in of 8, 16 and 32 bits changes the right part of RAX", |device| {
        let code = code!(64: "mov $-1, %rax", "mov $0x3F8, %dx", "in %dx, %al", "mov %rax, DATA", "in %dx, %ax",
            "mov %rax, DATA + 8", "in %dx, %eax", "mov %rax, DATA + 16", "hlt");
        let mut machine = Machine::long(device, code)?;
        for size in [1, 2, 4] {
            machine.expect(Exit::In { port: 0x3F8, size, count: 1 })?;
            machine.vcpu.answer_port(&[0x11; 4][..usize::from(size)]);
        }
        machine.expect(Exit::Halt)?;
        equal("AL", machine.memory.u64(DATA), 0xFFFF_FFFF_FFFF_FF11)?;
        equal("AX", machine.memory.u64(DATA + 8), 0xFFFF_FFFF_FFFF_1111)?;
        equal("EAX", machine.memory.u64(DATA + 16), 0x1111_1111)
    }),
    ("rep outsb has all data, and leaves RSI and RCX right", |device| {
        let code =
            code!(64: "mov $DATA, %esi", "mov $300, %ecx", "mov $0x3F8, %dx", "cld", "rep outsb", "hlt");
        let mut machine = Machine::long(device, code)?;
        let text: Vec<u8> = (0..300_u32).map(|number| number as u8).collect();
        machine.memory.put(DATA, &text);
        ensure(strings_out(&mut machine, 0x3F8, 1)? == text, "other data")?;
        let regs = machine.vcpu.regs()?;
        equal("RSI", regs.rsi, DATA + 300)?;
        equal("RCX", regs.rcx, 0)
    }),
    ("outsl backwards, and outsw in real mode with another segment", |device| {
        let code =
            code!(64: "mov $DATA + 4, %esi", "mov $2, %ecx", "mov $0x3F8, %dx", "std", "rep outsl", "hlt");
        let mut machine = Machine::long(device, code)?;
        machine.memory.put(DATA, &[1, 2, 3, 4, 5, 6, 7, 8]);
        ensure(strings_out(&mut machine, 0x3F8, 4)? == [5, 6, 7, 8, 1, 2, 3, 4], "other data")?;
        let code = code!(16: "mov $0x5000, %ax", "mov %ax, %fs", "xor %si, %si", "mov $3, %cx",
            "mov $0x3F8, %dx", "cld", "rep outsw %fs:(%si), %dx", "hlt");
        let mut machine = real(device, code)?;
        machine.memory.put(DATA, &[1, 2, 3, 4, 5, 6]);
        ensure(strings_out(&mut machine, 0x3F8, 2)? == [1, 2, 3, 4, 5, 6], "other data in real mode")?;
        equal("SI", machine.vcpu.regs()?.rsi, 6)
    }),
    ("rep insb and insl fill memory", |device| {
        let code =
            code!(64: "mov $DATA, %edi", "mov $200, %ecx", "mov $0x3F8, %dx", "cld", "rep insb", "hlt");
        let mut machine = Machine::long(device, code)?;
        equal("elements", strings_in(&mut machine, 0x3F8, 1)?, 200)?;
        let filled: [u8; 200] = machine.memory.bytes(DATA);
        ensure((1..=200).eq(filled), "other data")?;
        equal("behind it", machine.memory.bytes::<1>(DATA + 200)[0], 0)?;
        let code = code!(64: "mov $DATA, %edi", "mov $3, %ecx", "mov $0x3F8, %dx", "cld", "rep insl", "hlt");
        let mut machine = Machine::long(device, code)?;
        equal("elements", strings_in(&mut machine, 0x3F8, 4)?, 3)?;
        equal("RDI", machine.vcpu.regs()?.rdi, DATA + 12)?;
        equal("memory", machine.memory.u64(DATA + 4), 0x0C0B_0A09_0807_0605)
    }),
];

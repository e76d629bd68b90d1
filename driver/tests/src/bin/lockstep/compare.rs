// SPDX-License-Identifier: MIT OR GPL-2.0
//! Runs a program on the device beside the recorded steps of the emulator.

use std::fmt::Write as _;
use std::io;

use iced_x86::{Decoder, DecoderOptions, Formatter, Instruction, IntelFormatter};

use crate::cases::{Access, Case, NAMES, RFLAGS, RIP, Registers};
use crate::device::{Device, MEMORY, Stop, TABLES};
use crate::undefined;

/// So often the device may stop within a repeated string instruction, or make no progress.
const STOPS: usize = 200;
/// So many steps a stop may come later where the manuals allow it.
const LATER: usize = 2;

/// Faults of the host that are passed over.
#[derive(Clone, Copy, Debug, Default)]
pub struct Allowed {
    /// Instructions are refused, or have wrong flags, in KVM's own emulator.
    pub refusals: bool,
    /// Flags are lost at an exit from a locked instruction.
    pub lost_flags: bool,
}

/// Counts over all programs.
#[derive(Debug, Default)]
pub struct Outcome {
    /// What is passed over.
    pub allowed: Allowed,
    /// Instructions compared.
    pub steps: usize,
    /// Port and MMIO accesses compared.
    pub accesses: usize,
    /// Instructions that were not compared.
    pub passed_over: usize,
    /// Stops that came an instruction or more later.
    pub later: usize,
}

/// The first difference of a program.
#[derive(Debug)]
pub enum Difference {
    /// At this step, with the device's state.
    Step {
        /// Counted from 0.
        step: usize,
        /// What differs, in words.
        what: String,
        /// The device's registers.
        device: Registers,
    },
    /// Memory after this step.
    Memory {
        /// Counted from 0.
        step: usize,
        /// The physical address of the first byte that differs.
        address: usize,
        /// The emulator's byte and the device's.
        bytes: (u8, u8),
        /// The device's registers.
        device: Registers,
    },
}

/// The memory of a program as the emulator has it.
#[derive(Debug)]
pub struct Shadow<'c> {
    case: &'c Case,
    memory: Vec<u8>,
}

impl<'c> Shadow<'c> {
    /// Memory before the first step.
    pub fn new(case: &'c Case) -> Shadow<'c> {
        let mut memory = vec![0; MEMORY.end];
        for (address, bytes) in &case.regions {
            memory[*address as usize..][..bytes.len()].copy_from_slice(bytes);
        }
        Shadow { case, memory }
    }

    /// Runs the program. All of memory is compared at its end, or with `thorough` after each step.
    pub fn run(
        mut self,
        device: &mut Device,
        thorough: bool,
        outcome: &mut Outcome,
    ) -> io::Result<Result<(), Difference>> {
        device.load(self.case)?;
        let mut before = self.case.registers;
        let mut next = 0;
        while next < self.case.steps.len() {
            let instruction = decode(self.case, &self.memory, before[RIP]);
            let mut bus = Vec::new();
            let mut stop = Stop::Step;
            let mut registers = before;
            for _ in 0..STOPS {
                stop = device.step(true, &mut bus)?;
                registers = device.registers()?;
                if stop != Stop::Step || registers[RIP] != before[RIP] {
                    break;
                }
            }
            let passes_over = stop == Stop::Refused && outcome.allowed.refusals
                || outcome.allowed.lost_flags
                    && undefined::loses_carry_in_qemu(&instruction, !bus.is_empty());
            if passes_over {
                outcome.passed_over += 1;
                self.pass_over(next, device)?;
                before = self.case.steps[next].registers;
                next += 1;
                continue;
            }
            let mut last = next;
            let mut expected = self.case.steps[next].bus.clone();
            if undefined::shadows_next(&instruction) {
                while last + 1 < self.case.steps.len()
                    && last - next < LATER
                    && registers[RIP] != self.case.steps[last].registers[RIP]
                {
                    last += 1;
                    expected.extend_from_slice(&self.case.steps[last].bus);
                }
                outcome.later += usize::from(last > next);
            }
            let step = next;
            let different = |what: String| Ok(Err(Difference::Step { step, what, device: registers }));
            if stop != Stop::Step {
                return different(format!("the device ended the run: {stop:?}"));
            }
            if bus != expected {
                return different(format!("accesses: emulator {}, device {}", list(&expected), list(&bus)));
            }
            let reference = self.case.steps[last].registers;
            let mut undefined = if last > next { !0 } else { undefined::flags(&instruction) };
            if outcome.allowed.refusals {
                undefined |= undefined::flags_of_kvms_emulator(&instruction);
            }
            if outcome.allowed.lost_flags {
                undefined |= undefined::flags_lost_by_qemu(&instruction);
            }
            if let Some(what) = registers_differ(&reference, &registers, undefined) {
                return different(what);
            }
            for done in next..=last {
                let at = if done == next { before[RIP] } else { self.case.steps[done - 1].registers[RIP] };
                let flags_image = undefined::pushes_flags(&decode(self.case, &self.memory, at));
                if let Some((address, bytes)) = self.write(done, device, flags_image) {
                    return Ok(Err(Difference::Memory { step, address, bytes, device: registers }));
                }
            }
            if thorough && let Some((address, bytes)) = self.differs(device) {
                return Ok(Err(Difference::Memory { step, address, bytes, device: registers }));
            }
            // Undefined flags become the emulator's: later instructions may use them.
            if registers[RFLAGS] != reference[RFLAGS] {
                device.set_registers(&reference)?;
            }
            outcome.steps += last + 1 - next;
            outcome.accesses += bus.len();
            before = reference;
            next = last + 1;
        }
        self.end(device, before)
    }

    /// The end of a program is HLT, which is not stepped.
    fn end(&self, device: &mut Device, before: Registers) -> io::Result<Result<(), Difference>> {
        let step = self.case.steps.len();
        let at = linear(self.case, before[RIP]);
        if self.memory[at] == 0xF4 {
            let stop = device.step(false, &mut Vec::new())?;
            let mut reference = before;
            reference[RIP] += 1;
            let registers = device.registers()?;
            let what = match stop {
                Stop::Halt => registers_differ(&reference, &registers, undefined::NOT_THE_PROGRAMS),
                other => Some(format!("HLT: {other:?}")),
            };
            if let Some(what) = what {
                return Ok(Err(Difference::Step { step, what, device: registers }));
            }
        }
        let device_registers = device.registers()?;
        Ok(match self.differs(device) {
            Some((address, bytes)) => {
                Err(Difference::Memory { step, address, bytes, device: device_registers })
            }
            None => Ok(()),
        })
    }

    /// Carries out the writes of a step and compares them with the device's memory.
    fn write(&mut self, step: usize, device: &mut Device, flags_image: bool) -> Option<(usize, (u8, u8))> {
        for write in &self.case.steps[step].writes {
            let range = write.address as usize..write.address as usize + usize::from(write.size);
            self.memory.get_mut(range.clone())?.copy_from_slice(&write.value.to_le_bytes()[..range.len()]);
        }
        for write in &self.case.steps[step].writes {
            for at in write.address as usize..write.address as usize + usize::from(write.size) {
                let bytes = (self.memory[at], device.memory()[at]);
                let debugger = if flags_image && at == write.address as usize + 1 { 1 } else { 0 };
                if (bytes.0 ^ bytes.1) & !debugger != 0 {
                    return Some((at, bytes));
                }
                // The program may pop it.
                device.memory()[at] = bytes.0;
            }
        }
        None
    }

    /// Gives the device the state after a step.
    fn pass_over(&mut self, step: usize, device: &mut Device) -> io::Result<()> {
        for write in &self.case.steps[step].writes {
            let range = write.address as usize..write.address as usize + usize::from(write.size);
            let value = write.value.to_le_bytes();
            self.memory[range.clone()].copy_from_slice(&value[..range.len()]);
            device.memory()[range.clone()].copy_from_slice(&value[..range.len()]);
        }
        device.answer_after(&self.case.steps[step].bus);
        device.set_registers(&self.case.steps[step].registers)
    }

    /// The first byte of memory that differs. Page tables have bits that the processor sets.
    fn differs(&self, device: &mut Device) -> Option<(usize, (u8, u8))> {
        let from = if self.case.bits == 64 { TABLES.end } else { MEMORY.start };
        let memory = device.memory();
        if self.memory[from..] == memory[from..] {
            return None;
        }
        (from..MEMORY.end)
            .find(|at| self.memory[*at] != memory[*at])
            .map(|at| (at, (self.memory[at], memory[at])))
    }
}

/// What differs, in words; flags in `undefined` do not count.
fn registers_differ(emulator: &Registers, device: &Registers, undefined: u64) -> Option<String> {
    let mut what = String::new();
    for at in 0..RFLAGS {
        if emulator[at] != device[at] {
            let _ = write!(what, " {}", NAMES[at]);
        }
    }
    if (emulator[RFLAGS] ^ device[RFLAGS]) & !undefined != 0 {
        what.push_str(" rflags");
    }
    (!what.is_empty()).then(|| format!("registers:{what}"))
}

fn linear(case: &Case, rip: u64) -> usize {
    let base = if case.bits == 16 { usize::from(case.selectors[0]) << 4 } else { 0 };
    (base + rip as usize).min(MEMORY.end - 1)
}

fn decode(case: &Case, memory: &[u8], rip: u64) -> Instruction {
    Decoder::with_ip(case.bits, &memory[linear(case, rip)..], rip, DecoderOptions::NONE).decode()
}

fn list(accesses: &[Access]) -> String {
    let one = |access: &Access| {
        let kind = ["in", "out", "read", "write"][usize::from(access.kind)];
        format!("{kind}{} {:#x}={:#x}", u32::from(access.size) * 8, access.address, access.value)
    };
    format!("[{}]", accesses.iter().map(one).collect::<Vec<_>>().join(", "))
}

/// The report of a difference, with the states before the instruction, in the emulator and on the device.
pub fn report(case: &Case, difference: &Difference, path: &str) -> String {
    let (step, what, device) = match difference {
        Difference::Step { step, what, device } => (*step, what.clone(), device),
        Difference::Memory { step, address, bytes: (emulator, found), device } => {
            (*step, format!("memory at {address:#x}: emulator {emulator:#04x}, device {found:#04x}"), device)
        }
    };
    let mut memory = vec![0; MEMORY.end];
    let mut before = case.registers;
    for (address, bytes) in &case.regions {
        memory[*address as usize..][..bytes.len()].copy_from_slice(bytes);
    }
    if step > 0 {
        before = case.steps[step - 1].registers;
    }
    let emulator = case.steps.get(step).map_or(before, |step| step.registers);
    // Programs do not write to their code.
    let instruction = decode(case, &memory, before[RIP]);
    let mut text = String::new();
    IntelFormatter::new().format(&instruction, &mut text);
    let at = linear(case, before[RIP]);
    let bytes: String =
        memory[at..at + instruction.len().max(1)].iter().map(|byte| format!("{byte:02x} ")).collect();
    let mut out = String::new();
    let _ =
        writeln!(out, "{} ({} bits, seed {}), instruction {step}: {what}", case.name, case.bits, case.seed);
    let _ = writeln!(out, "  {:#x}  {bytes} {text}", before[RIP]);
    let _ = writeln!(out, "  {:8}{:>18} {:>18} {:>18}", "", "before", "emulator", path);
    for at in 0..NAMES.len() {
        if at >= 8 && case.bits == 16 && at < RIP {
            continue;
        }
        let mark = if emulator[at] != device[at] { " <" } else { "" };
        let (before, emulator, device) = (before[at], emulator[at], device[at]);
        let _ = writeln!(out, "  {:8}{before:18x} {emulator:18x} {device:18x}{mark}", NAMES[at]);
    }
    if case.seed != 0 {
        let _ = writeln!(out, "  again: driver/tests/check-lockstep --seed {} --count 1", case.seed);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: Registers = [1; 18];

    #[test]
    fn a_register_that_differs_is_named() {
        let mut device = BEFORE;
        device[1] = 2;
        device[RIP] = 3;
        assert_eq!(registers_differ(&BEFORE, &device, 0).as_deref(), Some("registers: rbx rip"));
        assert_eq!(registers_differ(&BEFORE, &BEFORE, 0), None);
    }

    #[test]
    fn a_flag_that_is_undefined_does_not_count() {
        let mut device = BEFORE;
        device[RFLAGS] ^= 0x10;
        assert_eq!(registers_differ(&BEFORE, &device, 0x10), None);
        assert!(registers_differ(&BEFORE, &device, 0x800).is_some());
    }

    #[test]
    fn undefined_flags_are_those_of_the_manual() {
        let flags = |code: &[u8]| {
            let instruction = Decoder::new(64, code, DecoderOptions::NONE).decode();
            undefined::flags(&instruction) & !undefined::NOT_THE_PROGRAMS
        };
        // ADD has none, AND only AF, MUL all but CF and OF.
        assert_eq!(flags(&[0x01, 0xC8]), 0);
        assert_eq!(flags(&[0x21, 0xC8]), 0x10);
        assert_eq!(flags(&[0xF7, 0xE1]), 0xD4);
    }
}

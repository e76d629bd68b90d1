// SPDX-License-Identifier: MIT OR GPL-2.0
//! The file of programs and expected states that lockstep/make_cases.py writes. All numbers are little-endian.

use std::io;

/// The registers of `struct kvm_regs`, in its order: RAX RBX RCX RDX RSI RDI RSP RBP R8-R15 RIP RFLAGS.
pub type Registers = [u64; 18];

/// The place of RIP in [`Registers`].
pub const RIP: usize = 16;
/// The place of RFLAGS in [`Registers`].
pub const RFLAGS: usize = 17;
/// The names of [`Registers`].
pub const NAMES: [&str; 18] = [
    "rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rsp", "rbp", "r8", "r9", "r10", "r11", "r12", "r13", "r14",
    "r15", "rip", "rflags",
];

const MAGIC: &[u8] = b"LOCKSTP1";

/// A program and what the emulator does with it.
#[derive(Debug)]
pub struct Case {
    /// From which it was made; 0 for a given program.
    pub seed: u64,
    /// 16 (real mode) or 64.
    pub bits: u32,
    /// The name of a given program, or `random`.
    pub name: String,
    /// The selectors of CS DS ES SS FS GS in real mode.
    pub selectors: [u16; 6],
    /// The first state.
    pub registers: Registers,
    /// Physical addresses and the contents of memory there; the rest is 0.
    pub regions: Vec<(u32, Vec<u8>)>,
    /// One for each instruction.
    pub steps: Vec<Step>,
}

/// What the emulator did at one instruction.
#[derive(Debug)]
pub struct Step {
    /// The state after it.
    pub registers: Registers,
    /// Writes to memory.
    pub writes: Vec<Write>,
    /// Port and MMIO accesses.
    pub bus: Vec<Access>,
}

/// A write to memory.
#[derive(Clone, Copy, Debug)]
pub struct Write {
    /// Physical.
    pub address: u32,
    /// 1 to 8.
    pub size: u8,
    /// The lowest `size` bytes are written.
    pub value: u64,
}

/// A port or MMIO access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    /// 0 to 3: IN, OUT, MMIO read, MMIO write.
    pub kind: u8,
    /// 1 to 8.
    pub size: u8,
    /// The port or the physical address.
    pub address: u32,
    /// What was read or written.
    pub value: u64,
}

/// Reads a whole file.
pub fn read(bytes: &[u8]) -> io::Result<Vec<Case>> {
    let mut input = Input(bytes);
    if input.take(MAGIC.len())? != MAGIC {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "not a file of make_cases.py"));
    }
    let count = input.number(4)?;
    (0..count).map(|_| case(&mut input)).collect()
}

fn case(input: &mut Input) -> io::Result<Case> {
    let seed = input.number(8)?;
    let bits = input.number(1)? as u32;
    let length = input.number(1)? as usize;
    let name = String::from_utf8_lossy(input.take(length)?).into_owned();
    let mut selectors = [0; 6];
    for selector in &mut selectors {
        *selector = input.number(2)? as u16;
    }
    let registers = input.registers()?;
    let regions = (0..input.number(4)?)
        .map(|_| {
            let address = input.number(4)? as u32;
            let length = input.number(4)? as usize;
            Ok((address, input.take(length)?.to_vec()))
        })
        .collect::<io::Result<_>>()?;
    let steps = (0..input.number(4)?).map(|_| step(input)).collect::<io::Result<_>>()?;
    Ok(Case { seed, bits, name, selectors, registers, regions, steps })
}

fn step(input: &mut Input) -> io::Result<Step> {
    let registers = input.registers()?;
    let (writes, bus) = (input.number(2)?, input.number(2)?);
    let writes = (0..writes)
        .map(|_| {
            Ok(Write {
                address: input.number(4)? as u32,
                size: input.number(1)? as u8,
                value: input.number(8)?,
            })
        })
        .collect::<io::Result<_>>()?;
    let bus = (0..bus)
        .map(|_| {
            Ok(Access {
                kind: input.number(1)? as u8,
                size: input.number(1)? as u8,
                address: input.number(4)? as u32,
                value: input.number(8)?,
            })
        })
        .collect::<io::Result<_>>()?;
    Ok(Step { registers, writes, bus })
}

struct Input<'b>(&'b [u8]);

impl<'b> Input<'b> {
    fn take(&mut self, length: usize) -> io::Result<&'b [u8]> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(io::ErrorKind::UnexpectedEof)?;
        self.0 = rest;
        Ok(taken)
    }

    fn number(&mut self, size: usize) -> io::Result<u64> {
        let mut bytes = [0; 8];
        bytes[..size].copy_from_slice(self.take(size)?);
        Ok(u64::from_le_bytes(bytes))
    }

    fn registers(&mut self) -> io::Result<Registers> {
        let mut registers = [0; 18];
        for register in &mut registers {
            *register = self.number(8)?;
        }
        Ok(registers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_ends_early_is_refused() {
        let mut file = [MAGIC, &1u32.to_le_bytes()].concat();
        assert!(read(&file).is_err());
        // A case without a name, regions or steps: seed, bits, name, selectors, registers, two counts.
        file.extend([0; 8 + 1 + 1 + 12 + 18 * 8 + 4 + 4]);
        assert_eq!(read(&file).unwrap().len(), 1);
        assert!(read(b"something else").is_err());
    }
}

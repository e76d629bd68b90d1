//! All registers at once: `info registers`, and the set that gdb writes back to change one register.
//!
//! A [`GdbRegisters`] holds gdbstub_arch's core registers, the system registers and the upper halves of the AVX
//! registers. As bytes it has the system registers where [`Layout`] numbers them: behind GS, in the middle
//! of gdbstub_arch's.
//!
//! Manual: the `g` and `G` packets in "Appendix E: gdb Remote Serial Protocol" of *Debugging with gdb*.

use gdbstub::arch::{Arch, RegId, Registers};
use gdbstub_arch::x86::reg::{X86_64CoreRegs, X86CoreRegs};
use std::num::NonZeroUsize;

use super::layout::{Layout, SYSTEM};
use crate::settings::GdbArch;

/// x86 as the protocol library knows it. Which of its layouts a guest has is chosen when the run begins.
#[derive(Debug)]
pub(crate) enum KvmX86 {}

impl Arch for KvmX86 {
    type Usize = u64;
    type Registers = GdbRegisters;
    type BreakpointKind = usize;
    type RegId = RegisterNumber;
}

/// A register number of a client. Only the guest's [`Layout`] knows which register that is, if any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RegisterNumber(pub(crate) usize);

impl RegId for RegisterNumber {
    fn from_raw_id(id: usize) -> Option<(RegisterNumber, Option<NonZeroUsize>)> {
        Some((RegisterNumber(id), None))
    }

    fn to_raw_id(&self) -> Option<usize> {
        Some(self.0)
    }
}

/// All registers of a [`Layout`].
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct GdbRegisters {
    /// The registers of gdbstub_arch.
    pub(crate) core: CoreRegisters,
    /// The system registers, in the order of [`SYSTEM`].
    pub(crate) system: [u64; SYSTEM.len()],
    /// Bits 255 to 128 of the vector registers; of which only those are there that the layout has.
    pub(crate) ymm_high: [u128; 16],
    /// How many of them that is.
    pub(crate) ymm_halves: usize,
    /// The value of `orig_rax` at its end; `None` without this register.
    pub(crate) orig_rax: Option<u64>,
}

/// The core registers of one of the two kinds of layout.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "one lives on the stack for each packet about all registers")]
pub(crate) enum CoreRegisters {
    /// Those of x86-64.
    Core64(X86_64CoreRegs),
    /// Those of i386 and i8086.
    Core32(X86CoreRegs),
}

impl Default for CoreRegisters {
    fn default() -> CoreRegisters {
        CoreRegisters::Core64(X86_64CoreRegs::default())
    }
}

/// Layouts that a register set can have, distinguished by their sizes.
fn layouts() -> impl Iterator<Item = Layout> {
    let archs = [GdbArch::X86_64, GdbArch::X86_64Linux, GdbArch::I386].into_iter();
    archs.flat_map(|arch| [false, true].map(|avx| Layout::new(arch, avx)))
}

impl GdbRegisters {
    /// Size of a system register in bytes, and of all core registers in front of them.
    fn word_and_split(&self) -> (usize, usize) {
        match self.core {
            CoreRegisters::Core64(_) => (8, 16 * 8 + 8 + 4 + 6 * 4),
            CoreRegisters::Core32(_) => (4, 8 * 4 + 4 + 4 + 6 * 4),
        }
    }

    fn write_system(&self, write_byte: &mut impl FnMut(Option<u8>)) {
        let (word, _) = self.word_and_split();
        for value in self.system {
            value.to_le_bytes()[..word].iter().for_each(|byte| write_byte(Some(*byte)));
        }
    }

    /// All bytes, as gdb's packets have them.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(1024);
        self.gdb_serialize(|byte| bytes.push(byte.unwrap_or(0)));
        bytes
    }
}

impl Registers for GdbRegisters {
    type ProgramCounter = u64;

    fn pc(&self) -> u64 {
        match &self.core {
            CoreRegisters::Core64(core) => core.rip,
            CoreRegisters::Core32(core) => core.eip.into(),
        }
    }

    fn gdb_serialize(&self, mut write_byte: impl FnMut(Option<u8>)) {
        let (_, split) = self.word_and_split();
        let mut written = 0;
        let core = |byte: Option<u8>| {
            if written == split {
                self.write_system(&mut write_byte);
            }
            written += 1;
            write_byte(byte);
        };
        match &self.core {
            CoreRegisters::Core64(registers) => registers.gdb_serialize(core),
            CoreRegisters::Core32(registers) => registers.gdb_serialize(core),
        }
        for half in self.ymm_high.iter().take(self.ymm_halves) {
            half.to_le_bytes().iter().for_each(|byte| write_byte(Some(*byte)));
        }
        if let Some(value) = self.orig_rax {
            value.to_le_bytes().iter().for_each(|byte| write_byte(Some(*byte)));
        }
    }

    /// Reads what [`Self::gdb_serialize`] has written of any layout: the size says which.
    fn gdb_deserialize(&mut self, bytes: &[u8]) -> Result<(), ()> {
        let layout = layouts().find(|layout| layout.size() == bytes.len()).ok_or(())?;
        if layout.is_64_bit() {
            self.core = CoreRegisters::Core64(X86_64CoreRegs::default());
        } else {
            self.core = CoreRegisters::Core32(X86CoreRegs::default());
        }
        let (word, split) = self.word_and_split();
        let (front, rest) = bytes.split_at_checked(split).ok_or(())?;
        let (system, rest) = rest.split_at_checked(word * SYSTEM.len()).ok_or(())?;
        self.ymm_halves = layout.ymm_halves();
        let rest = if layout.is_linux() {
            let (rest, orig_rax) = rest.split_last_chunk().ok_or(())?;
            self.orig_rax = Some(u64::from_le_bytes(*orig_rax));
            rest
        } else {
            self.orig_rax = None;
            rest
        };
        let (back, ymm) = rest.split_at_checked(rest.len() - 16 * self.ymm_halves).ok_or(())?;
        let core = [front, back].concat();
        match &mut self.core {
            CoreRegisters::Core64(registers) => registers.gdb_deserialize(&core)?,
            CoreRegisters::Core32(registers) => registers.gdb_deserialize(&core)?,
        }
        for (value, bytes) in self.system.iter_mut().zip(system.chunks_exact(word)) {
            *value = bytes.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte));
        }
        for (value, bytes) in self.ymm_high.iter_mut().zip(ymm.as_chunks().0) {
            *value = u128::from_le_bytes(*bytes);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_registers_follow_gs() {
        let mut set = GdbRegisters { system: [1, 2, 3, 4, 5, 6, 7, 8, 9], ..GdbRegisters::default() };
        if let CoreRegisters::Core64(core) = &mut set.core {
            (core.segments.gs, core.st[0]) = (0x6565, [0x77; 10]);
        }
        let bytes = set.to_bytes();
        let wide = Layout::new(GdbArch::X86_64, false);
        let start = |number| wide.registers().take(number).map(|(_, size)| size).sum::<usize>();
        assert_eq!(bytes[start(23)..start(24)], [0x65, 0x65, 0, 0]);
        assert_eq!(bytes[start(24)..start(25)], [1, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(bytes[start(32)..start(33)], [9, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(bytes[start(33)..start(34)], [0x77; 10]);
    }

    #[test]
    fn each_layout_is_recognised_by_its_size() {
        for layout in layouts() {
            let bytes: Vec<u8> = (0..layout.size()).map(|n| (n * 7 % 251) as u8).collect();
            let mut set = GdbRegisters::default();
            set.gdb_deserialize(&bytes).unwrap();
            assert_eq!(set.to_bytes(), bytes, "{layout:?}");
            assert_eq!(set.gdb_deserialize(&bytes[1..]), Err(()), "{layout:?}");
        }
        assert_eq!(GdbRegisters::default().gdb_deserialize(&[]), Err(()));
    }
}

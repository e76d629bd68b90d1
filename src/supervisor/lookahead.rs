//! The instruction the guest is at, as far as a step has to know it.

use crate::arch::PAGE_SIZE;
use crate::arch::Registers;
use crate::inspect::translate::{read_virtual, translate};
use crate::memory::GuestMemory;

/// Bytes that are looked at: prefixes, and two of opcode.
const LOOK: usize = 8;

/// What is special about a step over an instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Nothing: it ends behind it, or in a handler.
    Plain,
    /// It may end at the instruction itself with no register changed.
    Jump,
    /// It may end many times in the middle.
    Repeated,
    /// The one-byte `hlt`, which hosts do not agree how to step over.
    Halt,
    /// `int n`, `int3`, `int1` or `into`: some hosts refuse it, others run its handler to the end
    /// before they stop.
    Interrupt,
    /// `iret`: no stop follows where KVM carries it out.
    InterruptReturn,
    /// `pushf`: what it pushes has the trap flag set on hosts that step by it.
    PushFlags,
}

/// The kind of the instruction in `bytes`, in code of `bitness` bits.
pub(crate) fn kind(bytes: &[u8], bitness: u32) -> Kind {
    let (prefixes, opcode) = bytes.split_at(prefixes(bytes, bitness));
    let repeated = prefixes.iter().any(|byte| matches!(byte, 0xF2 | 0xF3));
    match opcode {
        [0xF4, ..] if prefixes.is_empty() => Kind::Halt,
        [0xCC | 0xCD | 0xF1, ..] => Kind::Interrupt,
        [0xCE, ..] if bitness != 64 => Kind::Interrupt,
        [0x9C, ..] => Kind::PushFlags,
        [0xCF, ..] => Kind::InterruptReturn,
        [0x6C..=0x6F | 0xA4..=0xA7 | 0xAA..=0xAF, ..] if repeated => Kind::Repeated,
        // Conditional jumps, loops, calls, jumps, returns.
        [0x70..=0x7F | 0x9A | 0xC2 | 0xC3 | 0xCA | 0xCB | 0xE0..=0xE3 | 0xE8..=0xEB | 0xFF, ..] => Kind::Jump,
        // The same with two bytes, and system calls and the way back.
        [0x0F, 0x80..=0x8F | 0x05 | 0x07 | 0x34 | 0x35, ..] => Kind::Jump,
        _ => Kind::Plain,
    }
}

/// How many of the bytes are prefixes.
fn prefixes(bytes: &[u8], bitness: u32) -> usize {
    let prefix = |byte: &u8| match byte {
        0xF2 | 0xF3 | 0x26 | 0x2E | 0x36 | 0x3E | 0x64..=0x67 | 0xF0 => true,
        // REX.
        0x40..=0x4F => bitness == 64,
        _ => false,
    };
    bytes.iter().take_while(|byte| prefix(byte)).count()
}

/// True if this instruction tells the processor that a translation has changed: `invlpg` and others of its
/// group, `mov` to a control register, also of the value it has, and `invpcid` (Intel SDM volume 3A,
/// "Operations that Invalidate TLBs and Paging-Structure Caches").
fn changes_translations(bytes: &[u8], bitness: u32) -> bool {
    matches!(bytes.split_at(prefixes(bytes, bitness)).1, [0x0F, 0x01 | 0x22, ..] | [0x0F, 0x38, 0x82, ..])
}

/// The page of code the guest was in last: stepping through it, one translation serves many steps.
#[derive(Debug, Default)]
pub(crate) struct Lookahead {
    page: Option<Page>,
}

#[derive(Debug)]
struct Page {
    address: u64,
    physical: u64,
    /// CR0, CR3, CR4 and EFER: what decides how addresses are translated.
    control: [u64; 4],
}

impl Lookahead {
    /// The guest may have changed its page tables.
    pub(crate) fn forget(&mut self) {
        self.page = None;
    }

    /// The kind of the instruction at the linear address `pc`; a plain one where nothing can be read.
    pub(crate) fn kind(&mut self, memory: &GuestMemory, registers: &Registers, pc: u64) -> Kind {
        let mut bytes = [0; LOOK];
        let count = self.read(memory, registers, pc, &mut bytes);
        let bytes = &bytes[..count];
        let bitness = registers.bitness();
        if changes_translations(bytes, bitness) {
            self.forget();
        }
        kind(bytes, bitness)
    }

    fn read(&mut self, memory: &GuestMemory, registers: &Registers, pc: u64, bytes: &mut [u8]) -> usize {
        let (address, offset) = (pc & !(PAGE_SIZE - 1), pc % PAGE_SIZE);
        if offset + bytes.len() as u64 > PAGE_SIZE {
            return read_virtual(memory, registers, pc, bytes);
        }
        let system = &registers.system;
        let control = [system.cr0, system.cr3, system.cr4, system.efer];
        let physical = match &self.page {
            Some(page) if page.address == address && page.control == control => page.physical,
            _ => {
                let Some(physical) = translate(memory, registers, address) else { return 0 };
                self.page = Some(Page { address, physical, control });
                physical
            }
        };
        if memory.read(physical + offset, bytes).is_ok() { bytes.len() } else { 0 }
    }
}

#[cfg(test)]
#[path = "lookahead_test.rs"]
mod tests;

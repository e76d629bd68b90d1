//! Which instructions use the red zone: memory below RSP that no `push` or `sub` has reserved.
//!
//! [`RedZoneSearch`] is fed with 64-bit instructions in the order of their addresses, by `lint` and by `kvm inspect`. It
//! estimates: what it finds lies below RSP as far as the instructions before it show, and where they do not show it,
//! nothing is found.
//!
//! Manual: System V ABI for x86-64, "The Stack Frame".

use iced_x86::{Instruction, Mnemonic, OpKind, Register};

/// What a finding says, and the remedy.
pub(super) const FINDING: &str =
    "memory below RSP (the red zone), which an interrupt in ring 0 overwrites: build with -mno-red-zone";
/// Bytes below RSP that a function may use without moving it. Accesses further down are probes of the stack.
const SIZE: u64 = 128;

/// What is known of the frame of the function that the last instruction belongs to.
#[derive(Debug, Default)]
pub(super) struct RedZoneSearch {
    /// The last instruction was `push rbp`.
    pushed: bool,
    /// While RBP is the frame pointer: how far RSP has been below it at most.
    depth: Option<u64>,
}

impl RedZoneSearch {
    /// Goes on by an instruction; true if it accesses the red zone.
    pub(super) fn next(&mut self, instruction: &Instruction) -> bool {
        let uses = self.is_in_red_zone(instruction);
        let (first, second) = (instruction.op0_register(), instruction.op1_register());
        let pushed = std::mem::take(&mut self.pushed);
        match instruction.mnemonic() {
            // A new function: one that has a frame pointer does not push it again.
            Mnemonic::Push if first == Register::RBP => {
                *self = RedZoneSearch { pushed: true, depth: None };
            }
            Mnemonic::Mov if pushed && first == Register::RBP && second == Register::RSP => {
                self.depth = Some(0);
            }
            Mnemonic::Push => self.grow(8),
            Mnemonic::Sub if first == Register::RSP => match instruction.op1_kind() {
                OpKind::Immediate8to64 | OpKind::Immediate32to64 => self.grow(instruction.immediate(1)),
                _ => self.grow(u64::MAX),
            },
            Mnemonic::Cmp | Mnemonic::Test => {}
            // An unknown distance, as of all that computes RSP.
            _ if first.full_register() == Register::RSP => self.grow(u64::MAX),
            // The end of a function, or of its use of RBP as the frame pointer.
            Mnemonic::Ret | Mnemonic::Iretq | Mnemonic::Leave | Mnemonic::INVALID => self.depth = None,
            _ if first.full_register() == Register::RBP => self.depth = None,
            _ => {}
        }
        uses
    }

    /// RSP has moved down.
    fn grow(&mut self, bytes: u64) {
        self.depth = self.depth.map(|depth| depth.saturating_add(bytes));
    }

    /// True if an operand of the instruction lies in the red zone. `lea` and `nop` access nothing.
    fn is_in_red_zone(&self, instruction: &Instruction) -> bool {
        let has_memory =
            (0..instruction.op_count()).any(|operand| instruction.op_kind(operand) == OpKind::Memory);
        let is_access = has_memory && !matches!(instruction.mnemonic(), Mnemonic::Lea | Mnemonic::Nop);
        if !is_access || instruction.memory_index() != Register::None {
            return false;
        }
        let Some(below) = (instruction.memory_displacement64() as i64).checked_neg() else { return false };
        let depth = match instruction.memory_base() {
            Register::RSP => Some(0),
            Register::RBP => self.depth,
            _ => None,
        };
        // A depth that is not known is so large that nothing lies below.
        let below_rsp = depth.and_then(|depth| u64::try_from(below).ok()?.checked_sub(depth));
        below_rsp.is_some_and(|below| (1..=SIZE).contains(&below))
    }
}

#[cfg(test)]
#[path = "red_zone_test.rs"]
mod tests;

//! Software interrupts, exceptions on their way to a handler, and the way back.

use iced_x86::Instruction;

use super::Obstacle;
use super::cpu::Cpu;
use super::exception::{Exception, Trouble};

/// Carries out `int n`, `int3`, `int1` or `into`.
pub(super) fn software_interrupt(_: &mut Cpu, _: &Instruction) -> Result<(), Trouble> {
    Err(Obstacle::NotAllowed.into())
}

/// Carries out `iret`, `iretd` or `iretq`.
pub(super) fn interrupt_return(_: &mut Cpu, _: &Instruction) -> Result<(), Trouble> {
    Err(Obstacle::NotAllowed.into())
}

/// Delivers an exception that the instruction at RIP has raised: the guest goes on in its handler, or
/// in that of the double fault. [`Trouble::Exception`] stands for a triple fault.
pub(super) fn raise(_: &mut Cpu, _: Exception) -> Result<(), Trouble> {
    Err(Obstacle::NotAllowed.into())
}

//! To be written.

use iced_x86::Instruction;

use super::Obstacle;
use super::cpu::Cpu;
use super::exception::Trouble;

/// Carries out `instruction`, or answers with [`Obstacle::NotAllowed`] if it is none of these.
pub(super) fn carry_out(_: &mut Cpu, _: &Instruction) -> Result<(), Trouble> {
    Err(Obstacle::NotAllowed.into())
}

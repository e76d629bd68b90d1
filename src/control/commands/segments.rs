//! Commands that show descriptor tables.

use super::super::error::CommandError;
use crate::inspect::tables::{GdtView, IdtView, TssView};
use crate::supervisor::stopped_machine::{GuestNames, StoppedMachine};

/// The descriptors of the GDT.
pub(in crate::control) fn gdt(guest: &mut dyn StoppedMachine, _: &str) -> Result<String, CommandError> {
    Ok(GdtView::of(guest.memory(), &guest.registers()?).to_string())
}

/// The gates of the IDT, or the vectors of real mode.
pub(in crate::control) fn idt(guest: &mut dyn StoppedMachine, _: &str) -> Result<String, CommandError> {
    Ok(IdtView::of(guest.memory(), &guest.registers()?, &GuestNames(guest)).to_string())
}

/// The task state segment.
pub(in crate::control) fn tss(guest: &mut dyn StoppedMachine, _: &str) -> Result<String, CommandError> {
    Ok(TssView::of(guest.memory(), &guest.registers()?, &GuestNames(guest)).to_string())
}

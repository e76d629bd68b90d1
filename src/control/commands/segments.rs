//! Commands that show descriptor tables.

use super::super::command::{only_json, shown};
use super::super::error::CommandError;
use crate::inspect::tables::{GdtView, IdtView, TssView};
use crate::supervisor::stopped_machine::{GuestNames, StoppedMachine};

/// The descriptors of the GDT.
pub(in crate::control) fn gdt(
    guest: &mut dyn StoppedMachine,
    arguments: &str,
) -> Result<String, CommandError> {
    let json = only_json(arguments)?;
    Ok(shown(&GdtView::of(guest.memory(), &guest.registers()?), json))
}

/// The gates of the IDT, or the vectors of real mode.
pub(in crate::control) fn idt(
    guest: &mut dyn StoppedMachine,
    arguments: &str,
) -> Result<String, CommandError> {
    let json = only_json(arguments)?;
    Ok(shown(&IdtView::of(guest.memory(), &guest.registers()?, &GuestNames(guest)), json))
}

/// The task state segment.
pub(in crate::control) fn tss(
    guest: &mut dyn StoppedMachine,
    arguments: &str,
) -> Result<String, CommandError> {
    let json = only_json(arguments)?;
    Ok(shown(&TssView::of(guest.memory(), &guest.registers()?, &GuestNames(guest)), json))
}

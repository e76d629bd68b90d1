//! Interprocessor interrupts: what the interrupt command register sends, and which local APICs are meant.
//!
//! Manual: Intel SDM volume 3A, "Issuing Interprocessor Interrupts" and "Determining IPI Destination".

use super::apic::{ApicMode, LocalApic};
use super::registers::error;
use super::vectors::FIRST_LEGAL;
use crate::devices::interrupt_message::{DeliveryMode, InterruptMessage};

/// Destination of all local APICs, for a sender whose destinations have 8 bits and for others.
const BROADCASTS: [u32; 2] = [0xFF, u32::MAX];

/// Who receives an interprocessor interrupt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Receivers {
    Destination,
    Sender,
    All,
    AllButSender,
}

/// An interprocessor interrupt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ipi {
    pub(super) receivers: Receivers,
    pub(super) message: InterruptMessage,
}

/// What the command `value` sends; `None` if nothing.
///
/// # Errors
///
/// The bit of the error status register for a command that cannot be sent.
pub(super) fn command(value: u64, mode: ApicMode) -> Result<Option<Ipi>, u32> {
    let receivers = match value >> 18 & 3 {
        0 => Receivers::Destination,
        1 => Receivers::Sender,
        2 => Receivers::All,
        _ => Receivers::AllButSender,
    };
    let x2apic = mode == ApicMode::X2Apic;
    let vector = value as u8;
    let destination = (value >> if x2apic { 32 } else { 56 }) as u32;
    let logical = value >> 11 & 1 == 1;
    let Some(delivery) = DeliveryMode::of_code((value >> 8 & 7) as u8) else { return Ok(None) };
    match delivery {
        DeliveryMode::Fixed | DeliveryMode::LowestPriority if vector < FIRST_LEGAL => {
            return Err(error::SEND_ILLEGAL_VECTOR);
        }
        // Reserved for processors.
        DeliveryMode::ExtInt => return Ok(None),
        // Level de-assert: since the Pentium 4 it does nothing.
        DeliveryMode::Init if value >> 14 & 3 == 0b10 => return Ok(None),
        _ => {}
    }
    // In x2APIC mode this is one APIC, which no machine has, and not all of them.
    if x2apic && receivers == Receivers::Destination && destination == BROADCASTS[0] && !logical {
        return Ok(None);
    }
    let message = InterruptMessage { destination, logical, mode: delivery, vector, level_triggered: false };
    Ok(Some(Ipi { receivers, message }))
}

/// True if `apic` is a destination of `message`.
pub(super) fn is_destination(apic: &LocalApic, message: &InterruptMessage) -> bool {
    let destination = message.destination;
    let x2apic = apic.mode() == ApicMode::X2Apic;
    if apic.mode() == ApicMode::Disabled {
        return false;
    }
    let broadcast = if x2apic && message.logical {
        destination == BROADCASTS[1]
    } else {
        BROADCASTS.contains(&destination)
    };
    if broadcast {
        return true;
    }
    if !message.logical {
        return destination == apic.physical_id();
    }
    let own = apic.logical_id();
    if x2apic {
        return destination >> 16 == own >> 16 && destination & own & 0xFFFF != 0;
    }
    match apic.destination_model() {
        // Flat: one bit for each APIC.
        0b1111 => destination & own != 0,
        // Cluster: a cluster's number, and one bit for each of its APICs.
        0b0000 => destination >> 4 == own >> 4 && destination & own & 0xF != 0,
        _ => false,
    }
}

/// The one of `apics` that receives an interrupt of the lowest-priority mode: of its destinations that accept
/// interrupts, the first with the lowest processor priority.
pub(super) fn lowest_priority(apics: &[LocalApic], message: &InterruptMessage) -> Option<usize> {
    let accepts = |apic: &LocalApic| apic.accepts_interrupts() && is_destination(apic, message);
    let candidates = apics.iter().enumerate().filter(|(_, apic)| accepts(apic));
    candidates.min_by_key(|(_, apic)| apic.processor_priority()).map(|(index, _)| index)
}

//! Interrupt messages: what IOAPIC, local APICs and message-signalled interrupts send to local APICs.
//!
//! Manual: Intel SDM volume 3A, "Interrupt Command Register (ICR)", and Intel 82093AA datasheet, 3.2.4.

use serde::{Deserialize, Serialize};

/// How a local APIC treats a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DeliveryMode {
    /// An interrupt with the message's vector, at all destinations.
    Fixed,
    /// An interrupt with the message's vector, at the destination with the lowest processor priority.
    LowestPriority,
    /// System management interrupt.
    Smi,
    /// Non-maskable interrupt.
    Nmi,
    /// Initialises the processor.
    Init,
    /// Starts an initialised processor at page `vector`. Only processors send it.
    StartUp,
    /// An interrupt whose vector the 8259A gives.
    ExtInt,
}

impl DeliveryMode {
    /// The mode with this code, as in bits 10 to 8 of a redirection entry and of the ICR; `None` if reserved.
    pub const fn of_code(code: u8) -> Option<DeliveryMode> {
        Some(match code {
            0b000 => DeliveryMode::Fixed,
            0b001 => DeliveryMode::LowestPriority,
            0b010 => DeliveryMode::Smi,
            0b100 => DeliveryMode::Nmi,
            0b101 => DeliveryMode::Init,
            0b110 => DeliveryMode::StartUp,
            0b111 => DeliveryMode::ExtInt,
            _ => return None,
        })
    }

    /// True if the processor takes what the message causes only while its interrupts are on.
    pub const fn is_maskable(self) -> bool {
        matches!(self, DeliveryMode::Fixed | DeliveryMode::LowestPriority | DeliveryMode::ExtInt)
    }

    /// True if the local APIC delivers the message by its vector.
    pub const fn has_vector(self) -> bool {
        matches!(self, DeliveryMode::Fixed | DeliveryMode::LowestPriority)
    }
}

/// A message to local APICs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterruptMessage {
    /// A local APIC's identification, or a logical destination.
    pub destination: u32,
    /// The destination is a logical one.
    pub logical: bool,
    /// What the message causes.
    pub mode: DeliveryMode,
    /// Interrupt vector, or page number of a start-up.
    pub vector: u8,
    /// The source is level-triggered, so that it has to be informed of the end of the interrupt.
    pub level_triggered: bool,
}

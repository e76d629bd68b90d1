//! The I/O APIC: 24 interrupt inputs, each with a redirection entry that makes it a message to local APICs.
//!
//! Manual: Intel 82093AA datasheet (order number 290566). The version is 20h, as in QEMU's PC: it has the EOI
//! register of later chips (Intel ICH5 datasheet, "EOIR").
//!
//! All of the redirection table is implemented: edge and level triggering with remote IRR, all delivery modes,
//! both destination modes, and the mask. Not implemented: the polarity bit is kept and has no effect, as in QEMU
//! and KVM, because devices report whether they request an interrupt, not a voltage; the APIC bus and its
//! arbitration do not exist.
//!
//! A pin that rises while it is edge-triggered and masked is ignored (datasheet, "Interrupt Mask"). Messages other
//! than fixed and lowest priority are edges, whatever the trigger mode of their entry. A message with a reserved
//! delivery mode is not sent.
//!
//! The machine calls [`IoApic::set_pin`] when a line changes, passes the messages of [`IoApic::take_messages`] on
//! to the local APICs after every access and every change of a pin, and reports the ends of level-triggered
//! interrupts to [`IoApic::end_of_interrupt`]. At most one message for each pin is pending.

mod copied;
mod explain;

use serde::{Deserialize, Serialize};

use super::interrupt_message::{DeliveryMode, InterruptMessage};
use super::{Action, Device, Snapshot, StateError};

/// Guest-physical address of the register window.
pub const BASE: u64 = 0xFEC0_0000;
/// Length of the register window in bytes.
pub const LENGTH: u64 = 0x1000;
/// Version of the chip, as its version register says.
pub const CHIP_VERSION: u8 = 0x20;
/// Number of inputs.
pub const PINS: usize = 24;

/// The registers repeat with this distance.
const MIRROR: u64 = 0x100;
const REGISTER_SELECT: u64 = 0x00;
const WINDOW: u64 = 0x10;
const END_OF_INTERRUPT: u64 = 0x40;

const IDENTIFICATION: u8 = 0x00;
const VERSION: u8 = 0x01;
const ARBITRATION: u8 = 0x02;
/// The low half of the first redirection entry.
const FIRST_ENTRY: u8 = 0x10;

const IDENTIFICATION_BITS: u32 = 0x0F00_0000;
/// Version 20h; bits 23 to 16 have the number of the last entry.
const VERSION_VALUE: u32 = CHIP_VERSION as u32 | (PINS as u32 - 1) << 16;

mod entry {
    pub const VECTOR: u64 = 0xFF;
    pub const MODE_SHIFT: u32 = 8;
    pub const LOGICAL: u64 = 1 << 11;
    /// Delivery status: never pending when the guest reads it.
    pub const DELIVERY_STATUS: u64 = 1 << 12;
    pub const REMOTE_IRR: u64 = 1 << 14;
    pub const LEVEL: u64 = 1 << 15;
    pub const MASKED: u64 = 1 << 16;
    pub const DESTINATION_SHIFT: u32 = 56;
    pub const READ_ONLY: u64 = DELIVERY_STATUS | REMOTE_IRR;
}

/// The pin that ISA interrupt line `line` (0 to 15) is connected to on a PC. Line 0, the timer, is on pin 2; line 2,
/// the cascade of the 8259A, is on none.
pub const fn pin_of_isa_line(line: u8) -> Option<u8> {
    match line {
        0 => Some(2),
        1 | 3..=15 => Some(line),
        _ => None,
    }
}

/// The I/O APIC.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IoApic {
    select: u8,
    identification: u32,
    entries: [u64; PINS],
    /// Levels of the pins.
    levels: u32,
    /// Pins with a message that the machine has not taken.
    pending: u32,
}

/// What the IOAPIC does with one pin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IoApicPin {
    /// The redirection entry.
    pub entry: u64,
    /// Its message; `None` if its delivery mode is reserved.
    pub message: Option<InterruptMessage>,
    /// The guest has masked it.
    pub masked: bool,
    /// The pin requests an interrupt.
    pub level: bool,
    /// A local APIC has accepted its interrupt, and its end has not been reported.
    pub remote_irr: bool,
}

impl Default for IoApic {
    fn default() -> IoApic {
        IoApic { select: 0, identification: 0, entries: [entry::MASKED; PINS], levels: 0, pending: 0 }
    }
}

/// The message of a redirection entry.
fn message(value: u64) -> Option<InterruptMessage> {
    let mode = DeliveryMode::of_code((value >> entry::MODE_SHIFT & 7) as u8)
        .filter(|mode| *mode != DeliveryMode::StartUp)?;
    Some(InterruptMessage {
        destination: (value >> entry::DESTINATION_SHIFT) as u32,
        logical: value & entry::LOGICAL != 0,
        mode,
        vector: (value & entry::VECTOR) as u8,
        level_triggered: value & entry::LEVEL != 0 && mode.has_vector(),
    })
}

/// True if the request lasts as long as the pin is high.
fn is_level_triggered(value: u64) -> bool {
    message(value).is_some_and(|message| message.level_triggered)
}

impl IoApic {
    /// Pin `pin` (0 to 23) now requests an interrupt (`level`) or does not.
    pub fn set_pin(&mut self, pin: u8, level: bool) {
        let Some(value) = self.entries.get(usize::from(pin)).copied() else { return };
        let bit = 1 << pin;
        let rises = level && self.levels & bit == 0;
        self.levels = self.levels & !bit | if level { bit } else { 0 };
        if is_level_triggered(value) {
            self.request_level(pin);
        } else if rises && value & entry::MASKED == 0 {
            self.pending |= bit;
        }
    }

    /// True if [`Self::take_messages`] has messages.
    #[inline]
    pub fn has_messages(&self) -> bool {
        self.pending != 0
    }

    /// Takes the pending messages.
    pub fn take_messages(&mut self) -> impl Iterator<Item = InterruptMessage> + use<> {
        let pending = std::mem::take(&mut self.pending);
        let taken = move |pin: &usize| pending >> pin & 1 == 1;
        for pin in (0..PINS).filter(taken) {
            if is_level_triggered(self.entries[pin]) {
                self.entries[pin] |= entry::REMOTE_IRR;
            }
        }
        let entries = self.entries;
        (0..PINS).filter(taken).filter_map(move |pin| message(entries[pin]))
    }

    /// A local APIC reports the end of a level-triggered interrupt. Pins with this vector that are still high
    /// request again.
    pub fn end_of_interrupt(&mut self, vector: u8) {
        for pin in 0..PINS {
            let value = self.entries[pin];
            if value & entry::REMOTE_IRR != 0 && value & entry::VECTOR == u64::from(vector) {
                self.entries[pin] &= !entry::REMOTE_IRR;
                self.request_level(pin as u8);
            }
        }
    }

    /// True if a request of `pin` (0 to 23) would be sent.
    pub fn can_interrupt(&self, pin: u8) -> bool {
        self.entries.get(usize::from(pin)).is_some_and(|value| {
            value & (entry::MASKED | entry::REMOTE_IRR) == 0 && message(*value).is_some()
        })
    }

    /// What the IOAPIC is doing with each pin.
    pub fn describe(&self) -> [IoApicPin; PINS] {
        std::array::from_fn(|pin| {
            let value = self.entries[pin];
            IoApicPin {
                entry: value,
                message: message(value),
                masked: value & entry::MASKED != 0,
                level: self.levels >> pin & 1 == 1,
                remote_irr: value & entry::REMOTE_IRR != 0,
            }
        })
    }

    /// Has a message pending for a level-triggered pin exactly if it is high, unmasked and has none in service.
    fn request_level(&mut self, pin: u8) {
        let value = self.entries[usize::from(pin)];
        let requests = value & (entry::MASKED | entry::REMOTE_IRR) == 0 && self.levels >> pin & 1 == 1;
        self.pending = self.pending & !(1 << pin) | u32::from(requests) << pin;
    }

    fn read_register(&self) -> u32 {
        match self.select {
            IDENTIFICATION | ARBITRATION => self.identification,
            VERSION => VERSION_VALUE,
            _ => self.selected_entry().map_or(0, |(pin, high)| {
                (if high { self.entries[pin] >> 32 } else { self.entries[pin] }) as u32
            }),
        }
    }

    fn write_register(&mut self, value: u32) {
        if self.select == IDENTIFICATION {
            self.identification = value & IDENTIFICATION_BITS;
        } else if let Some((pin, high)) = self.selected_entry() {
            self.write_entry(pin, high, u64::from(value));
        }
    }

    /// The pin and half of its entry that are selected.
    fn selected_entry(&self) -> Option<(usize, bool)> {
        let index = usize::from(self.select.checked_sub(FIRST_ENTRY)?);
        (index < 2 * PINS).then_some((index / 2, index % 2 == 1))
    }

    fn write_entry(&mut self, pin: usize, high: bool, value: u64) {
        let old = self.entries[pin];
        let mut new = if high { old & 0xFFFF_FFFF | value << 32 } else { old & !0xFFFF_FFFF | value };
        new = new & !entry::READ_ONLY | old & entry::READ_ONLY;
        let level = is_level_triggered(new);
        if !level {
            new &= !entry::REMOTE_IRR;
        }
        self.entries[pin] = new;
        if level {
            self.request_level(pin as u8);
        } else if new & entry::MASKED != 0 || is_level_triggered(old) {
            self.pending &= !(1 << pin);
        }
    }
}

impl Device for IoApic {
    fn explain(&self) -> Vec<String> {
        explain::lines(self)
    }

    fn mmio_read(&mut self, offset: u64, size: u8) -> Option<(u64, Action)> {
        let value = match offset % MIRROR {
            REGISTER_SELECT => u32::from(self.select),
            WINDOW if size >= 4 => self.read_register(),
            _ => 0,
        };
        Some((u64::from(value), Action::NONE))
    }

    /// The select register takes the lowest byte of any access; the window is written by 32-bit accesses only.
    fn mmio_write(&mut self, offset: u64, size: u8, value: u64) -> Option<Action> {
        match offset % MIRROR {
            REGISTER_SELECT => self.select = value as u8,
            WINDOW if size >= 4 => self.write_register(value as u32),
            END_OF_INTERRUPT if size >= 4 => self.end_of_interrupt(value as u8),
            _ => {}
        }
        Some(Action::NONE)
    }
}

impl Snapshot for IoApic {
    const KIND: &'static str = "ioapic";
    const VERSION: u16 = 1;
    type State = IoApic;

    fn state(&self) -> IoApic {
        self.clone()
    }

    fn set_state(&mut self, state: IoApic) -> Result<(), StateError> {
        if let Some(reason) = state.fault() {
            return Err(StateError::Damaged { kind: Self::KIND, reason: reason.to_owned() });
        }
        *self = state;
        Ok(())
    }
}

impl IoApic {
    /// What is wrong with a saved state, if it is one that cannot be reached.
    fn fault(&self) -> Option<&'static str> {
        if (self.levels | self.pending) >> PINS != 0 {
            return Some("there are more than 24 pins");
        }
        if self.identification & !IDENTIFICATION_BITS != 0 {
            return Some("the identification has more than 4 bits");
        }
        for (pin, value) in self.entries.iter().enumerate() {
            let pending = self.pending >> pin & 1 == 1;
            if value & entry::DELIVERY_STATUS != 0 {
                return Some("an entry has the delivery status of a message that was not sent");
            }
            if value & entry::REMOTE_IRR != 0 && !is_level_triggered(*value) {
                return Some("an edge-triggered pin has the interrupt of a level-triggered one in service");
            }
            let mut requested = self.clone();
            requested.request_level(pin as u8);
            if is_level_triggered(*value) && requested.pending != self.pending {
                return Some("a message is pending that does not follow from the level of its pin");
            }
            if pending && value & entry::MASKED != 0 {
                return Some("a masked pin has a message pending");
            }
        }
        None
    }
}

#[cfg(test)]
#[path = "ioapic/ioapic_test.rs"]
mod tests;

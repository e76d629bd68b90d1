//! The pins of the I/O APIC in words.
//!
//! Intel 82093AA datasheet, "I/O Redirection Table Registers".

use super::IoApic;

/// The state in words, a line for each pin that is not masked.
pub(super) fn lines(ioapic: &IoApic) -> Vec<String> {
    let pins = ioapic.describe();
    let open = pins.iter().filter(|pin| !pin.masked).count();
    let mut lines = vec![format!(
        "{} pins, {open} not masked, identification {:#x}",
        pins.len(),
        ioapic.identification >> 24
    )];
    for (number, pin) in pins.iter().enumerate().filter(|(_, pin)| !pin.masked || pin.level) {
        let message = match pin.message {
            _ if pin.masked => "masked".to_owned(),
            None => "reserved delivery mode".to_owned(),
            Some(message) => format!(
                "vector {:#04x}, {:?}, {} destination {:#x}, {}-triggered",
                message.vector,
                message.mode,
                if message.logical { "logical" } else { "physical" },
                message.destination,
                if message.level_triggered { "level" } else { "edge" }
            ),
        };
        let level = if pin.level { ", input active" } else { "" };
        let waits = if pin.remote_irr { ", waits for the end of its interrupt (remote IRR)" } else { "" };
        lines.push(format!("pin {number}: {message}{level}{waits}"));
    }
    lines
}

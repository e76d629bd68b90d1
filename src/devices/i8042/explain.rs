//! The keyboard controller in words.
//!
//! IBM PS/2 Hardware Interface Technical Reference, "Keyboard and Auxiliary Device Controller".

use super::{I8042, OutputByte, config, output_port};
use crate::devices::explain::names_of;

/// Output port: address line 20 is open.
const A20: u8 = 1 << 1;

/// The state in words, a line each.
pub(super) fn lines(controller: &I8042) -> Vec<String> {
    let configuration = names_of(
        u64::from(controller.ram[0]),
        &[
            (config::KEYBOARD_INTERRUPT.into(), "keyboard interrupt (IRQ 1)"),
            (config::AUXILIARY_INTERRUPT.into(), "mouse interrupt (IRQ 12)"),
            (config::SYSTEM.into(), "system flag"),
            (config::KEYBOARD_DISABLED.into(), "keyboard disabled"),
            (config::AUXILIARY_DISABLED.into(), "mouse disabled"),
            (config::TRANSLATE.into(), "translation to set 1"),
        ],
    );
    let byte = |byte: &OutputByte| {
        format!("{:#04x} from the {}", byte.byte, if byte.auxiliary { "mouse" } else { "keyboard" })
    };
    let waiting = match controller.reply.as_ref().or(controller.code.as_ref()) {
        Some(output) => format!("holds {}", byte(output)),
        None => "is empty".to_owned(),
    };
    let port = controller.output_port;
    let a20 = if port & A20 != 0 { "open" } else { "closed" };
    let lines = names_of(
        u64::from(port),
        &[(output_port::OUTPUT_FULL.into(), "IRQ 1"), (output_port::AUXILIARY_FULL.into(), "IRQ 12")],
    );
    vec![
        format!("configuration {:#04x}: {configuration}", controller.ram[0]),
        format!("the output buffer {waiting}; last read {:#04x}", controller.last_read),
        format!("output port {port:#04x}: A20 {a20}, interrupts raised: {lines}"),
    ]
}

//! The state of the interrupt controllers in words.
//!
//! Intel 8259A datasheet, "Initialization Command Words" and "Operation Command Words".

use super::DualPic;
use super::chip::{I8259A, Initialization};
use crate::devices::explain::list;

/// The state in words, a line each.
pub(super) fn lines(pic: &DualPic) -> Vec<String> {
    let output = if pic.output { "requests an interrupt" } else { "requests nothing" };
    let chips = [("master", 0, &pic.master), ("slave", 8, &pic.slave)];
    let mut lines = vec![format!("the pair {output} of the processor")];
    lines.extend(chips.map(|(name, first, chip)| format!("{name}: {}", of_chip(chip, first))));
    lines
}

fn list_of(inputs: impl Iterator<Item = u8>) -> String {
    let inputs: Vec<String> = inputs.map(|input| input.to_string()).collect();
    list(inputs.iter().map(String::as_str))
}

fn of_chip(chip: &I8259A, first: u8) -> String {
    let set = |bits: u8| {
        list_of((0..8).filter(move |input| bits >> input & 1 == 1).map(move |input| first + input))
    };
    let state = match chip.initialization {
        Initialization::Never => "not initialised (no ICW1 yet)".to_owned(),
        Initialization::Done => format!("vectors from {:#04x}", chip.vector_base),
        other => format!("in the middle of its initialisation ({other:?})"),
    };
    format!(
        "{state}; masked {}; requested {}; in service {}; level-triggered {}; inputs high {}",
        set(chip.mask),
        set(chip.requests()),
        set(chip.in_service),
        set(chip.level_inputs()),
        set(chip.levels)
    )
}

//! What could wake a guest that waits in `hlt`, in words.

use crate::machine::board::InterruptSource;

/// The second line of the keyboard controller.
const MOUSE_LINE: u8 = 12;

/// What a user calls the device.
fn name(source: &InterruptSource) -> String {
    match source.kind {
        "pit" => "the timer (PIT)".to_owned(),
        "rtc" => "the real-time clock".to_owned(),
        "i8042" if source.line == Some(MOUSE_LINE) => "the mouse".to_owned(),
        "i8042" => "the keyboard".to_owned(),
        "ide" => format!("the {} IDE channel", if source.number == 0 { "primary" } else { "secondary" }),
        "serial" => format!("COM{}", source.number + 1),
        "hpet" => "the event timer (HPET)".to_owned(),
        "lapic" => "the timer of the local APIC".to_owned(),
        "acpi-pm" => "the power button".to_owned(),
        other => other.to_owned(),
    }
}

/// `a, b and c`.
fn list(items: &[String]) -> String {
    match items {
        [] => String::new(),
        [one] => one.clone(),
        [most @ .., last] => format!("{} and {last}", most.join(", ")),
    }
}

/// The source, and what keeps it from interrupting the guest.
pub fn line(source: &InterruptSource) -> String {
    let place = source.line.map(|line| format!(" (line {line})")).unwrap_or_default();
    let state = match (source.programmed, source.admitted) {
        (true, true) => "can interrupt",
        (true, false) => "programmed to interrupt, but the interrupt controllers do not pass it on",
        (false, _) => "not programmed to interrupt",
    };
    format!("{}{place}: {state}", name(source))
}

/// One or two sentences.
pub fn sentence(sources: &[InterruptSource]) -> String {
    let named = |wanted: &dyn Fn(&InterruptSource) -> bool| -> Vec<String> {
        sources
            .iter()
            .filter(|source| wanted(source))
            .map(|source| match source.line {
                Some(line) => format!("{} (line {line})", name(source)),
                None => name(source),
            })
            .collect()
    };
    let ready = named(&|source| source.programmed && source.admitted);
    if !ready.is_empty() {
        return format!("What can wake it: {}.", list(&ready));
    }
    let masked = named(&|source| source.programmed && !source.admitted);
    let admitted = named(&|source| !source.programmed && source.admitted);
    let mut text = "Nothing is set up that could wake it: ".to_owned();
    if sources.iter().all(|source| !source.programmed) {
        text.push_str("no timer runs, and neither the keyboard nor a serial port has its interrupt on");
    } else {
        text.push_str(&format!("the interrupt controllers do not pass on {}", list(&masked)));
    }
    if admitted.is_empty() {
        text.push_str("; the interrupt controllers pass no line on");
    }
    text.push('.');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(kind: &'static str, line: u8, programmed: bool, admitted: bool) -> InterruptSource {
        InterruptSource { kind, number: 0, line: Some(line), programmed, admitted }
    }

    #[test]
    fn a_source_that_is_set_up_is_named() {
        let sources =
            [source("pit", 0, true, true), source("i8042", 1, false, true), source("serial", 4, true, true)];
        assert_eq!(sentence(&sources), "What can wake it: the timer (PIT) (line 0) and COM1 (line 4).");
    }

    #[test]
    fn a_masked_line_is_named() {
        let sources = [source("pit", 0, true, false), source("i8042", 1, false, true)];
        assert_eq!(
            sentence(&sources),
            "Nothing is set up that could wake it: the interrupt controllers do not pass on the timer (PIT) (line 0)."
        );
    }

    #[test]
    fn devices_that_do_not_interrupt_are_said_to_be_off() {
        let sources = [source("pit", 0, false, false), source("i8042", 1, false, false)];
        assert_eq!(
            sentence(&sources),
            "Nothing is set up that could wake it: no timer runs, and neither the keyboard nor a serial port has its \
             interrupt on; the interrupt controllers pass no line on."
        );
    }
}

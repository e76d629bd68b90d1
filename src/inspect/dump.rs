//! The registers of a vCPU as lines of text.

use std::fmt::Write;

use super::crash::CrashReport;
use super::fault;
use crate::arch::Registers;
use crate::arch::error_code;
use crate::machine::RescuedException;

/// Everything in `crash`, for the log; `None` without registers.
pub fn dump_crash(crash: &CrashReport) -> Option<String> {
    let mut text = dump_registers(&crash.registers?);
    if crash.cpu_count > 1 {
        text = format!("CPU {}: {text}", crash.cpu);
    }
    if let Some(RescuedException { vector, error_code }) = crash.rescued {
        // Writing to a String cannot fail.
        let _ = write!(text, "  recorded exception: {}, vector {vector}", fault::name(vector));
        if let Some(code) = error_code {
            let _ = write!(text, ", error code {code:#x}");
            if let Some(decoded) = error_code::decoded(vector, code) {
                let _ = write!(text, " ({decoded})");
            }
        }
        text.push('\n');
    }
    if let Some(walk) = &crash.walk {
        let _ = write!(text, "  page walk of {:#x}:", walk.address);
        for entry in &walk.entries {
            let _ = write!(text, " level {} entry at {:#x} ", entry.level, entry.address);
            let _ = match entry.value {
                Some(value) => write!(text, "is {value:#x},"),
                None => write!(text, "outside of RAM,"),
            };
        }
        let _ = match walk.physical {
            Some(physical) => writeln!(text, " maps to {physical:#x}"),
            None => writeln!(text, " not mapped"),
        };
    }
    for (number, frame) in crash.frames.iter().enumerate() {
        let _ = writeln!(text, "  #{number:<3} {frame}");
    }
    for cpu in &crash.other_cpus {
        let _ = writeln!(text, "  {cpu}");
    }
    let _ = write!(text, "  pending: {}", crash.pending.as_deref().unwrap_or("nothing"));
    if !crash.events.lines.is_empty() {
        let _ = write!(text, "\n  last events (number @ event of the journal):");
        for line in crash.events.to_string().lines() {
            let _ = write!(text, "\n  {line}");
        }
    }
    Some(text)
}

/// Registers, descriptor tables and segments.
pub fn dump_registers(registers: &Registers) -> String {
    let mut text = String::from("Target program dump:\n");
    for row in registers.named().chunks(3) {
        for (name, value) in row {
            // Writing to a String cannot fail.
            let _ = write!(text, "  {name:<6} {value:#018x}");
        }
        text.push('\n');
    }
    for (name, value) in registers.control() {
        let _ = writeln!(text, "  {name:<6} {value:#018x}");
    }
    for (name, table) in registers.tables() {
        let _ = writeln!(text, "  {name:<6} base {:#018x} limit {:#06x}", table.base, table.limit);
    }
    for (name, s) in registers.segments() {
        let _ = writeln!(
            text,
            "  {name:<6} base {:#018x} limit {:#010x} selector {:#06x} type {:2} present {} dpl {} db {} s {} l {} g {}",
            s.base, s.limit, s.selector, s.type_, s.present, s.dpl, s.db, s.s, s.l, s.g
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_register_is_in_the_dump() {
        let mut registers = Registers::default();
        registers.general.r15 = 0x1234;
        let text = dump_registers(&registers);
        for word in ["RAX", "R15", "0x0000000000001234", "CR2", "EFER", "GDT", "SS"] {
            assert!(text.contains(word), "{word} is missing in\n{text}");
        }
    }
}

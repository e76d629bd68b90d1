//! The registers of a vCPU as lines of text.

use std::fmt::Write;

use crate::arch::Registers;

/// The whole state of a stopped vCPU; `pending` names the events that wait for the guest.
pub fn dump(registers: &Registers, pending: Option<&str>) -> String {
    let mut text = dump_registers(registers);
    let _ = write!(text, "  pending: {}", pending.unwrap_or("nothing"));
    text
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
        let text = dump(&registers, Some("exception 14"));
        for word in ["RAX", "R15", "0x0000000000001234", "CR2", "EFER", "GDT", "SS", "pending: exception 14"]
        {
            assert!(text.contains(word), "{word} is missing in\n{text}");
        }
    }
}

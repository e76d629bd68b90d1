//! Commands that show and set registers.

use std::fmt::Write;

use super::super::command::{invalid, no_more};
use super::super::error::CommandError;
use super::machine::heading;
use super::values::number;
use crate::arch::{ExtendedRegisters, Registers};
use crate::inspect::expression::{Register, RegisterPart, register_named};
use crate::supervisor::stopped_machine::StoppedMachine;

/// Offsets in the XSAVE area (Intel SDM volume 1, "Legacy Region of an XSAVE Area").
const FCW: usize = 0;
const FSW: usize = 2;
const MXCSR: usize = 24;
const STACK: usize = 32;
const XMM: usize = 160;
/// Distance between two x87 or vector registers there.
const SLOT: usize = 16;

/// Bit 1 of RFLAGS, which is always set.
const ALWAYS_SET: u64 = 1 << 1;
/// Flags of RFLAGS, as QEMU names them.
const FLAGS: [(u32, char); 9] =
    [(11, 'O'), (10, 'D'), (9, 'I'), (7, 'S'), (6, 'Z'), (4, 'A'), (2, 'P'), (0, 'C'), (8, 'T')];

/// All registers.
pub(in crate::control) fn all(guest: &mut dyn StoppedMachine, _: &str) -> Result<String, CommandError> {
    let registers = guest.registers()?;
    let mut text = heading(guest);
    // Writing to a string cannot fail.
    let _ = write_integer(&mut text, &registers);
    let _ = write_extended(&mut text, &guest.extended_registers()?);
    Ok(text)
}

fn write_integer(text: &mut String, registers: &Registers) -> std::fmt::Result {
    for row in registers.named().chunks(4) {
        for (name, value) in row {
            write!(text, "{name:<6} {value:016x}  ")?;
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
    }
    let flags: String = FLAGS
        .iter()
        .map(|(bit, name)| if registers.general.rflags >> bit & 1 == 1 { *name } else { '-' })
        .collect();
    writeln!(text, "flags  {flags}  ring {}  {}-bit code", registers.ring(), registers.bitness())?;
    let mut system = registers.segments().to_vec();
    system.extend([("TR", registers.system.tr), ("LDT", registers.system.ldt)]);
    for (name, segment) in system {
        writeln!(
            text,
            "{name:<6} {:04x} base {:016x} limit {:08x} type {:2} dpl {}{}",
            segment.selector,
            segment.base,
            segment.limit,
            segment.type_,
            segment.dpl,
            if segment.unusable == 1 { " unusable" } else { "" }
        )?;
    }
    for (name, table) in registers.tables() {
        writeln!(text, "{name:<6}      base {:016x} limit {:04x}", table.base, table.limit)?;
    }
    for (name, value) in registers.control() {
        writeln!(text, "{name:<6} {value:016x}")?;
    }
    writeln!(text, "{:<6} {:016x}", "CR8", registers.system.cr8)
}

fn write_extended(text: &mut String, area: &ExtendedRegisters) -> std::fmt::Result {
    writeln!(
        text,
        "FCW    {:04x}  FSW {:04x}  MXCSR {:08x}",
        value(area, FCW, 2),
        value(area, FSW, 2),
        value(area, MXCSR, 4)
    )?;
    for number in 0..8 {
        write!(text, "ST{number}    {:020x}", value(area, STACK + SLOT * number, 10))?;
        text.push_str(if number % 2 == 0 { "  " } else { "\n" });
    }
    for number in 0..16 {
        write!(text, "XMM{number:<3} {:032x}", value(area, XMM + SLOT * number, 16))?;
        text.push_str(if number % 2 == 0 { "  " } else { "\n" });
    }
    Ok(())
}

/// `count` bytes (at most 16) at `offset`, the lowest first.
fn value(area: &ExtendedRegisters, offset: usize, count: usize) -> u128 {
    let bytes = area.get(offset..offset + count).unwrap_or_default();
    bytes.iter().rev().fold(0, |value, byte| value << 8 | u128::from(*byte))
}

/// Sets a register.
pub(in crate::control) fn set(
    guest: &mut dyn StoppedMachine,
    arguments: &str,
) -> Result<String, CommandError> {
    // gdb also has `set var $rax = 1`.
    let text = arguments.strip_prefix("var ").unwrap_or(arguments);
    let (name, value) = text.split_once('=').ok_or_else(|| invalid("there is no `=`"))?;
    let name = name.trim();
    let part = name.strip_prefix('$').and_then(register_named);
    let part = part.ok_or_else(|| invalid(format!("`{name}` is no register, such as $rax")))?;
    let (new, rest) = number(guest, value)?;
    no_more(rest)?;
    let mut registers = guest.registers()?;
    write_part(&mut registers, &part, new).ok_or_else(|| {
        invalid(format!("{name} cannot be set here: a selector alone does not load a segment"))
    })?;
    guest.set_registers(&registers)?;
    Ok(format!("{name} is {:#x}\n", new & mask(&part)))
}

/// The bits of a part, from bit 0 on.
fn mask(part: &RegisterPart) -> u64 {
    u64::MAX >> (64 - 8 * u32::from(part.size().clamp(1, 8)))
}

/// Writes `value` to a part of a register; `None` for one that cannot be written.
fn write_part(registers: &mut Registers, part: &RegisterPart, value: u64) -> Option<()> {
    let (g, s) = (&mut registers.general, &mut registers.system);
    let slot = match part.register {
        Register::General(number) => {
            let all = [
                &mut g.rax, &mut g.rcx, &mut g.rdx, &mut g.rbx, &mut g.rsp, &mut g.rbp, &mut g.rsi,
                &mut g.rdi, &mut g.r8, &mut g.r9, &mut g.r10, &mut g.r11, &mut g.r12, &mut g.r13, &mut g.r14,
                &mut g.r15,
            ];
            all.into_iter().nth(usize::from(number))?
        }
        Register::Rip => &mut g.rip,
        Register::Rflags => &mut g.rflags,
        Register::FsBase => &mut s.fs.base,
        Register::GsBase => &mut s.gs.base,
        Register::Control(0) => &mut s.cr0,
        Register::Control(2) => &mut s.cr2,
        Register::Control(3) => &mut s.cr3,
        Register::Control(4) => &mut s.cr4,
        Register::Control(8) => &mut s.cr8,
        Register::Efer => &mut s.efer,
        Register::Selector(_) | Register::Control(_) => return None,
    };
    let bits = mask(part) << part.shift;
    *slot = *slot & !bits | value << part.shift & bits;
    if part.register == Register::Rflags {
        *slot |= ALWAYS_SET;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_a_register_leaves_the_rest_alone() {
        let mut registers = Registers::default();
        registers.general.rax = 0x1122_3344_5566_7788;
        for (name, value, wanted) in
            [("ah", 0x1FF, 0x1122_3344_5566_FF88), ("eax", u64::MAX, 0x1122_3344_FFFF_FFFF), ("rax", 1, 1)]
        {
            write_part(&mut registers, &register_named(name).unwrap(), value).unwrap();
            assert_eq!(registers.general.rax, wanted, "{name}");
        }
        assert_eq!(write_part(&mut registers, &register_named("cs").unwrap(), 8), None);
    }
}

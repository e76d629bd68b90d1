//! Commands that show and set registers.

use super::super::command::{invalid, no_more, only_json, shown};
use super::super::error::CommandError;
use super::machine::heading;
use super::values::number;
use crate::arch::Registers;
use crate::inspect::expression::{Register, RegisterPart, register_named};
use crate::inspect::register_view::RegisterView;
use crate::supervisor::stopped_machine::StoppedMachine;

/// Bit 1 of RFLAGS, which is always set.
const ALWAYS_SET: u64 = 1 << 1;
/// All registers.
pub(in crate::control) fn all(
    guest: &mut dyn StoppedMachine,
    arguments: &str,
) -> Result<String, CommandError> {
    let json = only_json(arguments)?;
    // A register that the host does not report is left out, not an error.
    let msr = |index| guest.msr(index).ok().flatten();
    let debug = guest.debug_registers().ok().flatten();
    let view = RegisterView::new(guest.registers()?, guest.extended_registers()?, debug, &msr);
    // JSON is one value.
    let heading = if json { String::new() } else { heading(guest) };
    Ok(heading + &shown(&view, json))
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

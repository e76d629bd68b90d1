//! Commands of our own: what gdb's `monitor` sends here.

use crate::host::Registers;

/// What `monitor help` prints.
const HELP: &str = "regs   control registers and EFER\nhelp   this list\n";

/// The answer to `command`, to be printed by gdb.
pub(super) fn answer(command: &[u8], registers: &Registers) -> String {
    match command.trim_ascii() {
        b"regs" => privileged(registers),
        b"help" | b"" => HELP.to_owned(),
        other => format!("`{}` is no monitor command; they are:\n{HELP}", other.escape_ascii()),
    }
}

/// Old tools read this text: it stays as it is.
fn privileged(registers: &Registers) -> String {
    let mut text = "Privileged Registers (Custom command):\n".to_owned();
    for (name, value) in registers.control() {
        text.push_str(&format!("{name} {value:#018x}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regs_prints_what_old_tools_read() {
        let mut registers = Registers::default();
        registers.system.cr3 = 0x5000;
        registers.system.efer = 0x500;
        assert_eq!(
            answer(b"regs", &registers),
            "Privileged Registers (Custom command):\nCR4 0x0000000000000000\nCR3 0x0000000000005000\n\
             CR2 0x0000000000000000\nCR0 0x0000000000000000\nEFER 0x0000000000000500\n"
        );
    }

    #[test]
    fn a_wrong_command_gets_the_list_of_right_ones() {
        let answer = answer(b"res\xFFet\n", &Registers::default());
        assert!(answer.starts_with("`res\\xffet` is no monitor command; they are:\nregs "), "{answer}");
    }
}

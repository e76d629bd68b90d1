//! General registers by the names instructions give them.

use crate::arch::GeneralRegisters;
use iced_x86::Register;

use super::cpu::Cpu;

impl Cpu<'_> {
    /// The value of a general-purpose register of any width, zero-extended; `None` for any other.
    pub fn general(&self, register: Register) -> Option<u64> {
        let mut general = self.registers.general;
        let value = *full(&mut general, register)?;
        Some(match register.size() {
            1 if is_high_byte(register) => value >> 8 & 0xFF,
            1 => value & 0xFF,
            2 => value & 0xFFFF,
            4 => value & 0xFFFF_FFFF,
            _ => value,
        })
    }

    /// Writes a general-purpose register of any width as instructions do: the narrow ones leave the
    /// rest of the full register alone, those of 32 bits clear it. Any other register is left alone.
    pub fn set_general(&mut self, register: Register, value: u64) {
        let Some(place) = full(&mut self.registers.general, register) else { return };
        *place = match register.size() {
            1 if is_high_byte(register) => *place & !0xFF00 | (value & 0xFF) << 8,
            1 => *place & !0xFF | value & 0xFF,
            2 => *place & !0xFFFF | value & 0xFFFF,
            4 => value & 0xFFFF_FFFF,
            _ => value,
        };
    }
}

/// AH, CH, DH and BH.
fn is_high_byte(register: Register) -> bool {
    matches!(register, Register::AH | Register::CH | Register::DH | Register::BH)
}

/// The 64-bit register that `register` is or is a part of.
fn full(general: &mut GeneralRegisters, register: Register) -> Option<&mut u64> {
    if !register.is_gpr() {
        return None;
    }
    Some(match register.full_register() {
        Register::RAX => &mut general.rax,
        Register::RCX => &mut general.rcx,
        Register::RDX => &mut general.rdx,
        Register::RBX => &mut general.rbx,
        Register::RSP => &mut general.rsp,
        Register::RBP => &mut general.rbp,
        Register::RSI => &mut general.rsi,
        Register::RDI => &mut general.rdi,
        Register::R8 => &mut general.r8,
        Register::R9 => &mut general.r9,
        Register::R10 => &mut general.r10,
        Register::R11 => &mut general.r11,
        Register::R12 => &mut general.r12,
        Register::R13 => &mut general.r13,
        Register::R14 => &mut general.r14,
        Register::R15 => &mut general.r15,
        _ => return None,
    })
}

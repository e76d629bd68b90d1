//! One instruction as text, by iced-x86.

use iced_x86::{Decoder, DecoderOptions, Formatter, IntelFormatter};

/// The instruction that `bytes` begin with, in Intel syntax; `None` if they are none.
pub fn instruction(bytes: &[u8], bitness: u32, address: u64) -> Option<String> {
    let mut decoder = Decoder::with_ip(bitness, bytes, address, DecoderOptions::NONE);
    let instruction = decoder.decode();
    if instruction.is_invalid() {
        return None;
    }
    let mut text = String::new();
    let mut formatter = IntelFormatter::new();
    formatter.options_mut().set_hex_prefix("0x");
    formatter.options_mut().set_hex_suffix("");
    formatter.options_mut().set_space_after_operand_separator(true);
    formatter.format(&instruction, &mut text);
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instructions_read_as_in_a_manual() {
        assert_eq!(instruction(&[0x48, 0x8B, 0x04, 0x25, 0x10, 0, 0, 0], 64, 0).unwrap(), "mov rax, [0x10]");
        assert_eq!(instruction(&[0xF3, 0x0F, 0xB8, 0xC3], 32, 0).unwrap(), "popcnt eax, ebx");
        assert_eq!(instruction(&[0xCD, 0x10], 16, 0).unwrap(), "int 0x10");
        assert_eq!(instruction(&[], 64, 0), None);
        assert_eq!(instruction(&[0x0F, 0xFF], 64, 0), None);
    }
}

//! One instruction as text, by iced-x86.

use iced_x86::{Decoder, DecoderOptions, FlowControl, Formatter, IntelFormatter, OpKind};

/// Longest instruction, in bytes (Intel SDM volume 2A, "Instruction Format").
pub const LONGEST_INSTRUCTION: usize = 15;

/// One instruction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decoded {
    /// In Intel syntax.
    pub text: String,
    /// Bytes.
    pub length: usize,
    /// Where a jump or call within the segment that names its target leads, as an instruction pointer.
    pub target: Option<u64>,
    /// It is a call.
    pub is_call: bool,
}

/// The instruction that `bytes` begin with, in Intel syntax; `None` if they are none.
pub fn instruction(bytes: &[u8], bitness: u32, address: u64) -> Option<String> {
    decode(bytes, bitness, address).map(|decoded| decoded.text)
}

/// The instruction that `bytes` begin with, fetched by the instruction pointer `address`; `None` if
/// they are none.
pub fn decode(bytes: &[u8], bitness: u32, address: u64) -> Option<Decoded> {
    let mut decoder = Decoder::with_ip(bitness, bytes, address, DecoderOptions::NONE);
    let instruction = decoder.decode();
    if instruction.is_invalid() {
        return None;
    }
    let mut text = String::new();
    let mut formatter = IntelFormatter::new();
    formatter.options_mut().set_hex_prefix("0x");
    formatter.options_mut().set_hex_suffix("");
    formatter.options_mut().set_uppercase_hex(false);
    formatter.options_mut().set_small_hex_numbers_in_decimal(false);
    formatter.options_mut().set_space_after_operand_separator(true);
    formatter.options_mut().set_branch_leading_zeros(false);
    formatter.format(&instruction, &mut text);
    let target = Some(instruction.near_branch_target()).filter(|_| {
        matches!(instruction.op0_kind(), OpKind::NearBranch16 | OpKind::NearBranch32 | OpKind::NearBranch64)
    });
    let is_call = matches!(instruction.flow_control(), FlowControl::Call | FlowControl::IndirectCall);
    Some(Decoded { text, length: instruction.len(), target, is_call })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instructions_read_as_in_a_manual() {
        assert_eq!(instruction(&[0x48, 0x8B, 0x04, 0x25, 0x10, 0, 0, 0], 64, 0).unwrap(), "mov rax, [0x10]");
        assert_eq!(instruction(&[0xF3, 0x0F, 0xB8, 0xC3], 32, 0).unwrap(), "popcnt eax, ebx");
        assert_eq!(instruction(&[0xCD, 0x10], 16, 0).unwrap(), "int 0x10");
        let one_style = instruction(&[0x48, 0x81, 0x43, 0x08, 0xEF, 0xBE, 0xAD, 0x00], 64, 0).unwrap();
        assert_eq!(one_style, "add qword ptr [rbx+0x8], 0xadbeef", "hexadecimal with 0x, in lower case");
        let call = decode(&[0xE8, 0xFB, 0xFF, 0xFF, 0xFF], 64, 0x20_0010).unwrap();
        assert_eq!((call.length, call.target), (5, Some(0x20_0010)));
        assert_eq!(decode(&[0xFF, 0xD0], 64, 0).unwrap().target, None);
        assert_eq!(instruction(&[], 64, 0), None);
        assert_eq!(instruction(&[0x0F, 0xFF], 64, 0), None);
    }
}

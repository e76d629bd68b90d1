//! How a function without call frame information returns: its instructions are followed up to the next `ret` or
//! `iret`, as far as they concern the stack. Handlers in assembly have neither frame pointers nor tables.
//!
//! Nothing is executed. Conditional jumps are not taken, and a call changes RAX alone: where that is wrong for
//! an odd function, so are its callers.

use iced_x86::{
    Decoder, DecoderOptions, Instruction, InstructionInfoFactory, Mnemonic, OpAccess, OpKind, Register,
};

use super::disassembly::LONGEST_INSTRUCTION;
use crate::boot::FrameRegisters;

/// Most instructions that are followed.
const MOST_INSTRUCTIONS: usize = 128;

/// The end of a function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ReturnPath {
    /// It returns by `iret`, so it is a handler.
    pub is_handler: bool,
    /// The registers before that instruction; RSP is not known if it comes from elsewhere.
    pub registers: FrameRegisters,
}

/// Follows the code at `address` up to its return; `None` if none is found. `fetch` reads an instruction's bytes, as
/// many as are mapped, and `load` a number of bytes of memory.
pub(super) fn follow(
    address: u64,
    registers: &FrameRegisters,
    fetch: &dyn Fn(u64, &mut [u8]) -> usize,
    load: &dyn Fn(u64, u8) -> Option<u64>,
) -> Option<ReturnPath> {
    let mut path = Path { registers: registers.clone(), load, factory: InstructionInfoFactory::new() };
    let (mut address, bitness) = (address, u32::from(registers.width) * 8);
    for _ in 0..MOST_INSTRUCTIONS {
        let mut code = [0; LONGEST_INSTRUCTION];
        let count = fetch(address, &mut code);
        let instruction = Decoder::with_ip(bitness, &code[..count], address, DecoderOptions::NONE).decode();
        address = match instruction.mnemonic() {
            Mnemonic::INVALID | Mnemonic::Hlt | Mnemonic::Ud2 | Mnemonic::Retf => return None,
            Mnemonic::Iret | Mnemonic::Iretd | Mnemonic::Iretq => {
                return Some(ReturnPath { is_handler: true, registers: path.registers });
            }
            Mnemonic::Ret => return Some(ReturnPath { is_handler: false, registers: path.registers }),
            Mnemonic::Jmp if instruction.is_jmp_short_or_near() => instruction.near_branch_target(),
            Mnemonic::Jmp => return None,
            Mnemonic::Call => {
                path.registers.general[0] = None;
                instruction.next_ip()
            }
            _ => {
                path.execute(&instruction);
                instruction.next_ip()
            }
        };
    }
    None
}

struct Path<'a> {
    registers: FrameRegisters,
    load: &'a dyn Fn(u64, u8) -> Option<u64>,
    factory: InstructionInfoFactory,
}

impl Path<'_> {
    /// Changes the registers as `instruction` does, as far as it concerns the stack.
    fn execute(&mut self, instruction: &Instruction) {
        let width = u64::from(self.registers.width);
        let stack_pointer = self.registers.stack_pointer();
        let top = stack_pointer.and_then(|address| (self.load)(address, self.registers.width));
        let moved = stack_pointer
            .map(|address| address.wrapping_add_signed(i64::from(instruction.stack_pointer_increment())));
        let written = self.written(instruction);
        let value = |registers: &FrameRegisters, register: Register| {
            number(register, registers.width).and_then(|number| registers.general[number])
        };
        let before = self.registers.clone();
        for number in written {
            self.registers.general[number] = None;
        }
        match instruction.mnemonic() {
            Mnemonic::Pop => {
                self.set_stack_pointer(moved);
                if let Some(number) = number(instruction.op0_register(), before.width) {
                    self.registers.general[number] = top;
                }
            }
            Mnemonic::Popad => {
                self.set_stack_pointer(moved);
                let frame_pointer = stack_pointer.and_then(|address| (self.load)(address.wrapping_add(8), 4));
                self.registers.general[before.frame_pointer_number()] = frame_pointer;
            }
            Mnemonic::Leave => {
                let frame = before.frame_pointer();
                let caller = frame.and_then(|frame| (self.load)(frame, before.width));
                self.set_stack_pointer(frame.map(|frame| frame.wrapping_add(width)));
                self.registers.general[before.frame_pointer_number()] = caller;
            }
            _ if instruction.is_stack_instruction() => self.set_stack_pointer(moved),
            _ if !is_stack_pointer(instruction.op0_register()) => {}
            Mnemonic::Add | Mnemonic::Sub => {
                let amount = instruction.try_immediate(1).ok();
                self.set_stack_pointer(stack_pointer.zip(amount).map(|(address, amount)| {
                    match instruction.mnemonic() {
                        Mnemonic::Add => address.wrapping_add(amount),
                        _ => address.wrapping_sub(amount),
                    }
                }));
            }
            Mnemonic::Lea if instruction.memory_index() == Register::None => {
                let base = value(&before, instruction.memory_base());
                let offset = instruction.memory_displacement64();
                self.set_stack_pointer(base.map(|base| base.wrapping_add(offset)));
            }
            Mnemonic::Mov if instruction.op1_kind() == OpKind::Register => {
                self.set_stack_pointer(value(&before, instruction.op1_register()));
            }
            _ => {}
        }
    }

    fn set_stack_pointer(&mut self, address: Option<u64>) {
        let mask = if self.registers.width == 8 { u64::MAX } else { 0xFFFF_FFFF };
        self.registers.general[self.registers.stack_pointer_number()] = address.map(|address| address & mask);
    }

    /// The numbers of the registers that `instruction` changes.
    fn written(&mut self, instruction: &Instruction) -> Vec<usize> {
        let width = self.registers.width;
        let used = self.factory.info(instruction).used_registers().iter();
        used.filter(|used| !matches!(used.access(), OpAccess::Read | OpAccess::CondRead | OpAccess::None))
            .filter_map(|used| number(used.register(), width))
            .collect()
    }
}

fn is_stack_pointer(register: Register) -> bool {
    matches!(register, Register::RSP | Register::ESP)
}

/// The number that DWARF gives a general register; see [`FrameRegisters`].
fn number(register: Register, width: u8) -> Option<usize> {
    const LONG: [Register; 16] = [
        Register::RAX,
        Register::RDX,
        Register::RCX,
        Register::RBX,
        Register::RSI,
        Register::RDI,
        Register::RBP,
        Register::RSP,
        Register::R8,
        Register::R9,
        Register::R10,
        Register::R11,
        Register::R12,
        Register::R13,
        Register::R14,
        Register::R15,
    ];
    const PROTECTED: [Register; 8] = [
        Register::RAX,
        Register::RCX,
        Register::RDX,
        Register::RBX,
        Register::RSP,
        Register::RBP,
        Register::RSI,
        Register::RDI,
    ];
    let register = register.full_register();
    let numbers: &[Register] = if width == 8 { &LONG } else { &PROTECTED };
    numbers.iter().position(|numbered| *numbered == register)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STACK: u64 = 0x9000;

    /// Follows 64-bit `code` with `words` on the stack.
    fn path(code: &[u8], words: &[u64]) -> Option<ReturnPath> {
        let mut registers = FrameRegisters { general: [None; 16], width: 8 };
        registers.general[7] = Some(STACK);
        let fetch = |address: u64, bytes: &mut [u8]| {
            let left = code.get(address as usize..).unwrap_or(&[]);
            let count = left.len().min(bytes.len());
            bytes[..count].copy_from_slice(&left[..count]);
            count
        };
        let load = |address: u64, _| words.get((address.checked_sub(STACK)? / 8) as usize).copied();
        follow(0, &registers, &fetch, &load)
    }

    #[test]
    fn a_handler_in_assembly_is_followed_to_its_iretq() {
        // pop rbp; pop rax; add rsp, 16; iretq
        let found = path(&[0x5D, 0x58, 0x48, 0x83, 0xC4, 16, 0x48, 0xCF], &[0x1234, 1, 2, 3]).unwrap();
        assert!(found.is_handler);
        assert_eq!(found.registers.stack_pointer(), Some(STACK + 32));
        assert_eq!(found.registers.frame_pointer(), Some(0x1234));
    }

    #[test]
    fn jumps_are_followed_and_calls_are_not() {
        // call +0; jmp +1; hlt; push rax; ret
        let found = path(&[0xE8, 0, 0, 0, 0, 0xEB, 1, 0xF4, 0x50, 0xC3], &[]).unwrap();
        assert!(!found.is_handler);
        assert_eq!(found.registers.stack_pointer(), Some(STACK - 8));
    }

    #[test]
    fn a_stack_pointer_from_elsewhere_is_not_known() {
        // mov rsp, rax; iretq
        let found = path(&[0x48, 0x89, 0xC4, 0x48, 0xCF], &[]).unwrap();
        assert_eq!((found.is_handler, found.registers.stack_pointer()), (true, None));
        assert_eq!(path(&[0xF4], &[]), None, "code that ends is not followed");
        assert_eq!(path(&[0xEB, 0xFE], &[]), None, "nor is an endless loop");
    }
}

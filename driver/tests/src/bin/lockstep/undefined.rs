// SPDX-License-Identifier: MIT OR GPL-2.0
//! What the manuals leave undefined or a debugger may see differently, instruction by instruction.

use iced_x86::{Instruction, MemorySize, Mnemonic, Register, RflagsBits};

/// The flags of RFLAGS and their names in iced-x86 (AMD64 APM volume 1, 3.1.4).
const FLAGS: [(u32, u64); 8] = [
    (RflagsBits::CF, 1 << 0),
    (RflagsBits::PF, 1 << 2),
    (RflagsBits::AF, 1 << 4),
    (RflagsBits::ZF, 1 << 6),
    (RflagsBits::SF, 1 << 7),
    (RflagsBits::IF, 1 << 9),
    (RflagsBits::DF, 1 << 10),
    (RflagsBits::OF, 1 << 11),
];

/// TF is the debugger's and RF the processor's.
pub const NOT_THE_PROGRAMS: u64 = 1 << 8 | 1 << 16;

/// The flags that the manuals (AMD64 APM volume 3, appendix F) leave undefined after this instruction. iced-x86 has
/// the table for most; this adds what depends on the count, and what processors and emulators disagree in.
pub fn flags(instruction: &Instruction) -> u64 {
    let undefined = instruction.rflags_undefined();
    let listed: u64 = FLAGS.iter().filter(|(name, _)| undefined & name != 0).map(|(_, bit)| bit).sum();
    let (cf, af, of) = (1, 1 << 4, 1 << 11);
    let more = match instruction.mnemonic() {
        // CF for counts of at least the operand's size; OF for counts other than 1.
        Mnemonic::Shl | Mnemonic::Shr | Mnemonic::Sar | Mnemonic::Sal => cf | af | of,
        Mnemonic::Shld | Mnemonic::Shrd => af | of,
        Mnemonic::Rol | Mnemonic::Ror | Mnemonic::Rcl | Mnemonic::Rcr => of,
        _ => 0,
    };
    listed | more | NOT_THE_PROGRAMS
}

/// True if the flags are pushed: the image has the debugger's TF.
pub fn pushes_flags(instruction: &Instruction) -> bool {
    matches!(instruction.mnemonic(), Mnemonic::Pushf | Mnemonic::Pushfd | Mnemonic::Pushfq)
}

/// True if the next instruction may be executed before a debug exception is delivered (AMD64 APM volume 2, 8.1.3
/// and 15.21.5).
pub fn shadows_next(instruction: &Instruction) -> bool {
    match instruction.mnemonic() {
        Mnemonic::Sti => true,
        Mnemonic::Mov | Mnemonic::Pop | Mnemonic::Lss => {
            instruction.op_count() > 0 && instruction.op0_register() == Register::SS
                || instruction.mnemonic() == Mnemonic::Lss
        }
        _ => false,
    }
}

/// What the emulator of KVM itself gets wrong on hosts where it runs the guest: SF after AAM and AAD is that of AX.
pub fn flags_of_kvms_emulator(instruction: &Instruction) -> u64 {
    if matches!(instruction.mnemonic(), Mnemonic::Aam | Mnemonic::Aad) { 1 << 7 } else { 0 }
}

/// What QEMU loses at an exit from a locked instruction, a debug exception behind it for example, if its machine has
/// several processors: CF, PF, AF, ZF, SF, DF and OF are 0 then, although the instruction may not even write them.
pub fn flags_lost_by_qemu(instruction: &Instruction) -> u64 {
    if is_locked(instruction) { 0xcd5 } else { 0 }
}

/// True if QEMU, for the same reason, carries the instruction out with the wrong carry: it exits for its access first.
pub fn loses_carry_in_qemu(instruction: &Instruction, exits_for_access: bool) -> bool {
    let carries = matches!(instruction.mnemonic(), Mnemonic::Adc | Mnemonic::Sbb);
    carries && exits_for_access && is_locked(instruction)
}

/// XCHG with memory is always locked.
fn is_locked(instruction: &Instruction) -> bool {
    let exchanges =
        instruction.mnemonic() == Mnemonic::Xchg && instruction.memory_size() != MemorySize::Unknown;
    exchanges || instruction.has_lock_prefix()
}

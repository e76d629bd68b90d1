//! Registers by name, and where their values lie.

use crate::arch::{GeneralRegisters, SystemRegisters};

use super::operation::Scalar;

/// A register an expression can use. Parts of registers (`eax`, `ah`) are cut out by the expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Register {
    /// A general-purpose register by its number in instructions: 0 is RAX, 1 RCX, 2 RDX, 3 RBX,
    /// 4 RSP, 5 RBP, 6 RSI, 7 RDI, then R8 to R15 (Intel SDM volume 2A, "REX Prefixes").
    General(u8),
    /// Instruction pointer.
    Rip,
    /// Flags.
    Rflags,
    /// A segment selector: 0 is ES, 1 CS, 2 SS, 3 DS, 4 FS, 5 GS.
    Selector(u8),
    /// Base address of FS.
    FsBase,
    /// Base address of GS.
    GsBase,
    /// A control register: 0, 2, 3, 4 or 8.
    Control(u8),
    /// Extended feature enable register.
    Efer,
}

impl Register {
    /// Its value, if it is among the general registers.
    pub fn general(self, registers: &GeneralRegisters) -> Option<u64> {
        let g = registers;
        Some(match self {
            Register::General(number) => {
                let all = [
                    g.rax, g.rcx, g.rdx, g.rbx, g.rsp, g.rbp, g.rsi, g.rdi, g.r8, g.r9, g.r10, g.r11, g.r12,
                    g.r13, g.r14, g.r15,
                ];
                all.get(usize::from(number)).copied().unwrap_or(0)
            }
            Register::Rip => g.rip,
            Register::Rflags => g.rflags,
            _ => return None,
        })
    }

    /// Its value, if it is among the system registers; 0 for others.
    pub fn system(self, registers: &SystemRegisters) -> u64 {
        let s = registers;
        match self {
            Register::Selector(number) => {
                let all = [s.es, s.cs, s.ss, s.ds, s.fs, s.gs];
                all.get(usize::from(number)).map_or(0, |segment| u64::from(segment.selector))
            }
            Register::FsBase => s.fs.base,
            Register::GsBase => s.gs.base,
            Register::Control(0) => s.cr0,
            Register::Control(2) => s.cr2,
            Register::Control(3) => s.cr3,
            Register::Control(4) => s.cr4,
            Register::Control(8) => s.cr8,
            Register::Efer => s.efer,
            Register::General(_) | Register::Rip | Register::Rflags | Register::Control(_) => 0,
        }
    }
}

/// A register, or a part of one, as its name says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RegisterPart {
    /// The register.
    pub register: Register,
    /// Bits below the part.
    pub shift: u8,
    /// The type of the part, as gdb understands it.
    pub(super) scalar: Scalar,
}

impl RegisterPart {
    /// Size of the part in bytes: 1, 2, 4 or 8.
    pub fn size(&self) -> u8 {
        self.scalar.size
    }
}

/// The first eight general registers: 64, 32, 16 and 8 bits.
const OLD: [[&str; 4]; 8] = [
    ["rax", "eax", "ax", "al"],
    ["rcx", "ecx", "cx", "cl"],
    ["rdx", "edx", "dx", "dl"],
    ["rbx", "ebx", "bx", "bl"],
    ["rsp", "esp", "", "spl"],
    ["rbp", "ebp", "bp", "bpl"],
    ["rsi", "esi", "si", "sil"],
    ["rdi", "edi", "di", "dil"],
];

/// Sizes of the columns of [`OLD`] in bytes.
const SIZES: [u8; 4] = [8, 4, 2, 1];

/// Bits 15-8 of the first four.
const HIGH: [&str; 4] = ["ah", "ch", "dh", "bh"];

/// Registers with one name or more. `sp` and `fp` are what gdb means by them.
const OTHERS: [(&str, Register); 21] = [
    ("rip", Register::Rip),
    ("pc", Register::Rip),
    ("sp", Register::General(4)),
    ("fp", Register::General(5)),
    ("rflags", Register::Rflags),
    ("eflags", Register::Rflags),
    ("es", Register::Selector(0)),
    ("cs", Register::Selector(1)),
    ("ss", Register::Selector(2)),
    ("ds", Register::Selector(3)),
    ("fs", Register::Selector(4)),
    ("gs", Register::Selector(5)),
    ("fs_base", Register::FsBase),
    ("gs_base", Register::GsBase),
    ("cr0", Register::Control(0)),
    ("cr2", Register::Control(2)),
    ("cr3", Register::Control(3)),
    ("cr4", Register::Control(4)),
    ("cr8", Register::Control(8)),
    ("efer", Register::Efer),
    ("eip", Register::Rip),
];

/// The register that `name`, without a dollar sign, stands for.
pub fn named(name: &str) -> Option<RegisterPart> {
    if let Some((_, register)) = OTHERS.iter().find(|(other, _)| *other == name) {
        let scalar = if name == "eip" { Scalar { size: 4, signed: false } } else { Scalar::U64 };
        return Some(RegisterPart { register: *register, shift: 0, scalar });
    }
    for (number, names) in (0..).zip(&OLD) {
        if let Some(column) = names.iter().position(|other| !other.is_empty() && *other == name) {
            return Some(general(number, SIZES[column]));
        }
    }
    if let Some(number) = HIGH.iter().position(|high| *high == name) {
        return Some(RegisterPart { shift: 8, ..general(number as u8, 1) });
    }
    let digits = name.strip_prefix('r')?;
    let (digits, size) = match digits.as_bytes().last()? {
        b'd' => (&digits[..digits.len() - 1], 4),
        b'w' => (&digits[..digits.len() - 1], 2),
        b'b' | b'l' => (&digits[..digits.len() - 1], 1),
        _ => (digits, 8),
    };
    let number: u8 = digits.parse().ok().filter(|number| (8..16).contains(number))?;
    (digits.len() == if number < 10 { 1 } else { 2 }).then(|| general(number, size))
}

/// gdb shows general registers with a sign, the stack's two pointers without.
fn general(number: u8, size: u8) -> RegisterPart {
    let pointer = matches!(number, 4 | 5) && size == 8;
    RegisterPart { register: Register::General(number), shift: 0, scalar: Scalar { size, signed: !pointer } }
}

//! Which registers gdb is told of, their numbers, widths and order.
//!
//! Numbers and names are those of QEMU's machines, which scripts and plug-ins know; the upper halves
//! of the AVX registers follow them. A layout stays the same for the whole life of a guest, whatever
//! mode it is in: gdb cannot change to another one while it is connected.
//!
//! Manual: "i386 Features" in *Debugging with gdb*, "Appendix G: Target Descriptions".

use std::num::NonZeroUsize;

use gdbstub::arch::{Arch, RegId, Registers};

use crate::settings::GdbArch;

/// A register gdb knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Register {
    /// A general register, by its number in instructions (Intel SDM volume 2A, "ModR/M").
    General(u8),
    /// RIP.
    Ip,
    /// RFLAGS.
    Flags,
    /// The selector of a segment register: CS, SS, DS, ES, FS, GS.
    Segment(u8),
    /// The base of FS.
    FsBase,
    /// The base of GS.
    GsBase,
    /// What `swapgs` gives GS for a base.
    KernelGsBase,
    /// A control register.
    Control(Control),
    /// An x87 register, counted from the top of the stack.
    Stack(u8),
    /// An x87 control register: fctrl, fstat, ftag, fiseg, fioff, foseg, fooff, fop.
    Float(u8),
    /// The low 128 bits of a vector register.
    Xmm(u8),
    /// Control and status of SSE.
    Mxcsr,
    /// Bits 255 to 128 of a vector register.
    YmmHigh(u8),
}

/// A control register, or EFER.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Control {
    /// CR0.
    Cr0,
    /// CR2.
    Cr2,
    /// CR3.
    Cr3,
    /// CR4.
    Cr4,
    /// CR8.
    Cr8,
    /// EFER.
    Efer,
}

use Control::{Cr0, Cr2, Cr3, Cr4, Cr8, Efer};

/// Control registers in gdb's order.
pub(crate) const CONTROLS: [Control; 6] = [Cr0, Cr2, Cr3, Cr4, Cr8, Efer];

/// gdb lists the first general registers of x86-64 in another order than instructions number them.
const GENERAL_64: [u8; 16] = [0, 3, 1, 2, 6, 7, 5, 4, 8, 9, 10, 11, 12, 13, 14, 15];

/// Registers in the order of their numbers.
#[derive(Debug)]
pub(crate) struct Layout {
    arch: GdbArch,
    registers: Vec<Register>,
}

impl Layout {
    /// The layout for `arch`, with the upper halves of the vector registers if the guest has `avx`.
    pub(crate) fn new(arch: GdbArch, avx: bool) -> Layout {
        use Register::{Flags, Float, FsBase, General, GsBase, Ip, KernelGsBase, Mxcsr, Segment, Stack, Xmm};
        let count = if arch == GdbArch::X86_64 { 16 } else { 8 };
        let general = |n: u8| General(if count == 16 { GENERAL_64[usize::from(n)] } else { n });
        let mut registers: Vec<Register> = (0..count).map(general).collect();
        registers.extend([Ip, Flags]);
        registers.extend((0..6).map(Segment));
        registers.extend([FsBase, GsBase, KernelGsBase]);
        registers.extend(CONTROLS.map(Register::Control));
        registers.extend((0..8).map(Stack));
        registers.extend((0..8).map(Float));
        registers.extend((0..count).map(Xmm));
        registers.push(Mxcsr);
        if avx {
            registers.extend((0..count).map(Register::YmmHigh));
        }
        Layout { arch, registers }
    }

    /// What gdb takes the guest for.
    pub(crate) fn arch(&self) -> GdbArch {
        self.arch
    }

    /// All registers; a register's place is its number.
    pub(crate) fn registers(&self) -> &[Register] {
        &self.registers
    }

    /// The register with a number.
    pub(crate) fn register(&self, number: usize) -> Option<Register> {
        self.registers.get(number).copied()
    }

    /// The number of a register.
    pub(crate) fn number(&self, register: Register) -> Option<usize> {
        self.registers.iter().position(|other| *other == register)
    }

    /// Width of a register in bytes, 4 to 16.
    pub(crate) fn size(&self, register: Register) -> usize {
        match register {
            Register::Flags | Register::Segment(_) | Register::Float(_) | Register::Mxcsr => 4,
            Register::Stack(_) => 10,
            Register::Xmm(_) | Register::YmmHigh(_) => 16,
            _ if self.arch == GdbArch::X86_64 => 8,
            _ => 4,
        }
    }

    /// The register's name.
    pub(crate) fn name(&self, register: Register) -> String {
        const GENERAL: [&str; 8] = ["ax", "cx", "dx", "bx", "sp", "bp", "si", "di"];
        const SEGMENT: [&str; 6] = ["cs", "ss", "ds", "es", "fs", "gs"];
        const FLOAT: [&str; 8] = ["fctrl", "fstat", "ftag", "fiseg", "fioff", "foseg", "fooff", "fop"];
        let prefix = if self.arch == GdbArch::X86_64 { "r" } else { "e" };
        let fixed = match register {
            Register::General(n @ 0..8) => return format!("{prefix}{}", GENERAL[usize::from(n)]),
            Register::General(n) => return format!("r{n}"),
            Register::Ip => return format!("{prefix}ip"),
            Register::Stack(n) => return format!("st{n}"),
            Register::Xmm(n) => return format!("xmm{n}"),
            Register::YmmHigh(n) => return format!("ymm{n}h"),
            Register::Segment(n) => SEGMENT[usize::from(n % 6)],
            Register::Float(n) => FLOAT[usize::from(n % 8)],
            Register::Flags => "eflags",
            Register::FsBase => "fs_base",
            Register::GsBase => "gs_base",
            Register::KernelGsBase => "k_gs_base",
            Register::Mxcsr => "mxcsr",
            Register::Control(Cr0) => "cr0",
            Register::Control(Cr2) => "cr2",
            Register::Control(Cr3) => "cr3",
            Register::Control(Cr4) => "cr4",
            Register::Control(Cr8) => "cr8",
            Register::Control(Efer) => "efer",
        };
        fixed.to_owned()
    }
}

/// x86 for the protocol library, which registers are kept from: their layouts are chosen when a run begins.
#[derive(Debug)]
pub(crate) enum X86 {}

impl Arch for X86 {
    type Usize = u64;
    type Registers = NoRegisters;
    type BreakpointKind = usize;
    type RegId = Number;
}

/// The registers that the library is asked for: none, ever.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct NoRegisters;

impl Registers for NoRegisters {
    type ProgramCounter = u64;

    fn pc(&self) -> u64 {
        0
    }

    fn gdb_serialize(&self, _: impl FnMut(Option<u8>)) {}

    fn gdb_deserialize(&mut self, _: &[u8]) -> Result<(), ()> {
        Err(())
    }
}

/// A register's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Number(pub(crate) usize);

impl RegId for Number {
    fn from_raw_id(id: usize) -> Option<(Number, Option<NonZeroUsize>)> {
        Some((Number(id), None))
    }

    fn to_raw_id(&self) -> Option<usize> {
        Some(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers as QEMU's machines have them.
    #[test]
    fn scripts_find_registers_under_the_numbers_they_know() {
        let wide = Layout::new(GdbArch::X86_64, false);
        for (number, name) in [
            (0, "rax"),
            (1, "rbx"),
            (2, "rcx"),
            (5, "rdi"),
            (6, "rbp"),
            (7, "rsp"),
            (15, "r15"),
            (16, "rip"),
            (17, "eflags"),
            (18, "cs"),
            (23, "gs"),
            (24, "fs_base"),
            (26, "k_gs_base"),
            (27, "cr0"),
            (31, "cr8"),
            (32, "efer"),
            (33, "st0"),
            (41, "fctrl"),
            (48, "fop"),
            (49, "xmm0"),
            (65, "mxcsr"),
        ] {
            assert_eq!(wide.register(number).map(|register| wide.name(register)).as_deref(), Some(name));
        }
        assert_eq!(wide.register(66), None);
        assert_eq!(Layout::new(GdbArch::X86_64, true).register(66), Some(Register::YmmHigh(0)));
        let narrow = Layout::new(GdbArch::I386, false);
        for (number, name) in [(0, "eax"), (1, "ecx"), (4, "esp"), (8, "eip"), (10, "cs"), (49, "mxcsr")] {
            assert_eq!(narrow.register(number).map(|register| narrow.name(register)).as_deref(), Some(name));
        }
    }
}

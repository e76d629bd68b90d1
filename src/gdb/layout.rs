//! Register numbers, for `print $cr0`, `info registers rip` and a script's `p10`.
//!
//! The core registers have the numbers of gdbstub_arch ([`X86_64CoreRegId`], [`X86CoreRegId`]) up to GS. QEMU's
//! machines insert nine system registers there, and scripts and plug-ins know the numbers that follow
//! from that: on x86-64, `fs_base` is 24, `efer` 32, and gdbstub_arch's `st0` moves from 24 to 33, `fctrl` from 32
//! to 41, `xmm0` from 40 to 49 and `mxcsr` from 56 to 65. The upper halves of the AVX registers come last.
//!
//! A layout stays the same for the whole life of a guest, whatever mode its processor is in: gdb cannot
//! change to another one while it is connected.
//!
//! Manual: "i386 Features" in *Debugging with gdb*, "Appendix G: Target Descriptions".

use gdbstub::arch::RegId;
use gdbstub_arch::x86::reg::id::{X86_64CoreRegId, X86CoreRegId, X86SegmentRegId, X87FpuInternalRegId};

use crate::settings::GdbArch;

/// A register of a [`Layout`].
#[derive(Clone, Copy, Debug)]
pub(crate) enum Register {
    /// A core register of x86-64.
    Core64(X86_64CoreRegId),
    /// A core register of i386 and i8086.
    Core32(X86CoreRegId),
    /// One of the nine registers that QEMU inserts behind GS.
    System(SystemRegister),
    /// Bits 255 to 128 of a vector register.
    YmmHigh(u8),
    /// The number of a Linux process's system call, which no guest has: always -1.
    OrigRax,
}

impl Register {
    /// True for RIP and EIP.
    pub(crate) fn is_instruction_pointer(self) -> bool {
        matches!(self, Register::Core64(X86_64CoreRegId::Rip) | Register::Core32(X86CoreRegId::Eip))
    }
}

/// A register that only the operating system of a guest uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SystemRegister {
    /// The base of FS.
    FsBase,
    /// The base of GS.
    GsBase,
    /// The base that `swapgs` gives GS.
    KernelGsBase,
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

/// The system registers in the order of their numbers.
pub(crate) const SYSTEM: [SystemRegister; 9] = [
    SystemRegister::FsBase,
    SystemRegister::GsBase,
    SystemRegister::KernelGsBase,
    SystemRegister::Cr0,
    SystemRegister::Cr2,
    SystemRegister::Cr3,
    SystemRegister::Cr4,
    SystemRegister::Cr8,
    SystemRegister::Efer,
];

/// Size of a vector register, or of the upper half of an AVX register, in bytes.
const VECTOR: usize = 16;

/// The registers of the target description, by number.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layout {
    arch: GdbArch,
    avx: bool,
}

impl Layout {
    /// The layout for `arch`, with the upper halves of the vector registers if the guest has `avx`.
    pub(crate) fn new(arch: GdbArch, avx: bool) -> Layout {
        Layout { arch, avx }
    }

    /// The architecture that gdb assumes.
    pub(crate) fn arch(self) -> GdbArch {
        self.arch
    }

    /// True for x86-64, false for i386 and i8086.
    pub(crate) fn is_64_bit(self) -> bool {
        matches!(self.arch, GdbArch::X86_64 | GdbArch::X86_64Linux)
    }

    /// True if gdb takes the guest for a Linux process, with a register for the number of its system call.
    pub(crate) fn is_linux(self) -> bool {
        self.arch == GdbArch::X86_64Linux
    }

    /// How many upper halves of vector registers there are: 0 without AVX.
    pub(crate) fn ymm_halves(self) -> usize {
        match (self.avx, self.is_64_bit()) {
            (false, _) => 0,
            (true, true) => 16,
            (true, false) => 8,
        }
    }

    /// All registers with their sizes in bytes, in the order of their numbers.
    pub(crate) fn registers(self) -> impl Iterator<Item = (Register, usize)> {
        (0..).map_while(move |number| self.register(number))
    }

    /// Size of all registers together, in bytes.
    pub(crate) fn size(self) -> usize {
        self.registers().map(|(_, size)| size).sum()
    }

    /// The register with a number, and its size in bytes (4 to 16).
    pub(crate) fn register(self, number: usize) -> Option<(Register, usize)> {
        let inserted = self.first_system_number();
        let Some(place) = number.checked_sub(inserted) else { return self.core(number) };
        if let Some(register) = SYSTEM.get(place) {
            return Some((Register::System(*register), self.word()));
        }
        let number = number - SYSTEM.len();
        self.core(number).or_else(|| {
            let half = number - self.core_count();
            match half.checked_sub(self.ymm_halves()) {
                None => Some((Register::YmmHigh(half as u8), VECTOR)),
                Some(0) if self.is_linux() => Some((Register::OrigRax, self.word())),
                Some(_) => None,
            }
        })
    }

    /// The number of the first system register, which is that of gdbstub_arch's register behind GS.
    pub(crate) fn first_system_number(self) -> usize {
        if self.is_64_bit() { 24 } else { 16 }
    }

    /// The numbers of the registers that gdb reads after every stop: the next instruction, the top of the stack
    /// and the frame on it.
    pub(crate) fn expedited(self) -> [usize; 3] {
        if self.is_64_bit() { [16, 7, 6] } else { [8, 4, 5] }
    }

    /// Size of a general register in bytes.
    pub(crate) fn word(self) -> usize {
        if self.is_64_bit() { 8 } else { 4 }
    }

    /// How many registers gdbstub_arch has.
    fn core_count(self) -> usize {
        if self.is_64_bit() { 57 } else { 41 }
    }

    /// The register with a number of gdbstub_arch's.
    fn core(self, number: usize) -> Option<(Register, usize)> {
        let (register, size) = if self.is_64_bit() {
            X86_64CoreRegId::from_raw_id(number).map(|(register, size)| (Register::Core64(register), size))
        } else {
            X86CoreRegId::from_raw_id(number).map(|(register, size)| (Register::Core32(register), size))
        }?;
        Some((register, size?.get()))
    }
}

/// The general registers of x86-64 in gdb's order.
const GENERAL_64: [&str; 16] = [
    "rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "rsp", "r8", "r9", "r10", "r11", "r12", "r13", "r14",
    "r15",
];

/// A register's name.
pub(crate) fn name(register: Register) -> String {
    use X86_64CoreRegId as Core64;
    use X86CoreRegId as Core32;
    match register {
        Register::Core64(Core64::Gpr(n)) => GENERAL_64[usize::from(n % 16)].to_owned(),
        Register::Core64(Core64::Rip) => "rip".to_owned(),
        Register::Core64(Core64::Segment(id)) | Register::Core32(Core32::Segment(id)) => {
            segment_name(id).to_owned()
        }
        Register::Core64(Core64::St(n)) | Register::Core32(Core32::St(n)) => format!("st{n}"),
        Register::Core64(Core64::Fpu(id)) | Register::Core32(Core32::Fpu(id)) => x87_name(id).to_owned(),
        Register::Core64(Core64::Xmm(n)) | Register::Core32(Core32::Xmm(n)) => format!("xmm{n}"),
        // What is left of both is named as gdbstub_arch names it: eflags, mxcsr, eax, eip.
        Register::Core64(id) => format!("{id:?}").to_lowercase(),
        Register::Core32(id) => format!("{id:?}").to_lowercase(),
        Register::System(register) => system_name(register).to_owned(),
        Register::YmmHigh(n) => format!("ymm{n}h"),
        Register::OrigRax => "orig_rax".to_owned(),
    }
}

fn segment_name(id: X86SegmentRegId) -> &'static str {
    match id {
        X86SegmentRegId::CS => "cs",
        X86SegmentRegId::SS => "ss",
        X86SegmentRegId::DS => "ds",
        X86SegmentRegId::ES => "es",
        X86SegmentRegId::FS => "fs",
        X86SegmentRegId::GS => "gs",
    }
}

fn x87_name(id: X87FpuInternalRegId) -> &'static str {
    match id {
        X87FpuInternalRegId::Fctrl => "fctrl",
        X87FpuInternalRegId::Fstat => "fstat",
        X87FpuInternalRegId::Ftag => "ftag",
        X87FpuInternalRegId::Fiseg => "fiseg",
        X87FpuInternalRegId::Fioff => "fioff",
        X87FpuInternalRegId::Foseg => "foseg",
        X87FpuInternalRegId::Fooff => "fooff",
        X87FpuInternalRegId::Fop => "fop",
    }
}

fn system_name(register: SystemRegister) -> &'static str {
    match register {
        SystemRegister::FsBase => "fs_base",
        SystemRegister::GsBase => "gs_base",
        SystemRegister::KernelGsBase => "k_gs_base",
        SystemRegister::Cr0 => "cr0",
        SystemRegister::Cr2 => "cr2",
        SystemRegister::Cr3 => "cr3",
        SystemRegister::Cr4 => "cr4",
        SystemRegister::Cr8 => "cr8",
        SystemRegister::Efer => "efer",
    }
}

#[cfg(test)]
#[path = "layout_test.rs"]
mod tests;

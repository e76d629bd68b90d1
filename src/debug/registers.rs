//! The vCPU's registers in the order and widths gdb has for x86-64, and back.
//!
//! gdb's layout: features/i386/64bit-core.xml and 64bit-sse.xml of its sources. x87: Intel SDM
//! volume 1, "x87 FPU Tag Word", and volume 2A, "FXSAVE".

use gdbstub_arch::x86::reg::{X86_64CoreRegs, X86SegmentRegs, X87FpuInternalRegs};
use kvm_bindings::{kvm_fpu, kvm_regs};

use crate::host::Registers;

/// Tags of an x87 register (two bits each).
const VALID: u16 = 0;
const ZERO: u16 = 1;
const SPECIAL: u16 = 2;
const EMPTY: u16 = 3;

/// What gdb shows.
pub(super) fn to_gdb(registers: &Registers, float: &kvm_fpu) -> X86_64CoreRegs {
    let (g, s) = (&registers.general, &registers.system);
    X86_64CoreRegs {
        regs: [
            g.rax, g.rbx, g.rcx, g.rdx, g.rsi, g.rdi, g.rbp, g.rsp, g.r8, g.r9, g.r10, g.r11, g.r12, g.r13,
            g.r14, g.r15,
        ],
        // The upper half is reserved and always 0.
        eflags: g.rflags as u32,
        rip: g.rip,
        segments: X86SegmentRegs {
            cs: s.cs.selector.into(),
            ss: s.ss.selector.into(),
            ds: s.ds.selector.into(),
            es: s.es.selector.into(),
            fs: s.fs.selector.into(),
            gs: s.gs.selector.into(),
        },
        st: float.fpr.map(|register| std::array::from_fn(|byte| register[byte])),
        fpu: X87FpuInternalRegs {
            fctrl: float.fcw.into(),
            fstat: float.fsw.into(),
            ftag: full_tags(float).into(),
            fiseg: (float.last_ip >> 32) as u32 & 0xFFFF,
            fioff: float.last_ip as u32,
            foseg: (float.last_dp >> 32) as u32 & 0xFFFF,
            fooff: float.last_dp as u32,
            fop: float.last_opcode.into(),
        },
        xmm: float.xmm.map(u128::from_le_bytes),
        mxcsr: float.mxcsr,
    }
}

/// The general registers after a write by gdb.
pub(super) fn general_from_gdb(wanted: &X86_64CoreRegs, now: &kvm_regs) -> kvm_regs {
    let [rax, rbx, rcx, rdx, rsi, rdi, rbp, rsp, r8, r9, r10, r11, r12, r13, r14, r15] = wanted.regs;
    let rflags = now.rflags & !u64::from(u32::MAX) | u64::from(wanted.eflags);
    let rip = wanted.rip;
    kvm_regs { rax, rbx, rcx, rdx, rsi, rdi, rbp, rsp, r8, r9, r10, r11, r12, r13, r14, r15, rip, rflags }
}

/// The x87 and SSE registers after a write by gdb.
pub(super) fn float_from_gdb(wanted: &X86_64CoreRegs, now: &kvm_fpu) -> kvm_fpu {
    let mut float = *now;
    for (register, value) in float.fpr.iter_mut().zip(&wanted.st) {
        register[..value.len()].copy_from_slice(value);
    }
    let fpu = &wanted.fpu;
    float.fcw = fpu.fctrl as u16;
    float.fsw = fpu.fstat as u16;
    float.ftwx = (0..8)
        .filter(|register| fpu.ftag >> (2 * register) & 3 != u32::from(EMPTY))
        .fold(0, |tags, r| tags | 1 << r);
    float.last_ip = u64::from(fpu.fiseg & 0xFFFF) << 32 | u64::from(fpu.fioff);
    float.last_dp = u64::from(fpu.foseg & 0xFFFF) << 32 | u64::from(fpu.fooff);
    float.last_opcode = fpu.fop as u16;
    float.xmm = wanted.xmm.map(u128::to_le_bytes);
    float.mxcsr = wanted.mxcsr;
    float
}

/// The tag word in its long form: the short form says only which registers are empty.
fn full_tags(float: &kvm_fpu) -> u16 {
    let top = usize::from(float.fsw >> 11 & 7);
    (0..8).fold(0, |tags, physical| {
        let tag = if float.ftwx >> physical & 1 == 0 {
            EMPTY
        } else {
            // Registers are stored from the top of the stack on, tags by their fixed numbers.
            tag_of(&float.fpr[(physical + 8 - top) % 8])
        };
        tags | tag << (2 * physical)
    })
}

fn tag_of(register: &[u8; 16]) -> u16 {
    let exponent = u16::from_le_bytes([register[8], register[9]]) & 0x7FFF;
    let fraction_is_zero = register[..8].iter().all(|byte| *byte == 0);
    let integer_bit = register[7] & 0x80 != 0;
    match exponent {
        0 if fraction_is_zero => ZERO,
        1..=0x7FFE if integer_bit => VALID,
        _ => SPECIAL,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn odd_numbers() -> (Registers, kvm_fpu) {
        let mut registers = Registers::default();
        registers.general.rax = 1;
        registers.general.r15 = 15;
        registers.general.rip = 0x10_0000;
        registers.general.rflags = 0x246;
        registers.system.ss.selector = 0x10;
        let mut float = kvm_fpu { fcw: 0x37F, mxcsr: 0x1F80, last_ip: 0x8_0000_1234, ..Default::default() };
        // Two values pushed: the top is register 6.
        (float.fsw, float.ftwx) = (6 << 11, 0b1100_0000);
        float.fpr[0] = [0, 0, 0, 0, 0, 0, 0, 0x80, 0xFF, 0x3F, 0, 0, 0, 0, 0, 0];
        float.xmm[15] = [7; 16];
        (registers, float)
    }

    #[test]
    fn what_gdb_reads_and_writes_back_changes_nothing() {
        let (registers, float) = odd_numbers();
        let shown = to_gdb(&registers, &float);
        assert_eq!(general_from_gdb(&shown, &registers.general), registers.general);
        assert_eq!(float_from_gdb(&shown, &float), float);
    }

    #[test]
    fn tags_say_what_each_x87_register_holds() {
        let (registers, float) = odd_numbers();
        // Register 6 holds 1.0, register 7 holds 0.0.
        assert_eq!(to_gdb(&registers, &float).fpu.ftag, 0b0100_1111_1111_1111);
    }

    #[test]
    fn writes_reach_their_registers() {
        let (registers, float) = odd_numbers();
        let mut shown = to_gdb(&registers, &float);
        (shown.regs[3], shown.rip, shown.xmm[1]) = (33, 0x20_0000, 5);
        let general = general_from_gdb(&shown, &registers.general);
        assert_eq!((general.rdx, general.rip, general.rax), (33, 0x20_0000, 1));
        assert_eq!(float_from_gdb(&shown, &float).xmm[1][0], 5);
    }
}

//! Instructions that a control register does not enable, and those for ring 0 in another ring.
//!
//! Manual: Intel SDM volume 3A, "Control Registers" and "Privileged Instructions"; volume 1, "I/O Privilege
//! Level".

use iced_x86::{CpuidFeature, EncodingKind, Instruction, Mnemonic, Register};

use super::{Diagnosis, RaisedException, vector};
use crate::arch::Registers;
use crate::arch::flags::{CR0_EM, CR0_MP, CR0_TS, CR4_OSFXSR, CR4_OSXSAVE};

/// Shift of RFLAGS.IOPL.
const IOPL: u32 = 12;
/// EFER.SCE: `syscall` is enabled.
const EFER_SCE: u64 = 1;

/// The exception that `instruction` raises because the processor's state does not allow it.
pub(super) fn not_allowed(registers: &Registers, instruction: &Instruction) -> Option<RaisedException> {
    let raise = |vector, error_code, diagnosis| Some(RaisedException { vector, error_code, diagnosis });
    if let Some((vector, why)) = not_enabled(registers, instruction) {
        return raise(vector, None, Diagnosis::NotEnabled(why));
    }
    if registers.ring() > 0 && is_privileged(registers, instruction) {
        return raise(vector::PROTECTION, Some(0), Diagnosis::Privileged);
    }
    None
}

fn not_enabled(registers: &Registers, instruction: &Instruction) -> Option<(u8, &'static str)> {
    let system = &registers.system;
    let (cr0, cr4) = (system.cr0, system.cr4);
    match instruction.mnemonic() {
        Mnemonic::Syscall | Mnemonic::Sysret | Mnemonic::Sysretq if system.efer & EFER_SCE == 0 => {
            return Some((vector::UNDEFINED, "EFER.SCE is 0"));
        }
        Mnemonic::Wait => {
            let waits = CR0_MP | CR0_TS;
            return (cr0 & waits == waits).then_some((vector::NO_DEVICE, "CR0.MP and CR0.TS are 1"));
        }
        Mnemonic::Xsetbv | Mnemonic::Xgetbv if cr4 & CR4_OSXSAVE == 0 => {
            return Some((vector::UNDEFINED, "CR4.OSXSAVE is 0"));
        }
        _ => {}
    }
    let has =
        |wanted: &[CpuidFeature]| instruction.cpuid_features().iter().any(|feature| wanted.contains(feature));
    let has_vector = (0..instruction.op_count()).any(|n| instruction.op_register(n).is_vector_register());
    match instruction.encoding() {
        EncodingKind::VEX | EncodingKind::EVEX if has_vector && cr4 & CR4_OSXSAVE == 0 => {
            Some((vector::UNDEFINED, "CR4.OSXSAVE is 0"))
        }
        EncodingKind::Legacy => {
            let x87 = has(&[CpuidFeature::FPU, CpuidFeature::FPU287, CpuidFeature::FPU387]);
            let mmx = (0..instruction.op_count()).any(|n| is_mmx(instruction.op_register(n)));
            if !x87 && !mmx && !has_vector {
                return None;
            }
            if !x87 && cr0 & CR0_EM != 0 {
                Some((vector::UNDEFINED, "CR0.EM is 1"))
            } else if !x87 && !mmx && cr4 & CR4_OSFXSR == 0 {
                Some((vector::UNDEFINED, "CR4.OSFXSR is 0"))
            } else if x87 && cr0 & CR0_EM != 0 {
                Some((vector::NO_DEVICE, "CR0.EM is 1"))
            } else if cr0 & CR0_TS != 0 {
                Some((vector::NO_DEVICE, "CR0.TS is 1"))
            } else {
                None
            }
        }
        _ if has_vector && cr0 & CR0_TS != 0 => Some((vector::NO_DEVICE, "CR0.TS is 1")),
        _ => None,
    }
}

fn is_mmx(register: Register) -> bool {
    register.is_mm()
}

fn is_privileged(registers: &Registers, instruction: &Instruction) -> bool {
    let iopl = (registers.general.rflags >> IOPL & 3) as u8;
    match instruction.mnemonic() {
        Mnemonic::Cli | Mnemonic::Sti => registers.ring() > iopl,
        // The I/O permission map may open a port: it is not examined.
        Mnemonic::In
        | Mnemonic::Out
        | Mnemonic::Insb
        | Mnemonic::Insw
        | Mnemonic::Insd
        | Mnemonic::Outsb
        | Mnemonic::Outsw
        | Mnemonic::Outsd => registers.ring() > iopl,
        // CR4.TSD, CR4.PCE and the like decide.
        Mnemonic::Rdtsc | Mnemonic::Rdtscp | Mnemonic::Rdpmc => false,
        _ => instruction.is_privileged(),
    }
}

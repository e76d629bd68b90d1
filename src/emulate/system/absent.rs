//! Instructions that a processor does not have unless CPUID says so, and what they raise then.
//!
//! Manual: Intel SDM volume 2 and AMD APM volume 3, the exceptions of each.

use iced_x86::{CpuidFeature, EncodingKind, Instruction, Mnemonic};

use super::feature::{
    AMD_3DNOW, AMD_3DNOW_EXTENSIONS, ENQCMD, Feature, HRESET, INVLPGB, INVPCID, LOAD_TRACKING, MCOMMIT,
    MONITOR, MONITORX, MOVDIR64B, NESTED_PAGING_PROTECTION, PCONFIG, PROTECTION_KEYS, PTWRITE, RDPRU, RTM,
    SGX, SHADOW_STACK, SMX, SVM, USER_INTERRUPTS, VMX, WAITPKG,
};
use crate::arch::flags::CR4_CET;
use crate::emulate::Obstacle;
use crate::emulate::cpu::{Cpu, Mode};
use crate::emulate::exception::{EmulationError, Exception};

/// MSR: the code segment `sysenter` leads to.
const IA32_SYSENTER_CS: u32 = 0x174;
/// The second word of the vendor's name in CPUID leaf 0, EDX: "enti" of "AuthenticAMD".
const AMD: u32 = 0x6974_6E65;

/// Raises what `instruction` raises on the guest's processor, or returns an [`Obstacle`].
pub(super) fn execute(cpu: &mut Cpu, instruction: &Instruction) -> Result<(), EmulationError> {
    let mnemonic = instruction.mnemonic();
    match mnemonic {
        Mnemonic::Ud0 | Mnemonic::Ud1 | Mnemonic::Ud2 => return Err(Exception::UNDEFINED.into()),
        // A `nop` where shadow stacks are off.
        Mnemonic::Rdsspd | Mnemonic::Rdsspq if cpu.registers.system.cr4 & CR4_CET == 0 => {
            cpu.pass(instruction.next_ip());
            return Ok(());
        }
        // Without protection there are no selectors to work on.
        Mnemonic::Arpl | Mnemonic::Sldt | Mnemonic::Lldt | Mnemonic::Str | Mnemonic::Ltr
            if matches!(cpu.mode(), Mode::Real | Mode::Virtual8086) =>
        {
            return Err(Exception::UNDEFINED.into());
        }
        Mnemonic::Sysenter | Mnemonic::Sysexit => return Err(fast_call(cpu)?),
        _ => {}
    }
    if let Some(feature) = needed(mnemonic).or_else(|| needed_of_3dnow(instruction)) {
        cpu.needs(feature)?;
    }
    Err(Obstacle::NotAllowed.into())
}

/// What `sysenter` and `sysexit` raise where they cannot be used.
fn fast_call(cpu: &Cpu) -> Result<EmulationError, EmulationError> {
    if cpu.long_mode_active() && cpu.state.cpuid(0, 0)[3] == AMD {
        return Ok(Exception::UNDEFINED.into());
    }
    let target = cpu.state.msr(IA32_SYSENTER_CS)?.unwrap_or(0);
    if cpu.mode() == Mode::Real || target & 0xFFFC == 0 {
        return Ok(Exception::protection(0).into());
    }
    Ok(Obstacle::NotAllowed.into())
}

/// The feature that a processor needs for an instruction that is not emulated.
fn needed(mnemonic: Mnemonic) -> Option<Feature> {
    Some(match mnemonic {
        Mnemonic::Monitor | Mnemonic::Mwait => MONITOR,
        Mnemonic::Monitorx | Mnemonic::Mwaitx => MONITORX,
        Mnemonic::Umonitor | Mnemonic::Umwait | Mnemonic::Tpause => WAITPKG,
        Mnemonic::Invpcid => INVPCID,
        Mnemonic::Getsec | Mnemonic::Getsecq => SMX,
        Mnemonic::Encls | Mnemonic::Enclu | Mnemonic::Enclv => SGX,
        Mnemonic::Vmxon
        | Mnemonic::Vmxoff
        | Mnemonic::Vmlaunch
        | Mnemonic::Vmresume
        | Mnemonic::Vmclear
        | Mnemonic::Vmptrld
        | Mnemonic::Vmptrst
        | Mnemonic::Vmread
        | Mnemonic::Vmwrite
        | Mnemonic::Vmfunc
        | Mnemonic::Invept
        | Mnemonic::Invvpid => VMX,
        Mnemonic::Vmrun
        | Mnemonic::Vmload
        | Mnemonic::Vmsave
        | Mnemonic::Stgi
        | Mnemonic::Clgi
        | Mnemonic::Skinit
        | Mnemonic::Invlpga => SVM,
        Mnemonic::Invlpgb | Mnemonic::Tlbsync => INVLPGB,
        Mnemonic::Psmash | Mnemonic::Pvalidate | Mnemonic::Rmpadjust | Mnemonic::Rmpupdate => {
            NESTED_PAGING_PROTECTION
        }
        Mnemonic::Rdpru => RDPRU,
        Mnemonic::Mcommit => MCOMMIT,
        Mnemonic::Movdir64b => MOVDIR64B,
        Mnemonic::Enqcmd | Mnemonic::Enqcmds => ENQCMD,
        Mnemonic::Xbegin | Mnemonic::Xend | Mnemonic::Xabort | Mnemonic::Xtest => RTM,
        Mnemonic::Xsusldtrk | Mnemonic::Xresldtrk => LOAD_TRACKING,
        Mnemonic::Rdpkru | Mnemonic::Wrpkru => PROTECTION_KEYS,
        Mnemonic::Incsspd
        | Mnemonic::Incsspq
        | Mnemonic::Saveprevssp
        | Mnemonic::Rstorssp
        | Mnemonic::Wrssd
        | Mnemonic::Wrssq
        | Mnemonic::Wrussd
        | Mnemonic::Wrussq
        | Mnemonic::Setssbsy
        | Mnemonic::Clrssbsy => SHADOW_STACK,
        Mnemonic::Clui | Mnemonic::Stui | Mnemonic::Testui | Mnemonic::Uiret | Mnemonic::Senduipi => {
            USER_INTERRUPTS
        }
        Mnemonic::Pconfig => PCONFIG,
        Mnemonic::Hreset => HRESET,
        Mnemonic::Ptwrite => PTWRITE,
        _ => return None,
    })
}

/// The same for those of 3DNow!.
fn needed_of_3dnow(instruction: &Instruction) -> Option<Feature> {
    if instruction.encoding() != EncodingKind::D3NOW && instruction.mnemonic() != Mnemonic::Femms {
        return None;
    }
    let is_extension = instruction.cpuid_features().contains(&CpuidFeature::D3NOWEXT);
    Some(if is_extension { AMD_3DNOW_EXTENSIONS } else { AMD_3DNOW })
}

#[cfg(test)]
#[path = "absent_test.rs"]
mod tests;

//! `xgetbv` and `xsetbv`: which register state `xsave` manages.
//!
//! Manual: Intel SDM volume 2, XGETBV and XSETBV; volume 1, "Enabling the XSAVE Feature Set and
//! XSAVE-Enabled Features".

use super::feature::{XGETBV_1, XSAVE};
use super::xsave::in_use;
use super::{edx_eax, set_edx_eax, supervisor};
use crate::arch::flags::CR4_OSXSAVE;
use crate::emulate::Obstacle;
use crate::emulate::cpu::Cpu;
use crate::emulate::exception::{EmulationError, Exception};

/// XCR0: x87 state, which cannot be switched off.
const X87: u64 = 1;
/// XCR0: SSE state.
const SSE: u64 = 1 << 1;
/// XCR0: AVX state, which needs SSE.
const AVX: u64 = 1 << 2;
/// XCR0: both parts of MPX state.
const MPX: u64 = 3 << 3;
/// XCR0: the three parts of AVX-512 state, which need AVX.
const AVX512: u64 = 7 << 5;
/// XCR0: both parts of AMX state.
const AMX: u64 = 3 << 17;

/// # Errors
///
/// #UD unless the guest has switched the XSAVE feature set on.
pub(super) fn switched_on(cpu: &Cpu) -> Result<(), EmulationError> {
    cpu.needs(XSAVE)?;
    if cpu.registers.system.cr4 & CR4_OSXSAVE == 0 { Err(Exception::UNDEFINED.into()) } else { Ok(()) }
}

/// Carries out `xgetbv`.
pub(super) fn get(cpu: &mut Cpu) -> Result<(), EmulationError> {
    switched_on(cpu)?;
    let value = match cpu.registers.general.rcx as u32 {
        0 => cpu.state.xcr0()?,
        1 if cpu.has(XGETBV_1) => in_use(cpu.extended()?) & cpu.state.xcr0()?,
        _ => return Err(Exception::protection(0).into()),
    };
    set_edx_eax(cpu, value);
    Ok(())
}

/// Carries out `xsetbv`.
pub(super) fn set(cpu: &mut Cpu) -> Result<(), EmulationError> {
    switched_on(cpu)?;
    supervisor(cpu)?;
    let value = edx_eax(cpu);
    let [low, _, _, high] = cpu.state.cpuid(0xD, 0);
    let supported = u64::from(high) << 32 | u64::from(low);
    if cpu.registers.general.rcx as u32 != 0 || value & !supported != 0 || !is_consistent(value) {
        return Err(Exception::protection(0).into());
    }
    if cpu.state.set_xcr0(value)? { Ok(()) } else { Err(Obstacle::NotOnThisProcessor.into()) }
}

/// True if XCR0 names no state without what that needs.
fn is_consistent(xcr0: u64) -> bool {
    let whole = |bits| xcr0 & bits == 0 || xcr0 & bits == bits;
    xcr0 & X87 != 0
        && (xcr0 & AVX == 0 || xcr0 & SSE != 0)
        && (xcr0 & AVX512 == 0 || xcr0 & AVX != 0)
        && whole(MPX)
        && whole(AVX512)
        && whole(AMX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::emulate::Emulated;
    use crate::emulate::testing::{CODE, FakeCpu};

    const XGETBV: &[u8] = &[0x0F, 0x01, 0xD0];
    const XSETBV: &[u8] = &[0x0F, 0x01, 0xD1];

    /// A processor with AVX whose guest has switched XSAVE on.
    fn with_avx(code: &[u8]) -> FakeCpu {
        let mut fake = FakeCpu::long_mode(code);
        fake.cpuid.insert((1, 0), [0, 0, 1 << 26, 0]);
        fake.cpuid.insert((0xD, 0), [7, 0, 0, 0]);
        fake.cpuid.insert((0xD, 1), [0b100, 0, 0, 0]);
        fake.registers.get_mut().system.cr4 |= CR4_OSXSAVE;
        fake
    }

    fn set_to(value: u64, index: u64) -> (Option<Exception>, u64) {
        let mut fake = with_avx(XSETBV);
        let general = &mut fake.registers.get_mut().general;
        (general.rax, general.rdx, general.rcx) = (value & 0xFFFF_FFFF, value >> 32, index);
        let raised = fake.raises();
        (raised, fake.xcr0.get())
    }

    #[test]
    fn xcr0_is_read_and_the_upper_halves_are_cleared() {
        let mut fake = with_avx(XGETBV);
        fake.xcr0.set(7);
        let general = &mut fake.registers.get_mut().general;
        (general.rax, general.rdx) = (u64::MAX, u64::MAX);
        assert_eq!(fake.emulate(), Emulated::Done);
        let now = fake.now().general;
        assert_eq!((now.rax, now.rdx, now.rip), (7, 0, CODE + 3));
    }

    #[test]
    fn xgetbv_1_tells_which_state_is_in_use() {
        let mut fake = with_avx(XGETBV);
        fake.xcr0.set(7);
        fake.registers.get_mut().general.rcx = 1;
        assert_eq!(fake.emulate(), Emulated::Done);
        assert_eq!(fake.now().general.rax, 3);
        fake.registers.get_mut().general.rip = CODE;
        fake.registers.get_mut().general.rcx = 2;
        assert_eq!(fake.raises(), Some(Exception::protection(0)));
    }

    #[test]
    fn without_osxsave_both_are_undefined() {
        for code in [XGETBV, XSETBV] {
            let mut fake = with_avx(code);
            fake.registers.get_mut().system.cr4 &= !CR4_OSXSAVE;
            assert_eq!(fake.raises(), Some(Exception::UNDEFINED));
        }
    }

    #[test]
    fn xcr0_takes_what_the_processor_has_and_no_half_of_a_state() {
        assert_eq!(set_to(7, 0), (None, 7));
        assert_eq!(set_to(1, 0), (None, 1));
        let refused = (Some(Exception::protection(0)), 1);
        for (value, index) in [(6, 0), (5, 0), (0xF, 0), (1 << 63 | 1, 0), (7, 1)] {
            assert_eq!(set_to(value, index), refused, "{value:#x} to XCR{index}");
        }
        assert!(is_consistent(0xE7) && !is_consistent(0x67) && !is_consistent(0xE3) && !is_consistent(0xF));
    }

    #[test]
    fn only_ring_0_writes_xcr0() {
        let mut fake = with_avx(XSETBV);
        fake.registers.get_mut().general.rax = 7;
        fake.registers.get_mut().system.ss.dpl = 3;
        assert_eq!(fake.raises(), Some(Exception::protection(0)));
    }
}

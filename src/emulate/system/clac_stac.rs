//! `clac` and `stac`: RFLAGS.AC, with which ring 0 permits its own accesses to user pages.
//!
//! Manual: Intel SDM volume 2, CLAC and STAC.

use super::feature::SMAP;
use crate::arch::flags::RFLAGS_AC;
use crate::emulate::cpu::{Cpu, Mode};
use crate::emulate::exception::{EmulationError, Exception};

/// Clears or sets RFLAGS.AC.
pub(super) fn set(cpu: &mut Cpu, on: bool) -> Result<(), EmulationError> {
    cpu.needs(SMAP)?;
    if cpu.ring() != 0 || cpu.mode() == Mode::Virtual8086 {
        return Err(Exception::UNDEFINED.into());
    }
    let flags = &mut cpu.registers.general.rflags;
    *flags = if on { *flags | RFLAGS_AC } else { *flags & !RFLAGS_AC };
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::emulate::Emulated;
    use crate::emulate::testing::FakeCpu;

    fn with_smap(code: &[u8]) -> FakeCpu {
        let mut fake = FakeCpu::long_mode(code);
        fake.cpuid.insert((7, 0), [0, 1 << 20, 0, 0]);
        fake
    }

    #[test]
    fn stac_sets_the_flag_and_clac_clears_it() {
        let mut fake = with_smap(&[0x0F, 0x01, 0xCB, 0x0F, 0x01, 0xCA]);
        assert_eq!(fake.emulate(), Emulated::Done);
        assert_eq!(fake.now().general.rflags, RFLAGS_AC | 2);
        assert_eq!(fake.emulate(), Emulated::Done);
        assert_eq!(fake.now().general.rflags, 2);
    }

    #[test]
    fn they_are_undefined_without_smap_and_outside_of_ring_0() {
        let mut fake = FakeCpu::long_mode(&[0x0F, 0x01, 0xCB]);
        assert_eq!(fake.raises(), Some(Exception::UNDEFINED));
        let mut fake = with_smap(&[0x0F, 0x01, 0xCA]);
        fake.registers.get_mut().system.ss.dpl = 3;
        assert_eq!(fake.raises(), Some(Exception::UNDEFINED));
    }
}

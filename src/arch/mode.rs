//! The operating mode of a processor.
//!
//! Manual: Intel SDM volume 3A, "Modes of Operation".

use super::Registers;
use super::flags::{CR0_PE, EFER_LMA, RFLAGS_VM};

/// How wide addresses are and what segments mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Real mode: a segment's base is its selector times 16.
    Real,
    /// Virtual-8086 mode: real-mode segments, in ring 3 of protected mode.
    Virtual8086,
    /// Protected mode, 16 or 32 bits.
    Protected,
    /// Long mode with a code segment of 16 or 32 bits.
    Compatibility,
    /// Long mode with 64-bit code.
    SixtyFourBit,
}

impl Mode {
    /// True in both sub-modes of long mode (IA-32e mode).
    pub fn is_long(self) -> bool {
        matches!(self, Mode::Compatibility | Mode::SixtyFourBit)
    }
}

impl Registers {
    /// The mode the processor is in.
    pub fn mode(&self) -> Mode {
        let system = &self.system;
        if system.cr0 & CR0_PE == 0 {
            Mode::Real
        } else if system.efer & EFER_LMA != 0 {
            if system.cs.l == 1 { Mode::SixtyFourBit } else { Mode::Compatibility }
        } else if self.general.rflags & RFLAGS_VM != 0 {
            Mode::Virtual8086
        } else {
            Mode::Protected
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mode_follows_from_cr0_efer_cs_and_rflags() {
        let mut registers = Registers::default();
        registers.general.rflags = RFLAGS_VM;
        registers.system.cs.l = 1;
        assert_eq!(registers.mode(), Mode::Real);
        registers.system.cr0 = CR0_PE;
        assert_eq!(registers.mode(), Mode::Virtual8086);
        registers.general.rflags = 0;
        assert_eq!(registers.mode(), Mode::Protected);
        registers.system.efer = EFER_LMA;
        registers.general.rflags = RFLAGS_VM;
        assert_eq!(registers.mode(), Mode::SixtyFourBit, "long mode has no virtual-8086 mode");
        registers.system.cs.l = 0;
        assert_eq!(registers.mode(), Mode::Compatibility);
        assert!(Mode::Compatibility.is_long() && Mode::SixtyFourBit.is_long() && !Mode::Protected.is_long());
    }
}

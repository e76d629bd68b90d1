//! Registers as the bytes of the structures that KVM keeps them in.
//!
//! Manual: KVM_GET_REGS and KVM_GET_SREGS in api.rst.

use std::mem::transmute;

use kvm_bindings::{kvm_regs, kvm_sregs};

use super::Registers;

/// Size of `struct kvm_regs` in bytes.
pub const GENERAL_BYTES: usize = size_of::<kvm_regs>();

/// Size of `struct kvm_sregs` in bytes.
pub const SYSTEM_BYTES: usize = size_of::<kvm_sregs>();

impl Registers {
    /// `struct kvm_regs` and `struct kvm_sregs` as they lie in memory here.
    pub fn to_bytes(&self) -> ([u8; GENERAL_BYTES], [u8; SYSTEM_BYTES]) {
        // SAFETY: plain numbers without gaps between them: 18 times 8 bytes; eight segments of 24 bytes,
        // two tables of 16, seven times 8 bytes and a bitmap of 32, padding being fields of its own.
        unsafe {
            (
                transmute::<kvm_regs, [u8; GENERAL_BYTES]>(self.general),
                transmute::<kvm_sregs, [u8; SYSTEM_BYTES]>(self.system),
            )
        }
    }

    /// The opposite of [`Self::to_bytes`]; any bytes are registers.
    pub fn from_bytes(general: [u8; GENERAL_BYTES], system: [u8; SYSTEM_BYTES]) -> Registers {
        // SAFETY: nothing but numbers, whose every bit pattern is one.
        unsafe {
            Registers {
                general: transmute::<[u8; GENERAL_BYTES], kvm_regs>(general),
                system: transmute::<[u8; SYSTEM_BYTES], kvm_sregs>(system),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registers_lie_in_their_bytes_where_c_programs_look_for_them() {
        let mut registers = Registers::default();
        registers.general.rip = 0x1122;
        registers.system.ds.selector = 0x3344;
        registers.system.efer = 0x5566;
        registers.system.interrupt_bitmap[3] = 0x7788;
        let (general, system) = registers.to_bytes();
        assert_eq!((general.len(), system.len()), (144, 312));
        assert_eq!(general[128..130], [0x22, 0x11]);
        assert_eq!(system[24 + 12..24 + 14], [0x44, 0x33]);
        assert_eq!(system[264..266], [0x66, 0x55]);
        assert_eq!(system[304..306], [0x88, 0x77]);
        assert_eq!(Registers::from_bytes(general, system), registers);
    }
}

//! Cache instructions. The cache itself is not visible to the guest.
//!
//! Manual: Intel SDM volume 2, CLWB; AMD APM volume 3, CLZERO.

use iced_x86::{Code, Instruction, Register};

use super::feature::{CLWB, CLZERO};
use crate::emulate::cpu::Cpu;
use crate::emulate::exception::EmulationError;

/// Size of a cache line in bytes.
const LINE: u64 = 64;

/// Executes `clwb`: only checks that the address can be read.
pub(super) fn clwb(cpu: &mut Cpu, instruction: &Instruction) -> Result<(), EmulationError> {
    cpu.needs(CLWB)?;
    cpu.operand(instruction, 1, false).map(drop)
}

/// Executes `clzero`: clears the cache line that holds the address in rAX.
pub(super) fn clzero(cpu: &mut Cpu, instruction: &Instruction) -> Result<(), EmulationError> {
    cpu.needs(CLZERO)?;
    let address = match instruction.code() {
        Code::Clzerow => cpu.registers.general.rax & 0xFFFF,
        Code::Clzerod => cpu.registers.general.rax & 0xFFFF_FFFF,
        _ => cpu.registers.general.rax,
    };
    let segment = match instruction.segment_prefix() {
        Register::None => Register::DS,
        segment => segment,
    };
    let line = cpu.locate(segment, address & !(LINE - 1), LINE as usize, true)?;
    cpu.write(line, &[0; LINE as usize]);
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::emulate::Emulated;
    use crate::emulate::exception::Exception;
    use crate::emulate::testing::FakeCpu;

    #[test]
    fn clzero_clears_one_line() {
        let mut fake = FakeCpu::long_mode(&[0x0F, 0x01, 0xFC]);
        fake.cpuid.insert((0x8000_0008, 0), [48, 1, 0, 0]);
        fake.memory.write(0x2_0000, &[0xAA; 192]).unwrap();
        fake.registers.get_mut().general.rax = 0x2_0055;
        assert_eq!(fake.emulate(), Emulated::Done);
        let mut bytes = [0; 192];
        fake.memory.read(0x2_0000, &mut bytes).unwrap();
        assert_eq!(bytes[..64], [0xAA; 64]);
        assert_eq!(bytes[64..128], [0; 64]);
        assert_eq!(bytes[128..], [0xAA; 64]);
    }

    #[test]
    fn clwb_requires_a_readable_address() {
        let mut fake = FakeCpu::long_mode(&[0x66, 0x0F, 0xAE, 0x30]);
        assert_eq!(fake.raises(), Some(Exception::UNDEFINED));
        fake.cpuid.insert((7, 0), [0, 1 << 24, 0, 0]);
        assert_eq!(fake.emulate(), Emulated::Done);
        let mut fake = FakeCpu::long_mode(&[0x66, 0x0F, 0xAE, 0x30]);
        fake.cpuid.insert((7, 0), [0, 1 << 24, 0, 0]);
        fake.registers.get_mut().general.rax = 1 << 40;
        assert_eq!(fake.raises().unwrap().address, Some(1 << 40));
    }
}

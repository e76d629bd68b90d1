//! Executes an instruction without effect, for the floating-point exception that it raises.
//!
//! Crash reports use this: whether a computation raises #XM follows only from the computation.

use iced_x86::Mnemonic;

use super::cpu::Cpu;
use super::exception::{EmulationError, Exception};
use super::{Bus, ProcessorState, ProcessorStateError, execute};
use crate::arch::{ExtendedRegisters, GeneralRegisters, PhysicalMemory, Registers};

/// Offsets in the extended registers (Intel SDM volume 1, "Legacy Region of an XSAVE Area").
const FCW: usize = 0;
const FSW: usize = 2;
const FIP: usize = 8;
const MXCSR: usize = 24;
/// FCW, FSW and MXCSR: the exceptions, in the same order.
const FLAGS: u32 = 0x3F;
/// Shift of MXCSR's masks.
const MXCSR_MASKS: u32 = 7;

/// A floating-point exception.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FloatingPointException {
    /// Its vector: 16 for x87, 19 for SSE and AVX.
    pub vector: u8,
    /// The reasons that are not masked, as the bits 0 to 5 of MXCSR and FSW.
    pub flags: u8,
    /// Of an x87 exception, the offset of the instruction that caused it, 0 if that is not known. It is raised by
    /// a later instruction.
    pub x87_instruction: u64,
}

/// The floating-point exception that the instruction at RIP raises; `None` if it raises none, or cannot be
/// emulated. Nothing changes: neither registers nor memory nor devices.
///
/// # Errors
///
/// [`ProcessorStateError`] if the CPU state cannot be read.
pub fn floating_point_exception(
    state: &dyn ProcessorState,
    memory: &dyn PhysicalMemory,
) -> Result<Option<FloatingPointException>, ProcessorStateError> {
    let (state, memory, mut bus) = (Unchanged(state), Unchanged(memory), NoDevices);
    let mut cpu = Cpu::new(&state, &memory, &mut bus)?;
    let exception = match execute(&mut cpu) {
        Err(EmulationError::Exception(exception)) => exception,
        Err(EmulationError::Host(error)) => return Err(error),
        Ok(()) | Err(EmulationError::Unsupported(_)) => return Ok(None),
    };
    // These enter the operating system on purpose.
    if matches!(cpu.instruction.mnemonic(), Mnemonic::Int | Mnemonic::Int1 | Mnemonic::Int3) {
        return Ok(None);
    }
    let extended = cpu.extended()?;
    let short = |at: usize| u32::from(u16::from_le_bytes([extended[at], extended[at + 1]]));
    let mxcsr = short(MXCSR);
    let (flags, x87_instruction) = match exception {
        Exception::SIMD => (mxcsr & FLAGS & !(mxcsr >> MXCSR_MASKS), 0),
        Exception::X87 => {
            let mut pointer = [0; 8];
            pointer.copy_from_slice(&extended[FIP..FIP + 8]);
            (short(FSW) & FLAGS & !short(FCW), u64::from_le_bytes(pointer))
        }
        _ => return Ok(None),
    };
    Ok(Some(FloatingPointException { vector: exception.vector, flags: flags as u8, x87_instruction }))
}

/// Reads pass, writes are discarded.
struct Unchanged<T>(T);

impl ProcessorState for Unchanged<&dyn ProcessorState> {
    fn registers(&self) -> Result<Registers, ProcessorStateError> {
        self.0.registers()
    }

    fn set_registers(&self, _: &Registers) -> Result<(), ProcessorStateError> {
        Ok(())
    }

    fn set_general_registers(&self, _: &GeneralRegisters) -> Result<(), ProcessorStateError> {
        Ok(())
    }

    fn xsave(&self) -> Result<ExtendedRegisters, ProcessorStateError> {
        self.0.xsave()
    }

    fn set_xsave(&self, _: &ExtendedRegisters) -> Result<(), ProcessorStateError> {
        Ok(())
    }

    fn xcr0(&self) -> Result<u64, ProcessorStateError> {
        self.0.xcr0()
    }

    fn set_xcr0(&self, _: u64) -> Result<bool, ProcessorStateError> {
        Ok(true)
    }

    fn msr(&self, index: u32) -> Result<Option<u64>, ProcessorStateError> {
        self.0.msr(index)
    }

    fn cpuid(&self, leaf: u32, subleaf: u32) -> [u32; 4] {
        self.0.cpuid(leaf, subleaf)
    }

    fn dr6(&self) -> Result<u64, ProcessorStateError> {
        self.0.dr6()
    }

    fn set_dr6(&self, _: u64) -> Result<(), ProcessorStateError> {
        Ok(())
    }
}

impl PhysicalMemory for Unchanged<&dyn PhysicalMemory> {
    fn is_ram(&self, address: u64, length: u64) -> bool {
        self.0.is_ram(address, length)
    }

    fn read_bytes(&self, address: u64, bytes: &mut [u8]) -> bool {
        self.0.read_bytes(address, bytes)
    }

    fn write_bytes(&self, address: u64, bytes: &[u8]) -> bool {
        self.0.is_ram(address, bytes.len() as u64)
    }
}

/// Devices that do not notice an access.
struct NoDevices;

impl Bus for NoDevices {
    fn read(&mut self, _: u64, _: u8) -> u64 {
        0
    }

    fn write(&mut self, _: u64, _: u8, _: u64) {}
}

#[cfg(test)]
mod tests {
    use super::super::testing::FakeCpu;
    use super::*;

    const DIVPS: &[u8] = &[0x0F, 0x5E, 0xC1]; // divps xmm0, xmm1: 0 / 0
    const FLD1: &[u8] = &[0xD9, 0xE8];

    fn exception(fake: &FakeCpu) -> Option<FloatingPointException> {
        let (registers, extended) = (fake.now(), *fake.xsave.borrow());
        let found = floating_point_exception(fake, &fake.memory).unwrap();
        assert_eq!(fake.now(), registers);
        assert!(*fake.xsave.borrow() == extended, "the extended registers have changed");
        found
    }

    #[test]
    fn an_exception_that_is_not_masked_is_found_and_nothing_changes() {
        let fake = FakeCpu::long_mode(DIVPS);
        assert_eq!(exception(&fake), None);
        let invalid_is_not_masked = 0x1F00_u32.to_le_bytes();
        fake.xsave.borrow_mut()[MXCSR..MXCSR + 4].copy_from_slice(&invalid_is_not_masked);
        let expected = FloatingPointException { vector: 19, flags: 1, x87_instruction: 0 };
        assert_eq!(exception(&fake), Some(expected));
    }

    #[test]
    fn a_pending_x87_exception_is_found_with_its_instruction() {
        let fake = FakeCpu::long_mode(FLD1);
        assert_eq!(exception(&fake), None);
        {
            let mut extended = fake.xsave.borrow_mut();
            // Division by zero: not masked, pending, and the summary bit.
            extended[FCW..FCW + 2].copy_from_slice(&0x37B_u16.to_le_bytes());
            extended[FSW..FSW + 2].copy_from_slice(&0x84_u16.to_le_bytes());
            extended[FIP..FIP + 8].copy_from_slice(&0x1234_u64.to_le_bytes());
        }
        let expected = FloatingPointException { vector: 16, flags: 4, x87_instruction: 0x1234 };
        assert_eq!(exception(&fake), Some(expected));
    }

    #[test]
    fn other_exceptions_are_none() {
        assert_eq!(exception(&FakeCpu::long_mode(&[0x0F, 0x0B])), None);
        assert_eq!(exception(&FakeCpu::long_mode(&[0xCD, 0x13])), None); // int 19
    }
}

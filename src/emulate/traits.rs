//! What the emulator needs of a vCPU and of the devices.

use std::error::Error;

use crate::arch::{ExtendedRegisters, GeneralRegisters, Registers};

/// The host could not do what the emulator needs: access the state of a vCPU, or provide executable memory.
#[derive(Debug, thiserror::Error)]
#[error("the host refused to {what}: {source}")]
pub struct ProcessorStateError {
    /// The refused operation, as a verb with its object.
    pub what: &'static str,
    /// The host's reason.
    pub source: Box<dyn Error + Send + Sync>,
}

/// The state of one vCPU between two instructions. [`crate::kvm::Vcpu`] implements it.
///
/// # Errors
///
/// Of every method: [`ProcessorStateError`] if the host does not read or write the state.
pub trait ProcessorState {
    /// General, control and segment registers.
    fn registers(&self) -> Result<Registers, ProcessorStateError>;
    /// Writes [`ProcessorState::registers`].
    fn set_registers(&self, registers: &Registers) -> Result<(), ProcessorStateError>;
    /// Writes the general registers, RIP and RFLAGS.
    fn set_general_registers(&self, registers: &GeneralRegisters) -> Result<(), ProcessorStateError>;
    /// x87, vector and other extended registers, in the standard format of `xsave`.
    fn xsave(&self) -> Result<ExtendedRegisters, ProcessorStateError>;
    /// Writes [`ProcessorState::xsave`].
    fn set_xsave(&self, state: &ExtendedRegisters) -> Result<(), ProcessorStateError>;
    /// XCR0.
    fn xcr0(&self) -> Result<u64, ProcessorStateError>;
    /// Writes XCR0; false if the host does not accept the value.
    fn set_xcr0(&self, value: u64) -> Result<bool, ProcessorStateError>;
    /// A model-specific register; `None` if there is no such register.
    fn msr(&self, index: u32) -> Result<Option<u64>, ProcessorStateError>;
    /// EAX, EBX, ECX and EDX of a CPUID leaf as the guest sees it; zeros if it has no such leaf.
    fn cpuid(&self, leaf: u32, subleaf: u32) -> [u32; 4];
    /// DR6.
    fn dr6(&self) -> Result<u64, ProcessorStateError>;
    /// Writes DR6.
    fn set_dr6(&self, value: u64) -> Result<(), ProcessorStateError>;
}

/// Guest-physical addresses that are not RAM.
pub trait Bus {
    /// Reads `size` bytes (1 to 8) at the guest-physical `address`, zero-extended.
    fn read(&mut self, address: u64, size: u8) -> u64;
    /// Writes the low `size` bytes (1 to 8) of `value` at the guest-physical `address`.
    fn write(&mut self, address: u64, size: u8, value: u64);
    /// Reports that the instruction accesses `length` bytes of RAM at the guest-physical `address`, for a
    /// write before they change. Accesses of the processor itself, such as page-table walks, are not reported.
    fn ram_accessed(&mut self, address: u64, length: usize, write: bool) {
        let _ = (address, length, write);
    }
}

//! The registers that an instruction works on. They are written to the vCPU only when it is complete.

pub(super) use crate::arch::Mode;
use crate::arch::PhysicalMemory;
use iced_x86::Instruction;

use super::{Bus, LONGEST_INSTRUCTION, ProcessorState};
pub(super) use crate::arch::ExtendedRegisters as Extended;
use crate::arch::Registers;
use crate::arch::flags::{RFLAGS_RF, RFLAGS_TF};
use crate::arch::paging::Paging;
use crate::emulate::ProcessorStateError;

/// CPUID: address widths; EAX bits 7-0 are those of physical addresses.
const ADDRESS_WIDTHS: u32 = 0x8000_0008;
/// Physical address bits of a processor that does not report them.
const DEFAULT_WIDTH: u32 = 36;

/// A vCPU in the middle of an instruction.
pub(super) struct Cpu<'a> {
    /// The registers after the instruction.
    pub registers: Registers,
    /// The registers before the instruction.
    before: Registers,
    /// The instruction, once it has been decoded.
    pub instruction: Instruction,
    /// Its bytes, and those that follow.
    pub code: [u8; LONGEST_INSTRUCTION],
    /// The rest of the vCPU's state.
    pub state: &'a dyn ProcessorState,
    /// RAM.
    pub memory: &'a dyn PhysicalMemory,
    /// Addresses that are not RAM.
    pub bus: &'a mut dyn Bus,
    /// A single-step trap follows the instruction.
    pub single_step: bool,
    extended: Option<Box<Extended>>,
    extended_changed: bool,
    /// Their changes are kept even if the instruction raises an exception.
    extended_kept: bool,
}

impl<'a> Cpu<'a> {
    pub fn new(
        state: &'a dyn ProcessorState,
        memory: &'a dyn PhysicalMemory,
        bus: &'a mut dyn Bus,
    ) -> Result<Cpu<'a>, ProcessorStateError> {
        let registers = state.registers()?;
        Ok(Cpu {
            registers,
            before: registers,
            instruction: Instruction::default(),
            code: [0; LONGEST_INSTRUCTION],
            state,
            memory,
            bus,
            single_step: registers.general.rflags & RFLAGS_TF != 0,
            extended: None,
            extended_changed: false,
            extended_kept: false,
        })
    }

    /// The mode the processor is in.
    pub fn mode(&self) -> Mode {
        self.registers.mode()
    }

    /// True in both halves of long mode.
    pub fn long_mode_active(&self) -> bool {
        self.mode().is_long()
    }

    /// The ring the processor is in, 0 to 3.
    pub fn ring(&self) -> u8 {
        self.registers.ring()
    }

    /// How addresses are translated now.
    pub fn paging(&self) -> Paging {
        let width = self.state.cpuid(ADDRESS_WIDTHS, 0)[0] & 0xFF;
        Paging::new(&self.registers, if width == 0 { DEFAULT_WIDTH } else { width })
    }

    /// Moves RIP behind an instruction that is not a jump.
    pub fn pass(&mut self, next: u64) {
        self.registers.general.rip = next;
        self.registers.general.rflags &= !RFLAGS_RF;
    }

    /// x87, vector and other extended registers, for reading.
    pub fn extended(&mut self) -> Result<&Extended, ProcessorStateError> {
        self.load_extended().map(|state| &*state)
    }

    /// x87, vector and other extended registers, for writing.
    pub fn extended_mut(&mut self) -> Result<&mut Extended, ProcessorStateError> {
        self.extended_changed = true;
        self.load_extended()
    }

    fn load_extended(&mut self) -> Result<&mut Extended, ProcessorStateError> {
        let state = match self.extended.take() {
            Some(state) => state,
            None => Box::new(self.state.xsave()?),
        };
        Ok(self.extended.insert(state))
    }

    /// Restores the registers from before the instruction, because it raises an exception. Its writes to
    /// memory remain.
    pub fn restart(&mut self) {
        self.registers = self.before;
        if !self.extended_kept {
            (self.extended, self.extended_changed) = (None, false);
        }
    }

    /// Keeps the extended registers as they are now even if the instruction raises an exception, such as the
    /// flags in MXCSR that report its cause.
    pub fn keep_extended(&mut self) {
        self.extended_kept = true;
    }

    /// The registers before the instruction.
    pub fn before(&self) -> &Registers {
        &self.before
    }

    /// Writes all changes to the vCPU.
    pub fn commit(&self) -> Result<(), ProcessorStateError> {
        if self.extended_changed
            && let Some(extended) = &self.extended
        {
            self.state.set_xsave(extended)?;
        }
        // Most instructions do not change the system registers, and writing them is slow.
        if self.registers.system == self.before.system {
            return self.state.set_general_registers(&self.registers.general);
        }
        self.state.set_registers(&self.registers)
    }
}

//! The exceptions that an instruction can raise.
//!
//! Manual: Intel SDM volume 3A, "Interrupt and Exception Handling".

use super::Obstacle;
use crate::arch::paging::PageFault;
use crate::emulate::ProcessorStateError;

/// An exception with what is pushed and loaded for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exception {
    /// Its vector.
    pub vector: u8,
    /// The error code it pushes, if it is one that does.
    pub code: Option<u32>,
    /// What CR2 becomes: the linear address of a page fault.
    pub address: Option<u64>,
}

impl Exception {
    /// #DB, debug exception.
    pub const DEBUG: Exception = Exception::plain(1);
    /// #UD, invalid opcode.
    pub const UNDEFINED: Exception = Exception::plain(6);
    /// #NM, no x87 or vector unit at the moment.
    pub const NO_DEVICE: Exception = Exception::plain(7);
    /// #DF, double fault.
    pub const DOUBLE_FAULT: Exception = Exception::with_code(8, 0);
    /// #MF, x87 floating-point error.
    pub const X87: Exception = Exception::plain(16);
    /// #XM, SIMD floating-point exception.
    pub const SIMD: Exception = Exception::plain(19);

    /// An exception without an error code.
    pub const fn plain(vector: u8) -> Exception {
        Exception { vector, code: None, address: None }
    }

    /// An exception with an error code.
    pub const fn with_code(vector: u8, code: u32) -> Exception {
        Exception { vector, code: Some(code), address: None }
    }

    /// #TS, invalid task state segment.
    pub const fn invalid_tss(code: u32) -> Exception {
        Exception::with_code(10, code)
    }

    /// #NP, segment not present.
    pub const fn not_present(code: u32) -> Exception {
        Exception::with_code(11, code)
    }

    /// #SS, stack-segment fault.
    pub const fn stack(code: u32) -> Exception {
        Exception::with_code(12, code)
    }

    /// #GP, general protection.
    pub const fn protection(code: u32) -> Exception {
        Exception::with_code(13, code)
    }

    /// #PF, page fault at the linear address `address`.
    pub const fn page_fault(address: u64, fault: PageFault) -> Exception {
        Exception { vector: 14, code: Some(fault.code), address: Some(address) }
    }

    /// #AC, alignment check.
    pub const fn alignment() -> Exception {
        Exception::with_code(17, 0)
    }
}

/// Why an instruction was not executed.
#[derive(Debug)]
pub enum EmulationError {
    /// An exception for the guest.
    Exception(Exception),
    /// The emulator does not support it.
    Unsupported(Obstacle),
    /// The host failed.
    Host(ProcessorStateError),
}

impl From<Exception> for EmulationError {
    fn from(exception: Exception) -> EmulationError {
        EmulationError::Exception(exception)
    }
}

impl From<Obstacle> for EmulationError {
    fn from(obstacle: Obstacle) -> EmulationError {
        EmulationError::Unsupported(obstacle)
    }
}

impl From<ProcessorStateError> for EmulationError {
    fn from(error: ProcessorStateError) -> EmulationError {
        EmulationError::Host(error)
    }
}

//! What the flight recorder records, and the line that says so.

use std::fmt;

use iced_x86::Mnemonic;
use serde::Serialize;

use crate::arch::error_code;
use crate::arch::exceptions::{has_error_code, short_name};

/// Vector of the non-maskable interrupt.
const NMI: u8 = 2;

/// Something that happened in the guest or was done to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Occurrence {
    /// `out`: `size` bytes.
    PortWrite {
        /// The port.
        port: u16,
        /// Width in bytes: 1, 2 or 4.
        size: u8,
        /// The value.
        value: u32,
    },
    /// `in`: `size` bytes.
    PortRead {
        /// The port.
        port: u16,
        /// Width in bytes: 1, 2 or 4.
        size: u8,
        /// What the guest has read.
        value: u32,
    },
    /// A write to memory that is no RAM.
    MemoryWrite {
        /// Guest-physical address.
        address: u64,
        /// Width in bytes, 1 to 8.
        size: u8,
        /// The value.
        value: u64,
    },
    /// A read of memory that is no RAM.
    MemoryRead {
        /// Guest-physical address.
        address: u64,
        /// Width in bytes, 1 to 8.
        size: u8,
        /// What the guest has read.
        value: u64,
    },
    /// `rdmsr` of a register of the local APIC.
    MsrRead {
        /// Number of the register.
        index: u32,
    },
    /// `wrmsr` of a register of the local APIC.
    MsrWrite {
        /// Number of the register.
        index: u32,
        /// The value.
        value: u64,
    },
    /// `hlt`.
    Halt {
        /// Interrupts were on.
        interruptible: bool,
    },
    /// The processor has taken an interrupt.
    Interrupt {
        /// The vector.
        vector: u8,
        /// The controller that has sent it.
        from: InterruptController,
    },
    /// The processor has taken a non-maskable interrupt.
    Nmi,
    /// The processor has got its initial state, and waits for a start-up.
    Init,
    /// The processor has started.
    StartUp {
        /// The page of 4 KiB at which it starts.
        page: u8,
    },
    /// An instruction that KVM refuses was emulated.
    Emulated {
        /// RIP of the instruction.
        rip: u64,
        /// Its number in the decoder's list (`iced_x86::Mnemonic`).
        mnemonic: u16,
        /// The vector of the exception or software interrupt it has raised.
        vector: Option<u8>,
        /// The error code of that.
        error_code: Option<u32>,
    },
    /// The handler of an exception was entered, and that was to be reported
    /// ([`crate::supervisor`], `catch` and `--trace`).
    Exception {
        /// The vector.
        vector: u8,
        /// The error code; `None` if it has none.
        error_code: Option<u32>,
        /// RIP where it was raised.
        rip: u64,
    },
    /// The guest's first IDT has taken an exception or an interrupt, because the guest has not loaded its own.
    WithoutIdt {
        /// The vector.
        vector: u8,
        /// The error code; `None` if none was pushed.
        error_code: Option<u32>,
        /// RIP where it was raised.
        rip: u64,
    },
    /// A call of the machine's own BIOS.
    BiosCall {
        /// The interrupt.
        vector: u8,
        /// AX.
        ax: u16,
    },
    /// A triple fault.
    TripleFault,
    /// The machine was reset.
    Reset,
    /// A saved state was restored: nothing before is known.
    Restored,
}

/// A controller that sends interrupts to a processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum InterruptController {
    /// The 8259A pair.
    Pic,
    /// The local APIC.
    LocalApic,
}

impl fmt::Display for Occurrence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Occurrence::PortWrite { port, size, value } => {
                write!(f, "out {}", PortAccess { port, size, value, is_write: true })
            }
            Occurrence::PortRead { port, size, value } => {
                write!(f, "in {}", PortAccess { port, size, value, is_write: false })
            }
            Occurrence::MemoryWrite { address, size, value } => {
                write!(f, "write to {address:#x}{}: {value:#x}", Width(size))
            }
            Occurrence::MemoryRead { address, size, value } => {
                write!(f, "read of {address:#x}{}: {value:#x}", Width(size))
            }
            Occurrence::MsrRead { index } => write!(f, "rdmsr {index:#x}"),
            Occurrence::MsrWrite { index, value } => write!(f, "wrmsr {index:#x}: {value:#x}"),
            Occurrence::Halt { interruptible: true } => write!(f, "hlt"),
            Occurrence::Halt { interruptible: false } => write!(f, "hlt with interrupts off"),
            Occurrence::Interrupt { vector, from } => write!(
                f,
                "interrupt {vector:#04x} from the {}",
                match from {
                    InterruptController::Pic => "8259A",
                    InterruptController::LocalApic => "local APIC",
                }
            ),
            Occurrence::Nmi => write!(f, "non-maskable interrupt"),
            Occurrence::Init => write!(f, "INIT"),
            Occurrence::StartUp { page } => write!(f, "start-up at {:#x}", u32::from(page) << 12),
            Occurrence::Emulated { rip, mnemonic, vector, error_code } => {
                let name = Mnemonic::try_from(usize::from(mnemonic)).unwrap_or(Mnemonic::INVALID);
                write!(f, "`{}` at {rip:#x} is emulated", format!("{name:?}").to_lowercase())?;
                match vector {
                    // `int 13` is no general protection fault.
                    Some(vector) if name == Mnemonic::Int => write!(f, ": software interrupt {vector:#04x}"),
                    Some(vector) => write!(f, ": {}", Raised { vector, error_code }),
                    None => Ok(()),
                }
            }
            Occurrence::Exception { vector, error_code, rip } => {
                write!(f, "{} at {rip:#x}", Raised { vector, error_code })
            }
            Occurrence::WithoutIdt { vector, error_code, rip } => {
                // An interrupt may have the vector of an exception, but pushes no error code.
                match vector != NMI && has_error_code(vector) == error_code.is_some() {
                    true => write!(f, "{}", Raised { vector, error_code })?,
                    false => write!(f, "interrupt {vector:#04x}")?,
                }
                write!(f, " at {rip:#x}, without an IDT of the guest")
            }
            Occurrence::BiosCall { vector, ax } => write!(f, "BIOS interrupt {vector:#04x}, AX {ax:#06x}"),
            Occurrence::TripleFault => write!(f, "triple fault"),
            Occurrence::Reset => write!(f, "reset"),
            Occurrence::Restored => write!(f, "a saved state was restored"),
        }
    }
}

/// The rest of an access to a port: its number, its width unless it is a byte, and the value.
struct PortAccess {
    port: u16,
    size: u8,
    value: u32,
    is_write: bool,
}

impl fmt::Display for PortAccess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let PortAccess { port, size, value, is_write } = *self;
        write!(f, "{port:#06x}{}: {value:#0width$x}", Width(size), width = 2 + 2 * usize::from(size))?;
        match u8::try_from(value) {
            Ok(byte) if size == 1 && is_write && byte.is_ascii_graphic() => {
                write!(f, " '{}'", char::from(byte))
            }
            _ => Ok(()),
        }
    }
}

/// The width of an access, unless it is a byte.
struct Width(u8);

impl fmt::Display for Width {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 1 { Ok(()) } else { write!(f, " ({} bytes)", self.0) }
    }
}

/// An exception with its error code.
struct Raised {
    vector: u8,
    error_code: Option<u32>,
}

impl fmt::Display for Raised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", short_name(self.vector))?;
        let Some(code) = self.error_code else { return Ok(()) };
        write!(f, " (error code {code:#x}")?;
        if let Some(meaning) = error_code::decoded(self.vector, code) {
            write!(f, ": {meaning}")?;
        }
        write!(f, ")")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn occurrences_are_readable_lines() {
        use Occurrence::*;
        let int80 = Mnemonic::Int as u16;
        for (what, text) in [
            (PortWrite { port: 0x3F8, size: 1, value: 0x48 }, "out 0x03f8: 0x48 'H'"),
            (PortWrite { port: 0xCF8, size: 4, value: 0x8000_0000 }, "out 0x0cf8 (4 bytes): 0x80000000"),
            (PortRead { port: 0x60, size: 1, value: 0x41 }, "in 0x0060: 0x41"),
            (MemoryWrite { address: 0xFEE0_00B0, size: 4, value: 0 }, "write to 0xfee000b0 (4 bytes): 0x0"),
            (MemoryRead { address: 0xA0000, size: 1, value: 7 }, "read of 0xa0000: 0x7"),
            (MsrWrite { index: 0x1B, value: 0xFEE0_0900 }, "wrmsr 0x1b: 0xfee00900"),
            (Halt { interruptible: false }, "hlt with interrupts off"),
            (Interrupt { vector: 0x20, from: InterruptController::Pic }, "interrupt 0x20 from the 8259A"),
            (StartUp { page: 8 }, "start-up at 0x8000"),
            (
                Emulated { rip: 0x20_0000, mnemonic: int80, vector: Some(0x80), error_code: None },
                "`int` at 0x200000 is emulated: software interrupt 0x80",
            ),
            (
                Emulated { rip: 0x10, mnemonic: Mnemonic::Ud2 as u16, vector: Some(6), error_code: None },
                "`ud2` at 0x10 is emulated: #UD",
            ),
            (
                Exception { vector: 14, error_code: Some(2), rip: 0x20_0010 },
                "#PF (error code 0x2: not present, write, supervisor) at 0x200010",
            ),
            (
                WithoutIdt { vector: 14, error_code: Some(0), rip: 0x10 },
                "#PF (error code 0x0: not present, read, supervisor) at 0x10, without an IDT of the guest",
            ),
            (
                WithoutIdt { vector: 8, error_code: None, rip: 0x10 },
                "interrupt 0x08 at 0x10, without an IDT of the guest",
            ),
            (BiosCall { vector: 0x13, ax: 0x201 }, "BIOS interrupt 0x13, AX 0x0201"),
        ] {
            assert_eq!(what.to_string(), text);
        }
    }
}

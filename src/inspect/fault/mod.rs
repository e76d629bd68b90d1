//! The exception behind a triple fault, found by examining the instruction at RIP.
//!
//! A triple fault leaves no record of the exception that began it: only RIP and CR2 remain. [`find`] therefore
//! checks what the instruction there would do (its fetch, operands, selectors, divisor) and
//! [`delivery::failure`] why the exception could not be delivered. Where the guest's first IDT has taken the exception,
//! [`explain`] uses what is found only to say why it was raised. [`stack::examine`] compares RSP with the stacks
//! that are known, and [`code::examine`] what RIP points to with the sections of the guest file. None changes the
//! machine. Where nothing is found, nothing is claimed.
//!
//! [`super::crash`] calls them; the sentences are in `text.rs`, `stack.rs` and `code.rs`.
//!
//! Manual: Intel SDM volume 3A, "Interrupt and Exception Handling".

mod access;
pub mod code;
pub mod delivery;
mod divide;
mod enabled;
mod find;
mod recorded;
mod selector;
pub mod stack;
mod stack32;
mod text;

use serde::Serialize;

pub use find::{find, trap};
pub use recorded::explain;

pub use crate::arch::exceptions::short_name as name;

/// Vectors of exceptions (Intel SDM volume 3A, "Exception and Interrupt Vectors").
pub mod vector {
    /// #DE, divide error.
    pub const DIVIDE: u8 = 0;
    /// #DB, debug exception.
    pub const DEBUG: u8 = 1;
    /// NMI, non-maskable interrupt.
    pub const NMI: u8 = 2;
    /// #BP, breakpoint.
    pub const BREAKPOINT: u8 = 3;
    /// #OF, overflow.
    pub const OVERFLOW: u8 = 4;
    /// #UD, invalid opcode.
    pub const UNDEFINED: u8 = 6;
    /// #NM, device not available.
    pub const NO_DEVICE: u8 = 7;
    /// #DF, double fault.
    pub const DOUBLE_FAULT: u8 = 8;
    /// Coprocessor segment overrun, which no processor of today raises.
    pub const COPROCESSOR_SEGMENT: u8 = 9;
    /// #TS, invalid task state segment.
    pub const INVALID_TSS: u8 = 10;
    /// #NP, segment not present.
    pub const NOT_PRESENT: u8 = 11;
    /// #SS, stack-segment fault.
    pub const STACK: u8 = 12;
    /// #GP, general protection.
    pub const PROTECTION: u8 = 13;
    /// #PF, page fault.
    pub const PAGE_FAULT: u8 = 14;
    /// #MF, x87 floating-point error.
    pub const X87: u8 = 16;
    /// #AC, alignment check.
    pub const ALIGNMENT: u8 = 17;
    /// #XM, SIMD floating-point exception.
    pub const SIMD: u8 = 19;
}

/// An exception or software interrupt, and why it was raised.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RaisedException {
    /// Its vector.
    pub vector: u8,
    /// The error code it pushes; `None` if it pushes none.
    pub error_code: Option<u32>,
    /// The cause.
    pub diagnosis: Diagnosis,
}

/// Why an instruction raised an exception.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum Diagnosis {
    /// The bytes are no instruction, or one that is meant to be invalid (`ud2`).
    InvalidOpcode,
    /// A control register does not enable this kind of instruction: the bit and its value, `CR4.OSFXSR is 0`.
    NotEnabled(&'static str),
    /// The instruction raises it on purpose: `int n`, `int3`, `int1`, `into`.
    SoftwareInterrupt,
    /// `int3` is the instruction before RIP.
    BreakpointBefore,
    /// A division by zero.
    DivisionByZero,
    /// The quotient of a division does not fit into its register.
    QuotientTooLarge,
    /// An instruction for ring 0 in another ring.
    Privileged,
    /// Access to an address that is not canonical.
    NotCanonical {
        /// The linear address.
        address: u64,
        /// The kind of access.
        access: AccessKind,
    },
    /// Access beyond the limit of a segment, or through one that does not allow it.
    OutsideSegment {
        /// The offset in the segment.
        offset: u64,
        /// The kind of access.
        access: AccessKind,
    },
    /// An operand whose address is not a multiple of the alignment it needs.
    Misaligned {
        /// The linear address.
        address: u64,
        /// The alignment in bytes.
        alignment: u64,
        /// It is an operand of 16 bytes on the stack, half of that off.
        on_stack: bool,
    },
    /// An operand that is not aligned, in ring 3 with CR0.AM and RFLAGS.AC set.
    AlignmentCheck {
        /// The linear address.
        address: u64,
        /// The alignment in bytes.
        alignment: u64,
    },
    /// A floating-point exception that is not masked.
    FloatingPoint {
        /// The reasons, as the bits 0 to 5 of MXCSR.
        flags: u8,
        /// Of #MF, the offset of the x87 instruction that caused it, 0 if it is not known; `None` of #XM.
        x87_instruction: Option<u64>,
    },
    /// The error code of an exception lies on top of the frame that `iretq` should pop.
    ErrorCodeLeft {
        /// The error code.
        code: u32,
        /// The instruction that the frame below it returns to.
        address: u64,
    },
    /// RFLAGS.TF is set: an exception after each instruction.
    TrapFlag,
    /// A selector that cannot be loaded.
    Selector {
        /// The selector.
        selector: u16,
        /// What is wrong with it.
        problem: SelectorProblem,
    },
    /// Access to a page that is not mapped, or not for this.
    Page {
        /// The linear address.
        address: u64,
        /// The kind of access.
        access: AccessKind,
        /// The state of the page.
        page: PageState,
        /// What the address means.
        meaning: AddressMeaning,
    },
    /// Another exception could not be delivered; `None` if the instruction does not show which.
    Undelivered(Option<Box<RaisedException>>),
    /// No instruction has raised it: a device or a processor has sent the interrupt.
    Interrupt,
    /// The processor has raised it, and the instruction does not show why.
    Unexplained,
    /// The processor does not accept a value for one of its own registers, which is not checked here further:
    /// `wrmsr`, `mov cr4`, `xsetbv`.
    RegisterValue,
}

/// The kind of a memory access.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum AccessKind {
    /// A read.
    Read,
    /// A write, or a read and a write.
    Write,
    /// The fetch of an instruction.
    Fetch,
}

/// Why a page does not allow an access.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum PageState {
    /// Nothing is mapped there.
    Unmapped,
    /// A reserved bit is set in an entry of the page tables.
    ReservedBit,
    /// The page is read-only.
    ReadOnly,
    /// The page holds data: execution is not allowed.
    NotExecutable,
    /// The page is for the supervisor only, and the access came from ring 3.
    Supervisor,
    /// SMEP or SMAP forbids ring 0 the access to a page of ring 3.
    User,
}

/// What a faulting address probably is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum AddressMeaning {
    /// In the first page: a null pointer was followed.
    NullPointer,
    /// Just below memory that the stack pointer has left downwards.
    StackOverflow,
    /// Just above memory that the stack pointer has left upwards.
    StackUnderflow,
    /// The stack pointer leads to no stack.
    NoStack,
    /// Behind the instruction that has loaded CR3 or switched paging on: the new page tables do not map the code.
    NewPageTables,
    /// Behind zeros that may have been executed.
    AfterZeros,
    /// Anything else.
    Unknown,
}

/// Why a selector cannot be loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum SelectorProblem {
    /// It is null where a segment is needed.
    Null,
    /// It lies beyond the limit of its table.
    BeyondLimit {
        /// Offset of the table's last byte.
        limit: u32,
        /// It is the LDT, not the GDT.
        ldt: bool,
    },
    /// Its descriptor is not present.
    NotPresent,
    /// Its descriptor is of a type or a ring that cannot be loaded there.
    WrongType,
}

#[cfg(test)]
#[path = "fault_test.rs"]
mod tests;

//! The actual behaviour of this host's KVM, measured with guests of a few instructions.
//!
//! KVM_CHECK_EXTENSION reports what a call accepts, with the same answers on hosts that behave differently:
//! with VT-x or AMD-V the processor runs the guest; elsewhere KVM's instruction emulator runs parts of it.
//! Each [`Fact`] is therefore measured on demand, on a virtual machine of its own, and cached for the life of
//! the process. No probe can hang: a guest that does not report is interrupted.

mod breakpoints;
mod capabilities;
mod code;
mod fact;
mod guest;
mod hypercalls;
mod instructions;
mod layout;
mod modes;
mod ring3;
mod speed;
mod stepping;
mod triple_fault;
mod watchdog;
mod writes;

#[cfg(test)]
#[path = "probe_test.rs"]
mod tests;

pub use breakpoints::{
    DATA_WATCHPOINTS, DataWatchpoints, HARDWARE_BREAKPOINTS, HardwareBreakpoints, RESUME_FLAG, ResumeFlag,
    SOFTWARE_BREAKPOINTS, SoftwareBreakpoints,
};
pub(super) use capabilities::is_module_present;
pub use capabilities::{KvmCapabilities, kernel_release};
pub use fact::{Fact, PerRing, UNCLEAR};
pub use hypercalls::{FOREIGN_HYPERCALL, Hypercall, VMCALL, VMMCALL};
pub use instructions::{BIT_COUNTS, Behaviour, INSTRUCTIONS, INT_N_IN_RING_3, Instruction};
pub use layout::ProbeMode;
pub use modes::{MODES, ModeFact, ModeSupport};
pub use ring3::{SYSTEM_CALLS, SystemCalls};
pub use speed::{PORT_EXIT, SPEED, Speed};
pub use stepping::{INTERRUPT_FREE_STEPPING, InterruptFreeStepping, SINGLE_STEP, SingleStep};
pub use triple_fault::{AFTER_TRIPLE_FAULT, AfterTripleFault};
pub use writes::{COALESCED_WRITES, CoalescedWrites, DIRTY_LOG, DirtyLog, READ_ONLY_MEMORY, ReadOnlyMemory};

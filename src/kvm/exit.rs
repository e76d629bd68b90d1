//! VM entries and VM exits as plain values.

/// How a vCPU is entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VmEntry {
    /// Continue. After [`VmExit::PortIn`] or [`VmExit::MmioRead`] the guest reads all ones.
    Resume,
    /// Continue; the access that stopped the vCPU reads the low bytes of this value.
    Value(u64),
    /// Continue; the access to a model-specific register that stopped the vCPU raises #GP.
    Fault,
}

/// Why a vCPU stopped running.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VmExit {
    /// `out`: `value` holds `size` (1, 2 or 4) bytes. String instructions are reported one element at a time.
    PortOut {
        /// Port number.
        port: u16,
        /// Width in bytes.
        size: u8,
        /// Value written, zero-extended.
        value: u32,
    },
    /// `in`: answered by [`VmEntry::Value`] on the next entry.
    PortIn {
        /// Port number.
        port: u16,
        /// Width in bytes.
        size: u8,
    },
    /// A write to an address outside of mapped RAM.
    MmioWrite {
        /// Guest-physical address.
        address: u64,
        /// Width in bytes, 1 to 8.
        size: u8,
        /// Value written, zero-extended.
        value: u64,
    },
    /// A read from an address outside of mapped RAM: answered by [`VmEntry::Value`] on the next entry.
    MmioRead {
        /// Guest-physical address.
        address: u64,
        /// Width in bytes, 1 to 8.
        size: u8,
    },
    /// `rdmsr` of a register that is not KVM's: answered by [`VmEntry::Value`] or [`VmEntry::Fault`].
    MsrRead {
        /// Number of the register.
        index: u32,
    },
    /// `wrmsr` of a register that is not KVM's: answered by [`VmEntry::Resume`] or [`VmEntry::Fault`].
    MsrWrite {
        /// Number of the register.
        index: u32,
        /// Value written.
        value: u64,
    },
    /// `hlt`; `interruptible` is the guest's interrupt flag.
    Halt {
        /// True if an interrupt could end the halt.
        interruptible: bool,
    },
    /// The guest has lowered CR8 ([`super::Vcpu::task_priority`]).
    TaskPriority,
    /// The vCPU accepts an interrupt now ([`super::Vcpu::want_interrupt_window`]).
    InterruptWindow,
    /// A triple fault, or the guest asked the processor to shut down.
    Shutdown,
    /// The vCPU was kicked; nothing happened in the guest.
    Interrupted,
    /// A debug stop.
    Debug(DebugStop),
    /// KVM cannot continue: usually its instruction emulator does not support the instruction.
    Refused(Refusal),
    /// The processor rejected the guest's state; the number is the hardware's.
    EntryFailed(u64),
    /// An exit reason that this program does not enable; the number is KVM's.
    Unexpected(u32),
}

/// Details of a debug stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DebugStop {
    /// Exception vector: 1 for #DB, 3 for #BP.
    pub exception: u32,
    /// Linear address the guest stopped at.
    pub pc: u64,
    /// DR6 as the stop left it.
    pub dr6: u64,
    /// DR7 at the stop; not reliable on every host.
    pub dr7: u64,
}

impl DebugStop {
    /// Exception vector of #DB: single steps and debug registers.
    pub const DEBUG: u32 = 1;
    /// Exception vector of #BP: `int3`.
    pub const BREAKPOINT: u32 = 3;

    /// True if `int3` or a debug register has caused the stop, and not the trap flag.
    pub fn is_at_breakpoint(&self) -> bool {
        self.exception == DebugStop::BREAKPOINT || self.dr6 & 0xF != 0
    }
}

/// KVM's report of an instruction that it cannot run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// KVM's sub-reason, such as [`Refusal::EMULATION`].
    pub suberror: u32,
    bytes: [u8; 15],
    length: u8,
}

impl Refusal {
    /// [`Refusal::suberror`]: KVM's emulator does not support the instruction.
    pub const EMULATION: u32 = 1;

    /// A refusal with the bytes of the instruction that KVM supplied (at most 15).
    pub fn new(suberror: u32, bytes: &[u8]) -> Refusal {
        let length = bytes.len().min(15);
        let mut copy = [0; 15];
        copy[..length].copy_from_slice(&bytes[..length]);
        Refusal { suberror, bytes: copy, length: length as u8 }
    }

    /// The bytes at the instruction pointer as KVM saw them; empty if it fetched none.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }
}

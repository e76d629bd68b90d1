//! Why an instruction cannot be emulated.

/// Why an instruction that KVM refused cannot be emulated either.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub enum Obstacle {
    /// No code could be fetched: RIP points outside of RAM.
    NoCode,
    /// The bytes are not a valid instruction.
    Unknown,
    /// The instruction is valid, but the emulator does not implement it.
    NotAllowed,
    /// The host's processor does not have the instruction.
    NotOnThisProcessor,
    /// The host's processor raised an exception, with this vector, that the instruction cannot raise on the
    /// guest's.
    HostException(u8),
    /// An event through a task gate, or the return from a nested task: task switches are not emulated.
    TaskGate,
    /// An interrupt or its return in virtual-8086 mode with the extensions of CR4.VME, which redirect
    /// some of them.
    Virtual8086Extensions,
}

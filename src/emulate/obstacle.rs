//! Why an instruction stays refused.

/// Why an instruction that KVM refused cannot be carried out here either.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// No code could be fetched: RIP leads to where there is no RAM.
    NoCode,
    /// The bytes are no instruction that is known here.
    Unknown,
    /// The instruction is known, but it is none of those that are carried out here.
    NotAllowed,
    /// The processor of this host does not have the instruction.
    NotOnThisProcessor,
    /// An event through a task gate, or the return from one: switching tasks is not done here.
    TaskGate,
    /// An interrupt or its return in virtual-8086 mode with the extensions of CR4.VME, which redirect
    /// some of them.
    Virtual8086Extensions,
}

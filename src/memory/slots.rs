//! RAM in pieces, so that KVM is told of a piece only when something happens in it.

/// Size of the pieces in which RAM is made known to KVM, in bytes.
pub const SLOT_SIZE: u64 = 1 << 30;

/// One piece of RAM as KVM needs to know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    /// Slot number.
    pub number: u32,
    /// First guest-physical address.
    pub guest: u64,
    /// Length in bytes.
    pub size: u64,
    /// Address of the host mapping.
    pub host: u64,
}

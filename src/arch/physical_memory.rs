//! What the structures of the architecture that lie in memory are read through.

/// Size of the smallest page, and of a page table, in bytes.
pub const PAGE_SIZE: u64 = 4 << 10;

/// Guest-physical RAM, as page-table walks and instruction emulation access it.
///
/// An access that does not lie in RAM from end to end has no effect.
pub trait PhysicalMemory {
    /// True if `length` bytes from the guest-physical `address` are all RAM.
    fn is_ram(&self, address: u64, length: u64) -> bool;

    /// Fills `bytes` from `address`; false if they are not all RAM.
    fn read_bytes(&self, address: u64, bytes: &mut [u8]) -> bool;

    /// Writes `bytes` to `address`; false if they are not all RAM. Walks that set accessed and dirty
    /// bits use this, others only read.
    fn write_bytes(&self, address: u64, bytes: &[u8]) -> bool;

    /// The little-endian value of `size` bytes (1 to 8) at `address`; `None` if they are not all RAM.
    fn read_value(&self, address: u64, size: u8) -> Option<u64> {
        let mut bytes = [0; 8];
        let read = self.read_bytes(address, &mut bytes[..usize::from(size).min(8)]);
        read.then_some(u64::from_le_bytes(bytes))
    }
}

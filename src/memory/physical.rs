//! Guest memory as the architecture's structures are read from it.

use super::GuestMemory;
use crate::arch::PhysicalMemory;

impl PhysicalMemory for GuestMemory {
    fn is_ram(&self, address: u64, length: u64) -> bool {
        GuestMemory::is_ram(self, address, length)
    }

    fn read_bytes(&self, address: u64, bytes: &mut [u8]) -> bool {
        self.read(address, bytes).is_ok()
    }

    fn write_bytes(&self, address: u64, bytes: &[u8]) -> bool {
        self.write_for_guest(address, bytes).is_ok()
    }
}

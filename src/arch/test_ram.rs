//! RAM for the tests of this room, from address 0 on.

use std::cell::RefCell;

use super::PhysicalMemory;

pub(super) struct TestRam(RefCell<Vec<u8>>);

impl TestRam {
    pub fn new(size: usize) -> TestRam {
        TestRam(RefCell::new(vec![0; size]))
    }

    pub fn read_u64(&self, address: u64) -> u64 {
        self.read_value(address, 8).expect("an address in RAM")
    }

    pub fn write_u64(&self, address: u64, value: u64) {
        assert!(self.write_bytes(address, &value.to_le_bytes()), "{address:#x} is not in RAM");
    }
}

impl PhysicalMemory for TestRam {
    fn is_ram(&self, address: u64, length: u64) -> bool {
        address.checked_add(length).is_some_and(|end| end <= self.0.borrow().len() as u64)
    }

    fn read_bytes(&self, address: u64, bytes: &mut [u8]) -> bool {
        let readable = self.is_ram(address, bytes.len() as u64);
        if readable {
            bytes.copy_from_slice(&self.0.borrow()[address as usize..][..bytes.len()]);
        }
        readable
    }

    fn write_bytes(&self, address: u64, bytes: &[u8]) -> bool {
        let writable = self.is_ram(address, bytes.len() as u64);
        if writable {
            self.0.borrow_mut()[address as usize..][..bytes.len()].copy_from_slice(bytes);
        }
        writable
    }
}

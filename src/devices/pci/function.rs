//! What the bus needs of a function.

use std::fmt::Debug;

use super::super::Action;
use super::space::ConfigurationSpace;

/// A function of a PCI device.
pub trait PciFunction: Debug + Send {
    /// Its configuration space.
    fn space(&self) -> &ConfigurationSpace;

    /// Its configuration space, to be changed.
    fn space_mut(&mut self) -> &mut ConfigurationSpace;

    /// The guest reads `size` (1, 2 or 4) bytes of the configuration space at `register`; they lie in one dword.
    fn read(&mut self, register: u8, size: u8) -> u32 {
        self.space().read(register, size)
    }

    /// The guest writes `size` (1, 2 or 4) bytes of the configuration space at `register`; they lie in one dword.
    fn write(&mut self, register: u8, size: u8, value: u32) -> Action {
        self.space_mut().write(register, size, value);
        Action::NONE
    }
}

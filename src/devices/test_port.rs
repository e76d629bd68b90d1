//! The test port: a guest with several tests asks the test runner which one to run.
//!
//! Reading the four bytes from [`PORT`] on says that the guest has started up and is ready for its tests. The machine
//! stops behind the instruction; the test runner (`crate::test_runner`) takes a snapshot there and gives the guest the
//! number of a test in RAX. The port itself reads as all ones, as if it did not exist: a guest that reads that runs
//! without a test runner. The machine has the port with `kvm test` only.

use super::snapshot::Stateless;
use super::{Action, Device, MachineRequest, OPEN_BUS};

/// First of the four ports of the device.
pub const PORT: u16 = 0xF8;
/// Last of them.
pub const LAST_PORT: u16 = PORT + 3;

/// The test port.
#[derive(Clone, Copy, Debug, Default)]
pub struct TestPort;

impl Device for TestPort {
    fn read(&mut self, _offset: u16) -> (u8, Action) {
        (OPEN_BUS, Action::request(MachineRequest::Stop))
    }

    fn read_wide(&mut self, _offset: u16, _size: u8) -> Option<(u32, Action)> {
        Some((u32::MAX, Action::request(MachineRequest::Stop)))
    }
}

impl Stateless for TestPort {
    const NAME: &'static str = "test-port";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_stops_the_guest_and_gives_what_a_missing_port_gives() {
        assert_eq!(TestPort.read(3), (0xFF, Action::request(MachineRequest::Stop)));
        assert_eq!(TestPort.read_wide(0, 4), Some((u32::MAX, Action::request(MachineRequest::Stop))));
        assert_eq!(TestPort.write(0, 7), Action::NONE);
    }
}

//! The port at which the machine's own BIOS calls, as the machine sees it.

use super::{Board, downcast, downcast_mut};
use crate::devices::bios_port::BiosPort;
use crate::devices::table::Role;

impl Board {
    /// Connects the port: the guest is started by the BIOS.
    pub fn connect_bios_port(&mut self) {
        for (index, entry) in self.table.iter().enumerate() {
            if entry.role == Role::BiosPort {
                self.decoder.connect(entry, index as u8);
            }
        }
    }

    /// The port.
    pub fn bios_port(&self) -> &BiosPort {
        downcast(&self.slots[self.bios_slot()])
    }

    /// The port, to be changed by the machine.
    pub(in super::super) fn bios_port_mut(&mut self) -> &mut BiosPort {
        let slot = self.bios_slot();
        downcast_mut(&mut self.slots[slot])
    }

    fn bios_slot(&self) -> usize {
        let found = self.slots.iter().position(|slot| slot.role == Role::BiosPort);
        found.expect("the table has the device")
    }
}

//! What a guest that polls a port waits for: devices that stay as they are until the guest accesses them again.

use super::{Board, is};
use crate::devices::post::PostPort;
use crate::devices::table::{Role, Timing};
use crate::devices::unassigned::UnassignedAccesses;
use crate::devices::{Payload, Snapshot};

/// A device that changes by nothing but accesses of the guest and input of the user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdleDevice {
    /// Kind and number of the device, as in snapshot files.
    name: (&'static str, u16),
    /// Its state; `None` if no state of it can be read.
    state: Option<Payload>,
}

impl IdleDevice {
    /// What the device is called: by its kind, and its number if there are several.
    pub fn name(&self) -> String {
        match self.name {
            (UnassignedAccesses::KIND, _) => "unassigned".to_owned(),
            (kind @ ("serial" | "ide"), number) => format!("{kind}{number}"),
            (kind, _) => kind.to_owned(),
        }
    }
}

impl Board {
    /// The device at `port`, if what the port reads as changes by nothing but accesses of the guest and input of the user.
    /// `None` if the device knows the time, has a deadline, or takes messages of other devices. What a disk has under way
    /// is not looked at ([`crate::machine::Machine::disks_are_idle`]).
    pub fn idle_device(&self, port: u16) -> Option<IdleDevice> {
        let index = usize::from(self.decode(port).0);
        let (entry, slot) = (&self.table[index], &self.slots[index]);
        let waits_for_guest = match slot.role {
            Role::Plain
            | Role::Serial(_)
            | Role::DebugConsole
            | Role::Keyboard
            | Role::Display
            | Role::Ide => {
                slot.timing != Timing::Accesses
                    && slot.device.next_deadline().is_none()
                    && !slot.is_controller
            }
            _ => false,
        };
        // The state of unassigned ports is how often they were accessed.
        let has_state = !is::<UnassignedAccesses>(slot.device.as_ref());
        waits_for_guest.then(|| IdleDevice {
            name: (entry.kind, entry.number),
            state: if has_state { slot.device.save_state() } else { None },
        })
    }

    /// True if a write to `port` has no effect that the guest could notice elsewhere: the ports that guests write to for a
    /// short delay.
    pub fn is_delay_port(&self, port: u16) -> bool {
        let device = self.slots[usize::from(self.decode(port).0)].device.as_ref();
        is::<PostPort>(device) || is::<UnassignedAccesses>(device)
    }

    /// True if a device may send the first processor what it does not hold back while its interrupts are off: an NMI, for
    /// example.
    pub fn may_interrupt_without_flag(&self) -> bool {
        let of_pins = self.ioapic().describe();
        let mut messages = of_pins.iter().filter(|pin| !pin.masked).filter_map(|pin| pin.message);
        messages.any(|message| !message.mode.is_maskable()) || !self.lapics().apic(0).lint0_is_maskable()
    }
}

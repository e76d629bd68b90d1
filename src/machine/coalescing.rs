//! Decides when serial output and PCI addresses use KVM's coalesced port I/O instead of an exit for each write.
//!
//! Coalescing makes a write several times cheaper, but a coalesced write is seen only at the next exit or tick.
//! So it starts when a port becomes busy and ends when the port has been quiet. The run loop reports each
//! write to a serial port or to the address register of the PCI bus, and each tick.
//!
//! KVM coalesces all writes that lie within the four ports of the address register, thus also those to the reset
//! control register at 0xCF9: for as long as a scan of the bus lasts, a reset by that port takes effect at the next
//! exit or tick.
//!
//! Manual: KVM API documentation, KVM_CAP_COALESCED_PIO.

use serde::{Deserialize, Serialize};

use crate::devices::pci::configuration::ADDRESS_PORT;
use crate::devices::serial::{BASE_PORTS, SerialPort};
use crate::kvm::{HostError, Vm};

/// Writes that exit one by one before coalescing starts.
const BUSY: u32 = 64;

/// A port whose writes can be coalesced.
struct PortSpec {
    port: u16,
    /// Width of the writes in bytes.
    size: u32,
    /// Ticks without a write after which coalescing ends.
    quiet_ticks: u32,
}

/// The serial ports, then the PCI address register.
const SPECS: [PortSpec; 5] =
    [serial(0), serial(1), serial(2), serial(3), PortSpec { port: ADDRESS_PORT, size: 4, quiet_ticks: 2 }];
/// Position of the PCI address register.
const PCI_ADDRESS: usize = 4;

const fn serial(number: usize) -> PortSpec {
    PortSpec { port: BASE_PORTS[number], size: 1, quiet_ticks: 20 }
}

#[derive(Clone, Copy, Debug, Default)]
struct Port {
    on: bool,
    /// Writes since coalescing ended, or since the last tick while it is on.
    writes: u32,
    quiet_ticks: u32,
}

/// The saved state of [`Coalescing`]: that of the serial ports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CoalescingState {
    ports: [(bool, u32, u32); 4],
}

/// Which ports have their writes coalesced.
#[derive(Debug, Default)]
pub struct Coalescing {
    ports: [Port; SPECS.len()],
    available: bool,
}

impl Coalescing {
    /// No port is coalesced, and none ever will be unless the host can (`available`).
    pub fn new(available: bool) -> Coalescing {
        Coalescing { available, ..Coalescing::default() }
    }

    /// True while ticks are needed.
    pub fn active(&self) -> bool {
        self.ports.iter().any(|port| port.on)
    }

    /// A serial port sent a byte; true if coalescing starts now.
    #[inline]
    pub fn sent(&mut self, number: u8, port: &SerialPort, vm: &Vm) -> Result<bool, HostError> {
        self.written(usize::from(number), || port.sends_quietly(), vm)
    }

    /// The address register of the PCI bus was written; true if coalescing starts now.
    #[inline]
    pub fn pci_address_written(&mut self, vm: &Vm) -> Result<bool, HostError> {
        self.written(PCI_ADDRESS, || true, vm)
    }

    #[inline]
    fn written(
        &mut self,
        index: usize,
        can_start: impl FnOnce() -> bool,
        vm: &Vm,
    ) -> Result<bool, HostError> {
        let state = &mut self.ports[index];
        state.writes = state.writes.saturating_add(1);
        if state.on || state.writes < BUSY || !self.available || !can_start() {
            return Ok(false);
        }
        *state = Port { on: true, writes: 1, quiet_ticks: 0 };
        set(index, true, vm)?;
        Ok(true)
    }

    /// A register other than the transmitter may have been written: stops coalescing if a write to the base
    /// port now does more than send a byte.
    #[inline]
    pub fn configured(&mut self, number: u8, port: &SerialPort, vm: &Vm) -> Result<(), HostError> {
        if self.ports[usize::from(number)].on && !port.sends_quietly() {
            self.stop(usize::from(number), vm)?;
        }
        Ok(())
    }

    /// A tick has passed.
    pub fn tick(&mut self, vm: &Vm) -> Result<(), HostError> {
        for (index, spec) in SPECS.iter().enumerate() {
            let state = &mut self.ports[index];
            state.quiet_ticks = if state.writes == 0 { state.quiet_ticks.saturating_add(1) } else { 0 };
            state.writes = 0;
            if state.on && state.quiet_ticks >= spec.quiet_ticks {
                self.stop(index, vm)?;
            }
        }
        Ok(())
    }

    /// The state to save.
    pub fn state(&self) -> CoalescingState {
        let serial = [0, 1, 2, 3].map(|number| self.ports[number]);
        CoalescingState { ports: serial.map(|port| (port.on, port.writes, port.quiet_ticks)) }
    }

    /// Coalesces the ports that were coalesced in `state`, in a virtual machine where none is yet. True if
    /// there are any.
    ///
    /// # Errors
    ///
    /// [`HostError::Refused`] with the host's reason.
    pub fn set_state(&mut self, state: &CoalescingState, vm: &Vm) -> Result<bool, HostError> {
        for (number, (on, writes, quiet_ticks)) in state.ports.into_iter().enumerate() {
            let on = on && self.available;
            if on {
                set(number, true, vm)?;
            }
            self.ports[number] = Port { on, writes, quiet_ticks };
        }
        Ok(self.active())
    }

    fn stop(&mut self, index: usize, vm: &Vm) -> Result<(), HostError> {
        self.ports[index] = Port::default();
        set(index, false, vm)
    }
}

fn set(index: usize, on: bool, vm: &Vm) -> Result<(), HostError> {
    let PortSpec { port, size, .. } = SPECS[index];
    vm.coalesce_port_writes(port, size, on)
}

//! Decides when serial output uses KVM's coalesced port I/O instead of an exit for each byte.
//!
//! Coalescing makes a byte several times cheaper, but a coalesced byte is seen only at the next exit or tick.
//! So it starts when a port becomes busy and ends when the port has been quiet. The run loop reports each
//! write to a serial port and each tick.
//!
//! Manual: KVM API documentation, KVM_CAP_COALESCED_PIO.

use serde::{Deserialize, Serialize};

use crate::devices::serial::{BASE_PORTS, SerialPort};
use crate::kvm::{HostError, Vm};

/// Bytes sent one by one before coalescing starts.
const BUSY: u32 = 64;
/// Ticks without a byte after which coalescing ends.
const QUIET_TICKS: u32 = 20;

#[derive(Clone, Copy, Debug, Default)]
struct Port {
    on: bool,
    /// Bytes since coalescing ended, or since the last tick while it is on.
    bytes: u32,
    quiet_ticks: u32,
}

/// The saved state of [`Coalescing`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CoalescingState {
    ports: [(bool, u32, u32); 4],
}

/// Which serial ports have their output coalesced.
#[derive(Debug, Default)]
pub struct Coalescing {
    ports: [Port; 4],
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
        let state = &mut self.ports[usize::from(number)];
        state.bytes = state.bytes.saturating_add(1);
        if state.on || state.bytes < BUSY || !self.available || !port.sends_quietly() {
            return Ok(false);
        }
        *state = Port { on: true, bytes: 1, quiet_ticks: 0 };
        vm.coalesce_port_writes(BASE_PORTS[usize::from(number)], true)?;
        Ok(true)
    }

    /// A register other than the transmitter may have been written: stops coalescing if a write to the base
    /// port now does more than send a byte.
    #[inline]
    pub fn configured(&mut self, number: u8, port: &SerialPort, vm: &Vm) -> Result<(), HostError> {
        if self.ports[usize::from(number)].on && !port.sends_quietly() {
            self.stop(number, vm)?;
        }
        Ok(())
    }

    /// A tick has passed.
    pub fn tick(&mut self, vm: &Vm) -> Result<(), HostError> {
        for number in 0..4 {
            let state = &mut self.ports[usize::from(number)];
            state.quiet_ticks = if state.bytes == 0 { state.quiet_ticks.saturating_add(1) } else { 0 };
            state.bytes = 0;
            if state.on && state.quiet_ticks >= QUIET_TICKS {
                self.stop(number, vm)?;
            }
        }
        Ok(())
    }

    /// The state to save.
    pub fn state(&self) -> CoalescingState {
        CoalescingState { ports: self.ports.map(|port| (port.on, port.bytes, port.quiet_ticks)) }
    }

    /// Coalesces the ports that were coalesced in `state`, in a virtual machine where none is yet. True if
    /// there are any.
    ///
    /// # Errors
    ///
    /// [`HostError::Refused`] with the host's reason.
    pub fn set_state(&mut self, state: &CoalescingState, vm: &Vm) -> Result<bool, HostError> {
        for (number, (on, bytes, quiet_ticks)) in state.ports.into_iter().enumerate() {
            let on = on && self.available;
            if on {
                vm.coalesce_port_writes(BASE_PORTS[number], true)?;
            }
            self.ports[number] = Port { on, bytes, quiet_ticks };
        }
        Ok(self.active())
    }

    fn stop(&mut self, number: u8, vm: &Vm) -> Result<(), HostError> {
        self.ports[usize::from(number)] = Port::default();
        vm.coalesce_port_writes(BASE_PORTS[usize::from(number)], false)
    }
}

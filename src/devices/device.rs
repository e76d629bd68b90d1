//! The interface between devices and the machine: byte-wide ports, register windows in memory, an interrupt line, deadlines.
//!
//! A device implements [`Device`] and [`Snapshot`](super::Snapshot); [`super::table`] attaches it to the board.

use std::any::Any;
use std::fmt::Debug;

use super::state_tree::StateTree;
use super::{MachineTime, Payload, Snapshot, StateError};

/// What a port reads as that no device drives: all ones, as on an ISA bus.
pub const OPEN_BUS: u8 = 0xFF;

/// What a device requests of the machine after an access or an input.
///
/// The default requests nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use = "the machine has to carry the action out"]
pub struct Action {
    /// New level of the device's interrupt line, if the access may have changed it.
    pub line: Option<bool>,
    /// The same of its second line.
    pub second_line: Option<bool>,
    /// A byte to output (serial transmitter, debug console).
    pub output: Option<u8>,
    /// A request to the whole machine.
    pub request: Option<MachineRequest>,
    /// [`Device::next_deadline`] may have changed.
    pub deadline: bool,
    /// The device has a request to a disk ([`super::ide::IdeChannel::take_request`]), or may have data for the bus
    /// master or expect some from it.
    pub disk: bool,
    /// Addresses or interrupts of PCI functions may have changed.
    pub configuration: bool,
    /// What memory shows may have changed ([`super::pci::PciBus::shadow_control`]).
    pub memory: bool,
}

/// A request of a device to the whole machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MachineRequest {
    /// Restart the machine as its reset line would.
    Reset,
    /// End the run; the guest wrote this value to the debug exit port.
    Exit(u32),
    /// End the run; the guest has switched the machine off.
    PowerOff,
    /// The machine's own BIOS has been called: serve the call.
    ServeBios,
    /// Stop the guest behind the instruction that it has just executed: in the debugger, or for the test runner.
    Stop,
}

impl Action {
    /// Nothing to do.
    pub const NONE: Action = Action {
        line: None,
        second_line: None,
        output: None,
        request: None,
        deadline: false,
        disk: false,
        configuration: false,
        memory: false,
    };

    /// The device's interrupt line is now at `level`.
    pub fn line(level: bool) -> Action {
        Action { line: Some(level), ..Action::NONE }
    }

    /// The device sends `byte` to the outside.
    pub fn output(byte: u8) -> Action {
        Action { output: Some(byte), ..Action::NONE }
    }

    /// The device makes the request `request`.
    pub fn request(request: MachineRequest) -> Action {
        Action { request: Some(request), ..Action::NONE }
    }
}

/// A device: a register machine that is driven by accesses, inputs and machine time alone.
///
/// The vCPU thread calls all methods, between two exits. `offset` counts from the base that the device's
/// entry in [`super::table`] gives for ports, or from the start of its window in memory. Every method has a
/// default, so that a device implements only what it has.
pub trait Device {
    /// The guest reads one byte from a port. Wider accesses are split into bytes, lowest first, as an ISA bus
    /// does.
    fn read(&mut self, _offset: u16) -> (u8, Action) {
        (OPEN_BUS, Action::NONE)
    }

    /// The guest writes one byte to a port.
    fn write(&mut self, _offset: u16, _value: u8) -> Action {
        Action::NONE
    }

    /// The guest reads `size` (2 or 4) bytes from ports from `offset` on, in one access. `None` has the read split
    /// into bytes.
    fn read_wide(&mut self, _offset: u16, _size: u8) -> Option<(u32, Action)> {
        None
    }

    /// The guest reads the port at `offset` again and again, `size` (2 or 4) bytes each time (`rep ins`): fills the
    /// beginning of `into` with what it reads and returns how many bytes that is, a multiple of `size`. Reads that
    /// have an effect besides are left to [`Device::read_wide`], as are all reads of most devices.
    fn read_block(&mut self, _offset: u16, _size: u8, _into: &mut [u8]) -> usize {
        0
    }

    /// The guest writes `size` (2 or 4) bytes to ports from `offset` on, in one access. `None` has the write
    /// split into bytes.
    fn write_wide(&mut self, _offset: u16, _size: u8, _value: u32) -> Option<Action> {
        None
    }

    /// The guest reads `size` (1 to 8) bytes from the window in memory. `None` if no register is read so; the
    /// access then counts as unassigned.
    fn mmio_read(&mut self, _offset: u64, _size: u8) -> Option<(u64, Action)> {
        None
    }

    /// The guest writes `size` (1 to 8) bytes to the window in memory. `None` if no register is written so;
    /// the access then counts as unassigned.
    fn mmio_write(&mut self, _offset: u64, _size: u8, _value: u64) -> Option<Action> {
        None
    }

    /// True if an access to `offset` in the window in memory depends on the time. Asked of devices that
    /// [`super::table::Timing::Accesses`] marks.
    fn shows_time(&self, _offset: u64) -> bool {
        true
    }

    /// Level of the interrupt line. Read after each [`Action::line`] and after the state was restored.
    fn line(&self) -> bool {
        false
    }

    /// Level of the second interrupt line, of a device that has two.
    fn second_line(&self) -> bool {
        false
    }

    /// True if the device may raise its interrupt line by itself or for an input, as the guest has programmed it.
    fn may_interrupt(&self) -> bool {
        false
    }

    /// The same for the second interrupt line.
    fn second_may_interrupt(&self) -> bool {
        false
    }

    /// The machine time at which the device has something to do by itself, if any. Read after
    /// [`Action::deadline`], after [`Self::advance`] and after the state was restored.
    fn next_deadline(&self) -> Option<MachineTime> {
        None
    }

    /// The device after a reset of the machine: by default as after power-on.
    fn after_reset(&self) -> Self
    where
        Self: Default,
    {
        Self::default()
    }

    /// What the registers say, in words: a line each, without line ends. Empty for a device of which nothing is to be
    /// said besides its state.
    fn explain(&self) -> Vec<String> {
        Vec::new()
    }

    /// The machine's clock is at `now`, which never goes back. A device learns the time from here alone.
    fn advance(&mut self, _now: MachineTime) -> Action {
        Action::NONE
    }
}

/// A device as the board holds it. Implemented for every [`Device`] that can be saved.
pub trait BoardDevice: Device + Any + Debug + Send {
    /// The state as a payload; `None` if the device has none.
    fn save_state(&self) -> Option<Payload>;

    /// The state as a tree; `None` if the device has none.
    fn state_tree(&self) -> Option<StateTree>;

    /// Restores a saved payload, leaving the device as it was on an error.
    ///
    /// # Errors
    ///
    /// [`StateError`], see [`Snapshot::restore`].
    fn restore_state(&mut self, payload: &Payload) -> Result<(), StateError>;

    /// The machine is reset ([`Device::after_reset`]).
    fn reset(&mut self);
}

impl<D: Device + Snapshot + Default + Debug + Send + 'static> BoardDevice for D {
    fn save_state(&self) -> Option<Payload> {
        D::HAS_STATE.then(|| self.save())
    }

    fn state_tree(&self) -> Option<StateTree> {
        D::HAS_STATE.then(|| StateTree::of(&self.state()))
    }

    fn restore_state(&mut self, payload: &Payload) -> Result<(), StateError> {
        self.restore(payload)
    }

    fn reset(&mut self) {
        *self = self.after_reset();
    }
}

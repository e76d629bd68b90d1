//! The saved state of the bus.

use serde::{Deserialize, Serialize};

use super::super::{Snapshot, StateError};
use super::configuration::ADDRESS_MASK;
use super::space::SUBSYSTEM;
use super::{PciAddress, PciBus};

/// Name of the bus in snapshot files.
pub const KIND: &str = "pci";

/// The saved state of [`PciBus`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PciState {
    address: u32,
    flat_ide_bars: bool,
    /// Device, function and configuration space of each function, in the order of a scan.
    functions: Vec<(u8, u8, Vec<u8>)>,
}

impl Snapshot for PciBus {
    const KIND: &'static str = KIND;
    const VERSION: u16 = 1;
    type State = PciState;

    fn state(&self) -> PciState {
        let functions = self.functions().into_iter();
        PciState {
            address: self.address,
            flat_ide_bars: self.flat_ide_bars,
            functions: functions
                .map(|(at, function)| (at.device, at.function, function.space().contents().to_vec()))
                .collect(),
        }
    }

    fn set_state(&mut self, state: PciState) -> Result<(), StateError> {
        let damaged = |reason| Err(StateError::Damaged { kind: KIND, reason });
        if state.address & !ADDRESS_MASK != 0 {
            return damaged(format!("the address register is {:#010x}", state.address));
        }
        let mut bus = PciBus::new(state.flat_ide_bars);
        for (device, function, _) in &state.functions {
            let at = PciAddress { device: *device, function: *function };
            if let Some(number) = super::virtio_disk::number_at(at) {
                bus.add_virtio_disk(number);
            }
            if at == PciAddress::DISPLAY {
                bus.add_display();
            }
        }
        let subsystem =
            state.functions.first().and_then(|(_, _, bytes)| bytes.get(usize::from(SUBSYSTEM)..)?.get(..4));
        if subsystem == Some(&super::MACHINE_SUBSYSTEM.to_le_bytes()) {
            bus.identify();
        }
        let expected: Vec<PciAddress> = bus.functions().into_iter().map(|(at, _)| at).collect();
        let found = state.functions.iter().map(|(device, function, _)| (*device, *function));
        if !found.eq(expected.iter().map(|at| (at.device, at.function))) {
            return damaged("the bus has other functions".to_owned());
        }
        for (at, (_, _, contents)) in expected.into_iter().zip(&state.functions) {
            if let Some(function) = bus.function_mut(at) {
                let space = function.space().with_contents(contents)?;
                *function.space_mut() = space;
            }
        }
        bus.address = state.address;
        *self = bus;
        Ok(())
    }
}

//! The bus master of the IDE channels: the data that it transfers.

use super::{Board, DeviceIndex, downcast, downcast_mut};
use crate::devices::ide::bus_master::{BusMaster, DmaStep};
use crate::devices::ide::{DmaDemand, IdeChannel};
use crate::devices::pci::PciBus;
use crate::memory::GuestMemory;

impl Board {
    /// Transfers between drives and memory what they demand and the bus master is programmed for. `memory` counts the
    /// pages as written by the host.
    pub fn transfer_by_dma(&mut self, memory: &GuestMemory) {
        if !self.pci().ide_is_bus_master() {
            return;
        }
        for channel in 0..self.ide.len() {
            let index = self.ide[channel];
            while let Some((device, demand)) =
                downcast::<IdeChannel>(&self.slots[usize::from(index)]).dma_demand()
                && let Some(step) = self.bus_master().step(channel, demand)
            {
                self.carry_out(memory, (channel, index, device), demand, step);
            }
        }
    }

    /// Carries out one step of a transfer.
    fn carry_out(
        &mut self,
        memory: &GuestMemory,
        (channel, index, device): (usize, u8, usize),
        demand: DmaDemand,
        step: DmaStep,
    ) {
        let drives = downcast_mut::<IdeChannel>(&mut self.slots[usize::from(index)]);
        let (length, action) = match step {
            DmaStep::Descriptor { address } => {
                let mut descriptor = [0; 8];
                if memory.read(address, &mut descriptor).is_err() {
                    return self.abort_dma(channel);
                }
                return self.bus_master_mut().descriptor_read(channel, descriptor);
            }
            DmaStep::Data { address, length } if demand.to_memory => {
                if memory.write_for_guest(address, drives.dma_data(device, length)).is_err() {
                    return self.abort_dma(channel);
                }
                (length, drives.dma_taken(device, length))
            }
            DmaStep::Data { address, length } => {
                let mut data = vec![0; length];
                if memory.read(address, &mut data).is_err() {
                    return self.abort_dma(channel);
                }
                (length, drives.dma_supplied(device, &data))
            }
        };
        // The end of the table is known before the drive interrupts.
        self.bus_master_mut().transferred(channel, length);
        // What else the drive wants is found out next.
        let _ = self.effect(DeviceIndex(index), action);
    }

    fn abort_dma(&mut self, channel: usize) {
        self.bus_master_mut().failed(channel);
        downcast_mut::<PciBus>(&mut self.slots[usize::from(self.pci)]).ide_has_aborted();
    }

    fn bus_master(&self) -> &BusMaster {
        downcast(&self.slots[usize::from(self.bus_master)])
    }

    pub(super) fn bus_master_mut(&mut self) -> &mut BusMaster {
        downcast_mut(&mut self.slots[usize::from(self.bus_master)])
    }
}

#[cfg(test)]
#[path = "bus_master_test.rs"]
mod tests;

//! Devices that are PCI functions: they answer where the guest has put their base address registers, and interrupt by
//! the line that their interrupt pin is routed to.

use super::{Board, downcast};
use crate::devices::pci::bar::BarKind;
use crate::devices::pci::space::COMMAND_NO_INTERRUPT;
use crate::devices::pci::{PciAddress, PciBus};

/// A device whose interrupt line has changed, and the line that it had.
type Rerouted = (usize, Option<u8>);

impl Board {
    /// The configuration of PCI functions may have changed.
    #[cold]
    pub(super) fn pci_changed(&mut self) {
        for (index, before) in self.map_pci() {
            if let Some(line) = before {
                self.set_line(line, index as u8, false);
            }
            let slot = &self.slots[index];
            if let (Some(line), level) = (slot.interrupt, slot.device.line()) {
                self.set_line(line, index as u8, level);
            }
        }
        self.pass_on();
    }

    /// Finds out where PCI functions are, and their interrupt lines. The levels of lines stay as they are.
    pub(super) fn map_pci(&mut self) -> Vec<Rerouted> {
        self.decoder.clear_pci();
        self.video_base = None;
        let mut changed = Vec::new();
        for (index, entry) in self.table.iter().enumerate() {
            let Some(at) = entry.pci else { continue };
            let line = self.map_function(index, at);
            let slot = &mut self.slots[index];
            if slot.interrupt != line {
                changed.push((index, slot.interrupt));
                slot.interrupt = line;
            }
        }
        changed
    }

    /// Maps the device in slot `index`, which is the function at `at`, if there is such a function. Returns its
    /// interrupt line.
    fn map_function(&mut self, index: usize, at: PciAddress) -> Option<u8> {
        let pci = downcast::<PciBus>(&self.slots[usize::from(self.pci)]);
        let space = pci.function(at)?.space();
        let interrupt = space.interrupt().filter(|_| space.command() & COMMAND_NO_INTERRUPT == 0);
        let line = interrupt.and_then(|(pin, _)| pci.route(at, pin));
        let mut port = None;
        for mapping in space.mappings().filter(|mapping| mapping.enabled) {
            let (Some(base), size) = (mapping.base, mapping.kind.size()) else { continue };
            match mapping.kind {
                BarKind::Io { .. } if port.is_none() => {
                    // The ports beyond the last one do not exist.
                    let Ok(first) = u16::try_from(base) else { continue };
                    self.decoder.map_pci_ports(base..base + size, index as u8);
                    port = Some(first);
                }
                BarKind::Io { .. } => {}
                // Video memory, which is accessed as RAM is.
                BarKind::Memory { prefetchable: true, .. } => self.video_base = Some(base.into()),
                BarKind::Memory { .. } => {
                    let base = u64::from(base);
                    self.decoder.map_pci_window(base..base + u64::from(size), index as u8);
                }
            }
        }
        if let Some(port) = port {
            self.slots[index].base = port;
        }
        line
    }
}

#[cfg(test)]
#[path = "pci_test.rs"]
mod tests;

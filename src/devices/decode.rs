//! Address decoding: which device answers at a port or at an address in memory.
//!
//! Built once from the table of devices; a look-up of a port is two loads and allocates nothing.

use std::ops::Range;

use super::table::Registration;

/// Ports that share a page of the table.
const PORTS_PER_PAGE: usize = 256;

/// Maps ports and addresses to positions in the table of devices.
#[derive(Clone, Debug)]
pub struct PortDecoder {
    /// For each high byte of a port number the page that holds its ports. Page 0 has no device.
    pages: [u8; 256],
    devices: Vec<[u8; PORTS_PER_PAGE]>,
    windows: Vec<(Range<u64>, u8)>,
    /// Ports of PCI functions. The first of those that overlap answers, and every other device before them.
    pci_ports: Vec<(Range<u32>, u8)>,
    /// Their windows in memory.
    pci_windows: Vec<(Range<u64>, u8)>,
    unassigned: u8,
}

impl PortDecoder {
    /// Decodes for the devices of `table`, except the ports of optional ones; what none of them has goes to the one
    /// at `unassigned`.
    ///
    /// # Panics
    ///
    /// If there are more than 255 devices, or if they have ports with all 256 high bytes.
    pub fn new(table: &[Registration], unassigned: u8) -> PortDecoder {
        let mut decoder = PortDecoder {
            pages: [0; 256],
            devices: vec![[unassigned; PORTS_PER_PAGE]],
            windows: Vec::new(),
            pci_ports: Vec::new(),
            pci_windows: Vec::new(),
            unassigned,
        };
        for (device, entry) in table.iter().enumerate() {
            let device = u8::try_from(device).expect("at most 255 devices");
            if !entry.is_optional() {
                decoder.connect(entry, device);
            }
            if let Some(window) = &entry.mmio {
                decoder.windows.push((window.clone(), device));
            }
        }
        decoder
    }

    /// Decodes the ports of `entry` for `device`.
    ///
    /// # Panics
    ///
    /// As [`Self::new`].
    pub fn connect(&mut self, entry: &Registration, device: u8) {
        for port in entry.ports.iter().cloned().flatten() {
            self.assign(port, device);
        }
    }

    /// Decodes nothing for `device` any more.
    pub fn disconnect(&mut self, device: u8) {
        for port in self.devices.iter_mut().flatten().filter(|port| **port == device) {
            *port = self.unassigned;
        }
        self.windows.retain(|(_, of)| *of != device);
    }

    fn assign(&mut self, port: u16, device: u8) {
        let [high, low] = port.to_be_bytes().map(usize::from);
        if self.pages[high] == 0 {
            self.pages[high] =
                u8::try_from(self.devices.len()).expect("devices on ports of at most 255 high bytes");
            self.devices.push([self.unassigned; PORTS_PER_PAGE]);
        }
        self.devices[usize::from(self.pages[high])][low] = device;
    }

    /// Forgets where PCI functions are.
    pub fn clear_pci(&mut self) {
        self.pci_ports.clear();
        self.pci_windows.clear();
    }

    /// Decodes these ports for a PCI function that is `device`.
    pub fn map_pci_ports(&mut self, ports: Range<u32>, device: u8) {
        self.pci_ports.push((ports, device));
    }

    /// Decodes this window in memory for a PCI function that is `device`.
    pub fn map_pci_window(&mut self, window: Range<u64>, device: u8) {
        self.pci_windows.push((window, device));
    }

    /// The device at `port`.
    #[inline]
    pub fn port(&self, port: u16) -> u8 {
        let [high, low] = port.to_be_bytes().map(usize::from);
        let device = self.devices[usize::from(self.pages[high])][low];
        if device == self.unassigned { self.pci_port(port) } else { device }
    }

    fn pci_port(&self, port: u16) -> u8 {
        let found = self.pci_ports.iter().find(|(ports, _)| ports.contains(&u32::from(port)));
        found.map_or(self.unassigned, |(_, device)| *device)
    }

    /// The device whose window in memory holds `address`, and the offset within the window.
    #[inline]
    pub fn address(&self, address: u64) -> Option<(u8, u64)> {
        let found =
            self.windows.iter().chain(&self.pci_windows).find(|(window, _)| window.contains(&address))?;
        Some((found.1, address - found.0.start))
    }
}

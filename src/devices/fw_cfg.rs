//! The firmware configuration device (fw_cfg), by which firmware learns what the machine is.
//!
//! Manual: QEMU's specification docs/specs/fw_cfg. Ports: the selector of 16 bits at 0x510, the data byte at 0x511, and
//! the DMA address register of 64 bits, big-endian, at 0x514. An item is selected by its key and read from its beginning;
//! what lies behind its end, and every byte of an item that there is not, reads as 0. Items with names are files, listed
//! in the item `DIRECTORY`. Not implemented: items that the guest may write; such a request fails, as QEMU's does.
//!
//! The device does not touch memory: the machine takes the address of a control structure
//! ([`FirmwareConfiguration::take_dma`]), reads it, and asks what to copy ([`FirmwareConfiguration::transfer`]). A machine
//! without firmware has no such device ([`FirmwareConfiguration::is_present`]).

use serde::{Deserialize, Serialize};

use super::{Action, Device, Snapshot, StateError};

/// The selector port.
pub const PORT: u16 = 0x510;
/// The last port of the DMA address register.
pub const LAST_PORT: u16 = PORT + 0xB;

const SELECTOR: u16 = 0;
const DATA: u16 = 1;
const DMA_HIGH: u16 = 4;
const DMA_LOW: u16 = 8;

/// What the DMA address register reads as.
const DMA_SIGNATURE: [u8; 8] = *b"QEMU CFG";

/// Items with fixed keys.
const SIGNATURE: u16 = 0x00;
const FEATURES: u16 = 0x01;
const RAM_SIZE: u16 = 0x03;
const NO_GRAPHIC: u16 = 0x04;
const CPUS: u16 = 0x05;
const BOOT_MENU: u16 = 0x0E;
const MOST_CPUS: u16 = 0x0F;
/// The item that lists the files.
const DIRECTORY: u16 = 0x19;
/// The key of the first file.
const FIRST_FILE: u16 = 0x20;

/// The traditional interface, and DMA.
const WITH_DMA: u32 = 3;

/// Longest name of a file, in bytes; the directory has another for its end.
const LONGEST_NAME: usize = 55;
/// Most items.
const MOST_ITEMS: usize = 64;
/// Most bytes of all items together.
const MOST_BYTES: usize = 4 << 20;

/// Bits of the control word of a DMA request.
const CONTROL_ERROR: u32 = 0x01;
const CONTROL_READ: u32 = 0x02;
const CONTROL_SKIP: u32 = 0x04;
const CONTROL_SELECT: u32 = 0x08;
const CONTROL_WRITE: u32 = 0x10;

/// Size in bytes of the control structure of a DMA request.
pub const DMA_CONTROL: usize = 16;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Item {
    key: u16,
    /// Empty for an item that is no file.
    name: String,
    bytes: Vec<u8>,
}

/// What firmware is told of the machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FirmwareFacts {
    /// Size of RAM in bytes.
    pub ram_size: u64,
    /// Number of processors.
    pub cpus: u16,
    /// Names and contents of files.
    pub files: Vec<(String, Vec<u8>)>,
}

/// What a DMA request wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DmaTransfer {
    /// Copy this many bytes ([`FirmwareConfiguration::read_bytes`]) to this address.
    Read {
        /// Guest-physical address.
        address: u64,
        /// Number of bytes.
        length: u32,
    },
    /// Nothing is left to do.
    Done,
    /// The request cannot be carried out.
    Failed,
}

impl DmaTransfer {
    /// What the control word of a request becomes, big-endian, that has ended well or badly.
    pub fn status(failed: bool) -> [u8; 4] {
        if failed { CONTROL_ERROR.to_be_bytes() } else { [0; 4] }
    }
}

/// The device.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FirmwareConfiguration {
    /// Ascending by key; empty in a machine without firmware.
    items: Vec<Item>,
    selected: u16,
    /// The next byte of the selected item.
    offset: u32,
    /// The high half of the DMA address, until the low half is written.
    dma_high: u32,
    /// The address of a control structure that the machine has not taken yet.
    request: Option<u64>,
}

impl FirmwareConfiguration {
    /// Gives the device its items.
    pub fn set_up(&mut self, facts: &FirmwareFacts) {
        let item = |key, bytes: &[u8]| Item { key, name: String::new(), bytes: bytes.to_vec() };
        let cpus = facts.cpus.to_le_bytes();
        let mut items = vec![
            item(SIGNATURE, b"QEMU"),
            item(FEATURES, &WITH_DMA.to_le_bytes()),
            item(RAM_SIZE, &facts.ram_size.to_le_bytes()),
            item(NO_GRAPHIC, &[0, 0]),
            item(CPUS, &cpus),
            item(BOOT_MENU, &[0, 0]),
            item(MOST_CPUS, &cpus),
            item(DIRECTORY, &directory(&facts.files)),
        ];
        items.extend((FIRST_FILE..).zip(&facts.files).map(|(key, (name, bytes))| Item {
            key,
            name: name.clone(),
            bytes: bytes.clone(),
        }));
        *self = FirmwareConfiguration { items, ..FirmwareConfiguration::default() };
    }

    /// True if the machine has the device.
    pub fn is_present(&self) -> bool {
        !self.items.is_empty()
    }

    /// Adds a file, or replaces its contents.
    pub fn set_file(&mut self, name: &str, bytes: Vec<u8>) {
        match self.items.iter_mut().find(|item| item.name == name) {
            Some(item) => item.bytes = bytes,
            None => {
                let key = self.items.last().map_or(FIRST_FILE, |last| FIRST_FILE.max(last.key + 1));
                self.items.push(Item { key, name: name.to_owned(), bytes });
            }
        }
        let files: Vec<(String, Vec<u8>)> = self
            .items
            .iter()
            .filter(|item| item.key >= FIRST_FILE)
            .map(|item| (item.name.clone(), item.bytes.clone()))
            .collect();
        if let Some(item) = self.items.iter_mut().find(|item| item.key == DIRECTORY) {
            item.bytes = directory(&files);
        }
    }

    /// Takes the address of the control structure of a request that the guest has made.
    pub fn take_dma(&mut self) -> Option<u64> {
        self.request.take()
    }

    /// What the request with this control structure wants.
    pub fn transfer(&mut self, control: [u8; DMA_CONTROL]) -> DmaTransfer {
        let word =
            |at: usize| u32::from_be_bytes([control[at], control[at + 1], control[at + 2], control[at + 3]]);
        let (command, length) = (word(0), word(4));
        let address = u64::from(word(8)) << 32 | u64::from(word(12));
        if command & CONTROL_SELECT != 0 {
            self.select((command >> 16) as u16);
        }
        if command & CONTROL_READ != 0 {
            DmaTransfer::Read { address, length }
        } else if command & CONTROL_WRITE != 0 {
            DmaTransfer::Failed
        } else {
            if command & CONTROL_SKIP != 0 {
                self.offset = self.offset.saturating_add(length);
            }
            DmaTransfer::Done
        }
    }

    /// Fills `bytes` with the next ones of the selected item.
    pub fn read_bytes(&mut self, bytes: &mut [u8]) {
        let at = self.offset as usize;
        let rest = self.item().and_then(|item| item.bytes.get(at..)).unwrap_or_default();
        let count = rest.len().min(bytes.len());
        bytes[..count].copy_from_slice(&rest[..count]);
        bytes[count..].fill(0);
        self.offset = self.offset.saturating_add(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
    }

    fn select(&mut self, key: u16) {
        (self.selected, self.offset) = (key, 0);
    }

    fn item(&self) -> Option<&Item> {
        let found = self.items.binary_search_by_key(&self.selected, |item| item.key).ok()?;
        self.items.get(found)
    }

    /// What is wrong with this state, if anything.
    fn problem(&self) -> Option<String> {
        if self.items.len() > MOST_ITEMS {
            return Some(format!("{} items", self.items.len()));
        }
        if !self.items.iter().is_sorted_by(|one, other| one.key < other.key) {
            return Some("its items are not in the order of their keys".to_owned());
        }
        let bytes = self.items.iter().map(|item| item.bytes.len()).sum::<usize>();
        if bytes > MOST_BYTES {
            return Some(format!("{bytes} bytes in its items"));
        }
        let long = self.items.iter().find(|item| item.name.len() > LONGEST_NAME)?;
        Some(format!("a file with a name of {} bytes", long.name.len()))
    }
}

/// The directory of `files`: their number, and for each its size, its key and its name.
fn directory(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = (files.len() as u32).to_be_bytes().to_vec();
    for (key, (name, contents)) in (FIRST_FILE..).zip(files) {
        bytes.extend((contents.len() as u32).to_be_bytes());
        bytes.extend(key.to_be_bytes());
        bytes.extend([0, 0]);
        let mut field = [0; LONGEST_NAME + 1];
        let length = name.len().min(LONGEST_NAME);
        field[..length].copy_from_slice(&name.as_bytes()[..length]);
        bytes.extend(field);
    }
    bytes
}

impl Device for FirmwareConfiguration {
    fn read(&mut self, offset: u16) -> (u8, Action) {
        let mut byte = [0];
        match offset {
            SELECTOR | DATA => self.read_bytes(&mut byte),
            DMA_HIGH.. => byte = [DMA_SIGNATURE[usize::from(offset - DMA_HIGH) % DMA_SIGNATURE.len()]],
            _ => {}
        }
        (byte[0], Action::NONE)
    }

    fn write_wide(&mut self, offset: u16, size: u8, value: u32) -> Option<Action> {
        match (offset, size) {
            (SELECTOR, 2) => self.select(value as u16),
            (DMA_HIGH, 4) => self.dma_high = value.swap_bytes(),
            (DMA_LOW, 4) => {
                self.request = Some(u64::from(self.dma_high) << 32 | u64::from(value.swap_bytes()));
                self.dma_high = 0;
                return Some(Action { disk: true, ..Action::NONE });
            }
            _ => {}
        }
        Some(Action::NONE)
    }

    fn after_reset(&self) -> FirmwareConfiguration {
        FirmwareConfiguration { items: self.items.clone(), ..FirmwareConfiguration::default() }
    }
}

impl Snapshot for FirmwareConfiguration {
    const KIND: &'static str = "fw-cfg";
    const VERSION: u16 = 1;
    type State = FirmwareConfiguration;

    fn state(&self) -> FirmwareConfiguration {
        self.clone()
    }

    fn set_state(&mut self, state: FirmwareConfiguration) -> Result<(), StateError> {
        if let Some(reason) = state.problem() {
            return Err(StateError::Damaged { kind: Self::KIND, reason });
        }
        *self = state;
        Ok(())
    }
}

#[cfg(test)]
#[path = "fw_cfg_test.rs"]
mod tests;

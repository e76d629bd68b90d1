//! The port at which the machine's own BIOS calls the supervisor.
//!
//! The BIOS in ROM (`firmware/bios.S`) writes to it at each of its entry points; the machine then serves the call
//! (`crate::bios`) with the registers of the processor and with guest memory. The value that is written has no
//! meaning. The machine has the port only if the guest's kind finds that BIOS in memory.
//!
//! What the port keeps is the transfer of a disk that a call waits for. The processor executes nothing meanwhile.

use serde::{Deserialize, Serialize};

use super::ide::SECTOR;
use super::lapic::MOST_CPUS;
use super::{Action, Device, MachineRequest, Snapshot, StateError};

/// The port.
pub const PORT: u16 = 0xBF;

/// Most sectors of a transfer: 640 KiB, where the boot image of a CD is loaded.
pub const MOST_SECTORS: u32 = 1280;

/// What a call does with the sectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TransferKind {
    /// They are read into guest memory.
    Read,
    /// They are written from guest memory.
    Write,
    /// They are read, and the data are dropped.
    Verify,
}

/// A transfer between a disk and guest memory, for a call of the BIOS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BiosTransfer {
    /// Number of the interrupt that is served.
    pub vector: u8,
    /// Number of the disk.
    pub unit: u8,
    /// First sector.
    pub lba: u64,
    /// Number of sectors, 1 to [`MOST_SECTORS`].
    pub sectors: u32,
    /// Guest-physical address of the buffer.
    pub address: u64,
    /// The direction.
    pub kind: TransferKind,
}

impl BiosTransfer {
    /// Bytes of the buffer.
    pub fn length(&self) -> usize {
        self.sectors as usize * SECTOR
    }
}

/// The port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BiosPort {
    /// The transfer under way, and the processor that waits for it.
    transfer: Option<(u8, BiosTransfer)>,
}

impl BiosPort {
    /// A processor waits for a transfer.
    pub fn begin(&mut self, cpu: u8, transfer: BiosTransfer) {
        self.transfer = Some((cpu, transfer));
    }

    /// The transfer under way, and the processor that waits for it.
    pub fn transfer(&self) -> Option<(u8, BiosTransfer)> {
        self.transfer
    }

    /// The transfer under way is over.
    pub fn finish(&mut self) {
        self.transfer = None;
    }
}

impl Device for BiosPort {
    fn write(&mut self, _offset: u16, _value: u8) -> Action {
        Action::request(MachineRequest::ServeBios)
    }
}

impl Snapshot for BiosPort {
    const KIND: &'static str = "bios-port";
    const VERSION: u16 = 1;
    type State = BiosPort;

    fn state(&self) -> BiosPort {
        *self
    }

    fn set_state(&mut self, state: BiosPort) -> Result<(), StateError> {
        if let Some((cpu, transfer)) = state.transfer {
            let damaged = |reason: String| Err(StateError::Damaged { kind: Self::KIND, reason });
            if usize::from(cpu) >= MOST_CPUS {
                return damaged(format!("CPU {cpu} waits for a disk"));
            }
            if transfer.sectors == 0 || transfer.sectors > MOST_SECTORS {
                return damaged(format!("{} sectors are transferred", transfer.sectors));
            }
        }
        *self = state;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRANSFER: BiosTransfer = BiosTransfer {
        vector: 0x13,
        unit: 1,
        lba: 5,
        sectors: 3,
        address: 0x7E00,
        kind: TransferKind::Verify,
    };

    #[test]
    fn a_write_of_any_value_is_a_call_and_a_read_is_none() {
        let mut port = BiosPort::default();
        assert_eq!(port.write(0, 0x5A), Action::request(MachineRequest::ServeBios));
        assert_eq!(port.read(0), (0xFF, Action::NONE));
        assert_eq!(port, BiosPort::default());
    }

    #[test]
    fn a_port_is_restored_in_the_middle_of_a_transfer() {
        let (mut port, mut copy) = (BiosPort::default(), BiosPort::default());
        port.begin(0, TRANSFER);
        copy.restore(&port.save()).unwrap();
        assert_eq!(copy.transfer(), Some((0, TRANSFER)));
        assert_eq!(TRANSFER.length(), 1536);
        copy.finish();
        assert_eq!(copy, BiosPort::default());
    }

    #[test]
    fn an_impossible_transfer_is_not_restored() {
        for transfer in [
            (MOST_CPUS as u8, TRANSFER),
            (0, BiosTransfer { sectors: 0, ..TRANSFER }),
            (0, BiosTransfer { sectors: MOST_SECTORS + 1, ..TRANSFER }),
        ] {
            let damaged = BiosPort { transfer: Some(transfer) };
            let mut port = BiosPort::default();
            assert!(matches!(port.restore(&damaged.save()), Err(StateError::Damaged { .. })));
            assert_eq!(port, BiosPort::default());
        }
    }
}

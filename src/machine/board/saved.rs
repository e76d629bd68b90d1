//! Saving and restoring all devices of the board.

use super::Board;
use crate::devices::table::{Registration, Role};
use crate::devices::{Payload, StateError};

impl Board {
    /// All devices that have state as payloads, each with its number among those of its kind. Optional devices in
    /// their state after power-on are left out.
    pub fn save(&self) -> Vec<(u16, Payload)> {
        let saved = self.table.iter().zip(&self.slots).filter_map(|(entry, slot)| {
            let payload = slot.device.save_state()?;
            let is_left_out = entry.is_optional() && (entry.create)().save_state().as_ref() == Some(&payload);
            (!is_left_out).then_some((entry.number, payload))
        });
        saved.collect()
    }

    /// The devices that [`Self::save`] has saved.
    ///
    /// # Errors
    ///
    /// [`StateError`], also for a device that is missing, occurs twice, or is unknown.
    pub fn restored(payloads: &[(u16, Payload)]) -> Result<Board, StateError> {
        let mut board = Board::default();
        board.restore(payloads)?;
        Ok(board)
    }

    /// Restores all devices from what [`Self::save`] has saved. After an error some of them are restored.
    ///
    /// # Errors
    ///
    /// As those of [`Self::restored`].
    pub(super) fn restore(&mut self, payloads: &[(u16, Payload)]) -> Result<(), StateError> {
        let mut rest: Vec<&(u16, Payload)> = payloads.iter().collect();
        let stateful = self.table.iter().zip(&mut self.slots).filter(|(entry, _)| entry.has_state);
        for (entry, slot) in stateful {
            let Registration { kind, number, .. } = *entry;
            let found = rest.iter().position(|(n, payload)| *n == number && payload.kind == kind);
            if found.is_none() && (entry.is_optional() || entry.may_be_missing) {
                slot.device.reset();
                continue;
            }
            let (_, payload) = rest.swap_remove(found.ok_or(StateError::Missing { kind, number })?);
            slot.device.restore_state(payload)?;
        }
        if let Some((number, payload)) = rest.first() {
            return Err(StateError::Unknown { kind: payload.kind.clone(), number: *number });
        }
        // As the local APICs have it.
        self.cpu = 0;
        if self.has_firmware() {
            self.connect(Role::Firmware);
        }
        if self.vbe().is_present() {
            self.connect(Role::Framebuffer);
        }
        self.map_pci();
        self.read_lines();
        Ok(())
    }
}

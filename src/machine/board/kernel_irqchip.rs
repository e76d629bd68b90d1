//! A board whose interrupt controllers and interval timer are KVM's.

use super::{Board, is};
use crate::devices::pit::Pit;
use crate::machine::kernel_irqchip::{LineChange, LineChanges};
use crate::settings::IrqchipMode;

impl Board {
    /// Sets whose interrupt controllers and interval timer the machine has, before the guest runs. With those of KVM
    /// the board's own are disconnected: no access reaches them, and no time.
    pub fn set_irqchip(&mut self, mode: IrqchipMode) {
        if mode == IrqchipMode::User {
            return;
        }
        self.line_changes = Some(LineChanges::new());
        let pits = (0..).zip(&self.slots).filter(|(_, slot)| is::<Pit>(slot.device.as_ref()));
        let pits: Vec<u8> = pits.map(|(at, _)| at).collect();
        for pit in &pits {
            self.slots[usize::from(*pit)].interrupt = None;
        }
        let own = [self.controllers.pic, self.controllers.ioapic, self.controllers.lapics];
        let disconnected: Vec<u8> = pits.into_iter().chain(own).collect();
        disconnected.iter().for_each(|device| self.decoder.disconnect(*device));
        self.timed.retain(|device| !disconnected.contains(device));
        self.read_lines();
    }

    /// Takes the oldest change that KVM's interrupt controllers are to be told.
    #[inline]
    pub(in crate::machine) fn next_line_change(&mut self) -> Option<LineChange> {
        let changes = self.line_changes.as_mut()?;
        let change = changes.pop_front();
        if changes.is_empty() {
            self.find_pending();
        }
        change
    }
}

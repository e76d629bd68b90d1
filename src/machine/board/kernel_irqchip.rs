//! A board whose interrupt controllers and interval timer are KVM's.

use super::wiring::Controllers;
use super::{Board, downcast_mut, is};
use crate::devices::StateError;
use crate::devices::ioapic::IoApic;
use crate::devices::lapic::LocalApics;
use crate::devices::pic::DualPic;
use crate::devices::pit::Pit;
use crate::kvm::{KernelIrqchipState, LapicState};
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

    /// A copy of the board, to be looked at, with copies of the interrupt controllers and the interval timer of KVM.
    ///
    /// # Errors
    ///
    /// Those of [`Board::restored`].
    pub(in crate::machine) fn with_copies(
        &self,
        irqchip: &KernelIrqchipState,
        lapics: &[LapicState],
    ) -> Result<Board, StateError> {
        let mut copy = Board::restored(&self.save())?;
        let Controllers { pic, ioapic, lapics: apics, .. } = copy.controllers;
        *downcast_mut(&mut copy.slots[usize::from(pic)]) = DualPic::copy_of(&irqchip.pics);
        *downcast_mut(&mut copy.slots[usize::from(ioapic)]) = IoApic::copy_of(&irqchip.ioapic);
        *downcast_mut(&mut copy.slots[usize::from(apics)]) = LocalApics::copies_of(lapics);
        for slot in copy.slots.iter_mut().filter(|slot| is::<Pit>(slot.device.as_ref())) {
            *downcast_mut(slot) = Pit::copy_of(&irqchip.pit);
        }
        Ok(copy)
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

//! A copy of KVM's IOAPIC, to be looked at.

use super::{IoApic, entry};
use crate::kvm::IoApicRegisters;

impl IoApic {
    /// The IOAPIC with these registers.
    pub fn copy_of(registers: &IoApicRegisters) -> IoApic {
        IoApic {
            entries: registers.entries.map(|value| value & !entry::DELIVERY_STATUS),
            levels: registers.irr,
            ..IoApic::default()
        }
    }
}

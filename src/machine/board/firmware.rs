//! What firmware would have done before the guest starts: guests are started without any.

use std::any::Any;

use super::{Board, downcast_mut};
use crate::devices::Device;
use crate::devices::pci::{PciBus, firmware};
use crate::devices::pic::{self, DualPic};
use crate::devices::rtc::Rtc;
use crate::memory::LOW_RAM_LIMIT;

impl Board {
    /// Sets what firmware would have found out and left in the CMOS RAM: the memory of `size` bytes, and the time of
    /// day at power-on, in seconds since 1970 UTC.
    pub fn set_up_cmos(&mut self, size: u64, time_of_day: i64) {
        let mut devices = self.slots.iter_mut().map(|slot| slot.device.as_mut() as &mut dyn Any);
        if let Some(rtc) = devices.find_map(<dyn Any>::downcast_mut::<Rtc>) {
            let low = size.min(LOW_RAM_LIMIT);
            rtc.set_memory_size(low, size - low);
            rtc.set_time_of_day(time_of_day);
        }
    }

    /// Sets whether the IDE function has flat base address registers
    /// ([`IdeFunction::new`](crate::devices::pci::ide::IdeFunction::new)). The PCI bus is then as after power-on.
    pub fn set_flat_ide_bars(&mut self, on: bool) {
        downcast_mut::<PciBus>(&mut self.slots[usize::from(self.pci)]).set_flat_ide_bars(on);
    }

    /// Sets the PCI bus up ([`PciBus::set_up`]), and makes the lines that its interrupts are routed to level-triggered.
    pub fn set_up_pci(&mut self) {
        downcast_mut::<PciBus>(&mut self.slots[usize::from(self.pci)]).set_up();
        let lines = firmware::level_triggered_lines();
        let pic = downcast_mut::<DualPic>(&mut self.slots[usize::from(self.controllers.pic)]);
        for (port, lines) in pic::ELCR_PORTS.into_iter().zip(lines.to_le_bytes()) {
            let _ = pic.write(port, lines);
        }
        self.pci_changed();
    }
}

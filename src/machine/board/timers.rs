//! What the timers of the board do, for `info timers`.

use std::any::Any;

use super::Board;
use crate::devices::acpi_pm::AcpiPm;
use crate::devices::hpet::Hpet;
use crate::devices::pit::Pit;
use crate::devices::rtc::Rtc;

impl Board {
    /// One line for each timer.
    pub fn describe_timers(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for slot in &self.slots {
            let device = slot.device.as_ref() as &dyn Any;
            if let Some(pit) = device.downcast_ref::<Pit>() {
                lines.extend(pit.describe().map(|line| format!("PIT {line}")));
            } else if let Some(rtc) = device.downcast_ref::<Rtc>() {
                lines.push(format!("RTC: {}", rtc.describe()));
            } else if let Some(hpet) = device.downcast_ref::<Hpet>() {
                lines.extend(hpet.describe().map(|line| format!("HPET {line}")));
            } else if let Some(pm) = device.downcast_ref::<AcpiPm>() {
                lines.push(format!("ACPI: {}", pm.describe()));
            }
        }
        lines
    }
}

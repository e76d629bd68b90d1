//! ACPI fixed hardware: PM timer, PM1 event and control registers, and the ports that power the machine off.
//!
//! ACPI specification 6.5, 4.8.3 (fixed hardware registers), at the ports at which QEMU has them for its PIIX4.
//!
//! - The timer has 24 bits and 3.579545 MHz.
//! - SCI_EN is always set: there is no SMI command port. The interrupt line is the SCI.
//! - Every sleep type powers the machine off.
//! - The general-purpose event registers read as zero.
//! - Port 0xB004 is PM1 control where Bochs and old QEMU have it; port 0x8900 takes the string `Shutdown`, as in
//!   Bochs. Both only power off.
//!
//! Offsets are port numbers. A deadline is the next carry of the timer while its interrupt is enabled.

use serde::{Deserialize, Serialize};

use super::{Action, Device, MachineRequest, MachineTime, Snapshot, StateError};

/// PM1 status, two bytes; PM1 enable follows.
pub const PM1_EVENT: u16 = 0x600;
/// PM1 control, two bytes.
pub const PM1_CONTROL: u16 = 0x604;
/// The PM timer, four bytes.
pub const PM_TIMER: u16 = 0x608;
/// Last port of the registers from [`PM1_EVENT`] on.
pub const LAST_PM_PORT: u16 = PM_TIMER + 3;
/// General-purpose event block 0, four bytes.
pub const GPE0: u16 = 0xAFE0;
/// PM1 control of Bochs and old QEMU, two bytes.
pub const OLD_PM1_CONTROL: u16 = 0xB004;
/// The port that takes the string `Shutdown`.
pub const SHUTDOWN_PORT: u16 = 0x8900;
/// Frequency of the PM timer in hertz.
pub const FREQUENCY: u64 = 3_579_545;

const STATUS_LOW: u16 = PM1_EVENT;
const STATUS_HIGH: u16 = PM1_EVENT + 1;
const ENABLE_LOW: u16 = PM1_EVENT + 2;
const ENABLE_HIGH: u16 = PM1_EVENT + 3;
const CONTROL_LOW: u16 = PM1_CONTROL;
const CONTROL_HIGH: u16 = PM1_CONTROL + 1;
const OLD_CONTROL_HIGH: u16 = OLD_PM1_CONTROL + 1;

/// PM1 status and enable: the timer has carried into its highest bit or out of it.
const TIMER_EVENT: u16 = 1 << 0;
/// PM1 status and enable: the power button was pressed.
const POWER_BUTTON: u16 = 1 << 8;
/// The enable bits that exist: timer, global lock, power button, real-time clock.
const ENABLE_MASK: u16 = 0x0521;
/// PM1 control: events raise the SCI.
const SCI_ENABLED: u16 = 1 << 0;
/// PM1 control: bits that read as they were written: BM_RLD and SLP_TYP.
const CONTROL_MASK: u16 = 0x1C02;
/// The high byte of PM1 control: enter the sleep state.
const SLEEP_ENABLE_HIGH: u8 = 0x20;

const TIMER_BITS: u32 = 24;
/// Ticks between two carries.
const CARRY: u64 = 1 << (TIMER_BITS - 1);
const NANOS_PER_SECOND: u128 = 1_000_000_000;

const SHUTDOWN: &[u8] = b"Shutdown";

/// The fixed hardware.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AcpiPm {
    status: u16,
    enable: u16,
    control: u16,
    /// Bytes of `Shutdown` that were written.
    shutdown_bytes: u8,
    now: MachineTime,
}

impl AcpiPm {
    /// The power button is pressed.
    pub fn press_power_button(&mut self) -> Action {
        self.status |= POWER_BUTTON;
        Action::line(self.line())
    }

    /// One line about the enabled events, without line end.
    pub fn describe(&self) -> String {
        let state = |bit: u16| if self.enable & bit != 0 { "enabled" } else { "disabled" };
        format!("PM timer event {}, power button event {}", state(TIMER_EVENT), state(POWER_BUTTON))
    }

    fn write_shutdown(&mut self, value: u8) -> Action {
        let expected = SHUTDOWN[usize::from(self.shutdown_bytes)];
        self.shutdown_bytes =
            if value == expected { self.shutdown_bytes + 1 } else { u8::from(value == SHUTDOWN[0]) };
        if usize::from(self.shutdown_bytes) < SHUTDOWN.len() {
            return Action::NONE;
        }
        self.shutdown_bytes = 0;
        Action::request(MachineRequest::PowerOff)
    }
}

/// Ticks of the PM timer from power-on to `time`.
fn ticks(time: MachineTime) -> u64 {
    (u128::from(time.as_nanos()) * u128::from(FREQUENCY) / NANOS_PER_SECOND) as u64
}

/// Replaces the low or the high byte of `register`.
fn with_byte(register: u16, high: bool, value: u8) -> u16 {
    let [low_byte, high_byte] = register.to_le_bytes();
    u16::from_le_bytes(if high { [low_byte, value] } else { [value, high_byte] })
}

impl Device for AcpiPm {
    fn explain(&self) -> Vec<String> {
        vec![self.describe()]
    }

    fn read(&mut self, port: u16) -> (u8, Action) {
        let byte = |register: u16, from: u16| register.to_le_bytes()[usize::from(port - from)];
        let value = match port {
            STATUS_LOW..=STATUS_HIGH => byte(self.status, STATUS_LOW),
            ENABLE_LOW..=ENABLE_HIGH => byte(self.enable, ENABLE_LOW),
            CONTROL_LOW..=CONTROL_HIGH => byte(self.control | SCI_ENABLED, CONTROL_LOW),
            PM_TIMER..=LAST_PM_PORT => {
                let timer = ticks(self.now) % (1 << TIMER_BITS);
                timer.to_le_bytes()[usize::from(port - PM_TIMER)]
            }
            _ => 0,
        };
        (value, Action::NONE)
    }

    fn write(&mut self, port: u16, value: u8) -> Action {
        let before = (self.line(), self.next_deadline());
        match port {
            STATUS_LOW | STATUS_HIGH => self.status &= !with_byte(0, port == STATUS_HIGH, value),
            ENABLE_LOW | ENABLE_HIGH => {
                self.enable = with_byte(self.enable, port == ENABLE_HIGH, value) & ENABLE_MASK;
            }
            CONTROL_LOW | CONTROL_HIGH => {
                self.control = with_byte(self.control, port == CONTROL_HIGH, value) & CONTROL_MASK;
                if port == CONTROL_HIGH && value & SLEEP_ENABLE_HIGH != 0 {
                    return Action::request(MachineRequest::PowerOff);
                }
            }
            OLD_CONTROL_HIGH if value & SLEEP_ENABLE_HIGH != 0 => {
                return Action::request(MachineRequest::PowerOff);
            }
            SHUTDOWN_PORT => return self.write_shutdown(value),
            _ => {}
        }
        let line = self.line();
        Action {
            line: (line != before.0).then_some(line),
            deadline: self.next_deadline() != before.1,
            ..Action::NONE
        }
    }

    fn line(&self) -> bool {
        self.status & self.enable != 0
    }

    fn next_deadline(&self) -> Option<MachineTime> {
        if self.enable & !self.status & TIMER_EVENT == 0 || self.line() {
            return None;
        }
        let carry = (ticks(self.now) / CARRY + 1) * CARRY;
        let nanos = (u128::from(carry) * NANOS_PER_SECOND).div_ceil(u128::from(FREQUENCY));
        u64::try_from(nanos).ok().map(MachineTime::from_nanos)
    }

    fn advance(&mut self, now: MachineTime) -> Action {
        let now = self.now.max(now);
        let before = self.line();
        if ticks(now) / CARRY != ticks(self.now) / CARRY {
            self.status |= TIMER_EVENT;
        }
        self.now = now;
        let line = self.line();
        Action { line: (line != before).then_some(line), deadline: line != before, ..Action::NONE }
    }
}

impl Snapshot for AcpiPm {
    const KIND: &'static str = "acpi-pm";
    const VERSION: u16 = 1;
    type State = AcpiPm;

    fn state(&self) -> AcpiPm {
        self.clone()
    }

    fn set_state(&mut self, state: AcpiPm) -> Result<(), StateError> {
        let damaged = |reason: &str| StateError::Damaged { kind: Self::KIND, reason: reason.to_owned() };
        let impossible = [
            (state.status, TIMER_EVENT | POWER_BUTTON),
            (state.enable, ENABLE_MASK),
            (state.control, CONTROL_MASK),
        ];
        if impossible.iter().any(|(value, mask)| value & !mask != 0) {
            return Err(damaged("a register has bits that do not exist"));
        }
        if usize::from(state.shutdown_bytes) >= SHUTDOWN.len() {
            return Err(damaged("more than a whole string was written to the shutdown port"));
        }
        *self = state;
        Ok(())
    }
}

#[cfg(test)]
#[path = "acpi_pm_test.rs"]
mod tests;

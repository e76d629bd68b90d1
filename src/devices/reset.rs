//! The chipset's reset ports: 0xCF9 and system control port A (0x92).
//!
//! Manual: Intel ICH10 datasheet, 13.7.2 (RST_CNT, 0xCF9) and 13.7.1 (PORT92).

use serde::{Deserialize, Serialize};

use super::{Action, Device, MachineRequest, Snapshot, StateError};

/// Port of the reset control register.
pub const RESET_CONTROL: u16 = 0xCF9;
/// Port of system control port A.
pub const SYSTEM_CONTROL_A: u16 = 0x92;

/// RST_CNT: reset the processor, on a rising edge.
const RESET_CPU: u8 = 0x04;
/// RST_CNT: bits that read back.
const RESET_CONTROL_MASK: u8 = 0x0E;
/// PORT92: reset the processor, on a rising edge.
const FAST_RESET: u8 = 0x01;
/// PORT92: address line 20 is enabled. It always is on this machine; the bit only reads back.
const A20: u8 = 0x02;

/// The reset control register.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResetControl {
    value: u8,
}

impl Device for ResetControl {
    fn read(&mut self, _offset: u16) -> (u8, Action) {
        (self.value, Action::NONE)
    }

    fn write(&mut self, _offset: u16, value: u8) -> Action {
        let rising = value & !self.value & RESET_CPU != 0;
        self.value = value & RESET_CONTROL_MASK;
        if rising { Action::request(MachineRequest::Reset) } else { Action::NONE }
    }
}

/// System control port A.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SystemControlA {
    value: u8,
}

impl Default for SystemControlA {
    fn default() -> SystemControlA {
        SystemControlA { value: A20 }
    }
}

impl Device for SystemControlA {
    fn read(&mut self, _offset: u16) -> (u8, Action) {
        (self.value, Action::NONE)
    }

    fn write(&mut self, _offset: u16, value: u8) -> Action {
        let rising = value & !self.value & FAST_RESET != 0;
        self.value = value & (A20 | FAST_RESET);
        if rising { Action::request(MachineRequest::Reset) } else { Action::NONE }
    }
}

impl Snapshot for ResetControl {
    const KIND: &'static str = "reset-control";
    const VERSION: u16 = 1;
    type State = ResetControl;

    fn state(&self) -> ResetControl {
        *self
    }

    fn set_state(&mut self, state: ResetControl) -> Result<(), StateError> {
        *self = state;
        Ok(())
    }
}

impl Snapshot for SystemControlA {
    const KIND: &'static str = "system-control-a";
    const VERSION: u16 = 1;
    type State = SystemControlA;

    fn state(&self) -> SystemControlA {
        *self
    }

    fn set_state(&mut self, state: SystemControlA) -> Result<(), StateError> {
        *self = state;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_rising_edge_resets() {
        let mut port = ResetControl::default();
        assert_eq!(port.write(0, 0x02), Action::NONE);
        assert_eq!(port.write(0, 0x06).request, Some(MachineRequest::Reset));
        assert_eq!(port.write(0, 0x06), Action::NONE);
        assert_eq!(port.read(0).0, 0x06);
    }

    #[test]
    fn the_a20_bit_reads_back_and_bit_0_resets() {
        let mut port = SystemControlA::default();
        assert_eq!(port.read(0).0, A20);
        assert_eq!(port.write(0, 0), Action::NONE);
        assert_eq!(port.read(0).0, 0);
        assert_eq!(port.write(0, 1).request, Some(MachineRequest::Reset));
    }

    #[test]
    fn both_survive_save_and_restore() {
        let (mut control, mut a) = (ResetControl::default(), SystemControlA::default());
        let _ = control.write(0, 0x02);
        let _ = a.write(0, 0x00);
        let (mut control_copy, mut a_copy) = (ResetControl::default(), SystemControlA::default());
        control_copy.restore(&control.save()).unwrap();
        a_copy.restore(&a.save()).unwrap();
        assert_eq!((control_copy, a_copy), (control, a));
        assert!(a_copy.restore(&control.save()).is_err());
    }
}

//! Interrupt lines: from the devices to the interrupt controllers.
//!
//! The board reports each device's level here. Devices may share a line, as COM1 and COM3 do: it is high while
//! any of them holds it high.

/// Number of ISA interrupt lines.
pub const LINES: usize = 16;

/// The lines between devices and interrupt controllers.
#[derive(Clone, Debug, Default)]
pub struct InterruptLines {
    /// For each line one bit for each device that holds it high.
    holders: [u64; LINES],
}

impl InterruptLines {
    /// The device numbered `device` (0 to 63) sets its output to `line` to `level`. Returns the new level of the line
    /// if it has changed.
    #[inline]
    pub fn set(&mut self, line: u8, device: u8, level: bool) -> Option<bool> {
        let holders = &mut self.holders[usize::from(line)];
        let before = *holders;
        *holders = before & !(1 << device) | u64::from(level) << device;
        ((before == 0) != (*holders == 0)).then_some(*holders != 0)
    }

    /// Level of `line` (0 to 15).
    pub fn level(&self, line: u8) -> bool {
        self.holders[usize::from(line)] != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shared_line_is_high_while_any_device_holds_it() {
        let mut lines = InterruptLines::default();
        assert_eq!(lines.set(4, 0, true), Some(true));
        assert_eq!(lines.set(4, 2, true), None);
        assert_eq!(lines.set(4, 0, false), None);
        assert!(lines.level(4) && !lines.level(3));
        assert_eq!(lines.set(4, 2, false), Some(false));
        assert!(!lines.level(4));
    }
}

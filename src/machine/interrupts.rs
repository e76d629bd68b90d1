//! Interrupt lines: from the devices to whatever takes interrupts.
//!
//! The board reports each device's level here. Devices may share a line, as COM1 and COM3 do: it is high while
//! any of them holds it high. Changes of a line reach an [`InterruptSink`].

/// Receives the levels of interrupt lines: an interrupt controller.
pub trait InterruptSink {
    /// The level of `line` (0 to 15) has changed to `level`.
    fn set_level(&mut self, line: u8, level: bool);
}

/// Number of ISA interrupt lines.
pub const LINES: usize = 16;

/// The sink of a machine without an interrupt controller: it records the levels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LineLevels {
    high: u16,
}

impl LineLevels {
    /// Level of `line` (0 to 15).
    pub fn level(&self, line: u8) -> bool {
        self.high >> line & 1 == 1
    }
}

impl InterruptSink for LineLevels {
    fn set_level(&mut self, line: u8, level: bool) {
        self.high = self.high & !(1 << line) | u16::from(level) << line;
    }
}

/// The lines between devices and the sink.
#[derive(Clone, Debug, Default)]
pub struct InterruptLines<S = LineLevels> {
    /// For each line one bit for each device that holds it high.
    holders: [u64; LINES],
    sink: S,
}

impl<S: InterruptSink> InterruptLines<S> {
    /// The device numbered `device` (0 to 63) sets its output to `line` to `level`.
    #[inline]
    pub fn set(&mut self, line: u8, device: u8, level: bool) {
        let holders = &mut self.holders[usize::from(line)];
        let before = *holders;
        *holders = before & !(1 << device) | u64::from(level) << device;
        if (before == 0) != (*holders == 0) {
            self.sink.set_level(line, level);
        }
    }

    /// The sink.
    pub fn sink(&self) -> &S {
        &self.sink
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shared_line_is_high_while_any_device_holds_it() {
        let mut lines = InterruptLines::<LineLevels>::default();
        lines.set(4, 0, true);
        lines.set(4, 2, true);
        lines.set(4, 0, false);
        assert!(lines.sink().level(4) && !lines.sink().level(3));
        lines.set(4, 2, false);
        assert!(!lines.sink().level(4));
    }
}

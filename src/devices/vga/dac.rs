//! The digital-to-analogue converter: 256 colours of three 6-bit components.
//!
//! IBM PS/2 Hardware Interface Technical Reference, Video Subsystem, section "Video
//! Digital-to-Analog Converter".

use serde::{Deserialize, Serialize};

const COLOURS: usize = 256;

/// Components have six bits.
const COMPONENT: u8 = 0x3F;

/// The converter's table and the state of an access to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Dac {
    /// The pixel mask register.
    pub mask: u8,
    /// Always [`COLOURS`] entries; a vector because serde has no arrays of that size.
    table: Vec<[u8; 3]>,
    index: u8,
    /// Which component the next data access is for, 0 to 2.
    component: u8,
    reading: bool,
    /// Components written so far; a colour changes once its third arrives.
    latch: [u8; 3],
}

impl Dac {
    /// The table as the BIOS fills it for text: the 64 colours of the EGA, the rest black.
    pub fn new() -> Dac {
        let mut table = vec![[0; 3]; COLOURS];
        for (index, colour) in table.iter_mut().take(64).enumerate() {
            *colour = ega_colour(index as u8);
        }
        Dac { mask: 0xFF, table, index: 0, component: 0, reading: false, latch: [0; 3] }
    }

    /// What a pixel of value `pixel` looks like: red, green, blue, 0 to 63 each.
    pub fn colour(&self, pixel: u8) -> [u8; 3] {
        self.table[usize::from(pixel & self.mask)]
    }

    /// The address register.
    pub fn index(&self) -> u8 {
        self.index
    }

    /// The state register: 3 while colours are read, 0 while they are written.
    pub fn direction(&self) -> u8 {
        if self.reading { 3 } else { 0 }
    }

    /// The next data accesses read colours from `index` on.
    pub fn start_reading(&mut self, index: u8) {
        (self.index, self.component, self.reading) = (index, 0, true);
    }

    /// The next data accesses write colours from `index` on.
    pub fn start_writing(&mut self, index: u8) {
        (self.index, self.component, self.reading) = (index, 0, false);
    }

    /// The next component of the colour being read.
    pub fn read(&mut self) -> u8 {
        let value = self.table[usize::from(self.index)][usize::from(self.component)];
        self.advance();
        value
    }

    /// Takes the next component of the colour being written.
    pub fn write(&mut self, value: u8) {
        self.latch[usize::from(self.component)] = value & COMPONENT;
        if self.component == 2 {
            self.table[usize::from(self.index)] = self.latch;
        }
        self.advance();
    }

    /// What makes this a state the converter can never be in, if anything does.
    pub fn check(&self) -> Result<(), String> {
        if self.table.len() != COLOURS {
            return Err(format!("the DAC has {} colours, not {COLOURS}", self.table.len()));
        }
        if self.component > 2 {
            return Err(format!("the DAC is at component {} of a colour, beyond 2", self.component));
        }
        let components = self.table.iter().flatten().chain(&self.latch);
        match components.max() {
            Some(&most) if most > COMPONENT => {
                Err(format!("a DAC component is {most:#x}, beyond {COMPONENT:#x}"))
            }
            _ => Ok(()),
        }
    }

    fn advance(&mut self) {
        self.component += 1;
        if self.component == 3 {
            self.component = 0;
            self.index = self.index.wrapping_add(1);
        }
    }
}

/// EGA colour `index`: bits 0 to 2 are two thirds of blue, green and red, bits 3 to 5 one third.
fn ega_colour(index: u8) -> [u8; 3] {
    [2, 1, 0].map(|bit| 42 * (index >> bit & 1) + 21 * (index >> (bit + 3) & 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn impossible_states_are_refused() {
        assert_eq!(Dac::new().check(), Ok(()));
        let mut short = Dac::new();
        short.table.pop();
        assert!(short.check().unwrap_err().contains("255 colours"));
        assert!(Dac { component: 3, ..Dac::new() }.check().unwrap_err().contains("component 3"));
        assert!(Dac { latch: [0, 0x40, 0], ..Dac::new() }.check().unwrap_err().contains("0x40"));
    }
}

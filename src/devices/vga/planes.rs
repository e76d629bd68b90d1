//! How the processor reads and writes video memory in planes: latches, write modes 0 to 3 and read modes 0 and 1.
//!
//! IBM PS/2 Hardware Interface Technical Reference, Video Subsystem, sections "Sequencer Registers", "Graphics
//! Controller Registers" and "Video Memory Read and Write Operations". With odd/even addressing the planes lie as in
//! QEMU: an even and an odd address share a cell.

use super::Vga;

/// A byte of each of the four planes at one address.
pub type Planes = [u8; 4];

/// The registers that decide how an access is carried out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PlaneAccess {
    map_mask: u8,
    odd_even: bool,
    set_reset: u8,
    enable_set_reset: u8,
    compare: u8,
    rotate: u8,
    function: u8,
    read_map: u8,
    write_mode: u8,
    read_mode: u8,
    compare_mask: u8,
    bit_mask: u8,
}

impl Vga {
    /// True if the window at 0xA0000 shows planes: memory is mapped there, and the planes are not chained.
    pub fn maps_planes(&self) -> bool {
        let (map, chained) =
            (self.state.graphics.registers[6] >> 2 & 3, self.state.sequencer.registers[4] & 8);
        map < 2 && chained == 0
    }

    /// How planes are accessed, by the registers as they are now.
    pub fn plane_access(&self) -> PlaneAccess {
        let (sequencer, graphics) = (&self.state.sequencer.registers, &self.state.graphics.registers);
        PlaneAccess {
            map_mask: sequencer[2] & 15,
            odd_even: sequencer[4] & 4 == 0,
            set_reset: graphics[0] & 15,
            enable_set_reset: graphics[1] & 15,
            compare: graphics[2] & 15,
            rotate: graphics[3] & 7,
            function: graphics[3] >> 3 & 3,
            read_map: graphics[4] & 3,
            write_mode: graphics[5] & 3,
            read_mode: graphics[5] >> 3 & 1,
            compare_mask: graphics[7] & 15,
            bit_mask: graphics[8],
        }
    }
}

/// All bits of a plane if `bits` has the plane's bit.
fn plane(bits: u8, plane: usize) -> u8 {
    if bits >> plane & 1 == 1 { 0xFF } else { 0 }
}

impl PlaneAccess {
    /// The place in the planes of `offset` in the window.
    pub fn cell(&self, offset: u32) -> u32 {
        if self.odd_even { offset >> 1 } else { offset }
    }

    /// What the planes hold after `value` was written at `offset`, where they held `old`.
    pub fn write(&self, latches: Planes, old: Planes, offset: u32, value: u8) -> Planes {
        if self.odd_even {
            let mut new = old;
            let odd = (offset & 1) as usize;
            if self.map_mask >> odd & 1 == 1 {
                new[odd] = value;
            }
            return new;
        }
        let rotated = value.rotate_right(self.rotate.into());
        let mask = if self.write_mode == 3 { self.bit_mask & rotated } else { self.bit_mask };
        std::array::from_fn(|at| {
            let latch = latches[at];
            let data = match self.write_mode {
                0 if self.enable_set_reset >> at & 1 == 1 => plane(self.set_reset, at),
                0 => rotated,
                2 => plane(value, at),
                _ => plane(self.set_reset, at),
            };
            let data = match self.function {
                0 => data,
                1 => data & latch,
                2 => data | latch,
                _ => data ^ latch,
            };
            let new = if self.write_mode == 1 { latch } else { data & mask | latch & !mask };
            if self.map_mask >> at & 1 == 1 { new } else { old[at] }
        })
    }

    /// What is read at `offset`, where the planes hold `planes`, which become the latches.
    pub fn read(&self, planes: Planes, offset: u32) -> u8 {
        if self.odd_even {
            return planes[usize::from(self.read_map & 2) | (offset & 1) as usize];
        }
        if self.read_mode == 0 {
            return planes[usize::from(self.read_map)];
        }
        let differs = (0..4)
            .filter(|at| self.compare_mask >> at & 1 == 1)
            .fold(0, |differs, at| differs | (planes[at] ^ plane(self.compare, at)));
        !differs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LATCHES: Planes = [0x0F, 0xF0, 0x55, 0xAA];
    const OLD: Planes = [1, 2, 3, 4];

    fn access() -> PlaneAccess {
        PlaneAccess { map_mask: 15, bit_mask: 0xFF, ..PlaneAccess::default() }
    }

    #[test]
    fn write_mode_0_rotates_and_sets_or_resets() {
        assert_eq!(access().write(LATCHES, OLD, 0, 0x81), [0x81; 4]);
        let rotated = PlaneAccess { rotate: 1, map_mask: 0b0101, ..access() };
        assert_eq!(rotated.write(LATCHES, OLD, 0, 0x81), [0xC0, 2, 0xC0, 4]);
        let set = PlaneAccess { enable_set_reset: 0b0011, set_reset: 0b0001, ..access() };
        assert_eq!(set.write(LATCHES, OLD, 0, 0x3C), [0xFF, 0, 0x3C, 0x3C]);
        let masked = PlaneAccess { bit_mask: 0xF0, ..access() };
        assert_eq!(masked.write(LATCHES, OLD, 0, 0x33), [0x3F, 0x30, 0x35, 0x3A]);
    }

    #[test]
    fn functions_combine_data_with_the_latches() {
        let with = |function| PlaneAccess { function, ..access() }.write(LATCHES, OLD, 0, 0x3C)[0];
        assert_eq!([0, 1, 2, 3].map(with), [0x3C, 0x0C, 0x3F, 0x33]);
    }

    #[test]
    fn write_mode_1_copies_the_latches() {
        let copy = PlaneAccess { write_mode: 1, bit_mask: 0, function: 3, map_mask: 0b1110, ..access() };
        assert_eq!(copy.write(LATCHES, OLD, 0, 0x77), [1, 0xF0, 0x55, 0xAA]);
    }

    #[test]
    fn write_mode_2_writes_a_colour() {
        let colour = PlaneAccess { write_mode: 2, bit_mask: 0x80, ..access() };
        assert_eq!(colour.write(LATCHES, OLD, 0, 0b0101), [0x8F, 0x70, 0xD5, 0x2A]);
    }

    #[test]
    fn write_mode_3_masks_with_the_data() {
        let mode = PlaneAccess { write_mode: 3, bit_mask: 0xF0, set_reset: 0b0110, ..access() };
        assert_eq!(mode.write(LATCHES, OLD, 0, 0x3C), [0x0F, 0xF0, 0x75, 0x8A]);
    }

    #[test]
    fn reads_select_a_plane_or_compare_colours() {
        let reads = |read_map| PlaneAccess { read_map, ..access() }.read(LATCHES, 0);
        assert_eq!([0, 1, 2, 3].map(reads), LATCHES);
        let compare = PlaneAccess { read_mode: 1, compare: 0b0101, compare_mask: 15, ..access() };
        assert_eq!(compare.read([0xF0, 0, 0xFF, 0x01], 0), 0xF0 & !0x01);
        assert_eq!(PlaneAccess { compare_mask: 0, ..compare }.read(OLD, 0), 0xFF, "no plane is compared");
    }

    #[test]
    fn odd_and_even_addresses_reach_planes_of_their_own() {
        let text = PlaneAccess { odd_even: true, map_mask: 3, ..access() };
        assert_eq!((text.cell(6), text.cell(7)), (3, 3));
        assert_eq!(text.write(LATCHES, OLD, 7, 0x41), [1, 0x41, 3, 4]);
        assert_eq!((text.read(OLD, 6), text.read(OLD, 7)), (1, 2));
    }
}

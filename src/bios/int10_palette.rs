//! INT 10h, AH = 10h: palette registers, the overscan colour, blinking, and the colours of the DAC.

use super::call::{BiosCall, BiosPlatform};

const ATTRIBUTE: u16 = 0x3C0;
const ATTRIBUTE_READ: u16 = 0x3C1;
const STATUS: u16 = 0x3DA;
const DAC_READ: u16 = 0x3C7;
const DAC_WRITE: u16 = 0x3C8;
const DAC_DATA: u16 = 0x3C9;
/// Bit 5 of the attribute controller's address: the screen stays on.
const SCREEN_ON: u8 = 0x20;
const MODE_CONTROL: u8 = 0x10;
const OVERSCAN: u8 = 0x11;
/// Attribute bit 7 blinks.
const BLINK: u8 = 0x08;
/// Colours of the DAC.
const COLOURS: u16 = 256;

pub(super) fn serve(call: &mut BiosCall, platform: &mut dyn BiosPlatform) {
    match call.al() {
        0x00 if call.bl() <= OVERSCAN => set_attribute(call.bl(), call.bh(), platform),
        0x01 => set_attribute(OVERSCAN, call.bh(), platform),
        0x02 => {
            for index in 0..17 {
                let value = platform.byte(call.in_es(call.dx().wrapping_add(index)));
                // The last one is the overscan colour.
                set_attribute(if index == 16 { OVERSCAN } else { index as u8 }, value, platform);
            }
        }
        0x03 => {
            let mode = attribute(MODE_CONTROL, platform);
            let mode = if call.bl() & 1 != 0 { mode | BLINK } else { mode & !BLINK };
            set_attribute(MODE_CONTROL, mode, platform);
        }
        0x07 if call.bl() <= OVERSCAN => call.set_bh(attribute(call.bl(), platform)),
        0x08 => call.set_bh(attribute(OVERSCAN, platform)),
        0x09 => {
            for index in 0..17 {
                let value = attribute(if index == 16 { OVERSCAN } else { index as u8 }, platform);
                platform.set_byte(call.in_es(call.dx().wrapping_add(index)), value);
            }
        }
        0x10 => {
            platform.port_out(DAC_WRITE, call.bl());
            [call.dh(), call.ch(), call.cl()]
                .into_iter()
                .for_each(|value| platform.port_out(DAC_DATA, value));
        }
        0x12 => {
            platform.port_out(DAC_WRITE, call.bl());
            for index in 0..3 * call.cx().min(COLOURS) {
                let value = platform.byte(call.in_es(call.dx().wrapping_add(index)));
                platform.port_out(DAC_DATA, value);
            }
        }
        0x15 => {
            platform.port_out(DAC_READ, call.bl());
            let [red, green, blue] = [(); 3].map(|()| platform.port_in(DAC_DATA));
            call.set_dh(red);
            call.set_cx(u16::from_be_bytes([green, blue]));
        }
        0x17 => {
            platform.port_out(DAC_READ, call.bl());
            for index in 0..3 * call.cx().min(COLOURS) {
                let value = platform.port_in(DAC_DATA);
                platform.set_byte(call.in_es(call.dx().wrapping_add(index)), value);
            }
        }
        _ => {}
    }
}

fn attribute(index: u8, platform: &mut dyn BiosPlatform) -> u8 {
    platform.port_in(STATUS);
    platform.port_out(ATTRIBUTE, index | SCREEN_ON);
    platform.port_in(ATTRIBUTE_READ)
}

fn set_attribute(index: u8, value: u8, platform: &mut dyn BiosPlatform) {
    platform.port_in(STATUS);
    platform.port_out(ATTRIBUTE, index | SCREEN_ON);
    platform.port_out(ATTRIBUTE, value);
}

#[cfg(test)]
mod tests {
    use super::super::testing::TestPlatform;
    use super::*;

    #[test]
    fn blinking_is_switched_off_and_on() {
        let mut platform = TestPlatform::default();
        let mut switch = |on: u8| {
            let mut call = BiosCall { eax: 0x1003, ebx: on.into(), ..BiosCall::default() };
            serve(&mut call, &mut platform);
            platform.vga.view().blink
        };
        assert_eq!([switch(0), switch(1)], [false, true]);
        assert!(!platform.vga.view().blank, "the screen stays on");
    }

    #[test]
    fn colours_are_read_as_they_were_written() {
        let mut platform = TestPlatform::default();
        let mut write = BiosCall { eax: 0x1010, ebx: 7, edx: 0x0100, ecx: 0x0203, ..BiosCall::default() };
        serve(&mut write, &mut platform);
        let mut read = BiosCall { eax: 0x1015, ebx: 7, ..BiosCall::default() };
        serve(&mut read, &mut platform);
        assert_eq!((read.dh(), read.cx()), (1, 0x0203));
        let mut palette = BiosCall { eax: 0x1000, ebx: 0x2A05, ..BiosCall::default() };
        serve(&mut palette, &mut platform);
        let mut read = BiosCall { eax: 0x1007, ebx: 5, ..BiosCall::default() };
        serve(&mut read, &mut platform);
        assert_eq!(read.bh(), 0x2A);
    }
}

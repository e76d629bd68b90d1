//! INT 14h: serial ports; INT 17h: printers, of which there are none.
//!
//! Nothing waits: a port without a byte to read reports a time-out at once.

use super::call::{BiosCall, BiosPlatform, Served};
use super::data_areas::bda;

/// Offsets of the registers of a port.
const DATA: u16 = 0;
const INTERRUPT_ENABLE: u16 = 1;
const LINE_CONTROL: u16 = 3;
const MODEM_CONTROL: u16 = 4;
const LINE_STATUS: u16 = 5;
const MODEM_STATUS: u16 = 6;
/// Bits of the line status.
const DATA_READY: u8 = 0x01;
const ERRORS: u8 = 0x1E;
const TRANSMITTER_READY: u8 = 0x20;
/// Bit 7 of the status in AH.
const TIME_OUT: u8 = 0x80;
/// Divisors of 110 to 9600 baud.
const DIVISORS: [u16; 8] = [1047, 768, 384, 192, 96, 48, 24, 12];
const DIVISOR_LATCH: u8 = 0x80;
/// DTR and RTS.
const CONNECTED: u8 = 0x03;

pub(super) fn serve(call: &mut BiosCall, platform: &mut dyn BiosPlatform) -> Served {
    let port = match call.dx() {
        number @ 0..4 => platform.word(bda::SERIAL_PORTS + 2 * u64::from(number)),
        _ => 0,
    };
    if port == 0 {
        call.set_ah(TIME_OUT);
        return Served::Done;
    }
    let register = |offset: u16| port.wrapping_add(offset);
    match call.ah() {
        0x00 => {
            let [divisor_low, divisor_high] = DIVISORS[usize::from(call.al() >> 5)].to_le_bytes();
            let format = call.al() & 0x1F;
            platform.port_out(register(LINE_CONTROL), DIVISOR_LATCH);
            platform.port_out(register(DATA), divisor_low);
            platform.port_out(register(INTERRUPT_ENABLE), divisor_high);
            platform.port_out(register(LINE_CONTROL), format);
            platform.port_out(register(INTERRUPT_ENABLE), 0);
            platform.port_out(register(MODEM_CONTROL), CONNECTED);
        }
        0x01 => {
            platform.port_out(register(MODEM_CONTROL), CONNECTED);
            if platform.port_in(register(LINE_STATUS)) & TRANSMITTER_READY == 0 {
                call.set_ah(TIME_OUT);
                return Served::Done;
            }
            platform.port_out(register(DATA), call.al());
            call.set_ah(platform.port_in(register(LINE_STATUS)));
            return Served::Done;
        }
        0x02 => {
            let status = platform.port_in(register(LINE_STATUS));
            if status & DATA_READY == 0 {
                call.set_ah(TIME_OUT | status);
                return Served::Done;
            }
            call.set_al(platform.port_in(register(DATA)));
            call.set_ah(status & ERRORS);
            return Served::Done;
        }
        0x03 => {}
        _ => return Served::Done,
    }
    call.set_ah(platform.port_in(register(LINE_STATUS)));
    call.set_al(platform.port_in(register(MODEM_STATUS)));
    Served::Done
}

/// INT 17h: a time-out, and an error.
pub(super) fn printer(call: &mut BiosCall) -> Served {
    if call.ah() <= 2 {
        call.set_ah(0x09);
    }
    Served::Done
}

#[cfg(test)]
mod tests {
    use super::super::testing::TestPlatform;
    use super::*;

    fn called(ax: u16, dx: u16, platform: &mut TestPlatform) -> u16 {
        let mut call = BiosCall { eax: ax.into(), edx: dx.into(), ..BiosCall::default() };
        assert_eq!(serve(&mut call, platform), Served::Done);
        call.ax()
    }

    #[test]
    fn a_port_is_set_up_sends_and_receives() {
        let mut platform = TestPlatform::default();
        platform.ports.push((0x3FE, 0xB0));
        assert_eq!(called(0x00E3, 0, &mut platform), 0x60B0);
        assert_eq!(platform.written_to(0x3FB), [0x80, 0x03]);
        assert_eq!((platform.written_to(0x3F8), platform.written_to(0x3F9)), (vec![12], vec![0, 0]));
        assert_eq!(called(0x0141, 0, &mut platform), 0x6041);
        assert_eq!(platform.written_to(0x3F8), [12, 0x41]);
        assert_eq!(called(0x0200, 0, &mut platform) >> 8, 0xE0, "no byte has come");
        platform.ports.push((0x3F8, 0x5A));
        platform.ports.retain(|(port, _)| *port != 0x3FD);
        platform.ports.push((0x3FD, 0x61));
        assert_eq!(called(0x0200, 0, &mut platform), 0x005A);
        assert_eq!(called(0x0300, 0, &mut platform), 0x61B0);
    }

    #[test]
    fn a_port_and_a_printer_that_do_not_exist_time_out() {
        let mut platform = TestPlatform::default();
        assert_eq!(called(0x0141, 4, &mut platform), 0x8041);
        let mut call = BiosCall { eax: 0x0041, ..BiosCall::default() };
        assert_eq!((printer(&mut call), call.ah()), (Served::Done, 0x09));
    }
}

//! INT 1Ah: ticks, clock and alarm; INT 08h: a tick; INT 70h: the clock's interrupt.

use super::call::{BiosCall, BiosPlatform, Served};
use super::data_areas::bda;

/// Ticks of a day, as the IBM BIOS counts them.
pub(super) const TICKS_A_DAY: u32 = 0x0018_00B0;
const CMOS: u16 = 0x70;
/// Registers of the clock.
const SECONDS: u8 = 0x00;
const SECONDS_ALARM: u8 = 0x01;
const MINUTES: u8 = 0x02;
const MINUTES_ALARM: u8 = 0x03;
const HOURS: u8 = 0x04;
const HOURS_ALARM: u8 = 0x05;
const DAY: u8 = 0x07;
const MONTH: u8 = 0x08;
const YEAR: u8 = 0x09;
const STATUS_A: u8 = 0x0A;
const STATUS_B: u8 = 0x0B;
const STATUS_C: u8 = 0x0C;
const CENTURY: u8 = 0x32;
/// An update is in progress (status A).
const UPDATING: u8 = 0x80;
/// Status B: updates are stopped; the alarm interrupts; binary numbers; summer time.
const SET: u8 = 0x80;
const ALARM: u8 = 0x20;
const BINARY: u8 = 0x04;
const SUMMER_TIME: u8 = 0x01;

/// Ticks since midnight.
pub(super) fn ticks(platform: &dyn BiosPlatform) -> u32 {
    platform.double_word(bda::TICKS)
}

/// INT 08h.
pub(super) fn tick(platform: &mut dyn BiosPlatform) -> Served {
    let mut ticks = ticks(platform).wrapping_add(1);
    if ticks >= TICKS_A_DAY {
        ticks = 0;
        let days = platform.byte(bda::MIDNIGHT).wrapping_add(1);
        platform.set_byte(bda::MIDNIGHT, days);
    }
    platform.set_double_word(bda::TICKS, ticks);
    Served::Done
}

/// Counts the ticks from the time of day on.
pub(super) fn set_ticks_from_clock(platform: &mut dyn BiosPlatform) {
    let binary = platform.indexed(CMOS, STATUS_B) & BINARY != 0;
    let [hours, minutes, seconds] = [HOURS, MINUTES, SECONDS].map(|register| {
        let value = platform.indexed(CMOS, register);
        u64::from(if binary { value } else { (value >> 4) * 10 + (value & 0xF) })
    });
    let seconds = (hours * 60 + minutes) * 60 + seconds;
    // 1,193,182 / 65,536 ticks a second.
    let ticks = ((seconds * 1_193_182) >> 16) % u64::from(TICKS_A_DAY);
    platform.set_double_word(bda::TICKS, ticks as u32);
}

pub(super) fn serve(call: &mut BiosCall, platform: &mut dyn BiosPlatform) -> Served {
    let mut read = |register: u8| platform.indexed(CMOS, register);
    match call.ah() {
        0x00 => {
            let ticks = ticks(platform);
            call.set_cx((ticks >> 16) as u16);
            call.set_dx(ticks as u16);
            call.set_al(platform.byte(bda::MIDNIGHT));
            platform.set_byte(bda::MIDNIGHT, 0);
        }
        0x01 => {
            let ticks = u32::from(call.cx()) << 16 | u32::from(call.dx());
            platform.set_double_word(bda::TICKS, ticks);
            platform.set_byte(bda::MIDNIGHT, 0);
        }
        0x02 | 0x04 if read(STATUS_A) & UPDATING != 0 => {
            call.set_carry(true);
            return Served::Done;
        }
        0x02 => {
            call.set_ch(read(HOURS));
            call.set_cl(read(MINUTES));
            call.set_dh(read(SECONDS));
            call.set_dl(read(STATUS_B) & SUMMER_TIME);
            call.set_ah(0);
            call.set_al(call.ch());
        }
        0x03 => {
            let time = [(HOURS, call.ch()), (MINUTES, call.cl()), (SECONDS, call.dh())];
            let summer = call.dl() & SUMMER_TIME;
            set_clock(&time, summer, platform);
        }
        0x04 => {
            call.set_ch(read(CENTURY));
            call.set_cl(read(YEAR));
            call.set_dh(read(MONTH));
            call.set_dl(read(DAY));
            call.set_ah(0);
        }
        0x05 => {
            let date = [(CENTURY, call.ch()), (YEAR, call.cl()), (MONTH, call.dh()), (DAY, call.dl())];
            let summer = read(STATUS_B) & SUMMER_TIME;
            set_clock(&date, summer, platform);
        }
        // An alarm is set already.
        0x06 if read(STATUS_B) & ALARM != 0 => {
            call.set_ax(0);
            call.set_carry(true);
            return Served::Done;
        }
        0x06 => {
            let alarm = [(HOURS_ALARM, call.ch()), (MINUTES_ALARM, call.cl()), (SECONDS_ALARM, call.dh())];
            for (register, value) in alarm {
                platform.set_indexed(CMOS, register, value);
            }
            let status = platform.indexed(CMOS, STATUS_B);
            platform.set_indexed(CMOS, STATUS_B, status & !SET | ALARM);
        }
        0x07 => {
            let status = read(STATUS_B);
            platform.set_indexed(CMOS, STATUS_B, status & !ALARM);
        }
        _ => {
            call.set_carry(true);
            return Served::Done;
        }
    }
    call.set_carry(false);
    Served::Done
}

fn set_clock(registers: &[(u8, u8)], summer: u8, platform: &mut dyn BiosPlatform) {
    let status = platform.indexed(CMOS, STATUS_B) & !(SET | SUMMER_TIME) | summer;
    platform.set_indexed(CMOS, STATUS_B, status | SET);
    for (register, value) in registers {
        platform.set_indexed(CMOS, *register, *value);
    }
    platform.set_indexed(CMOS, STATUS_B, status);
}

/// INT 70h: [`Served::Wait`] if it is the alarm, whose handler is called then.
pub(super) fn alarm(platform: &mut dyn BiosPlatform) -> Served {
    let causes = platform.indexed(CMOS, STATUS_C) & platform.indexed(CMOS, STATUS_B);
    if causes & ALARM != 0 { Served::Wait } else { Served::Done }
}

#[cfg(test)]
mod tests {
    use super::super::testing::TestPlatform;
    use super::*;

    fn called(ah: u8, cx: u16, dx: u16, platform: &mut TestPlatform) -> BiosCall {
        let eax = u32::from(ah) << 8;
        let mut call = BiosCall { eax, ecx: cx.into(), edx: dx.into(), ..BiosCall::default() };
        assert_eq!(serve(&mut call, platform), Served::Done);
        call
    }

    #[test]
    fn ticks_are_read_with_the_high_word_in_cx_and_wrap_at_midnight() {
        let mut platform = TestPlatform::default();
        called(0x01, 0x0018, 0x00AF, &mut platform);
        let read = called(0x00, 0, 0, &mut platform);
        assert_eq!((read.cx(), read.dx(), read.al()), (0x0018, 0x00AF, 0));
        assert_eq!(tick(&mut platform), Served::Done);
        let read = called(0x00, 0, 0, &mut platform);
        assert_eq!((read.cx(), read.dx(), read.al()), (0, 0, 1));
        assert_eq!(called(0x00, 0, 0, &mut platform).al(), 0, "midnight is reported once");
    }

    #[test]
    fn time_and_date_are_set_and_read() {
        let mut platform = TestPlatform::default();
        platform.cmos[0x0B] = 0x02;
        called(0x03, 0x2359, 0x5800, &mut platform);
        called(0x05, 0x2026, 0x1129, &mut platform);
        let (time, date) = (called(0x02, 0, 0, &mut platform), called(0x04, 0, 0, &mut platform));
        assert_eq!((time.cx(), time.dx(), time.flags & 1), (0x2359, 0x5800, 0));
        assert_eq!((date.cx(), date.dx(), date.flags & 1), (0x2026, 0x1129, 0));
        assert_eq!(platform.cmos[0x0B], 0x02, "the clock runs");
        platform.cmos[0x0A] = 0x80;
        assert_eq!(called(0x02, 0, 0, &mut platform).flags & 1, 1, "during an update");
    }

    #[test]
    fn an_alarm_is_set_once_and_calls_its_handler() {
        let mut platform = TestPlatform::default();
        assert_eq!(called(0x06, 0x1234, 0x5600, &mut platform).flags & 1, 0);
        assert_eq!((platform.cmos[5], platform.cmos[3], platform.cmos[1]), (0x12, 0x34, 0x56));
        assert_eq!(called(0x06, 0, 0, &mut platform).flags & 1, 1);
        platform.cmos[0x0C] = 0xA0;
        assert_eq!(alarm(&mut platform), Served::Wait);
        called(0x07, 0, 0, &mut platform);
        assert_eq!(alarm(&mut platform), Served::Done);
    }

    #[test]
    fn an_unknown_function_is_reported() {
        assert_eq!(called(0xB1, 0, 0, &mut TestPlatform::default()).flags & 1, 1);
    }
}

//! The ten time, calendar and alarm bytes of the clock, with the century byte, in the formats of register B.

use super::registers::*;

const SECONDS_PER_DAY: i64 = 86_400;

/// How register B has the bytes encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Format {
    binary: bool,
    hours_24: bool,
}

impl Format {
    /// The format that the value `b` of register B selects.
    pub fn of(b: u8) -> Format {
        Format { binary: b & B_BINARY != 0, hours_24: b & B_24_HOURS != 0 }
    }

    fn decode(self, byte: u8) -> i64 {
        let value = if self.binary { byte } else { (byte >> 4) * 10 + (byte & 0xF) };
        i64::from(value)
    }

    /// `value` is at most 99.
    fn encode(self, value: i64) -> u8 {
        let value = value as u8;
        if self.binary { value } else { ((value / 10) << 4) | (value % 10) }
    }

    fn decode_hour(self, byte: u8) -> i64 {
        if self.hours_24 {
            return self.decode(byte);
        }
        self.decode(byte & !HOURS_PM) % 12 + if byte & HOURS_PM != 0 { 12 } else { 0 }
    }

    fn encode_hour(self, hour: i64) -> u8 {
        if self.hours_24 {
            return self.encode(hour);
        }
        self.encode((hour + 11) % 12 + 1) | if hour >= 12 { HOURS_PM } else { 0 }
    }

    /// The time in `cmos`, in seconds since 1970. Fields that are out of range carry into the next ones.
    pub fn read(self, cmos: &[u8]) -> i64 {
        let field = |register: u8| self.decode(cmos[usize::from(register)]);
        let year = field(CENTURY) * 100 + field(YEAR);
        let days = days_from_civil(year, field(MONTH), field(DAY));
        let hour = self.decode_hour(cmos[usize::from(HOURS)]);
        days * SECONDS_PER_DAY + hour * 3600 + field(MINUTES) * 60 + field(SECONDS)
    }

    /// Writes a time to `cmos` and leaves the day of the week as it is. The years have four digits.
    fn write_time(self, cmos: &mut [u8], time: i64) {
        let (year, month, day) = civil_from_days(time.div_euclid(SECONDS_PER_DAY));
        let year = year.rem_euclid(10_000);
        let second = time.rem_euclid(SECONDS_PER_DAY);
        for (register, value) in [
            (SECONDS, second % 60),
            (MINUTES, second / 60 % 60),
            (DAY, day),
            (MONTH, month),
            (YEAR, year % 100),
            (CENTURY, year / 100),
        ] {
            cmos[usize::from(register)] = self.encode(value);
        }
        cmos[usize::from(HOURS)] = self.encode_hour(second / 3600);
    }

    /// Writes a time in seconds since 1970 to `cmos`, with its day of the week.
    pub fn write(self, cmos: &mut [u8], time: i64) {
        self.write_time(cmos, time);
        // 1970 began with a Thursday, and Sunday is 1.
        let weekday = (time.div_euclid(SECONDS_PER_DAY) + 4).rem_euclid(7) + 1;
        cmos[usize::from(WEEKDAY)] = self.encode(weekday);
    }

    /// Advances the time in `cmos` by `seconds`. The day of the week counts on from what the guest has set.
    pub fn advance(self, cmos: &mut [u8], seconds: u64) {
        let before = self.read(cmos);
        let now = before.saturating_add_unsigned(seconds);
        let weekday = self.decode(cmos[usize::from(WEEKDAY)]);
        self.write(cmos, now);
        if (1..=7).contains(&weekday) {
            let days = now.div_euclid(SECONDS_PER_DAY) - before.div_euclid(SECONDS_PER_DAY);
            cmos[usize::from(WEEKDAY)] = self.encode((weekday - 1 + days).rem_euclid(7) + 1);
        }
    }

    /// Encodes the time in `cmos` anew, which is encoded as in `old`.
    pub fn convert_from(self, old: Format, cmos: &mut [u8]) {
        let weekday = old.decode(cmos[usize::from(WEEKDAY)]);
        self.write_time(cmos, old.read(cmos));
        // A day of the week has one digit, which is the same in all formats.
        cmos[usize::from(WEEKDAY)] = self.encode(weekday.min(7));
    }

    /// Seconds from the time in `cmos` to the next one that its alarm matches, from 1 to 86400; `None` if it
    /// matches no time.
    pub fn seconds_to_alarm(self, cmos: &[u8]) -> Option<u64> {
        // The values of each field that match, one bit each.
        let matches = |register: u8, values: i64, encode: &dyn Fn(i64) -> u8| {
            let byte = cmos[usize::from(register)];
            let set = (0..values).filter(|value| byte & ALARM_ANY == ALARM_ANY || byte == encode(*value));
            set.fold(0_u64, |set, value| set | 1 << value)
        };
        let seconds = matches(SECONDS_ALARM, 60, &|second| self.encode(second));
        let minutes = matches(MINUTES_ALARM, 60, &|minute| self.encode(minute));
        let hours = matches(HOURS_ALARM, 24, &|hour| self.encode_hour(hour));
        let first_second = next(seconds, 0)?;
        let first_in_hour = next(minutes, 0)? * 60 + first_second;
        let first_in_day = next(hours, 0)? * 3600 + first_in_hour;
        let now = self.read(cmos).rem_euclid(SECONDS_PER_DAY);
        let (hour, minute, second) = (now / 3600, now / 60 % 60, now % 60);
        // Later in the same minute, the same hour or the same day, or on the next day.
        let in_hour = hours >> hour & 1 == 1;
        let in_minute = in_hour && minutes >> minute & 1 == 1;
        let alarm = if let Some(second) = next(seconds, second + 1).filter(|_| in_minute) {
            hour * 3600 + minute * 60 + second
        } else if let Some(minute) = next(minutes, minute + 1).filter(|_| in_hour) {
            hour * 3600 + minute * 60 + first_second
        } else if let Some(hour) = next(hours, hour + 1) {
            hour * 3600 + first_in_hour
        } else {
            SECONDS_PER_DAY + first_in_day
        };
        u64::try_from(alarm - now).ok()
    }
}

/// The lowest element of `set` that is at least `from` (0 to 63).
fn next(set: u64, from: i64) -> Option<i64> {
    let rest = set >> from << from;
    (rest != 0).then(|| i64::from(rest.trailing_zeros()))
}

/// Days from 1970-01-01 to a date of the Gregorian calendar. Months and days that are out of range carry.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    // Years that begin with March have the leap day at their end.
    let months = year * 12 + month - 3;
    let (year, month) = (months.div_euclid(12), months.rem_euclid(12));
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    year * 365 + leap_days + (month * 153 + 2) / 5 + day - 1 - 719_468
}

/// Year, month and day of the date `days` days after 1970-01-01.
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (year_of_era * 365 + year_of_era / 4 - year_of_era / 100);
    let month = (day_of_year * 5 + 2) / 153;
    let day = day_of_year - (month * 153 + 2) / 5 + 1;
    let (carry, month) = if month < 10 { (0, month + 3) } else { (1, month - 9) };
    (era * 400 + year_of_era + carry, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_convert_both_ways() {
        for (days, date) in [
            (0, (1970, 1, 1)),
            (-1, (1969, 12, 31)),
            (10_957, (2000, 1, 1)),
            (11_016, (2000, 2, 29)),
            (19_782, (2024, 2, 29)),
            (19_783, (2024, 3, 1)),
            (47_540, (2100, 2, 28)),
            (47_541, (2100, 3, 1)),
        ] {
            assert_eq!(civil_from_days(days), date);
            assert_eq!(days_from_civil(date.0, date.1, date.2), days);
        }
        for days in (-800_000..3_000_000).step_by(97) {
            let (year, month, day) = civil_from_days(days);
            assert_eq!(days_from_civil(year, month, day), days);
        }
        assert_eq!(days_from_civil(2023, 14, 30), days_from_civil(2024, 3, 1));
        assert_eq!(days_from_civil(2024, 0, 1), days_from_civil(2023, 12, 1));
    }

    #[test]
    fn hours_are_encoded_as_in_the_datasheet() {
        let format = |b| Format::of(b);
        for (hour, binary_12, binary_24, bcd_12, bcd_24) in [
            (0, 0x0C, 0, 0x12, 0),
            (5, 5, 5, 5, 5),
            (12, 0x8C, 0x0C, 0x92, 0x12),
            (23, 0x8B, 0x17, 0x91, 0x23),
        ] {
            for (b, byte) in [(4, binary_12), (6, binary_24), (0, bcd_12), (2, bcd_24)] {
                assert_eq!(format(b).encode_hour(hour), byte, "{hour} in {b}");
                assert_eq!(format(b).decode_hour(byte), hour, "{hour} in {b}");
            }
        }
    }

    #[test]
    fn the_next_alarm_is_the_first_second_that_matches() {
        let mut random = 0x1234_5678_u64;
        let mut below = |limit: u64| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) % limit
        };
        for round in 0..24 {
            let format = Format::of([0, 2, 4, 6][round % 4]);
            let mut cmos = vec![0; 128];
            let now = below(SECONDS_PER_DAY as u64) as i64;
            format.write(&mut cmos, now);
            let mut any = |byte: u8| if below(2) == 0 { 0xC0 | byte } else { byte };
            let target = [any(format.encode_hour(7)), any(format.encode(13)), any(format.encode(58))];
            for (register, byte) in [HOURS_ALARM, MINUTES_ALARM, SECONDS_ALARM].into_iter().zip(target) {
                cmos[usize::from(register)] = byte;
            }
            let matches = |time: &i64| {
                let mut other = cmos.clone();
                format.write(&mut other, *time);
                [(HOURS, HOURS_ALARM), (MINUTES, MINUTES_ALARM), (SECONDS, SECONDS_ALARM)].iter().all(
                    |(field, alarm)| {
                        let alarm = other[usize::from(*alarm)];
                        alarm >= ALARM_ANY || other[usize::from(*field)] == alarm
                    },
                )
            };
            let expected = (now + 1..=now + SECONDS_PER_DAY).find(matches).map(|time| (time - now) as u64);
            assert_eq!(format.seconds_to_alarm(&cmos), expected, "{target:x?} at {now}");
        }
    }
}

//! The real-time clock (MC146818) with its CMOS RAM, ports 0x70 and 0x71, and the NMI mask.
//!
//! Motorola MC146818 datasheet; Intel ICH10 datasheet, 13.6 (real time clock registers) and 13.7.2 (NMI_EN, 0x70).
//! RAM bytes have the meaning that PC firmware and Bochs and QEMU give them. Not implemented: daylight saving,
//! the square wave output, and the second bank (0x72 and 0x73). The machine differs from the chip in these points:
//!
//! - An update takes no time: bit UIP is set for the 244 us before it.
//! - The three time bases run at the same speed.
//! - A change of the format without bit SET encodes the time anew. The chip leaves the bytes as they are.
//! - The clock counts the century, in byte 0x32.
//!
//! The time of day is data ([`Rtc::set_time_of_day`]); until it is given the machine is switched on at the
//! beginning of the year 2000. Offsets count from port 0x70. The interrupt line stays high until register C is read.
//! A deadline is the next time at which an enabled interrupt raises it.

mod calendar;
mod registers;

use serde::{Deserialize, Serialize};

use calendar::Format;
use registers::*;

pub use registers::CENTURY;

use super::{Action, Device, MachineTime, OPEN_BUS, Snapshot, StateError};

/// The index port, with the NMI mask; the data port follows.
pub const FIRST_PORT: u16 = 0x70;

const INDEX_PORT: u16 = 0;
const DATA_PORT: u16 = 1;
/// Port 0x70: mask NMIs.
const NMI_MASK: u8 = 0x80;

/// Number of registers and RAM bytes.
const BYTES: usize = 128;
/// 2000-01-01 00:00:00 UTC.
const DEFAULT_TIME: i64 = 946_684_800;
/// The clock of the divider chain in hertz.
const CLOCK: u128 = 32_768;
const SECOND_NANOS: u64 = 1_000_000_000;
/// The time between UIP and the update: 8 clocks.
const UPDATE_IN_PROGRESS_NANOS: u64 = 8 * SECOND_NANOS / CLOCK as u64;
/// The time from the end of a divider reset to the first update.
const FIRST_UPDATE_NANOS: u64 = SECOND_NANOS / 2;

/// Type of a disk whose geometry is elsewhere in the RAM.
const EXTENDED_DISK_TYPE: u8 = 47;
/// A coprocessor, a PS/2 mouse, a VGA, no floppy drive.
const DEFAULT_EQUIPMENT: u8 = 0x06;

/// The clock and its RAM.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rtc {
    /// Register A is without UIP, C without the interrupt request, and D is 0.
    cmos: Vec<u8>,
    index: u8,
    nmi_masked: bool,
    /// Updates come at this many nanoseconds after each full second of machine time.
    phase: u64,
    now: MachineTime,
}

impl Default for Rtc {
    fn default() -> Rtc {
        let mut cmos = vec![0; BYTES];
        cmos[usize::from(A)] = 0x26;
        cmos[usize::from(B)] = B_24_HOURS;
        cmos[EQUIPMENT] = DEFAULT_EQUIPMENT;
        let mut rtc = Rtc { cmos, index: 0, nmi_masked: false, phase: 0, now: MachineTime::default() };
        rtc.set_time_of_day(DEFAULT_TIME);
        rtc.update_checksum();
        rtc
    }
}

impl Rtc {
    /// Sets the time of day that it was at power-on, in seconds since 1970 UTC. What the guest has set is lost.
    pub fn set_time_of_day(&mut self, unix_seconds: i64) {
        let now = unix_seconds.saturating_add_unsigned(self.updates(self.now));
        self.format().write(&mut self.cmos, now);
    }

    /// The time of day that the guest would read, in seconds since 1970.
    pub fn time_of_day(&self) -> i64 {
        self.format().read(&self.cmos)
    }

    /// Sets the bytes that report the sizes of memory below and above 4 GiB, in bytes.
    pub fn set_memory_size(&mut self, below_4_gib: u64, above_4_gib: u64) {
        const KIB: u64 = 1024;
        const MIB: u64 = KIB * KIB;
        let units = |bytes: u64, from: u64, unit: u64| (bytes.saturating_sub(from) / unit).min(0xFFFF) as u16;
        let base = (below_4_gib / KIB).min(640) as u16;
        let extended = units(below_4_gib, MIB, KIB);
        let above_16_mib = units(below_4_gib, 16 * MIB, 64 * KIB);
        for (at, value) in [
            (BASE_MEMORY, base),
            (EXTENDED_MEMORY, extended),
            (EXTENDED_MEMORY_COPY, extended),
            (MEMORY_ABOVE_16_MIB, above_16_mib),
        ] {
            self.cmos[at..at + 2].copy_from_slice(&value.to_le_bytes());
        }
        let above_4_gib = (above_4_gib / (64 * KIB)).min(0xFF_FFFF) as u32;
        self.cmos[MEMORY_ABOVE_4_GIB..MEMORY_ABOVE_4_GIB + 3]
            .copy_from_slice(&above_4_gib.to_le_bytes()[..3]);
        self.update_checksum();
    }

    /// Sets the bytes that report the first and the second hard disk.
    pub fn set_hard_disks(&mut self, present: [bool; 2]) {
        let value = |present: bool, value: u8| if present { value } else { 0 };
        self.cmos[HARD_DISKS] = value(present[0], 0xF0) | value(present[1], 0x0F);
        self.cmos[FIRST_HARD_DISK_TYPE] = value(present[0], EXTENDED_DISK_TYPE);
        self.cmos[SECOND_HARD_DISK_TYPE] = value(present[1], EXTENDED_DISK_TYPE);
        self.update_checksum();
    }

    /// Sets the drive types of the two floppy drives (4 bits each; 0 is none) and the equipment byte's bits for them.
    pub fn set_floppies(&mut self, types: [u8; 2]) {
        let types = types.map(|kind| kind & 0xF);
        self.cmos[FLOPPIES] = types[0] << 4 | types[1];
        let drives = match types.iter().filter(|kind| **kind != 0).count() {
            0 => 0x00,
            1 => 0x01,
            _ => 0x41,
        };
        self.cmos[EQUIPMENT] = self.cmos[EQUIPMENT] & !0xC1 | drives;
        self.update_checksum();
    }

    /// Sets the first three devices to boot from: 1 floppy, 2 hard disk, 3 CD, 4 network, 0 none.
    pub fn set_boot_order(&mut self, devices: [u8; 3]) {
        let [first, second, third] = devices.map(|device| device & 0xF);
        self.cmos[BOOT_ORDER] = second << 4 | first;
        self.cmos[BOOT_ORDER_THIRD] = self.cmos[BOOT_ORDER_THIRD] & 0x0F | third << 4;
    }

    /// Sets the byte that reports the number of processors (1 to 256).
    pub fn set_cpus(&mut self, cpus: usize) {
        self.cmos[OTHER_CPUS] = cpus.saturating_sub(1).min(0xFF) as u8;
    }

    /// True if the guest has masked NMIs.
    pub fn nmi_masked(&self) -> bool {
        self.nmi_masked
    }

    /// One line about the time and the enabled interrupts, without line end.
    pub fn describe(&self) -> String {
        let enabled = [(C_PERIODIC, "periodic"), (C_ALARM, "alarm"), (C_UPDATE, "update")]
            .into_iter()
            .filter_map(|(bit, name)| (self.register(B) & bit != 0).then_some(name));
        let enabled: Vec<&str> = enabled.collect();
        let enabled = if enabled.is_empty() { "none".to_owned() } else { enabled.join(", ") };
        let clock = if self.updates_are_on() { "" } else { " (stopped)" };
        format!("time {} s since 1970{clock}, enabled interrupts: {enabled}", self.time_of_day())
    }

    fn update_checksum(&mut self) {
        let sum: u16 = self.cmos[FLOPPIES..CHECKSUM].iter().map(|byte| u16::from(*byte)).sum();
        self.cmos[CHECKSUM..CHECKSUM + 2].copy_from_slice(&sum.to_be_bytes());
    }

    fn register(&self, index: u8) -> u8 {
        self.cmos[usize::from(index)]
    }

    fn format(&self) -> Format {
        Format::of(self.register(B))
    }

    /// The divider chain is not held in reset.
    fn divider_runs(&self) -> bool {
        self.register(A) & A_DIVIDER <= A_DIVIDER_RUNS
    }

    fn updates_are_on(&self) -> bool {
        self.divider_runs() && self.register(B) & B_SET == 0
    }

    /// Nanoseconds that the divider chain has run at `time`, from the second before power-on.
    fn divider_nanos(&self, time: MachineTime) -> u128 {
        u128::from(time.as_nanos()) + u128::from(SECOND_NANOS - self.phase)
    }

    /// Updates since the second before power-on, at `time`. The one at power-on does not count.
    fn updates(&self, time: MachineTime) -> u64 {
        (self.divider_nanos(time) / u128::from(SECOND_NANOS)) as u64 - u64::from(self.phase == 0)
    }

    fn nanos_to_update(&self) -> u64 {
        SECOND_NANOS - (self.divider_nanos(self.now) % u128::from(SECOND_NANOS)) as u64
    }

    /// Clocks of the divider chain between two periodic interrupts, if there are any.
    fn periodic_clocks(&self) -> Option<u128> {
        match self.register(A) & A_RATE {
            0 => None,
            rate @ 1..=2 => Some(1 << (rate + 6)),
            rate => Some(1 << (rate - 1)),
        }
    }

    /// Periodic interrupts since the second before power-on, at `time`.
    fn periodic_events(&self, time: MachineTime) -> u128 {
        let clocks = self.divider_nanos(time) * CLOCK / u128::from(SECOND_NANOS);
        self.periodic_clocks().map_or(0, |period| clocks / period)
    }

    fn next_periodic(&self) -> Option<MachineTime> {
        let clocks = (self.periodic_events(self.now) + 1) * self.periodic_clocks()?;
        let nanos = (clocks * u128::from(SECOND_NANOS)).div_ceil(CLOCK);
        u64::try_from(nanos - u128::from(SECOND_NANOS - self.phase)).ok().map(MachineTime::from_nanos)
    }

    /// The time of the `count`th update from now (1 is the next).
    fn update_after(&self, count: u64) -> Option<MachineTime> {
        let nanos = self.nanos_to_update().checked_add((count - 1).checked_mul(SECOND_NANOS)?)?;
        self.now.as_nanos().checked_add(nanos).map(MachineTime::from_nanos)
    }

    fn read_register(&mut self, index: u8) -> u8 {
        match index {
            A => {
                let in_progress = self.updates_are_on() && self.nanos_to_update() <= UPDATE_IN_PROGRESS_NANOS;
                self.register(A) | if in_progress { A_UPDATE_IN_PROGRESS } else { 0 }
            }
            C => {
                let request = if self.line() { C_INTERRUPT } else { 0 };
                std::mem::take(&mut self.cmos[usize::from(C)]) | request
            }
            D => D_VALID,
            _ => self.register(index),
        }
    }

    fn write_register(&mut self, index: u8, value: u8) {
        match index {
            A => {
                let ran = self.divider_runs();
                self.cmos[usize::from(A)] = value & !A_UPDATE_IN_PROGRESS;
                if !ran && self.divider_runs() {
                    self.phase = (self.now.as_nanos() % SECOND_NANOS + FIRST_UPDATE_NANOS) % SECOND_NANOS;
                }
            }
            B => {
                let (old, was_set) = (self.format(), self.register(B) & B_SET != 0);
                let disabled = if value & B_SET != 0 { B_UPDATE_INTERRUPT } else { 0 };
                self.cmos[usize::from(B)] = value & !disabled;
                if value & B_SET == 0 && !was_set && self.format() != old {
                    self.format().convert_from(old, &mut self.cmos);
                }
            }
            C | D => {}
            _ => self.cmos[usize::from(index)] = value,
        }
    }

    /// The effect of an access on line and deadline, which were `before` before it.
    fn action(&self, before: (bool, Option<MachineTime>)) -> Action {
        let line = self.line();
        Action {
            line: (line != before.0).then_some(line),
            deadline: self.next_deadline() != before.1,
            ..Action::NONE
        }
    }
}

impl Device for Rtc {
    fn explain(&self) -> Vec<String> {
        vec![self.describe()]
    }

    fn read(&mut self, offset: u16) -> (u8, Action) {
        if offset != DATA_PORT {
            return (OPEN_BUS, Action::NONE);
        }
        let before = (self.line(), self.next_deadline());
        let value = self.read_register(self.index);
        (value, self.action(before))
    }

    fn write(&mut self, offset: u16, value: u8) -> Action {
        let before = (self.line(), self.next_deadline());
        match offset {
            INDEX_PORT => {
                self.index = value & !NMI_MASK;
                self.nmi_masked = value & NMI_MASK != 0;
            }
            DATA_PORT => self.write_register(self.index, value),
            _ => {}
        }
        self.action(before)
    }

    fn may_interrupt(&self) -> bool {
        self.register(B) & C_FLAGS != 0
    }

    /// The battery keeps the time and the CMOS RAM. A reset clears the interrupt enables and flags (MC146818 datasheet,
    /// "RESET").
    fn after_reset(&self) -> Rtc {
        let mut rtc = Rtc { index: 0, nmi_masked: false, ..self.clone() };
        rtc.cmos[usize::from(B)] &= !(C_FLAGS | B_SQUARE_WAVE);
        rtc.cmos[usize::from(C)] = 0;
        rtc
    }

    fn line(&self) -> bool {
        self.register(B) & self.register(C) & C_FLAGS != 0
    }

    fn next_deadline(&self) -> Option<MachineTime> {
        let enabled = self.register(B);
        if self.line() || !self.divider_runs() {
            return None;
        }
        let periodic = (enabled & C_PERIODIC != 0).then(|| self.next_periodic()).flatten();
        let update_count = if !self.updates_are_on() {
            None
        } else if enabled & C_UPDATE != 0 {
            Some(1)
        } else if enabled & C_ALARM != 0 {
            self.format().seconds_to_alarm(&self.cmos)
        } else {
            None
        };
        let update = update_count.and_then(|count| self.update_after(count));
        periodic.into_iter().chain(update).min()
    }

    fn advance(&mut self, now: MachineTime) -> Action {
        if now <= self.now {
            return Action::NONE;
        }
        let line = self.line();
        let updates = self.updates(now) - self.updates(self.now);
        let mut flags = 0;
        if self.divider_runs() && self.periodic_events(now) != self.periodic_events(self.now) {
            flags |= C_PERIODIC;
        }
        if self.updates_are_on() && updates > 0 {
            flags |= C_UPDATE;
            if self.format().seconds_to_alarm(&self.cmos).is_some_and(|seconds| seconds <= updates) {
                flags |= C_ALARM;
            }
            let format = self.format();
            format.advance(&mut self.cmos, updates);
        }
        self.now = now;
        self.cmos[usize::from(C)] |= flags;
        let new = self.line();
        Action { line: (new != line).then_some(new), deadline: new != line, ..Action::NONE }
    }
}

impl Snapshot for Rtc {
    const KIND: &'static str = "rtc";
    const VERSION: u16 = 1;
    type State = Rtc;

    fn state(&self) -> Rtc {
        self.clone()
    }

    fn set_state(&mut self, state: Rtc) -> Result<(), StateError> {
        let damaged = |reason: &str| StateError::Damaged { kind: Self::KIND, reason: reason.to_owned() };
        if state.cmos.len() != BYTES || usize::from(state.index) >= BYTES {
            return Err(damaged("the RAM does not have 128 bytes"));
        }
        if state.phase >= SECOND_NANOS {
            return Err(damaged("the divider chain counts more than a second"));
        }
        let impossible = [(A, A_UPDATE_IN_PROGRESS), (C, !C_FLAGS), (D, 0xFF)];
        if impossible.iter().any(|(register, bits)| state.register(*register) & bits != 0) {
            return Err(damaged("a register has bits that do not exist"));
        }
        if state.register(B) & (B_SET | B_UPDATE_INTERRUPT) == B_SET | B_UPDATE_INTERRUPT {
            return Err(damaged("the update interrupt is enabled while the time is set"));
        }
        *self = state;
        Ok(())
    }
}

#[cfg(test)]
#[path = "rtc_test.rs"]
mod tests;

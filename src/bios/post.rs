//! Power-on: what a BIOS sets up before it loads the boot sector. Interrupt vectors and data areas are in memory already
//! ([`data_areas`](super::data_areas)).

use super::call::{BiosPlatform, Served};
use super::data_areas::{DISK_TABLES, bda};
use super::drives::{self, DriveKind};
use super::{int1a_time, int10_text, int11_equipment};

/// Commands of the two PICs: edge-triggered, cascaded on line 2, vectors 8 and 70h, 8086 mode. The timer, the
/// keyboard, the slave and the clock are not masked. `firmware/bios.S` has the same tables.
const PIC: [(u16, u8); 10] = [
    (0x20, 0x11),
    (0x21, 0x08),
    (0x21, 0x04),
    (0x21, 0x01),
    (0xA0, 0x11),
    (0xA1, 0x70),
    (0xA1, 0x02),
    (0xA1, 0x01),
    (0x21, 0xF8),
    (0xA1, 0xFE),
];
/// Counter 0 divides by 65536 (mode 3): 18.2 interrupts a second.
const TIMER: [(u16, u8); 3] = [(0x43, 0x36), (0x40, 0), (0x40, 0)];
/// Register of the CMOS RAM with the types of the first two diskette drives.
const DISKETTE_TYPES: u8 = 0x10;
/// The keyboard interrupts, its scan codes are translated to set 1, and there is no mouse.
const KEYBOARD: [(u16, u8); 2] = [(0x64, 0x60), (0x60, 0x65)];

/// Sets up the devices, and what the data area says about disks and time. [`Served::Wait`] if PICs and timer are left to
/// the ROM.
pub(super) fn power_on(platform: &mut dyn BiosPlatform) -> Served {
    let controllers = platform.reaches_interrupt_controllers();
    let commands = PIC.into_iter().chain(TIMER).filter(|_| controllers);
    for (port, value) in commands.chain(KEYBOARD) {
        platform.port_out(port, value);
    }
    int10_text::clear(platform);
    int1a_time::set_ticks_from_clock(platform);
    let hard_disks = drives::hard_disks(platform);
    platform.set_byte(bda::DISKS, hard_disks);
    for (number, table) in (drives::FIRST_HARD_DISK..).zip(DISK_TABLES) {
        if let Some(drive) = drives::drive(number, platform) {
            platform.set_word(table, drive.geometry.cylinders);
            // A drive has more than 8 heads: bit 3 of the control byte.
            platform.set_byte(table + 2, drive.geometry.heads);
            platform.set_byte(table + 8, 0x08);
            platform.set_byte(table + 14, drive.geometry.sectors);
        }
    }
    let diskette = |number| match drives::drive(number, platform).map(|drive| drive.kind) {
        Some(DriveKind::Diskette { drive_type }) => drive_type,
        _ => 0,
    };
    let types = diskette(0) << 4 | diskette(1);
    platform.set_indexed(0x70, DISKETTE_TYPES, types);
    int11_equipment::set_diskettes(platform);
    if controllers { Served::Done } else { Served::Wait }
}

#[cfg(test)]
mod tests {
    use super::super::rom;
    use super::super::testing::TestPlatform;
    use super::*;

    #[test]
    fn power_on_programs_the_interrupt_controllers_the_timer_and_the_keyboard() {
        let mut platform = TestPlatform::default();
        assert_eq!(power_on(&mut platform), Served::Done);
        assert_eq!(platform.written_to(0x21), [0x08, 0x04, 0x01, 0xF8]);
        assert_eq!(platform.written_to(0xA1), [0x70, 0x02, 0x01, 0xFE]);
        assert_eq!(platform.written_to(0x43), [0x36]);
        assert_eq!((platform.written_to(0x64), platform.written_to(0x60)), (vec![0x60], vec![0x65]));
        assert_eq!(platform.screen_line(24), "", "blanks with the usual attribute");
        assert_eq!(platform.dynamic().word(0xB8000), 0x0720);
    }

    #[test]
    fn the_rom_programs_interrupt_controllers_of_kvm_as_power_on_does_others() {
        let mut platform = TestPlatform { controllers_are_elsewhere: true, ..TestPlatform::default() };
        assert_eq!(power_on(&mut platform), Served::Wait);
        assert_eq!((platform.written_to(0x21), platform.written_to(0x43)), (vec![], vec![]));
        let table: Vec<u8> =
            PIC.into_iter().chain(TIMER).flat_map(|(port, value)| [port as u8, value]).collect();
        assert!(
            rom::ROM.windows(table.len() + 1).any(|bytes| bytes.starts_with(&table) && bytes.ends_with(&[0]))
        );
    }

    #[test]
    fn power_on_counts_the_disks_and_describes_the_first_two() {
        let mut platform = TestPlatform::with_disks(&[20480, 1 << 21, 4]);
        let _ = power_on(&mut platform);
        let memory = platform.dynamic();
        assert_eq!(memory.byte(bda::DISKS), 3);
        let table = |at: u64| (memory.word(at), memory.byte(at + 2), memory.byte(at + 14));
        assert_eq!((table(DISK_TABLES[0]), table(DISK_TABLES[1])), ((20, 16, 63), (520, 64, 63)));
    }

    #[test]
    fn power_on_counts_ticks_since_midnight() {
        let mut platform = TestPlatform::default();
        platform.cmos[4] = 0x01;
        let _ = power_on(&mut platform);
        assert_eq!(platform.dynamic().double_word(bda::TICKS), 65543);
    }
}

use super::queue::bytes;
use super::*;
use crate::fuzzing::Random;

const DISK: DiskGeometry = DiskGeometry::disk(0x1234_5678, false);

fn disk(geometry: DiskGeometry) -> VirtioDisk {
    let mut disk = VirtioDisk::default();
    disk.attach(geometry);
    disk
}

/// Writes a field of the common configuration.
fn write(disk: &mut VirtioDisk, at: u64, size: u8, value: u64) -> Action {
    disk.mmio_write(at, size, value).unwrap()
}

fn read(disk: &mut VirtioDisk, at: u64, size: u8) -> u64 {
    disk.mmio_read(at, size).unwrap().0
}

/// A disk that a modern driver has set up.
fn modern() -> VirtioDisk {
    let mut disk = disk(DISK);
    for (at, size, value) in [
        (0x14, 1, 0x03),
        (0x08, 4, 0),
        (0x0C, 4, 1 << 9),
        (0x08, 4, 1),
        (0x0C, 4, 1),
        (0x14, 1, 0x0B),
        (0x16, 2, 0),
        (0x18, 2, 16),
        (0x20, 8, 0x1_0000_1000),
        (0x28, 4, 0x2000),
        (0x2C, 4, 0),
        (0x30, 8, 0x3000),
        (0x1C, 2, 1),
    ] {
        assert!(!write(&mut disk, at, size, value).disk);
    }
    assert_eq!(read(&mut disk, 0x14, 1), 0x0B, "the features are acceptable");
    assert!(write(&mut disk, 0x14, 1, 0x0F).disk);
    disk
}

/// A disk that a legacy driver has set up.
fn legacy() -> VirtioDisk {
    let mut disk = disk(DISK);
    for (port, size, value) in
        [(0x12, 1, 1), (0x12, 1, 3), (0x04, 4, 1 << 9), (0x0E, 2, 0), (0x08, 4, 0x100), (0x12, 1, 7)]
    {
        let _ = if size == 1 {
            disk.write(port, value as u8)
        } else {
            disk.write_wide(port, size, value).unwrap()
        };
    }
    disk
}

fn legacy_read(disk: &mut VirtioDisk, at: u16, size: u16) -> u64 {
    (at..at + size).rev().fold(0, |value, at| value << 8 | u64::from(disk.read(at).0))
}

#[test]
fn a_disk_that_does_not_exist_answers_nothing() {
    let mut disk = VirtioDisk::default();
    assert_eq!((disk.read(0), disk.write(0x12, 1)), ((OPEN_BUS, Action::NONE), Action::NONE));
    assert_eq!((disk.read_wide(0, 4), disk.write_wide(8, 4, 1)), (None, None));
    assert_eq!((disk.mmio_read(0, 4), disk.mmio_write(0, 4, 1)), (None, None));
    assert!(disk.active_queue().is_none());
}

#[test]
fn the_configuration_has_capacity_segments_and_block_size_for_both_drivers() {
    let mut disk = disk(DISK);
    assert_eq!(read(&mut disk, 0x2000, 8), 0x1234_5678);
    assert_eq!(
        [(0, 4), (4, 4), (12, 4), (20, 4)].map(|(at, size)| read(&mut disk, 0x2000 + at, size)),
        [0x1234_5678, 0, 126, 512]
    );
    assert_eq!(read(&mut disk, 0x2001, 2), 0x3456);
    assert_eq!(
        [(0x14, 4), (0x20, 4), (0x28, 4)].map(|(at, size)| legacy_read(&mut disk, at, size)),
        [0x1234_5678, 126, 512]
    );
    assert_eq!(legacy_read(&mut disk, 0x60, 4), 0);
}

#[test]
fn a_legacy_driver_finds_the_queue_where_it_put_it() {
    let mut disk = legacy();
    assert_eq!(legacy_read(&mut disk, 0x08, 4), 0x100);
    assert_eq!(legacy_read(&mut disk, 0x0C, 2), 128);
    let queue = *disk.active_queue().unwrap();
    assert_eq!((queue.descriptors, queue.available, queue.used), (0x10_0000, 0x10_0800, 0x10_1000));
    assert!(disk.write_wide(0x10, 2, 0).unwrap().disk);
    assert!(!disk.write_wide(0x10, 2, 1).unwrap().disk, "there is one queue");
    let _ = disk.write_wide(0x0E, 2, 1);
    assert_eq!((legacy_read(&mut disk, 0x0C, 2), legacy_read(&mut disk, 0x08, 4)), (0, 0));
}

#[test]
fn a_modern_driver_finds_the_queue_where_it_put_it() {
    let mut disk = modern();
    let queue = *disk.active_queue().unwrap();
    assert_eq!((queue.size, queue.descriptors, queue.used), (16, 0x1_0000_1000, 0x3000));
    assert!(write(&mut disk, 0x3000, 2, 0).disk);
    assert!(!write(&mut disk, 0x3000, 2, 1).disk);
    let _ = write(&mut disk, 0x20, 8, 0x5000);
    assert_eq!(read(&mut disk, 0x20, 8), 0x1_0000_1000, "a queue in use does not move");
    let _ = write(&mut disk, 0x16, 2, 1);
    assert_eq!((read(&mut disk, 0x18, 2), read(&mut disk, 0x1C, 2)), (0, 0), "there is one queue");
    assert_eq!(read(&mut disk, 0x12, 2), 1);
    assert_eq!((read(&mut disk, 0x10, 2), read(&mut disk, 0x1A, 2)), (0xFFFF, 0xFFFF), "no MSI-X");
}

#[test]
fn features_that_the_device_lacks_or_no_version_1_are_not_accepted() {
    for (low, high) in [(1 << 9, 0), (1 << 12, 1), (0, 3)] {
        let mut disk = disk(DISK);
        let _ = write(&mut disk, 0x0C, 4, low);
        let _ = write(&mut disk, 0x08, 4, 1);
        let _ = write(&mut disk, 0x0C, 4, high);
        let _ = write(&mut disk, 0x14, 1, 0x0B);
        assert_eq!(read(&mut disk, 0x14, 1), 0x03, "{low:#x} {high:#x}");
    }
    let mut offered = disk(DISK);
    assert_eq!(read(&mut offered, 0x04, 4), 1 << 2 | 1 << 6 | 1 << 9 | 1 << 27 | 1 << 28);
    let _ = write(&mut offered, 0x00, 4, 1);
    assert_eq!(read(&mut offered, 0x04, 4), 1);
    let mut read_only = disk(DiskGeometry { read_only: true, ..DISK });
    assert_eq!(legacy_read(&mut read_only, 0, 4) & 1 << 5, 1 << 5);
}

#[test]
fn reading_the_interrupt_status_lowers_the_line() {
    let mut disk = modern();
    disk.begin(3);
    assert_eq!(disk.finish(false), Action::line(false));
    disk.begin(4);
    assert_eq!(disk.finish(true), Action::line(true));
    assert_eq!(disk.mmio_read(0x1000, 1), Some((1, Action::line(false))));
    assert!(!disk.line());
    let mut disk = legacy();
    disk.begin(3);
    let _ = disk.finish(true);
    assert_eq!(disk.read(0x13), (1, Action::line(false)));
    assert_eq!(disk.read(0x13), (0, Action::line(false)));
    let queue = disk.active_queue().unwrap();
    assert_eq!((queue.next_available, queue.next_used), (1, 1));
}

#[test]
fn a_device_that_needs_a_reset_stands_still_until_then() {
    let mut disk = modern();
    disk.begin(0);
    assert_eq!(disk.fail(), Action::line(true));
    assert_eq!((read(&mut disk, 0x1000, 1), read(&mut disk, 0x14, 1)), (2, 0x4F));
    assert!(disk.active_queue().is_none() && disk.request().is_none());
    let _ = write(&mut disk, 0x14, 1, 0x0F);
    assert_eq!(read(&mut disk, 0x14, 1), 0x4F);
    let _ = write(&mut disk, 0x14, 1, 0);
    assert_eq!(disk, self::disk(DISK));
}

#[test]
fn a_reset_by_driver_or_machine_drops_the_request_and_keeps_the_disk() {
    let mut by_driver = legacy();
    by_driver.begin(7);
    assert_eq!(by_driver.after_reset(), disk(DISK));
    let _ = by_driver.write(0x12, 0);
    assert_eq!(by_driver, disk(DISK));
}

#[test]
fn a_disk_is_restored_in_the_middle_of_a_request() {
    let mut disk = modern();
    disk.begin(5);
    disk.proceed(4096);
    let mut copy = VirtioDisk::default();
    copy.restore(&disk.save()).unwrap();
    assert_eq!(copy, disk);
    assert_eq!(copy.request(), Some(VirtioProgress { head: 5, done: 4096 }));
    assert!(copy.may_interrupt());
}

#[test]
fn impossible_states_are_refused() {
    let mut disk = modern();
    disk.begin(5);
    let changes: [fn(&mut VirtioDisk); 7] = [
        |disk| disk.geometry = None,
        |disk| disk.geometry = Some(DiskGeometry::disk(0, false)),
        |disk| disk.features = 0,
        |disk| disk.interrupt_status = 4,
        |disk| disk.request = Some(VirtioProgress { head: 128, done: 0 }),
        |disk| disk.queue.enabled = false,
        |disk| disk.queue.size = 3,
    ];
    for (number, change) in changes.into_iter().enumerate() {
        let mut state = disk.clone();
        change(&mut state);
        let mut copy = VirtioDisk::default();
        assert!(copy.restore(&state.save()).is_err(), "change {number}");
        assert_eq!(copy, VirtioDisk::default());
    }
}

#[test]
fn any_accesses_leave_a_valid_state() {
    let mut random = Random::new(13);
    let mut disk = disk(DISK);
    let mut begun = 0;
    for step in 0..50_000 {
        let value = random.next();
        let at = value >> 8 & 0x3F;
        let size = *random.pick(&[1, 2, 4, 8]);
        // Mostly what drivers write.
        let data = *random.pick(&[0, 1, 3, 7, 0xB, 0xF, 16, 0x200, 0x1000, value >> 32, value]);
        let action = match value % 8 {
            0..=2 => disk.mmio_write(at, size, data),
            3 => disk.mmio_write(value >> 40, size, data),
            4 => disk.write_wide(at as u16, size.min(4), data as u32),
            5 => Some(disk.read((value >> 16) as u16).1),
            6 => disk.mmio_read(value >> 16 & 0x7FFF, size).map(|(_, action)| action),
            _ if disk.active_queue().is_none() => None,
            _ if disk.request().is_none() => {
                disk.begin(value as u16 >> 9);
                begun += 1;
                None
            }
            _ => match value >> 8 & 3 {
                0 => Some(disk.fail()),
                1 => Some(disk.finish(value & 1 << 12 != 0)),
                _ => {
                    disk.proceed(value as u32);
                    None
                }
            },
        };
        if let Some(level) = action.and_then(|action| action.line) {
            assert_eq!(level, disk.line());
        }
        if value >> 50 & 0xF == 0 {
            let mut copy = VirtioDisk::default();
            copy.restore(&disk.save()).unwrap_or_else(|error| panic!("step {step}: {error}"));
            assert_eq!(copy, disk);
        }
        match value >> 54 & 0x7F {
            0 => drop(disk.write(0x12, 0)),
            1 => disk = modern(),
            2 => disk = legacy(),
            _ => {}
        }
    }
    assert!(begun > 500, "{begun} requests");
}

#[test]
fn bytes_beyond_a_structure_are_zeros() {
    assert_eq!([0, 2, 3, 9].map(|at| bytes(&[1, 2, 3, 4], at, 2)), [0x0201, 0x0403, 0x0004, 0]);
}

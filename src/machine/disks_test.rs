//! IDE disks of whole machines, with the requests of a driver that is this test.

use std::time::{Duration, Instant};

use super::super::testing::{machine, numbered_disk};
use super::*;
use crate::os::disk_image::DiskImage;
use crate::settings::DiskInterface;

/// The first channel: sector count, the first byte of the sector's number, drive, command and status.
const COUNT: u16 = 0x1F2;
const SECTOR: u16 = 0x1F3;
const DRIVE: u16 = 0x1F6;
const COMMAND: u16 = 0x1F7;
const STATUS_DATA: u32 = 8;

/// A first disk whose sectors hold their numbers.
fn images(name: &str) -> [Option<DiskImage>; UNITS] {
    let mut images: [Option<DiskImage>; UNITS] = Default::default();
    images[0] = Some(numbered_disk(name, 64, DiskInterface::Ide));
    images
}

#[test]
fn a_machine_that_was_saved_while_a_drive_is_busy_asks_its_disk_again() {
    let Some(mut source) = machine(16 << 20, b"\xF4\xEB\xFD") else { return };
    source.attach_disks(images("ide-source"), DiskOrigin::New).unwrap();
    for (port, value) in [(DRIVE, 0xE0), (COUNT, 1), (SECTOR, 5), (COMMAND, 0x20)] {
        let _ = source.board.port_out(port, 1, value);
    }
    assert!(source.board.take_disk_request().is_some());
    let state = source.state().unwrap();

    let Some(mut machine) = machine(16 << 20, b"\xF4\xEB\xFD") else { return };
    machine.put_state(state.board().unwrap(), &state).unwrap();
    machine.attach_disks(images("ide-restored"), DiskOrigin::Restored).unwrap();
    let patience = Instant::now() + Duration::from_secs(60);
    while machine.board.port_in(COMMAND, 1).0 & STATUS_DATA == 0 {
        assert!(Instant::now() < patience, "the drive is still busy");
        std::thread::sleep(Duration::from_millis(1));
        assert!(machine.take_inputs().unwrap().is_none());
        machine.take_early_answers().unwrap();
    }
    assert_eq!(machine.board.port_in(0x1F0, 2).0 & 0xFFFF, 5);
}

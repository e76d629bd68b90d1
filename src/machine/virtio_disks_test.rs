//! Virtio disks of whole machines, with the requests of a driver that is this test.

use super::super::disks::{DiskOrigin, UNITS};
use super::super::snapshots::Snapshots;
use super::super::testing::{machine, numbered_disk};
use super::super::{Event, inputs::Input};
use super::*;
use crate::os::disk_image::DiskImage;
use crate::settings::DiskInterface;

const QUEUE: u64 = 0x30_0000;
const AVAILABLE: u64 = QUEUE + 0x800;
const USED: u64 = QUEUE + 0x1000;
const HEADER: u64 = 0x31_0000;
const STATUS: u64 = 0x31_0100;
const DATA: u64 = 0x32_0000;
/// Two pieces and a rest.
const LENGTH: u32 = (2 << 20) + 512;

const NOTIFY: u16 = 0x10;
const DEVICE_STATUS: u16 = 0x12;

/// A machine whose guest halts, with a virtio disk whose sectors hold their numbers, and the first port of the disk;
/// `None` where there is no `/dev/kvm`.
fn machine_with_disk(name: &str) -> Option<(Machine, u16)> {
    let mut machine = machine(16 << 20, b"\xF4\xEB\xFD")?;
    let mut images: [Option<DiskImage>; UNITS] = Default::default();
    images[MOST_DISKS] = Some(numbered_disk(&format!("virtio-{name}"), 8192, DiskInterface::Virtio));
    machine.attach_disks(images, DiskOrigin::New).unwrap();
    let _ = machine.board.port_out(0xCF8, 4, 0x8000_1810);
    let port = machine.board.port_in(0xCFC, 4).0 as u16 & !3;
    Some((machine, port))
}

fn out(machine: &mut Machine, port: u16, size: u8, value: u32) {
    let effect = machine.board.port_out(port, size, value);
    assert!(machine.apply(effect).unwrap().is_none());
}

/// The driver sets the queue up and requests to read [`LENGTH`] bytes from sector 7 on.
fn request(machine: &mut Machine, port: u16) {
    out(machine, port + DEVICE_STATUS, 1, 3);
    out(machine, port + 8, 4, (QUEUE / 4096) as u32);
    out(machine, port + DEVICE_STATUS, 1, 7);
    let memory = machine.memory();
    for (at, (address, length, flags, next)) in
        (QUEUE..).step_by(16).zip([(HEADER, 16, 1, 1), (DATA, LENGTH, 3, 2), (STATUS, 1, 2, 0u64)])
    {
        memory.write_u64(at, address).unwrap();
        memory.write_u64(at + 8, u64::from(length) | flags << 32 | next << 48).unwrap();
    }
    memory.write_u64(HEADER, 0).unwrap();
    memory.write_u64(HEADER + 8, 7).unwrap();
    memory.write(STATUS, &[0xFF]).unwrap();
    memory.write_u64(AVAILABLE, 1 << 16).unwrap();
    out(machine, port + NOTIFY, 2, 0);
}

/// Requests in the used ring, and the status of the last one.
fn finished(machine: &Machine) -> (u16, u8) {
    let (mut index, mut status) = ([0; 2], [0]);
    machine.memory().read(USED + 2, &mut index).unwrap();
    machine.memory().read(STATUS, &mut status).unwrap();
    (u16::from_le_bytes(index), status[0])
}

/// Has the machine take `answers` answers of the disk.
fn take_answers(machine: &mut Machine, answers: usize) {
    for _ in 0..answers {
        while machine.inputs.is_idle() {
            machine.inputs.wait();
        }
        assert!(machine.take_inputs().unwrap().is_none());
    }
}

fn expect_data(machine: &Machine) {
    for offset in (0..u64::from(LENGTH)).step_by(512) {
        let sector = 7 + offset / 512;
        assert_eq!(machine.memory().read_u64(DATA + offset).unwrap(), sector | sector << 32);
    }
}

#[test]
fn a_machine_restored_in_the_middle_of_a_request_finishes_it_once() {
    let Some((mut machine, port)) = machine_with_disk("restored") else { return };
    let mut snapshots = Snapshots::default();
    request(&mut machine, port);
    take_answers(&mut machine, 1);
    assert_eq!(
        machine.board.virtio_disk(0).and_then(|disk| disk.request()).map(|request| request.done),
        Some(1 << 20)
    );
    snapshots.take(&mut machine, "mid", None).unwrap();
    take_answers(&mut machine, 2);
    assert_eq!(finished(&machine), (1, 0));
    snapshots.restore(&mut machine, "mid").unwrap();
    assert_eq!(finished(&machine), (0, 0xFF));
    assert!(!machine.board.interrupts().level(11));
    take_answers(&mut machine, 2);
    assert_eq!(finished(&machine), (1, 0));
    expect_data(&machine);
    assert!(machine.board.interrupts().level(11));
    assert_eq!(machine.board.port_in(port + 0x13, 1).0 as u8, 1);
    assert!(!machine.board.interrupts().level(11));
}

#[test]
fn answers_to_a_driver_or_guest_that_was_reset_are_dropped() {
    let Some((mut machine, port)) = machine_with_disk("reset") else { return };
    request(&mut machine, port);
    out(&mut machine, port + DEVICE_STATUS, 1, 0);
    take_answers(&mut machine, 1);
    assert_eq!(finished(&machine), (0, 0xFF));
    assert_eq!(machine.memory().read_u64(DATA).unwrap(), 0);
    // A request after the reset is a new one.
    request(&mut machine, port);
    take_answers(&mut machine, 3);
    assert_eq!(finished(&machine), (1, 0));
    machine.memory().write_u64(DATA, 0).unwrap();
    out(&mut machine, port + DEVICE_STATUS, 1, 0);
    request(&mut machine, port);
    machine.inputs().push(Input::Reset);
    assert!(matches!(machine.wait(), Event::Reset));
    while !machine.inputs.is_idle() {
        assert!(machine.take_inputs().unwrap().is_none());
    }
    assert_eq!(machine.memory().read_u64(DATA).unwrap(), 0);
    assert!(
        machine.board.virtio_disk(0).is_some_and(|disk| disk.disk().is_some() && disk.request().is_none())
    );
    assert_eq!(machine.board.port_in(0xCFC, 4).0, 0xFFFF_FFFF, "the address register is as after power-on");
}

#[test]
fn a_device_that_may_not_be_a_bus_master_accesses_no_memory() {
    let Some((mut machine, port)) = machine_with_disk("master") else { return };
    out(&mut machine, 0xCF8, 4, 0x8000_1804);
    out(&mut machine, 0xCFC, 2, 1);
    request(&mut machine, port);
    assert!(machine.board.virtio_disk(0).is_some_and(|disk| disk.request().is_none()));
    out(&mut machine, 0xCFC, 2, 5);
    take_answers(&mut machine, 3);
    assert_eq!(finished(&machine), (1, 0));
    expect_data(&machine);
}

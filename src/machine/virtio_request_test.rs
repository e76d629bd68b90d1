use super::*;
use crate::fuzzing::Random;

const DESCRIPTORS: u64 = 0x1000;
const AVAILABLE: u64 = 0x2000;
const USED: u64 = 0x3000;
const HEADER_AT: u64 = 0x4000;
const STATUS_AT: u64 = 0x4100;
const DATA: u64 = 0x10_0000;
const SIZE: u16 = 8;

const NEXT: u16 = 1;
const WRITE: u16 = 2;
const INDIRECT: u16 = 4;

const DISK: DiskGeometry = DiskGeometry::disk(1 << 20, false);

fn memory() -> GuestMemory {
    GuestMemory::new(4 << 20).unwrap()
}

fn queue() -> VirtioQueue {
    VirtioQueue {
        size: SIZE,
        enabled: true,
        descriptors: DESCRIPTORS,
        available: AVAILABLE,
        used: USED,
        next_available: 0,
        next_used: 0,
    }
}

/// Address, length, flags and next descriptor.
type Descriptor = (u64, u32, u16, u16);

fn put_descriptors(memory: &GuestMemory, table: u64, descriptors: &[Descriptor]) {
    for (at, (address, length, flags, next)) in (table..).step_by(16).zip(descriptors) {
        memory.write_u64(at, *address).unwrap();
        let rest = u64::from(*length) | u64::from(*flags) << 32 | u64::from(*next) << 48;
        memory.write_u64(at + 8, rest).unwrap();
    }
}

/// Makes the chain that begins at descriptor `head` available.
fn make_available(memory: &GuestMemory, head: u16) {
    let mut index = [0; 2];
    memory.read(AVAILABLE + 2, &mut index).unwrap();
    let index = u16::from_le_bytes(index);
    memory.write(AVAILABLE + 4 + 2 * u64::from(index % SIZE), &head.to_le_bytes()).unwrap();
    memory.write(AVAILABLE + 2, &(index + 1).to_le_bytes()).unwrap();
}

fn put_header(memory: &GuestMemory, kind: u32, sector: u64) {
    memory.write_u64(HEADER_AT, kind.into()).unwrap();
    memory.write_u64(HEADER_AT + 8, sector).unwrap();
}

/// A request of header, `length` bytes of data and status, in three descriptors.
fn request(memory: &GuestMemory, kind: u32, sector: u64, length: u32) -> VirtioRequest {
    put_header(memory, kind, sector);
    let flags = if kind == VIRTIO_BLK_T_OUT { NEXT } else { NEXT | WRITE };
    put_descriptors(
        memory,
        DESCRIPTORS,
        &[(HEADER_AT, 16, NEXT, 1), (DATA, length, flags, 2), (STATUS_AT, 1, WRITE, 0)],
    );
    make_available(memory, 0);
    VirtioRequest::next(memory, &queue()).unwrap().unwrap()
}

fn read(lba: u64, sectors: u32) -> Step {
    Step::Disk(DiskRequest { lba, sectors, kind: DiskRequestKind::Read })
}

/// The element of the used ring, its index and the status.
fn used(memory: &GuestMemory) -> (u64, u16, u8) {
    let (mut index, mut status) = ([0; 2], [0]);
    memory.read(USED + 2, &mut index).unwrap();
    memory.read(STATUS_AT, &mut status).unwrap();
    (memory.read_u64(USED + 4).unwrap(), u16::from_le_bytes(index), status[0])
}

#[test]
fn a_read_brings_sectors_into_memory_and_the_request_back() {
    let memory = memory();
    assert!(VirtioRequest::next(&memory, &queue()).unwrap().is_none());
    let request = request(&memory, VIRTIO_BLK_T_IN, 7, 1024);
    assert_eq!(request.head(), 0);
    assert_eq!(request.step(&memory, DISK, false, 0), Ok(read(7, 2)));
    assert_eq!(request.proceed(&memory, 0, &[0x5A; 1024]), Ok(Some(1024)));
    assert_eq!(request.step(&memory, DISK, false, 1024), Ok(Step::Finish(OK)));
    assert_eq!(request.finish(&memory, &queue(), OK), Ok(true));
    assert_eq!(used(&memory), (1025 << 32, 1, 0));
    assert_eq!(memory.read_u64(DATA + 1016).unwrap(), 0x5A5A_5A5A_5A5A_5A5A);
    assert_eq!(memory.read_u64(DATA + 1024).unwrap(), 0);
    // The driver wants no interrupts.
    memory.write(AVAILABLE, &[1, 0]).unwrap();
    assert_eq!(request.finish(&memory, &queue(), FAILED), Ok(false));
    assert_eq!(used(&memory), (1 << 32, 1, 1));
}

#[test]
fn a_long_write_goes_to_the_disk_in_pieces() {
    let memory = memory();
    let length = 2 * PIECE + 512;
    memory.write(DATA + u64::from(length) - 1, &[0xEE]).unwrap();
    let request = request(&memory, VIRTIO_BLK_T_OUT, 1, length);
    let mut done = 0;
    let mut pieces = Vec::new();
    while let Ok(Step::Disk(DiskRequest { lba, sectors, kind })) = request.step(&memory, DISK, true, done) {
        let DiskRequestKind::Write { data, through: true } = kind else { panic!("{kind:?}") };
        assert_eq!(data.len(), sectors as usize * SECTOR);
        pieces.push((lba, sectors, data[data.len() - 1]));
        done += request.proceed(&memory, done, &[]).unwrap().unwrap();
    }
    assert_eq!(pieces, [(1, 2048, 0), (2049, 2048, 0), (4097, 1, 0xEE)]);
    assert_eq!(request.step(&memory, DISK, true, done), Ok(Step::Finish(OK)));
}

#[test]
fn what_the_disk_cannot_do_gets_an_error() {
    let read_only = DiskGeometry { read_only: true, ..DISK };
    for (kind, sector, length, geometry, expected) in [
        (VIRTIO_BLK_T_OUT, 0, 512, read_only, FAILED),
        (VIRTIO_BLK_T_IN, 1 << 20, 512, DISK, FAILED),
        (VIRTIO_BLK_T_IN, (1 << 20) - 1, 1024, DISK, FAILED),
        (VIRTIO_BLK_T_IN, u64::MAX, 512, DISK, FAILED),
        (VIRTIO_BLK_T_OUT, 0, 511, DISK, FAILED),
        (VIRTIO_BLK_T_IN, 0, 513, DISK, FAILED),
        (VIRTIO_BLK_T_IN, 0, 0, DISK, OK),
        (11, 0, 512, DISK, UNSUPPORTED),
    ] {
        let memory = memory();
        let request = request(&memory, kind, sector, length);
        assert_eq!(request.step(&memory, geometry, false, 0), Ok(Step::Finish(expected)), "{kind} {sector}");
    }
}

#[test]
fn a_flush_has_no_data_and_the_identity_fits_its_buffer() {
    let memory = memory();
    let flush = request(&memory, VIRTIO_BLK_T_FLUSH, 0, 0);
    let expected = DiskRequest { lba: 0, sectors: 0, kind: DiskRequestKind::Flush };
    assert_eq!(flush.step(&memory, DISK, false, 0), Ok(Step::Disk(expected)));
    assert_eq!(flush.proceed(&memory, 0, &[]), Ok(None));
    let memory = self::memory();
    let identify = request(&memory, VIRTIO_BLK_T_GET_ID, 0, 6);
    assert_eq!(identify.step(&memory, DISK, false, 0), Ok(Step::Finish(OK)));
    assert_eq!(memory.read_u64(DATA).unwrap().to_le_bytes(), *b"KVM VI\0\0");
}

#[test]
fn header_data_and_status_may_be_divided_in_any_way_also_by_an_indirect_table() {
    let memory = memory();
    put_header(&memory, VIRTIO_BLK_T_IN, 3);
    put_descriptors(
        &memory,
        DATA,
        &[
            (HEADER_AT, 5, NEXT, 1),
            (HEADER_AT + 5, 11, NEXT, 2),
            (DATA + 0x1000, 300, NEXT | WRITE, 3),
            (DATA + 0x2000, 213, WRITE, 0),
        ],
    );
    put_descriptors(&memory, DESCRIPTORS + 16 * 5, &[(DATA, 64, INDIRECT, 0)]);
    make_available(&memory, 5);
    let request = VirtioRequest::next(&memory, &queue()).unwrap().unwrap();
    assert_eq!((request.head(), request.step(&memory, DISK, false, 0)), (5, Ok(read(3, 1))));
    let sector: Vec<u8> = (0..512).map(|byte| byte as u8).collect();
    assert_eq!(request.proceed(&memory, 0, &sector), Ok(Some(512)));
    request.finish(&memory, &queue(), 0x77).unwrap();
    let mut parts = [0; 214];
    memory.read(DATA + 0x2000, &mut parts).unwrap();
    assert_eq!((parts[0], parts[211], parts[212], parts[213]), (44, 255, 0x77, 0));
}

#[test]
fn queues_and_requests_that_no_device_can_use_are_refused() {
    let far = 4 << 20;
    let last = (HEADER_AT, 16, NEXT, 1);
    let status = (STATUS_AT, 1, WRITE, 0);
    let cases: [(&[Descriptor], &str); 9] = [
        (&[last, (DATA, 512, NEXT | WRITE, 0)], "do not end"),
        (&[last, (DATA, 512, NEXT | WRITE, 200)], "do not exist"),
        (&[last, (far, 512, NEXT | WRITE, 2), status], "not in RAM"),
        (&[last, (far - 1, 512, NEXT | WRITE, 2), status], "not in RAM"),
        (&[last, (u64::MAX, 512, NEXT | WRITE, 2), status], "not in RAM"),
        (&[last, (DATA, 512, 0, 0)], "place for the status"),
        (&[(HEADER_AT, 15, NEXT, 1), status], "incomplete header"),
        (&[(DATA, 15, INDIRECT, 0)], "do not end"),
        (&[(far, 16, INDIRECT, 0)], "do not end"),
    ];
    for (descriptors, expected) in cases {
        let memory = memory();
        put_descriptors(&memory, DESCRIPTORS, descriptors);
        make_available(&memory, 0);
        let reason = VirtioRequest::next(&memory, &queue()).unwrap_err();
        assert!(reason.contains(expected), "{reason}, not {expected}");
    }
    let memory = memory();
    memory.write(AVAILABLE + 2, &[9, 0]).unwrap();
    type Change = fn(&mut VirtioQueue);
    let changes: [(Change, &str); 5] = [
        (|_| (), "more entries"),
        (|queue| queue.descriptors += 8, "not aligned"),
        (|queue| queue.available += 1, "not aligned"),
        (|queue| queue.used = 4 << 20, "not in RAM"),
        (|queue| queue.descriptors = u64::MAX - 15, "not in RAM"),
    ];
    for (change, expected) in changes {
        let mut queue = queue();
        change(&mut queue);
        let reason = VirtioRequest::next(&memory, &queue).unwrap_err();
        assert!(reason.contains(expected), "{reason}, not {expected}");
    }
}

#[test]
fn garbage_in_memory_is_refused_or_carried_out_but_never_more() {
    let (mut random, memory) = (Random::new(14), memory());
    let (mut usable, mut refused) = (0, 0);
    for _ in 0..20_000 {
        let kind =
            *random.pick(&[VIRTIO_BLK_T_IN, VIRTIO_BLK_T_OUT, VIRTIO_BLK_T_FLUSH, VIRTIO_BLK_T_GET_ID]);
        put_header(&memory, kind, random.next() & 0x3F);
        put_descriptors(
            &memory,
            DESCRIPTORS,
            &[
                (HEADER_AT, 16, NEXT, 1),
                (DATA, 512, if kind == VIRTIO_BLK_T_OUT { NEXT } else { NEXT | WRITE }, 2),
                (STATUS_AT, 1, WRITE, 0),
            ],
        );
        // Rings, descriptors and headers overlap, and most addresses are RAM.
        for _ in 0..random.next() % 4 {
            let at = DESCRIPTORS + random.next() % 0x40 / 8 * 8;
            let word = random.next();
            let address = *random.pick(&[DESCRIPTORS, AVAILABLE, USED, DATA, (4 << 20) - 256, word]);
            let _ = memory.write_u64(at & !15, address);
            let flags = word >> 40 & 7;
            let _ = memory.write_u64(at | 8, word & 0x3FF | flags << 32 | (word >> 50 & 7) << 48);
        }
        let word = random.next();
        let ring = [word, word >> 8, word >> 16, word >> 24].map(|head| head % 3);
        let index = word >> 32 & 3;
        memory.write_u64(AVAILABLE, index << 16 | ring[0] << 32 | ring[1] << 48).unwrap();
        memory.write_u64(AVAILABLE + 8, ring[2] | ring[3] << 16).unwrap();
        let mut queue = queue();
        (queue.next_available, queue.next_used) = ((word >> 40) as u16 % 4, word as u16);
        let Ok(Some(request)) = VirtioRequest::next(&memory, &queue) else {
            refused += 1;
            continue;
        };
        usable += 1;
        let mut done = 0;
        for _ in 0..8 {
            match request.step(&memory, DiskGeometry::disk(64, false), true, done).unwrap() {
                Step::Disk(DiskRequest { lba, sectors, .. }) => {
                    assert!(lba + u64::from(sectors) <= 64);
                    let data = vec![word as u8; sectors as usize * SECTOR];
                    match request.proceed(&memory, done, &data).unwrap() {
                        Some(bytes) => done += bytes,
                        None => break,
                    }
                }
                Step::Finish(_) => break,
            }
        }
        request.finish(&memory, &queue, OK).unwrap();
    }
    assert!(usable > 1000 && refused > 1000, "{usable} requests, {refused} refused");
}

use super::super::drives::{BiosGeometry, CD};
use super::super::el_torito::BootImage;
use super::super::int13_disk;
use super::super::testing::TestPlatform;
use super::*;
use crate::devices::ide::SECTOR;

/// Sectors of 512 bytes of the CD.
const SIZE: u64 = 40_000;

fn call(ax: u16, dl: u8) -> BiosCall {
    BiosCall { vector: 0x13, eax: ax.into(), edx: dl.into(), esi: 0x500, ..BiosCall::default() }
}

fn served(mut call: BiosCall, platform: &mut TestPlatform) -> BiosCall {
    assert_eq!(int13_disk::serve(&mut call, platform), Served::Done);
    call
}

fn answer(call: &BiosCall) -> (u8, u16) {
    (call.ah(), call.flags & 1)
}

fn packet(sectors: u16, lba: u64, platform: &mut TestPlatform) {
    let mut bytes = vec![16, 0];
    bytes.extend(sectors.to_le_bytes());
    bytes.extend([0, 0, 0, 0x10]);
    bytes.extend(lba.to_le_bytes());
    platform.write(0x500, &bytes);
}

/// Started from a CD with an image at sector 100.
fn started(media: BootMedia, heads: u8) -> TestPlatform {
    let mut platform = TestPlatform::with_cd(&[20480, 2880], SIZE);
    let image = BootImage { media, segment: 0x7C0, loaded: 4, lba: 100 };
    StartedCd::prepare(image, 2, &mut platform);
    assert_eq!(StartedCd::read(&platform), None, "nothing is emulated before it is loaded");
    let mut cd = StartedCd::prepared(&platform).unwrap();
    let mut sector = [0; 512];
    sector[451..454].copy_from_slice(&[heads - 1, 17, 9]);
    cd.set_geometry_of_hard_disk(&sector, SIZE);
    cd.start(&mut platform);
    platform
}

#[test]
fn a_cd_is_read_in_sectors_of_2048_bytes() {
    let mut platform = TestPlatform::with_cd(&[], SIZE);
    let there = served(BiosCall { ebx: 0x55AA, ..call(0x4100, CD) }, &mut platform);
    assert_eq!((answer(&there), there.bx(), there.cx()), ((1, 0), 0xAA55, 1));
    packet(127, 9000, &mut platform);
    let mut read = call(0x4200, CD);
    let Served::Transfer(transfer) = int13_disk::serve(&mut read, &mut platform) else {
        panic!("no transfer")
    };
    assert_eq!((transfer.unit, transfer.lba, transfer.sectors), (2, 36_000, 508));
    let data = vec![7; transfer.length()];
    let done = int13_disk::complete(&mut read, &transfer, Ok(data), &mut platform);
    assert_eq!((done, answer(&read), platform.dynamic().word(0x502)), (Served::Done, (0, 0), 127));
    assert_eq!([0x10000, 0x10000 + 508 * SECTOR].map(|at| platform.memory[at]), [7, 0]);
    // The second of two CD sectors cannot be read.
    packet(2, 10, &mut platform);
    let mut read = call(0x4200, CD);
    let Served::Transfer(transfer) = int13_disk::serve(&mut read, &mut platform) else {
        panic!("no transfer")
    };
    let error = crate::devices::ide::DiskError { lba: 45 };
    let _ = int13_disk::complete(&mut read, &transfer, Err(error), &mut platform);
    assert_eq!((answer(&read), platform.dynamic().word(0x502)), ((0x10, 1), 1));
    packet(1, 10_000, &mut platform);
    assert_eq!(answer(&served(call(0x4200, CD), &mut platform)), (4, 1), "beyond the end");
    assert_eq!(answer(&served(call(0x4300, CD), &mut platform)), (3, 1));
    assert_eq!(answer(&served(call(0x0201, CD), &mut platform)), (1, 1));
    platform.dynamic().set_word(0x500, 26);
    assert_eq!(answer(&served(call(0x4800, CD), &mut platform)), (0, 0));
    let memory = platform.dynamic();
    assert_eq!((memory.word(0x502), memory.double_word(0x510), memory.word(0x518)), (4, 10_000, 2048));
}

#[test]
fn without_emulation_the_packet_says_so_and_the_cd_keeps_its_number() {
    let mut platform = started(BootMedia::NoEmulation, 2);
    let report = served(call(0x4B01, CD), &mut platform);
    assert_eq!((answer(&report), &platform.memory[0x500..0x504]), ((0, 0), &[0x13, 0, 0xE0, 1][..]));
    let memory = platform.dynamic();
    assert_eq!((memory.double_word(0x504), memory.word(0x50C), memory.word(0x50E)), (100, 0x7C0, 4));
    assert_eq!(answer(&served(call(0x4B01, 0x80), &mut platform)), (1, 1), "another drive");
    assert_eq!(answer(&served(call(0x4D00, CD), &mut platform)), (1, 1));
    // Nothing was started from this one.
    let mut other = TestPlatform::with_cd(&[], SIZE);
    assert_eq!(answer(&served(call(0x4B01, 0x7F), &mut other)), (1, 1));
}

#[test]
fn an_emulated_diskette_is_drive_0_until_the_emulation_ends() {
    let mut platform = started(BootMedia::Diskette(2880), 2);
    let mut read = BiosCall { ecx: 0x0112, ..call(0x0201, 0) };
    let Served::Transfer(transfer) = int13_disk::serve(&mut read, &mut platform) else {
        panic!("no transfer")
    };
    assert_eq!((transfer.unit, transfer.lba), (2, 400 + 36 + 17));
    let write = served(BiosCall { ecx: 1, ..call(0x0301, 0) }, &mut platform);
    assert_eq!(answer(&write), (3, 1));
    let parameters = served(call(0x0800, 0), &mut platform);
    assert_eq!(
        (parameters.cx(), parameters.dx(), parameters.bx()),
        (0x4F12, 0x0102, 4),
        "two diskette drives"
    );
    let mut second = BiosCall { ecx: 1, ..call(0x0201, 1) };
    let Served::Transfer(transfer) = int13_disk::serve(&mut second, &mut platform) else {
        panic!("no transfer")
    };
    assert_eq!((transfer.unit, transfer.lba), (1, 0), "the real one");
    let ended = served(call(0x4B00, 0), &mut platform);
    assert_eq!(
        (answer(&ended), platform.memory[0x501], &platform.memory[0x510..0x513]),
        ((0, 0), 2, &[0x4F, 0x12, 1][..])
    );
    let parameters = served(call(0x0800, 0), &mut platform);
    assert_eq!(parameters.dx(), 0x0101, "one diskette drive");
    assert_eq!(answer(&served(call(0x4B01, 0), &mut platform)), (1, 1));
}

#[test]
fn an_emulated_hard_disk_has_the_geometry_of_its_partition_table() {
    let mut platform = started(BootMedia::HardDisk, 4);
    let parameters = served(call(0x0800, 0x80), &mut platform);
    assert_eq!(
        (parameters.cx(), parameters.dx()),
        (0x0911, 0x0302),
        "10 cylinders, 4 heads, 17 sectors; two disks"
    );
    let mut read = BiosCall { ecx: 0x0101, ..call(0x0201, 0x80) };
    let Served::Transfer(transfer) = int13_disk::serve(&mut read, &mut platform) else {
        panic!("no transfer")
    };
    assert_eq!((transfer.unit, transfer.lba), (2, 400 + 4 * 17));
    let mut without_partition = StartedCd::read(&platform).unwrap();
    without_partition.set_geometry_of_hard_disk(&[0; 512], SIZE);
    assert_eq!(without_partition.geometry, BiosGeometry { cylinders: 39, heads: 16, sectors: 63 });
    let mut other = BiosCall { ecx: 1, ..call(0x0201, 0x81) };
    let Served::Transfer(transfer) = int13_disk::serve(&mut other, &mut platform) else {
        panic!("no transfer")
    };
    assert_eq!((transfer.unit, transfer.lba), (0, 0));
}

#[test]
fn what_a_program_writes_over_the_state_is_no_drive() {
    let mut platform = started(BootMedia::HardDisk, 4);
    let right = StartedCd::read(&platform).unwrap();
    let at = super::super::data_areas::EL_TORITO as usize;
    for (offset, value) in [(0, 0), (1, 9), (2, 0), (2, 7), (3, 0), (7, 0xFF), (13, 0xFF), (14, 64), (14, 0)]
    {
        let before = std::mem::replace(&mut platform.memory[at + offset], value);
        let cd = StartedCd::read(&platform);
        assert_eq!(cd.and_then(|cd| cd.emulated(&platform)), None, "{value:#x} at {offset}");
        platform.memory[at + offset] = before;
    }
    assert_eq!(StartedCd::read(&platform), Some(right));
    assert_eq!(right.geometry, BiosGeometry { cylinders: 10, heads: 4, sectors: 17 });
}

use super::super::testing::TestPlatform;
use super::*;
use crate::devices::ide::DiskError;

/// 10 MiB: 20 cylinders, 16 heads.
const SMALL: u64 = 20480;

fn call(ax: u16, cx: u16, dx: u16) -> BiosCall {
    BiosCall {
        vector: 0x13,
        eax: ax.into(),
        ebx: 0x0100,
        ecx: cx.into(),
        edx: dx.into(),
        es: 0x1000,
        ..BiosCall::default()
    }
}

fn served(mut call: BiosCall, platform: &mut TestPlatform) -> BiosCall {
    assert_eq!(serve(&mut call, platform), Served::Done);
    call
}

/// AH and CF.
fn answer(call: &BiosCall) -> (u8, u16) {
    (call.ah(), call.flags & 1)
}

/// A disk address packet at DS:SI = 0:500.
fn packet(size: u8, sectors: u16, buffer: u32, lba: u64, platform: &mut TestPlatform) {
    let mut bytes = vec![size, 0];
    bytes.extend(sectors.to_le_bytes());
    bytes.extend(buffer.to_le_bytes());
    bytes.extend(lba.to_le_bytes());
    bytes.extend(0x12_0000u64.to_le_bytes());
    platform.write(0x500, &bytes);
}

fn with_packet(ah: u8) -> BiosCall {
    BiosCall { esi: 0x500, ..call(u16::from(ah) << 8, 0, 0x80) }
}

#[test]
fn parameters_are_reported_and_nothing_else_happens() {
    let mut platform = TestPlatform::with_disks(&[SMALL, 1 << 24]);
    let first = served(call(0x0800, 0, 0x80), &mut platform);
    assert_eq!((answer(&first), first.cx(), first.dx(), first.bx()), ((0, 0), 0x133F, 0x0F02, 0x0100));
    let second = served(call(0x0800, 0, 0x81), &mut platform);
    assert_eq!((second.cx(), second.dx()), (0xFFFF, 0xFE02), "1024 cylinders, 255 heads, 63 sectors");
    assert_eq!(answer(&served(call(0x0800, 0, 0x82), &mut platform)), (1, 1));
    let diskette = served(call(0x0800, 0, 0), &mut platform);
    assert_eq!((answer(&diskette), diskette.dl()), ((0, 0), 0), "no diskette drives");
    let kind = served(call(0x1500, 0, 0x80), &mut platform);
    assert_eq!((kind.ah(), kind.cx(), kind.dx()), (3, 0, 20160));
    assert_eq!(served(call(0x1500, 0, 0), &mut platform).ah(), 0);
}

#[test]
fn sectors_are_read_by_cylinder_head_and_sector() {
    let mut platform = TestPlatform::with_disks(&[SMALL]);
    let mut read = call(0x0203, 0x0104, 0x0280);
    let Served::Transfer(transfer) = serve(&mut read, &mut platform) else { panic!("no transfer") };
    let lba = (16 + 2) * 63 + 3;
    let expected =
        BiosTransfer { vector: 0x13, unit: 0, lba, sectors: 3, address: 0x10100, kind: TransferKind::Read };
    assert_eq!(transfer, expected);
    let data = [1; SECTOR].into_iter().chain([2; SECTOR]).chain([3; SECTOR]).collect();
    assert_eq!(complete(&mut read, &transfer, Ok(data), &mut platform), Served::Done);
    assert_eq!((answer(&read), read.al()), ((0, 0), 3));
    assert_eq!([0x100FF, 0x10100, 0x106FF, 0x10700].map(|at: usize| platform.memory[at]), [0, 1, 3, 0]);
}

#[test]
fn what_is_not_on_the_disk_is_not_found() {
    let mut platform = TestPlatform::with_disks(&[SMALL]);
    // Cylinder 20, head 16, sector 0, no sectors, beyond the last sector.
    let wrong =
        [(0x0201, 0x1401, 0x80, 4), (0x0201, 1, 0x1080, 4), (0x0201, 0, 0x80, 1), (0x0200, 1, 0x80, 1)];
    for (ax, cx, dx, status) in wrong {
        let failed = served(call(ax, cx, dx), &mut platform);
        assert_eq!((answer(&failed), failed.al()), ((status, 1), 0), "{ax:#x} {cx:#x} {dx:#x}");
        let last = served(call(0x0100, 0, 0x80), &mut platform);
        assert_eq!(answer(&last), (status, 1));
    }
    assert_eq!(answer(&served(call(0x0000, 0, 0x80), &mut platform)), (0, 0));
    assert_eq!(answer(&served(call(0x0100, 0, 0x80), &mut platform)), (0, 0));
}

#[test]
fn a_read_only_disk_refuses_writes_and_a_failure_says_how_far_it_came() {
    let mut platform = TestPlatform::with_disks(&[SMALL]);
    platform.disks[0].read_only = true;
    assert_eq!(answer(&served(call(0x0301, 1, 0x80), &mut platform)), (3, 1));
    platform.disks[0].read_only = false;
    let mut write = call(0x0304, 1, 0x80);
    let Served::Transfer(transfer) = serve(&mut write, &mut platform) else { panic!("no transfer") };
    assert_eq!(transfer.kind, TransferKind::Write);
    let _ = complete(&mut write, &transfer, Err(DiskError { lba: 2 }), &mut platform);
    assert_eq!((answer(&write), write.al()), ((0xCC, 1), 2));
}

#[test]
fn the_extensions_are_there_and_read_by_lba() {
    let mut platform = TestPlatform::with_disks(&[1 << 33]);
    let there = served(BiosCall { ebx: 0x55AA, ..call(0x4100, 0, 0x80) }, &mut platform);
    assert_eq!((answer(&there), there.bx(), there.cx()), ((1, 0), 0xAA55, 1));
    packet(16, 127, 0x2000_0010, 1 << 32, &mut platform);
    let mut read = with_packet(0x42);
    let Served::Transfer(transfer) = serve(&mut read, &mut platform) else { panic!("no transfer") };
    assert_eq!((transfer.lba, transfer.sectors, transfer.address), (1 << 32, 127, 0x2_0010));
    assert_eq!(complete(&mut read, &transfer, Ok(vec![7; transfer.length()]), &mut platform), Served::Done);
    assert_eq!((answer(&read), platform.dynamic().word(0x502), platform.memory[0x2_0010]), ((0, 0), 127, 7));
    // A flat address of 64 bits.
    packet(24, 1, 0xFFFF_FFFF, 0, &mut platform);
    let mut verify = with_packet(0x44);
    let Served::Transfer(transfer) = serve(&mut verify, &mut platform) else { panic!("no transfer") };
    assert_eq!((transfer.address, transfer.kind), (0x12_0000, TransferKind::Verify));
}

#[test]
fn a_wrong_packet_is_refused_with_no_sectors_done() {
    let mut platform = TestPlatform::with_disks(&[SMALL]);
    for (size, sectors, lba, status) in
        [(15, 1, 0, 1), (16, 128, 0, 1), (16, 1, SMALL, 4), (16, 2, u64::MAX, 4)]
    {
        packet(size, sectors, 0, lba, &mut platform);
        assert_eq!(
            answer(&served(with_packet(0x42), &mut platform)),
            (status, 1),
            "{size} {sectors} {lba:#x}"
        );
        let done = if size < 16 { sectors } else { 0 };
        assert_eq!(platform.dynamic().word(0x502), done);
    }
    packet(16, 8, 0, 100, &mut platform);
    let mut read = with_packet(0x42);
    let Served::Transfer(transfer) = serve(&mut read, &mut platform) else { panic!("no transfer") };
    let _ = complete(&mut read, &transfer, Err(DiskError { lba: 105 }), &mut platform);
    assert_eq!((answer(&read), platform.dynamic().word(0x502)), ((0x10, 1), 5));
}

#[test]
fn extended_parameters_have_the_size_of_the_disk() {
    let mut platform = TestPlatform::with_disks(&[1 << 33]);
    platform.dynamic().set_word(0x500, 25);
    assert_eq!(answer(&served(with_packet(0x48), &mut platform)), (1, 1));
    for (room, size) in [(26, 26), (74, 30)] {
        platform.dynamic().set_word(0x500, room);
        assert_eq!(answer(&served(with_packet(0x48), &mut platform)), (0, 0));
        let memory = platform.dynamic();
        assert_eq!((memory.word(0x500), memory.word(0x502), memory.word(0x518)), (size, 2, 512));
        assert_eq!([4, 8, 12].map(|at| memory.double_word(0x500 + at)), [16383, 255, 63]);
        assert_eq!((memory.double_word(0x510), memory.double_word(0x514)), (0, 2));
    }
}

#[test]
fn diskettes_are_absent_and_boot_from_a_cd_is_unknown() {
    let mut platform = TestPlatform::with_disks(&[SMALL]);
    assert_eq!(answer(&served(call(0x0000, 0, 0), &mut platform)), (0, 0));
    assert_eq!(answer(&served(call(0x0201, 1, 0), &mut platform)), (0x31, 1));
    assert_eq!(answer(&served(call(0x4B01, 0, 0x80), &mut platform)), (1, 1));
    let mut diskette_call = call(0x0201, 1, 0);
    assert_eq!(
        (diskette(&mut diskette_call, &mut platform), answer(&diskette_call)),
        (Served::Done, (0x31, 1))
    );
}

#[test]
fn a_diskette_has_its_geometry_its_type_and_its_change_line() {
    let mut platform = TestPlatform::with_disks(&[2880, SMALL, 720]);
    let first = served(call(0x0800, 0, 0), &mut platform);
    assert_eq!((answer(&first), first.cx(), first.dx(), first.bx()), ((0, 0), 0x4F12, 0x0102, 4));
    assert_eq!((first.es, first.edi), (0xF000, 0xEFC7), "the table of its parameters");
    let second = served(call(0x0800, 0, 1), &mut platform);
    assert_eq!((second.cx(), second.dx(), second.bx()), (0x2709, 0x0102, 1));
    assert_eq!([0u16, 1, 2].map(|drive| served(call(0x1500, 0, drive), &mut platform).ah()), [2, 1, 0]);
    assert_eq!(answer(&served(call(0x1600, 0, 0), &mut platform)), (0, 0));
    let hard_disk = served(call(0x0800, 0, 0x80), &mut platform);
    assert_eq!((hard_disk.cx(), hard_disk.dl()), (0x133F, 1));
    for unknown in [0x0500, 0x4100, 0x4200] {
        assert_eq!(answer(&served(call(unknown, 1, 0), &mut platform)), (1, 1), "{unknown:#x}");
    }
}

#[test]
fn a_diskette_is_read_across_tracks_and_not_beyond_one_in_its_address() {
    let mut platform = TestPlatform::with_disks(&[2880]);
    // Cylinder 3, head 1, sector 18, and the next one.
    let mut read = call(0x0202, 0x0312, 0x0100);
    let Served::Transfer(transfer) = serve(&mut read, &mut platform) else { panic!("no transfer") };
    assert_eq!((transfer.unit, transfer.lba, transfer.sectors), (0, (3 * 2 + 1) * 18 + 17, 2));
    for (cx, dx) in [(0x0313, 0), (0x5001, 0), (1, 0x0200), (0x4F12, 0x0100)] {
        assert_eq!(answer(&served(call(0x0202, cx, dx), &mut platform)), (4, 1), "{cx:#x} {dx:#x}");
    }
    platform.disks[0].read_only = true;
    let mut write = BiosCall { vector: 0x40, ..call(0x0301, 1, 0) };
    assert_eq!((diskette(&mut write, &mut platform), answer(&write)), (Served::Done, (3, 1)));
}

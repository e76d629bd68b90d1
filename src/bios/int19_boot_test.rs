use super::super::testing::TestPlatform;
use super::*;
use crate::devices::ide::{DiskError, SECTOR};

fn sector(signature: [u8; 2]) -> Vec<u8> {
    let mut sector = vec![0x90; SECTOR];
    sector[510..].copy_from_slice(&signature);
    sector
}

#[test]
fn the_first_drive_with_a_boot_sector_is_booted() {
    let mut platform = TestPlatform::with_disks(&[100, 200, 300]);
    let mut call = BiosCall { vector: 0x19, ..BiosCall::default() };
    let Served::Transfer(first) = boot(&mut call, &mut platform) else { panic!("no transfer") };
    assert_eq!((first.unit, first.lba, first.sectors), (0, 0, 1));
    let next = complete(&mut call, &first, Err(DiskError { lba: 0 }), &mut platform);
    let Served::Transfer(second) = next else { panic!("no transfer") };
    let next = complete(&mut call, &second, Ok(sector([0, 0])), &mut platform);
    let Served::Transfer(third) = next else { panic!("no transfer") };
    assert_eq!((second.unit, third.unit), (1, 2));
    assert_eq!(complete(&mut call, &third, Ok(sector(SIGNATURE)), &mut platform), Served::Done);
    assert_eq!((call.dx(), platform.memory[0x7C00], platform.memory[0x7DFE]), (0x82, 0x90, 0x55));
}

#[test]
fn without_a_boot_sector_the_message_says_what_is_missing() {
    let mut platform = TestPlatform::with_disks(&[100]);
    let mut call = BiosCall { vector: 0x19, ..BiosCall::default() };
    let Served::Transfer(only) = boot(&mut call, &mut platform) else { panic!("no transfer") };
    let stopped = complete(&mut call, &only, Ok(sector([0x55, 0xAB])), &mut platform);
    assert!(matches!(&stopped, Served::Stop(reason) if reason.contains("disk 0x80")), "{stopped:?}");
    assert!(platform.screen_line(0).starts_with("no bootable disk: "));
    assert!(platform.sent().ends_with("`--cdrom`\r\n"), "{:?}", platform.sent());
    let nothing = boot(&mut call, &mut TestPlatform::default());
    assert!(matches!(&nothing, Served::Stop(reason) if reason.contains("`kvm DISK`")), "{nothing:?}");
    let several = failure(&mut TestPlatform::with_disks(&[1, 1]));
    assert!(matches!(&several, Served::Stop(reason) if reason.contains("0x80, 0x81")), "{several:?}");
}

#[test]
fn a_partition_table_without_code_is_no_boot_sector() {
    let mut platform = TestPlatform::with_disks(&[100, 100]);
    let mut call = BiosCall { vector: 0x19, ..BiosCall::default() };
    let Served::Transfer(first) = boot(&mut call, &mut platform) else { panic!("no transfer") };
    let mut table = sector(SIGNATURE);
    table[..440].fill(0);
    let next = complete(&mut call, &first, Ok(table.clone()), &mut platform);
    let Served::Transfer(second) = next else { panic!("no transfer: {next:?}") };
    assert_eq!(second.unit, 1);
    table[439] = 0xF4;
    assert_eq!(complete(&mut call, &second, Ok(table), &mut platform), Served::Done);
}

#[test]
fn an_exception_without_a_handler_names_its_place() {
    let call = BiosCall { vector: 6, cs: 0x0050, ip: 0x1234, ..BiosCall::default() };
    let Served::Stop(reason) = unexpected_exception(&call) else { panic!("it goes on") };
    assert!(reason.contains("(#UD) at 0050:1234"), "{reason}");
}

/// A CD of 100 sectors whose catalog has this entry, as `boot` reads it, up to the transfer of its image.
fn boot_cd(platform: &mut TestPlatform, catalog: &[u8]) -> (BiosCall, Served) {
    let mut call = BiosCall { vector: 0x19, ..BiosCall::default() };
    let Served::Transfer(record) = boot(&mut call, platform) else { panic!("no transfer") };
    assert_eq!((record.unit, record.lba, record.sectors), (2, 68, 4));
    let mut data = vec![0; 2048];
    data[..30].copy_from_slice(b"\0CD001\x01EL TORITO SPECIFICATION");
    data[0x47] = 19;
    let Served::Transfer(read) = complete(&mut call, &record, Ok(data), platform) else {
        panic!("no transfer")
    };
    assert_eq!((read.unit, read.lba, read.sectors), (2, 76, 4));
    let served = complete(&mut call, &read, Ok(catalog.to_vec()), platform);
    (call, served)
}

#[test]
fn a_boot_image_of_a_cd_is_loaded_where_the_catalog_says_and_entered() {
    use super::el_torito::tests::{catalog, entry};
    let mut platform = TestPlatform::with_cd(&[], 400);
    for (media, segment, (cs, ip), drive) in [(0, 0, (0, 0x7C00), 0xE0), (4, 0x2345, (0x2000, 0x3450), 0x80)]
    {
        let (mut call, served) = boot_cd(&mut platform, &catalog(0, &[entry(media, segment, 4, 20)]));
        let Served::Transfer(image) = served else { panic!("no transfer: {served:?}") };
        assert_eq!((image.lba, image.sectors), (80, 4));
        assert_eq!(complete(&mut call, &image, Ok(vec![0x90; 2048]), &mut platform), Served::Done);
        assert_eq!((call.cs, call.ip, call.dx()), (cs, ip, drive));
        let address = linear(cs, ip) as usize;
        assert_eq!((platform.memory[address], platform.memory[address + 2048]), (0x90, 0));
        assert_eq!(StartedCd::read(&platform).unwrap().drive_number(), drive as u8);
        assert_eq!(platform.dynamic().byte(bda::DISKS), u8::from(media == 4));
    }
}

#[test]
fn the_cd_comes_after_the_disks_unless_it_is_first() {
    let mut platform = TestPlatform::with_cd(&[100], 400);
    let order =
        |platform: &TestPlatform| candidates(platform).iter().map(|disk| disk.unit).collect::<Vec<_>>();
    assert_eq!(order(&platform), [0, 2]);
    platform.dynamic().set_byte(CD_FIRST, 1);
    assert_eq!(order(&platform), [2, 0]);
}

#[test]
fn a_cd_that_cannot_be_started_is_said_and_the_next_disk_is_tried() {
    use super::el_torito::tests::catalog;
    let mut platform = TestPlatform::with_cd(&[], 400);
    let (_, only) = boot_cd(&mut platform, &catalog(0, &[]));
    assert!(matches!(&only, Served::Stop(reason) if reason.contains("no bootable entry")), "{only:?}");
    let mut platform = TestPlatform::with_cd(&[100], 400);
    platform.dynamic().set_byte(CD_FIRST, 1);
    let (mut call, next) = boot_cd(&mut platform, &catalog(0, &[]));
    assert!(platform.screen_line(0).starts_with("the CD cannot be started: its boot catalog"));
    let Served::Transfer(next) = next else { panic!("no transfer") };
    assert_eq!((next.unit, next.lba), (0, 0));
    assert_eq!(complete(&mut call, &next, Ok(sector(SIGNATURE)), &mut platform), Served::Done);
    assert_eq!(call.dx(), 0x80);
}

#[test]
fn a_diskette_is_booted_as_drive_0() {
    let mut platform = TestPlatform::with_disks(&[2880, 100]);
    let mut call = BiosCall { vector: 0x19, ..BiosCall::default() };
    let Served::Transfer(first) = boot(&mut call, &mut platform) else { panic!("no transfer") };
    assert_eq!(complete(&mut call, &first, Ok(sector(SIGNATURE)), &mut platform), Served::Done);
    assert_eq!(call.dx(), 0);
}

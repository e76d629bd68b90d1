//! The CD-ROM drive: ATA/ATAPI-6 for packet devices, SFF-8020i and MMC-3 for the packets.

use super::*;

/// The status of a packet device whose command has failed, and the interrupt reason at the end.
const ENDED: u8 = REASON_COMMAND | REASON_IO;

/// A channel with a CD of `sectors` sectors.
fn cd(sectors: u64) -> Rig {
    let mut ide = IdeChannel::default();
    ide.attach(1, 0, DiskGeometry::cdrom(4 * sectors));
    Rig { ide, requests: Vec::new() }
}

fn begin(rig: &mut Rig, features: u8, limit: u16, packet: &[u8]) {
    let [mid, high] = limit.to_le_bytes();
    rig.write(&[(ERROR_FEATURES, features), (LBA_MID, mid), (LBA_HIGH, high), (STATUS_COMMAND, 0xA0)]);
    assert_eq!((rig.read(CONTROL), rig.read(SECTOR_COUNT)), (DATA_READY, REASON_COMMAND));
    assert!(!rig.ide.line());
    let mut whole = [0; 12];
    whole[..packet.len()].copy_from_slice(packet);
    for word in whole.chunks(2) {
        let _ = rig.ide.write_wide(DATA, 2, u16::from_le_bytes([word[0], word[1]]).into());
    }
}

/// Sends a packet and reads its answer in blocks of `limit` bytes: the sizes of the blocks and the data.
fn packet_in_blocks(rig: &mut Rig, limit: u16, packet: &[u8]) -> (Vec<usize>, Vec<u8>) {
    begin(rig, 0, limit, packet);
    let (mut blocks, mut data) = (Vec::new(), Vec::new());
    loop {
        while rig.read(CONTROL) == STATUS_BSY {
            let _ = rig.answer();
        }
        assert!(rig.ide.line(), "an interrupt for each block, and one at the end");
        if rig.read(STATUS_COMMAND) & STATUS_DRQ == 0 {
            assert_eq!(rig.read(SECTOR_COUNT), ENDED);
            return (blocks, data);
        }
        assert_eq!(rig.read(SECTOR_COUNT), REASON_IO);
        let size = usize::from(u16::from_le_bytes([rig.read(LBA_MID), rig.read(LBA_HIGH)]));
        blocks.push(size);
        data.extend(&rig.read_bytes(size.next_multiple_of(2))[..size]);
    }
}

fn packet(rig: &mut Rig, packet: &[u8]) -> Vec<u8> {
    packet_in_blocks(rig, 0xFFFF, packet).1
}

/// Sense key, code and qualifier.
fn sense(rig: &mut Rig) -> [u8; 3] {
    let data = packet(rig, &[0x03, 0, 0, 0, 18]);
    [data[2], data[12], data[13]]
}

fn fails(rig: &mut Rig, bytes: &[u8], expected: [u8; 3]) {
    assert!(packet(rig, bytes).is_empty());
    assert_eq!(
        (rig.read(STATUS_COMMAND), rig.read(ERROR_FEATURES)),
        (FAILED, expected[0] << 4),
        "{bytes:x?}"
    );
    assert_eq!(sense(rig), expected, "{bytes:x?}");
    assert_eq!(sense(rig), [0; 3], "REQUEST SENSE ends the condition");
}

#[test]
fn resets_leave_the_signature_of_a_packet_device() {
    for reset in
        [&[(CONTROL, CONTROL_SRST), (CONTROL, 0)][..], &[(STATUS_COMMAND, 0x90)], &[(STATUS_COMMAND, 8)]]
    {
        let mut rig = cd(100);
        let signature = [1, 1, 1, 0x14, 0xEB, 0, 0];
        assert_eq!([1, 2, 3, 4, 5, 6, 7].map(|offset| rig.read(offset)), signature, "after power-on");
        let _ = packet(&mut rig, &[0]);
        assert_eq!(rig.read(STATUS_COMMAND), READY);
        rig.write(&[(SECTOR_COUNT, 9), (LBA_LOW, 9), (LBA_MID, 9), (LBA_HIGH, 9)]);
        rig.write(reset);
        assert_eq!(rig.ide.line(), reset[0] == (STATUS_COMMAND, 0x90));
        assert_eq!([1, 2, 3, 4, 5, 6, 7].map(|offset| rig.read(offset)), signature);
    }
    // DEVICE RESET ends a transfer.
    let mut rig = cd(100);
    begin(&mut rig, 0, 2048, &[0x28, 0, 0, 0, 0, 5, 0, 0, 1]);
    let _ = rig.answer();
    rig.write(&[(STATUS_COMMAND, 8)]);
    assert_eq!((rig.read(STATUS_COMMAND), rig.read(LBA_HIGH), rig.ide.line()), (0, 0xEB, false));
}

#[test]
fn commands_of_hard_disks_are_aborted() {
    for (command, signature) in
        [(0xEC, true), (0x20, true), (0x30, false), (0xC8, false), (0xE7, false), (0x00, false)]
    {
        let mut rig = cd(100);
        rig.command(command, 0x0203_0405, 7);
        assert_eq!((rig.interrupt(), rig.read(STATUS_COMMAND)), (true, FAILED), "{command:#x}");
        assert_eq!(rig.read(ERROR_FEATURES), ERROR_ABRT);
        let registers = [2, 3, 4, 5].map(|offset| rig.read(offset));
        assert_eq!(registers == [1, 1, 0x14, 0xEB], signature, "{command:#x}: {registers:x?}");
    }
}

#[test]
fn identify_packet_device_describes_the_drive() {
    let mut rig = cd(100);
    rig.write(&[(STATUS_COMMAND, 0xA1)]);
    assert!(rig.interrupt());
    let bytes = rig.read_bytes(SECTOR);
    let words: Vec<u16> = bytes.chunks(2).map(|word| u16::from_le_bytes([word[0], word[1]])).collect();
    assert_eq!(text(&words[27..47]), format!("{:40}", "KVM CD-ROM"));
    assert_eq!(text(&words[10..20]), format!("{:20}", "KVM-2"));
    for (word, value) in
        [(0, 0x85C0), (49, 0x0F00), (53, 6), (63, 7), (64, 3), (80, 0x70), (82, 0x4218), (88, 0x0407)]
    {
        assert_eq!(words[word], value, "word {word}");
    }
    assert_eq!((rig.read(STATUS_COMMAND), rig.ide.line()), (READY, false));
}

#[test]
fn answers_come_in_blocks_of_the_byte_count() {
    let mut rig = cd(100);
    assert_eq!(packet_in_blocks(&mut rig, 0, &[0x00]), (vec![], vec![]));
    let capacity = [0, 0, 0, 99, 0, 0, 8, 0];
    assert_eq!(packet_in_blocks(&mut rig, 8, &[0x25]), (vec![8], capacity.to_vec()));
    assert_eq!(packet_in_blocks(&mut rig, 6, &[0x25]), (vec![6, 2], capacity.to_vec()));
    assert_eq!(packet_in_blocks(&mut rig, 7, &[0x25]).0, [6, 2], "words are transferred");
    assert_eq!(packet_in_blocks(&mut rig, 0xFFFF, &[0x25]).0, [8]);
    // INQUIRY with an odd allocation length.
    let (blocks, data) = packet_in_blocks(&mut rig, 4, &[0x12, 0, 0, 0, 9]);
    assert_eq!((blocks, data), (vec![4, 4, 1], vec![5, 0x80, 0, 0x21, 31, 0, 0, 0, b'K']));
    // A host that takes nothing.
    for limit in [0, 1] {
        assert!(packet_in_blocks(&mut rig, limit, &[0x25]).0.is_empty());
        assert_eq!((rig.read(STATUS_COMMAND), rig.read(ERROR_FEATURES)), (FAILED, ERROR_ABRT));
    }
}

#[test]
fn sectors_are_read_in_requests_of_128_kib() {
    let mut rig = cd(1000);
    let (blocks, data) = packet_in_blocks(&mut rig, 0x8000, &[0x28, 0, 0, 0, 0, 16, 0, 0, 100]);
    assert_eq!(blocks, [0x8000, 0x8000, 0x8000, 0x8000, 0x8000, 0x8000, 0x2000]);
    assert!(data == contents(64, 400));
    let requests: Vec<(u64, u32)> =
        rig.requests.iter().map(|request| (request.lba, request.sectors)).collect();
    assert_eq!(requests, [(64, 256), (320, 144)]);
    assert_eq!(packet(&mut rig, &[0xA8, 0, 0, 0, 3, 0xE7, 0, 0, 0, 1]), contents(3996, 4));
    assert!(packet(&mut rig, &[0x28, 0, 0, 0, 3, 0xE7, 0, 0, 0]).is_empty());
    fails(&mut rig, &[0x28, 0, 0, 0, 3, 0xE7, 0, 0, 2], [5, 0x21, 0]);
    fails(&mut rig, &[0xA8, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF], [5, 0x21, 0]);
    fails(&mut rig, &[0x2B, 0, 0, 0, 3, 0xE8], [5, 0x21, 0]);
    // An unreadable sector.
    begin(&mut rig, 0, 2048, &[0x28, 0, 0, 0, 0, 5, 0, 0, 1]);
    assert!(rig.ide.take_request().is_some());
    let _ = rig.ide.complete(0, Err(DiskError { lba: 20 }));
    assert_eq!((rig.read(STATUS_COMMAND), rig.read(ERROR_FEATURES)), (FAILED, 0x30));
    assert_eq!(sense(&mut rig), [3, 0x11, 0]);
}

#[test]
fn data_goes_to_the_bus_master_with_one_interrupt() {
    let mut rig = cd(1000);
    for (bytes, length) in [(&[0x28, 0, 0, 0, 0, 16, 0, 0, 2][..], 4096), (&[0x12, 0, 0, 0, 9], 10)] {
        begin(&mut rig, 1, 0, bytes);
        if rig.read(CONTROL) == STATUS_BSY {
            assert_eq!(rig.ide.dma_demand(), None);
            assert!(rig.answer().disk);
        }
        assert_eq!(rig.ide.dma_demand(), Some((0, DmaDemand { to_memory: true, length })));
        assert_eq!((rig.read(CONTROL), rig.ide.line()), (DATA_READY, false));
        let _ = rig.ide.dma_taken(0, length - 2);
        assert_eq!(rig.ide.dma_data(0, 100).len(), 2);
        assert_eq!(rig.ide.dma_taken(0, 2).line, Some(true));
        assert_eq!((rig.read(STATUS_COMMAND), rig.read(SECTOR_COUNT)), (READY, ENDED));
    }
    rig.write(&[(ERROR_FEATURES, 2), (STATUS_COMMAND, 0xA0)]);
    assert_eq!((rig.read(STATUS_COMMAND), rig.read(ERROR_FEATURES)), (FAILED, ERROR_ABRT), "overlap");
}

#[test]
fn the_table_of_contents_has_one_data_track() {
    let mut rig = cd(0x12345);
    let track = [0, 0x14, 1, 0, 0, 0, 0, 0];
    let lead_out = [0, 0x16, 0xAA, 0, 0, 1, 0x23, 0x45];
    let table = [&[0, 18, 1, 1][..], &track, &lead_out].concat();
    assert_eq!(packet(&mut rig, &[0x43, 0, 0, 0, 0, 0, 0, 0, 255]), table);
    assert_eq!(packet(&mut rig, &[0x43, 0, 0, 0, 0, 0, 1, 0, 4]), [0, 18, 1, 1]);
    assert_eq!(
        packet(&mut rig, &[0x43, 0, 0, 0, 0, 0, 0xAA, 0, 255]),
        [&[0, 10, 1, 1][..], &lead_out].concat()
    );
    // Minutes, seconds and frames: 0x12345 + 150 = 74715 frames.
    let minutes = packet(&mut rig, &[0x43, 2, 0, 0, 0, 0, 0, 0, 255]);
    assert_eq!((&minutes[8..12], &minutes[16..20]), (&[0, 0, 2, 0][..], &[0, 16, 36, 15][..]));
    // The session, with the format in either place.
    for bytes in [[0x43, 0, 1, 0, 0, 0, 0, 0, 255, 0], [0x43, 0, 0, 0, 0, 0, 0, 0, 255, 0x40]] {
        assert_eq!(packet(&mut rig, &bytes), [&[0, 10, 1, 1][..], &track].concat());
    }
    fails(&mut rig, &[0x43, 0, 0, 0, 0, 0, 2, 0, 255], [5, 0x24, 0]);
    fails(&mut rig, &[0x43, 0, 2, 0, 0, 0, 0, 0, 255], [5, 0x24, 0]);
}

#[test]
fn the_drive_describes_itself() {
    let mut rig = cd(100);
    let inquiry = packet(&mut rig, &[0x12, 0, 0, 0, 255]);
    assert_eq!((inquiry.len(), &inquiry[..5]), (36, &[5, 0x80, 0, 0x21, 31][..]));
    assert_eq!(&inquiry[8..], b"KVM     CD-ROM          1.0 ");
    // GET CONFIGURATION: a CD; a DVD if it is larger; and a single feature.
    let configuration = packet(&mut rig, &[0x46, 0, 0, 0, 0, 0, 0, 0, 255]);
    assert_eq!(configuration[..8], [0, 0, 0, configuration.len() as u8 - 4, 0, 0, 0, 0x08]);
    let dvd = packet(&mut cd(400_000), &[0x46, 0, 0, 0, 0, 0, 0, 0, 8]);
    assert_eq!(dvd[6..], [0, 0x10]);
    let removable = packet(&mut rig, &[0x46, 2, 0, 3, 0, 0, 0, 0, 255]);
    assert_eq!(removable, [0, 0, 0, 12, 0, 0, 0, 8, 0, 3, 3, 4, 0x29, 0, 0, 0]);
    // MODE SENSE: capabilities, all pages, what can be changed, saved pages.
    let page = packet(&mut rig, &[0x5A, 0, 0x2A, 0, 0, 0, 0, 0, 255]);
    assert_eq!((page.len(), &page[..2], &page[8..10]), (28, &[0, 26][..], &[0x2A, 18][..]));
    assert_eq!(packet(&mut rig, &[0x5A, 0, 0x3F, 0, 0, 0, 0, 0, 255]).len(), 36);
    let changeable = packet(&mut rig, &[0x5A, 0, 0x6A, 0, 0, 0, 0, 0, 255]);
    assert!(changeable[10..].iter().all(|byte| *byte == 0));
    fails(&mut rig, &[0x5A, 0, 0xEA, 0, 0, 0, 0, 0, 255], [5, 0x39, 0]);
    fails(&mut rig, &[0x5A, 0, 0x0E, 0, 0, 0, 0, 0, 255], [5, 0x24, 0]);
    assert_eq!(packet(&mut rig, &[0x4A, 1, 0, 0, 0x10, 0, 0, 0, 8]), [0, 6, 4, 0x10, 0, 2, 0, 0]);
    fails(&mut rig, &[0x4A, 0, 0, 0, 0x10, 0, 0, 0, 8], [5, 0x24, 0]);
    assert_eq!(packet(&mut rig, &[0x51, 0, 0, 0, 0, 0, 0, 0, 3]), [0, 32, 0x0E]);
    assert_eq!(packet(&mut rig, &[0xBD, 0, 0, 0, 0, 0, 0, 0, 0, 8]), [0, 0, 0, 0, 0, 1, 0, 0]);
    fails(&mut rig, &[0xE7], [5, 0x20, 0]);
}

#[test]
fn the_tray_opens_unless_that_is_prevented() {
    let mut rig = cd(100);
    let _ = packet(&mut rig, &[0x1E, 0, 0, 0, 1]);
    fails(&mut rig, &[0x1B, 0, 0, 0, 2], [5, 0x53, 2]);
    let _ = packet(&mut rig, &[0x1E, 0, 0, 0, 0]);
    let _ = packet(&mut rig, &[0x1B, 0, 0, 0, 2]);
    assert_eq!(rig.read(STATUS_COMMAND), READY);
    for bytes in [&[0x00][..], &[0x25], &[0x28, 0, 0, 0, 0, 1, 0, 0, 1], &[0x43, 0, 0, 0, 0, 0, 0, 0, 20]] {
        fails(&mut rig, bytes, [2, 0x3A, 0]);
    }
    assert_eq!(packet(&mut rig, &[0x4A, 1, 0, 0, 0x10, 0, 0, 0, 8])[5], 1);
    // It is closed: the host is told so once.
    let _ = packet(&mut rig, &[0x1B, 0, 0, 0, 3]);
    assert_eq!(packet(&mut rig, &[0x12, 0, 0, 0, 5]).len(), 5);
    fails(&mut rig, &[0x00], [6, 0x28, 0]);
    assert_eq!((packet(&mut rig, &[0x00]), rig.read(STATUS_COMMAND)), (vec![], READY));
}

#[test]
fn packets_survive_save_and_restore() {
    // In the middle of a packet, of a block, of a transfer by DMA, and while the drive waits for the CD.
    let read = [0x28, 0, 0, 0, 0, 16, 0, 0, 2];
    for stage in 0..4 {
        let mut rig = cd(1000);
        if stage == 0 {
            rig.write(&[(LBA_HIGH, 1), (STATUS_COMMAND, 0xA0)]);
            let _ = rig.ide.write_wide(DATA, 2, 0x0025);
        } else {
            begin(&mut rig, u8::from(stage == 2), 0x100, &read);
        }
        if stage == 1 || stage == 2 {
            let _ = rig.answer();
            let _ = (rig.ide.dma_taken(0, 100), rig.ide.read_wide(DATA, 4));
        }
        let mut copy = IdeChannel::default();
        copy.restore(&rig.ide.save()).unwrap();
        assert_eq!(copy.dma_demand(), rig.ide.dma_demand());
        assert_eq!(copy, rig.ide, "stage {stage}");
        let mut copy = Rig { ide: copy, requests: Vec::new() };
        let mut ends = Vec::new();
        for rig in [&mut rig, &mut copy] {
            let mut seen = Vec::new();
            for _ in 0..2100 {
                if let Some((_, request)) = rig.ide.take_request() {
                    let _ = rig.ide.complete(0, Ok(contents(request.lba, request.sectors)));
                }
                let _ = rig.ide.write_wide(DATA, 2, 0);
                seen.push((rig.ide.read_wide(DATA, 2).unwrap().0, rig.read(STATUS_COMMAND)));
                let data = rig.ide.dma_data(0, 10).to_vec();
                let _ = rig.ide.dma_taken(0, data.len());
            }
            ends.push(seen);
        }
        assert!(ends[0] == ends[1], "stage {stage}");
        assert_eq!(copy.ide, rig.ide);
        assert_eq!(copy.read(STATUS_COMMAND), READY);
    }
}

#[test]
fn impossible_states_of_a_cd_are_refused() {
    let mut rig = cd(1000);
    begin(&mut rig, 0, 0x100, &[0x28, 0, 0, 0, 0, 16, 0, 0, 2]);
    let _ = rig.answer();
    let changes: [fn(&mut Drive); 8] = [
        |drive| drive.geometry.sectors = 3,
        |drive| drive.geometry.cdrom = false,
        |drive| drive.geometry.read_only = false,
        |drive| drive.cdrom = None,
        |drive| drive.cdrom.as_mut().unwrap().limit = 0,
        |drive| drive.cdrom.as_mut().unwrap().limit = 0x101,
        |drive| drive.dma_mode = 0x33,
        |drive| drive.phase = Phase::Dma,
    ];
    for change in changes {
        let mut state = rig.ide.clone();
        change(state.drives[0].as_mut().unwrap());
        let mut ide = IdeChannel::default();
        assert!(ide.restore(&state.save()).is_err());
    }
}

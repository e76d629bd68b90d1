use super::drive::MOST_SECTORS;
use super::*;
use crate::fuzzing::Random;

#[path = "block_reads_test.rs"]
mod block_reads;
#[path = "cdrom_test.rs"]
mod cdrom;
#[path = "dma_test.rs"]
mod dma;
#[path = "saved_test.rs"]
mod saved;

const IDENTIFY_DEVICE: u8 = 0xEC;
const LBA: u8 = DEVICE_LBA;
const READY: u8 = STATUS_DRDY | STATUS_DSC;
const DATA_READY: u8 = READY | STATUS_DRQ;
const FAILED: u8 = READY | STATUS_ERR;

/// A channel with disks that answer when they are asked to.
struct Rig {
    ide: IdeChannel,
    requests: Vec<DiskRequest>,
}

impl Rig {
    fn new(sectors: u64) -> Rig {
        let mut ide = IdeChannel::default();
        ide.attach(0, 0, DiskGeometry::disk(sectors, false));
        Rig { ide, requests: Vec::new() }
    }

    fn read(&mut self, offset: u16) -> u8 {
        self.ide.read(offset).0
    }

    fn write(&mut self, writes: &[(u16, u8)]) {
        for (offset, value) in writes {
            let _ = self.ide.write(*offset, *value);
        }
    }

    /// A command with an address of 28 bits.
    fn command(&mut self, command: u8, lba: u32, count: u8) {
        let [low, mid, high, head] = lba.to_le_bytes();
        self.write(&[(SECTOR_COUNT, count), (LBA_LOW, low), (LBA_MID, mid), (LBA_HIGH, high)]);
        self.write(&[(DEVICE, LBA | head), (STATUS_COMMAND, command)]);
    }

    /// A command with an address of 48 bits.
    fn command_48(&mut self, command: u8, lba: u64, count: u16) {
        let [low, mid, high, low_48, mid_48, high_48, ..] = lba.to_le_bytes();
        let [count, count_48] = count.to_le_bytes();
        self.write(&[(SECTOR_COUNT, count_48), (LBA_LOW, low_48), (LBA_MID, mid_48), (LBA_HIGH, high_48)]);
        self.write(&[(SECTOR_COUNT, count), (LBA_LOW, low), (LBA_MID, mid), (LBA_HIGH, high)]);
        self.write(&[(DEVICE, LBA), (STATUS_COMMAND, command)]);
    }

    fn command_chs(&mut self, command: u8, (cylinder, head, sector): (u16, u8, u8), count: u8) {
        let [mid, high] = cylinder.to_le_bytes();
        self.write(&[(SECTOR_COUNT, count), (LBA_LOW, sector), (LBA_MID, mid), (LBA_HIGH, high)]);
        self.write(&[(DEVICE, head), (STATUS_COMMAND, command)]);
    }

    /// Answers the request that is waiting: each sector that is read starts with its number.
    fn answer(&mut self) -> Action {
        let (device, request) = self.ide.take_request().expect("a request");
        let result = match request.kind {
            DiskRequestKind::Read => contents(request.lba, request.sectors),
            _ => Vec::new(),
        };
        self.requests.push(request);
        self.ide.complete(device, Ok(result))
    }

    fn read_bytes(&mut self, count: usize) -> Vec<u8> {
        let words = (0..count / 2).map(|_| self.ide.read_wide(DATA, 2).unwrap().0 as u16);
        words.flat_map(u16::to_le_bytes).collect()
    }

    /// Interrupts since the last call: 1 if the line is high, which reading the status ends.
    fn interrupt(&mut self) -> bool {
        let line = self.ide.line();
        let _ = self.read(STATUS_COMMAND);
        assert!(!self.ide.line());
        line
    }

    fn identify(&mut self) -> Vec<u16> {
        self.write(&[(STATUS_COMMAND, IDENTIFY_DEVICE)]);
        assert!(self.interrupt());
        let bytes = self.read_bytes(SECTOR);
        assert_eq!(bytes.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte)), 0);
        assert_eq!((bytes[510], self.read(STATUS_COMMAND)), (0xA5, READY));
        bytes.chunks(2).map(|word| u16::from_le_bytes([word[0], word[1]])).collect()
    }
}

fn contents(lba: u64, sectors: u32) -> Vec<u8> {
    (lba..lba + u64::from(sectors))
        .flat_map(|lba| lba.to_le_bytes().into_iter().chain(std::iter::repeat_n(lba as u8, SECTOR - 8)))
        .collect()
}

fn text(words: &[u16]) -> String {
    String::from_utf8(words.iter().flat_map(|word| word.to_be_bytes()).collect()).unwrap()
}

#[test]
fn a_reset_leaves_the_signature() {
    for reset in [&[(CONTROL, CONTROL_SRST), (CONTROL, 0)][..], &[(STATUS_COMMAND, 0x90)]] {
        let mut rig = Rig::new(100);
        let signature = [1, 1, 1, 0, 0, 0, READY];
        assert_eq!([1, 2, 3, 4, 5, 6, 7].map(|offset| rig.read(offset)), signature, "after power-on");
        rig.write(&[(DEVICE, 0xF0), (SECTOR_COUNT, 9), (LBA_LOW, 9), (LBA_MID, 9), (LBA_HIGH, 9)]);
        rig.write(reset);
        // EXECUTE DEVICE DIAGNOSTIC interrupts, also while a device is selected that does not exist.
        assert_eq!(rig.ide.line(), reset.len() == 1);
        assert_eq!([1, 2, 3, 4, 5, 6, 7].map(|offset| rig.read(offset)), signature);
    }
    let mut rig = Rig::new(100);
    rig.write(&[(CONTROL, CONTROL_SRST)]);
    assert_eq!((rig.read(STATUS_COMMAND), rig.read(CONTROL)), (STATUS_BSY, STATUS_BSY));
    rig.write(&[(STATUS_COMMAND, IDENTIFY_DEVICE), (CONTROL, 0)]);
    assert_eq!(rig.read(STATUS_COMMAND), READY);
}

#[test]
fn registers_are_two_deep() {
    let mut rig = Rig::new(100);
    for offset in SECTOR_COUNT..=LBA_HIGH {
        rig.write(&[(offset, 0x10 + offset as u8), (offset, 0x20 + offset as u8)]);
    }
    for offset in SECTOR_COUNT..=LBA_HIGH {
        rig.write(&[(CONTROL, CONTROL_HOB)]);
        assert_eq!(rig.read(offset), 0x10 + offset as u8);
        // A write of any register of the command block ends it.
        rig.write(&[(DEVICE, LBA)]);
        assert_eq!(rig.read(offset), 0x20 + offset as u8);
    }
}

#[test]
fn a_device_that_is_absent_has_status_0_and_executes_nothing() {
    let mut rig = Rig::new(100);
    rig.write(&[(DEVICE, DEVICE_1), (SECTOR_COUNT, 0x55), (STATUS_COMMAND, IDENTIFY_DEVICE)]);
    // Device 0 answers for it (9.16.1).
    assert_eq!([2, 6, 7, CONTROL].map(|offset| rig.read(offset)), [0x55, DEVICE_1, 0, 0]);
    assert_eq!((rig.ide.line(), rig.ide.read_wide(DATA, 2).unwrap().0), (false, 0));
    rig.write(&[(DEVICE, 0)]);
    assert_eq!(rig.read(STATUS_COMMAND), READY);
    // A channel without drives, and device 0 beside device 1 alone.
    let mut ide = IdeChannel::default();
    assert!((0..8).skip(1).all(|offset| ide.read(offset).0 == 0));
    ide.attach(1, 1, DiskGeometry::disk(100, false));
    assert_eq!(ide.read(STATUS_COMMAND).0, 0);
    let _ = ide.write(DEVICE, DEVICE_1);
    assert_eq!(ide.read(STATUS_COMMAND).0, READY);
}

#[test]
fn a_cd_drive_shows_its_signature_once() {
    let mut ide = IdeChannel::default();
    ide.attach(1, 0, DiskGeometry { cdrom: true, ..DiskGeometry::disk(100, false) });
    let signature = |ide: &mut IdeChannel| [4, 5].map(|offset| ide.read(offset).0);
    assert_eq!(signature(&mut ide), [0x14, 0xEB]);
    let _ = ide.write(DEVICE, DEVICE_1);
    assert!((0..8).skip(1).all(|offset| ide.read(offset).0 == 0));
    let _ = ide.write(DEVICE, 0);
    assert_eq!(signature(&mut ide), [0x14, 0xEB]);
}

#[test]
fn identify_device_describes_the_drive() {
    // Sectors, cylinders, sectors of 28 bits.
    for (sectors, cylinders, sectors_28) in [
        (1, 1, 1),
        (20_480, 20, 20_480),
        (16_514_064, 16_383, 16_514_064),
        (0x0FFF_FFFF, 16_383, 0x0FFF_FFFF),
        (0x1_0000_0001, 16_383, 0x0FFF_FFFF),
    ] {
        let words = Rig::new(sectors).identify();
        assert_eq!((words[0], words[1], words[3], words[6]), (0x0040, cylinders, 16, 63), "{sectors}");
        assert_eq!((words[54], words[55], words[56]), (cylinders, 16, 63));
        let double = |at: usize| u32::from(words[at]) | u32::from(words[at + 1]) << 16;
        let reached = (u64::from(cylinders) * 16 * 63).min(sectors);
        assert_eq!((u64::from(double(57)), double(60)), (reached, sectors_28));
        assert_eq!(u64::from(double(100)) | u64::from(double(102)) << 32, sectors);
    }
    let words = Rig::new(20_480).identify();
    assert_eq!(text(&words[10..20]), format!("{:20}", "KVM-0"));
    assert_eq!(text(&words[23..27]), format!("{:8}", "1.0"));
    assert_eq!(text(&words[27..47]), format!("{:40}", "KVM HARD DISK"));
    for (word, value) in [
        (47, 0x8010),
        (49, 0x2F00),
        (53, 7),
        (59, 0),
        (63, 0x0007),
        (64, 3),
        (82, 0x4068),
        (83, 0x7400),
        (84, 0x4000),
        (85, 0x4068),
        (86, 0x3400),
        (87, 0x4000),
        (88, 0x0407),
        (93, 0x600B),
    ] {
        assert_eq!(words[word], value, "word {word}");
    }
}

#[test]
fn settings_show_in_identify_device() {
    let mut rig = Rig::new(20_480);
    // Features, count, and the word and value that show it.
    for (features, count, word, value) in [
        (0x03, 0x21, 63, 0x0207),
        (0x03, 0x21, 88, 0x0007),
        (0x03, 0x40, 88, 0x0107),
        (0x55, 0, 85, 0x4028),
        (0xAA, 0, 85, 0x4068),
        (0x03, 0x0C, 64, 0x0003),
        (0x02, 0, 85, 0x4068),
    ] {
        rig.write(&[(ERROR_FEATURES, features), (SECTOR_COUNT, count), (STATUS_COMMAND, 0xEF)]);
        assert!(rig.interrupt());
        assert_eq!(rig.identify()[word], value, "SET FEATURES {features:#x}");
    }
    // Turning the write cache off is a flush.
    rig.write(&[(ERROR_FEATURES, 0x82), (STATUS_COMMAND, 0xEF)]);
    assert_eq!(rig.read(STATUS_COMMAND), STATUS_BSY);
    let _ = rig.answer();
    assert_eq!(rig.requests[0].kind, DiskRequestKind::Flush);
    assert!(rig.interrupt());
    assert_eq!(rig.identify()[85], 0x4048);
    for (features, count) in [(0x03, 0x43), (0x03, 0x23), (0x03, 0x10), (0x03, 0x0D), (0x05, 1), (0x00, 0)] {
        rig.write(&[(ERROR_FEATURES, features), (SECTOR_COUNT, count), (STATUS_COMMAND, 0xEF)]);
        assert_eq!((rig.read(STATUS_COMMAND), rig.read(ERROR_FEATURES)), (FAILED, ERROR_ABRT));
    }
    // INITIALIZE DEVICE PARAMETERS and SET MULTIPLE MODE.
    rig.write(&[(DEVICE, 7), (SECTOR_COUNT, 32), (STATUS_COMMAND, 0x91)]);
    rig.write(&[(SECTOR_COUNT, 8), (STATUS_COMMAND, 0xC6)]);
    let words = rig.identify();
    assert_eq!((words[54], words[55], words[56], words[59]), (80, 8, 32, 0x0108));
    assert_eq!((words[57], words[58]), (20_480, 0));
    // A software reset keeps them, unless it is to revert them.
    rig.write(&[(CONTROL, CONTROL_SRST), (CONTROL, 0)]);
    assert_eq!(rig.identify()[59], 0x0108);
    rig.write(&[(ERROR_FEATURES, 0xCC), (STATUS_COMMAND, 0xEF)]);
    rig.write(&[(CONTROL, CONTROL_SRST), (CONTROL, 0)]);
    let words = rig.identify();
    assert_eq!((words[54], words[59], words[85]), (20, 0, 0x4068));
}

#[test]
fn sectors_are_read_with_one_interrupt_for_each() {
    let mut rig = Rig::new(20_480);
    rig.command(0x20, 0x123, 3);
    assert_eq!((rig.read(CONTROL), rig.ide.line()), (STATUS_BSY, false));
    assert_eq!(rig.answer(), Action { disk: false, ..Action::line(true) });
    assert_eq!(rig.requests[0], DiskRequest { lba: 0x123, sectors: 3, kind: DiskRequestKind::Read });
    for sector in 0..3 {
        // The alternate status does not end the interrupt.
        assert_eq!((rig.read(CONTROL), rig.ide.line()), (DATA_READY, true));
        assert!(rig.interrupt());
        assert_eq!(rig.read_bytes(SECTOR), contents(0x123 + sector, 1));
    }
    assert_eq!((rig.read(CONTROL), rig.ide.line()), (READY, false));
    assert_eq!(rig.ide.read_wide(DATA, 2).unwrap().0, 0);
}

#[test]
fn sectors_are_written_with_one_interrupt_for_each() {
    let mut rig = Rig::new(20_480);
    rig.command(0x30, 7, 2);
    assert_eq!((rig.read(CONTROL), rig.ide.line()), (DATA_READY, false));
    for word in 0..256 {
        assert!(rig.ide.take_request().is_none());
        let _ = rig.ide.write_wide(DATA, 2, word);
    }
    assert_eq!(rig.read(CONTROL), DATA_READY);
    assert!(rig.interrupt());
    // 32 bits at once.
    for word in 0..128 {
        let _ = rig.ide.write_wide(DATA, 4, word);
    }
    assert_eq!((rig.read(STATUS_COMMAND), rig.ide.line()), (STATUS_BSY, false));
    let _ = rig.answer();
    assert_eq!((rig.read(CONTROL), rig.interrupt()), (READY, true));
    let words = (0..256u16).flat_map(u16::to_le_bytes).chain((0..128u32).flat_map(u32::to_le_bytes));
    let kind = DiskRequestKind::Write { data: words.collect(), through: false };
    assert_eq!(rig.requests, [DiskRequest { lba: 7, sectors: 2, kind }]);
}

#[test]
fn multiple_sectors_have_one_interrupt_for_each_block() {
    let mut rig = Rig::new(20_480);
    rig.command(0xC4, 0, 5);
    assert_eq!((rig.read(STATUS_COMMAND), rig.read(ERROR_FEATURES)), (FAILED, ERROR_ABRT), "disabled");
    for (count, works) in [(1, true), (3, false), (16, true), (32, false), (128, false), (0, true), (2, true)]
    {
        rig.write(&[(SECTOR_COUNT, count), (STATUS_COMMAND, 0xC6)]);
        assert_eq!(rig.read(STATUS_COMMAND), if works { READY } else { FAILED }, "{count}");
    }
    rig.command(0xC4, 10, 5);
    let _ = rig.answer();
    for (first, sectors) in [(10, 2), (12, 2), (14, 1)] {
        assert!(rig.interrupt());
        assert_eq!(rig.read_bytes(sectors as usize * SECTOR), contents(first, sectors));
    }
    assert_eq!((rig.read(STATUS_COMMAND), rig.ide.line()), (READY, false));
    rig.command_48(0x39, 10, 3);
    for (words, busy, interrupt) in [(512, false, true), (256, true, false)] {
        for _ in 0..words {
            let _ = rig.ide.write_wide(DATA, 2, 0xABCD);
        }
        assert_eq!(rig.read(CONTROL) == STATUS_BSY, busy);
        assert_eq!(rig.interrupt(), interrupt);
    }
    let _ = rig.answer();
    assert!(rig.interrupt());
}

#[test]
fn large_transfers_are_requested_in_parts() {
    let mut rig = Rig::new(0x1_0000_0000);
    let first = 0x1000_0001;
    rig.command_48(0x24, first, 300);
    for (sectors, lba) in [(256, first), (44, first + 256)] {
        assert!(!rig.answer().disk);
        assert_eq!((rig.requests.pop().unwrap().sectors, sectors <= MOST_SECTORS), (sectors, true));
        for sector in 0..u64::from(sectors) {
            assert!(rig.interrupt());
            assert_eq!(rig.read_bytes(SECTOR), contents(lba + sector, 1));
        }
    }
    assert_eq!(rig.read(STATUS_COMMAND), READY);
    // A count of 0 is 65,536 sectors, or 256 in 28 bits.
    rig.command_48(0x42, 0x1_0000_0000 - 65_536, 0);
    for request in 0..256 {
        assert_eq!(rig.read(STATUS_COMMAND), STATUS_BSY);
        let action = rig.answer();
        assert_eq!((action.disk, action.line == Some(true)), (request < 255, request == 255));
    }
    assert_eq!(rig.requests.last().unwrap().lba, 0xFFFF_FF00);
    let _ = rig.read(STATUS_COMMAND);
    // Verifying transfers nothing, and interrupts at the end.
    rig.command_48(0x42, 5, 257);
    let _ = rig.answer();
    assert_eq!((rig.read(CONTROL), rig.ide.line()), (STATUS_BSY, false));
    assert!(rig.answer().line == Some(true));
    assert_eq!(rig.read(STATUS_COMMAND), READY);
}

#[test]
fn cylinders_heads_and_sectors_follow_the_translation() {
    let mut rig = Rig::new(20_480);
    // The default translation has 16 heads and 63 sectors; 8 and 32 after INITIALIZE DEVICE PARAMETERS.
    for (address, lba) in
        [((0, 0, 1), Some(0)), ((1, 2, 3), Some(1008 + 2 * 63 + 2)), ((0, 0, 0), None), ((0, 0, 64), None)]
    {
        rig.command_chs(0x20, address, 1);
        assert_eq!(rig.ide.take_request().map(|(_, request)| request.lba), lba, "{address:?}");
        if lba.is_none() {
            assert_eq!((rig.read(STATUS_COMMAND), rig.read(ERROR_FEATURES)), (FAILED, ERROR_IDNF));
        }
        rig.write(&[(CONTROL, CONTROL_SRST), (CONTROL, 0)]);
        let _ = rig.ide.complete(0, Ok(Vec::new()));
    }
    rig.write(&[(DEVICE, 7), (SECTOR_COUNT, 32), (STATUS_COMMAND, 0x91)]);
    rig.command_chs(0x20, (79, 7, 32), 1);
    let _ = rig.answer();
    assert_eq!(rig.requests[0].lba, 20_479);
    rig.write(&[(CONTROL, CONTROL_SRST), (CONTROL, 0)]);
    for beyond in [(80, 0, 1), (0, 8, 1), (0, 0, 33)] {
        rig.command_chs(0x20, beyond, 1);
        assert_eq!((rig.read(STATUS_COMMAND), rig.read(ERROR_FEATURES)), (FAILED, ERROR_IDNF), "{beyond:?}");
    }
    // The registers name the first sector that does not exist.
    rig.command_chs(0x20, (79, 7, 31), 3);
    assert_eq!((rig.read(STATUS_COMMAND), rig.read(ERROR_FEATURES)), (FAILED, ERROR_IDNF));
    assert_eq!([LBA_LOW, LBA_MID, LBA_HIGH, DEVICE].map(|offset| rig.read(offset)), [1, 80, 0, 0]);
}

#[test]
fn sectors_that_do_not_exist_are_not_found() {
    let mut rig = Rig::new(1000);
    for command in [0x20, 0x21, 0x30, 0x31, 0x3C, 0x40, 0x41] {
        rig.command(command, 1000, 1);
        assert_eq!((rig.interrupt(), rig.read(STATUS_COMMAND)), (true, FAILED), "{command:#x}");
        assert_eq!(rig.read(ERROR_FEATURES), ERROR_IDNF);
        rig.command(command, 999, 2);
        assert_eq!(rig.read(STATUS_COMMAND), FAILED, "{command:#x}");
        assert_eq!((rig.read(LBA_LOW), rig.read(LBA_MID)), (0xE8, 3));
    }
    for command in [0x24, 0x34, 0x42] {
        rig.command_48(command, 0x1_0000_0000, 1);
        assert_eq!((rig.read(STATUS_COMMAND), rig.read(ERROR_FEATURES)), (FAILED, ERROR_IDNF));
        rig.write(&[(DEVICE, 0), (STATUS_COMMAND, command)]);
        assert_eq!(rig.read(ERROR_FEATURES), ERROR_ABRT, "without LBA");
    }
    rig.command(0x70, 1000, 0);
    assert_eq!(rig.read(ERROR_FEATURES), ERROR_IDNF);
    rig.command(0x70, 999, 0);
    assert_eq!(rig.read(STATUS_COMMAND), READY);
    // The next command ends the error.
    rig.command(0x10, 0, 0);
    assert_eq!((rig.read(STATUS_COMMAND), rig.read(ERROR_FEATURES)), (READY, 0));
}

#[test]
fn what_the_drive_does_not_know_is_aborted() {
    // NOP, DEVICE RESET, READ DMA QUEUED, IDENTIFY PACKET DEVICE, PACKET, SMART, SECURITY SET PASSWORD.
    for command in [0x00, 0x08, 0xC7, 0xA1, 0xA0, 0xB0, 0xF1, 0xFF] {
        let mut rig = Rig::new(1000);
        rig.command(command, 0, 1);
        assert_eq!((rig.interrupt(), rig.read(STATUS_COMMAND)), (true, FAILED), "{command:#x}");
        assert_eq!(rig.read(ERROR_FEATURES), ERROR_ABRT);
    }
}

#[test]
fn errors_of_the_disk_reach_the_guest() {
    for (command, error, status) in [
        (0x20, ERROR_UNC, FAILED),
        (0x40, ERROR_UNC, FAILED),
        (0x30, ERROR_ABRT, FAILED | STATUS_DF),
        (0xE7, ERROR_ABRT, FAILED | STATUS_DF),
    ] {
        let mut rig = Rig::new(1000);
        rig.command(command, 100, 1);
        for _ in 0..256 {
            let _ = rig.ide.write_wide(DATA, 2, 0);
        }
        assert!(rig.ide.take_request().is_some());
        let _ = rig.ide.complete(0, Err(DiskError { lba: 100 }));
        assert_eq!((rig.interrupt(), rig.read(STATUS_COMMAND)), (true, status), "{command:#x}");
        assert_eq!((rig.read(ERROR_FEATURES), rig.read(LBA_LOW)), (error, 100));
    }
    let mut ide = IdeChannel::default();
    ide.attach(0, 0, DiskGeometry::disk(1000, true));
    let mut rig = Rig { ide, requests: Vec::new() };
    rig.command(0x30, 100, 1);
    assert_eq!((rig.interrupt(), rig.read(STATUS_COMMAND)), (true, FAILED));
    assert_eq!(rig.read(ERROR_FEATURES), ERROR_WP | ERROR_ABRT);
    // An answer of the wrong length is an error, too.
    rig.command(0x20, 100, 1);
    assert!(rig.ide.take_request().is_some());
    let _ = rig.ide.complete(0, Ok(vec![0; 100]));
    assert_eq!((rig.read(STATUS_COMMAND), rig.read(ERROR_FEATURES)), (FAILED, ERROR_UNC));
}

#[test]
fn power_modes_show_in_check_power_mode() {
    let mut rig = Rig::new(1000);
    for (command, count) in [(0xE0, 0x00), (0xE1, 0xFF), (0x96, 0x00), (0x97, 0xFF), (0xE2, 0x00)] {
        rig.write(&[(STATUS_COMMAND, command)]);
        assert!(rig.interrupt());
        rig.write(&[(STATUS_COMMAND, 0xE5)]);
        assert_eq!((rig.interrupt(), rig.read(SECTOR_COUNT)), (true, count), "{command:#x}");
    }
    // A transfer wakes it from standby; only a reset from sleep.
    rig.command(0x40, 0, 1);
    let _ = rig.answer();
    rig.write(&[(STATUS_COMMAND, 0x98)]);
    assert_eq!(rig.read(SECTOR_COUNT), 0xFF);
    rig.write(&[(STATUS_COMMAND, 0xE6), (STATUS_COMMAND, IDENTIFY_DEVICE)]);
    assert_eq!(rig.read(STATUS_COMMAND), READY);
    rig.write(&[(CONTROL, CONTROL_SRST), (CONTROL, 0), (STATUS_COMMAND, IDENTIFY_DEVICE)]);
    assert_eq!(rig.read(STATUS_COMMAND), DATA_READY);
}

#[test]
fn the_interrupt_is_gated_by_nien_and_by_the_selection() {
    let mut rig = Rig::new(1000);
    rig.ide.attach(0, 1, DiskGeometry::disk(500, false));
    rig.write(&[(CONTROL, CONTROL_NIEN), (STATUS_COMMAND, IDENTIFY_DEVICE)]);
    assert!(!rig.ide.line());
    assert_eq!(rig.ide.write(CONTROL, 0).line, Some(true));
    // The device keeps the interrupt while another one is selected, but data is on its way: registers are closed.
    let _ = rig.read_bytes(SECTOR);
    assert_eq!(rig.ide.write(DEVICE, DEVICE_1).line, Some(false));
    assert_eq!((rig.identify()[60], rig.identify()[93]), (500, 0x6B00));
    assert_eq!(rig.ide.write(DEVICE, 0).line, Some(true));
    // A new command ends it.
    rig.command(0x20, 0, 1);
    assert!(!rig.ide.line());
}

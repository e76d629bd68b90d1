//! The answer to IDENTIFY DEVICE (ATA/ATAPI-6, 8.15, table 27).

use super::drive::{Drive, MOST_MULTIPLE};
use super::geometry::MOST_28;
use super::request::SECTOR;

const MODEL: &str = "KVM HARD DISK";
const CD_MODEL: &str = "KVM CD-ROM";
const FIRMWARE: &str = "1.0";

/// The data of `drive`, which is device `number` of its channel. The serial number tells the drives of a machine
/// apart: it is `unit`.
pub(super) fn identify(drive: &Drive, number: usize, channel: u8) -> Vec<u8> {
    let mut words = [0u16; SECTOR / 2];
    let capacity = drive.geometry.sectors;
    let default = drive.default_translation();
    let current = drive.translation;
    // Not removable.
    words[0] = 0x0040;
    (words[1], words[3], words[6]) = (default.cylinders, default.heads.into(), default.sectors.into());
    // Bytes of a track and of a sector, which are obsolete since ATA-2: the BIOS of Bochs reads so many.
    (words[4], words[5]) = (SECTOR as u16 * u16::from(default.sectors), SECTOR as u16);
    put_text(&mut words[10..20], &format!("KVM-{}", 2 * usize::from(channel) + number));
    put_text(&mut words[23..27], FIRMWARE);
    put_text(&mut words[27..47], MODEL);
    words[47] = 0x8000 | u16::from(MOST_MULTIPLE);
    // Standby timer as in the standard; IORDY, which may be disabled; LBA; DMA.
    (words[49], words[50]) = (0x2F00, 0x4000);
    // PIO mode 2 or better; words 54 to 58, 64 to 70 and 88 are valid.
    (words[51], words[53]) = (0x0200, 0x0007);
    (words[54], words[55], words[56]) = (current.cylinders, current.heads.into(), current.sectors.into());
    put_number(&mut words[57..59], current.reach(capacity));
    words[59] = if drive.multiple == 0 { 0 } else { 0x0100 | u16::from(drive.multiple) };
    put_number(&mut words[60..62], capacity.min(MOST_28));
    // PIO modes 3 and 4; cycle times of 120 ns.
    words[64] = 0x0003;
    words[65..69].fill(120);
    put_dma_modes(&mut words, drive.dma_mode);
    // ATA-3 to ATA/ATAPI-6.
    words[80] = 0x0078;
    let caches = u16::from(drive.write_cache) << 5 | u16::from(drive.look_ahead) << 6;
    // NOP, look-ahead, write cache, power management; 48 bits, FLUSH CACHE and FLUSH CACHE EXT.
    (words[82], words[83], words[84]) = (0x4068, 0x7400, 0x4000);
    (words[85], words[86], words[87]) = (0x4008 | caches, 0x3400, 0x4000);
    // A cable of 80 conductors; which device it is, by jumper; it has passed its diagnostics.
    words[93] = if number == 0 { 0x600B } else { 0x6B00 };
    put_number(&mut words[100..104], capacity);
    with_checksum(&words)
}

/// The answer of a CD-ROM drive to IDENTIFY PACKET DEVICE (8.16, table 28).
pub(super) fn identify_packet_device(drive: &Drive, number: usize, channel: u8) -> Vec<u8> {
    let mut words = [0u16; SECTOR / 2];
    // A removable CD-ROM with packets of 12 bytes, for which DRQ comes at once and without an interrupt.
    words[0] = 0x85C0;
    put_text(&mut words[10..20], &format!("KVM-{}", 2 * usize::from(channel) + number));
    put_text(&mut words[23..27], FIRMWARE);
    put_text(&mut words[27..47], CD_MODEL);
    // IORDY, which may be disabled; LBA; DMA. Words 64 to 70 and 88 are valid.
    (words[49], words[53]) = (0x0F00, 0x0006);
    words[64] = 0x0003;
    words[65..69].fill(120);
    put_dma_modes(&mut words, drive.dma_mode);
    // ATA/ATAPI-4 to ATA/ATAPI-6.
    words[80] = 0x0070;
    // NOP, DEVICE RESET, packets, power management.
    (words[82], words[83], words[84]) = (0x4218, 0x4000, 0x4000);
    (words[85], words[86], words[87]) = (0x4218, 0x0000, 0x4000);
    words[93] = if number == 0 { 0x600B } else { 0x6B00 };
    with_checksum(&words)
}

/// Multiword and Ultra DMA modes 0 to 2, of which one is selected.
fn put_dma_modes(words: &mut [u16], code: u8) {
    let selected = |kind: u8| if code >> 4 == kind { 0x0100 << (code & 7) } else { 0 };
    (words[63], words[88]) = (0x0007 | selected(2), 0x0007 | selected(4));
}

fn with_checksum(words: &[u16]) -> Vec<u8> {
    let mut bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    bytes[510] = 0xA5;
    bytes[511] = bytes[..511].iter().fold(0, |sum: u8, byte| sum.wrapping_sub(*byte));
    bytes
}

/// A number, its lowest word first.
fn put_number(words: &mut [u16], number: u64) {
    for (position, word) in words.iter_mut().enumerate() {
        *word = (number >> (16 * position)) as u16;
    }
}

/// A text: the first of two letters is in the high byte; spaces fill it up.
fn put_text(words: &mut [u16], text: &str) {
    let mut letters = text.bytes().chain(std::iter::repeat(b' '));
    let mut letter = || letters.next().unwrap_or(b' ');
    words.iter_mut().for_each(|word| *word = u16::from_be_bytes([letter(), letter()]));
}

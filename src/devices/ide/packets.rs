//! The commands of a CD-ROM drive: SFF-8020i and MMC-3, those that read data.
//!
//! Audio, subchannels, sectors other than those of 2048 bytes, changers, and all commands that write are not
//! implemented, nor are the raw table of contents and saved mode pages. Unlike on a real drive, there is no unit
//! attention after power-on and reset, as on QEMU: many a boot loader would not expect it.

use super::cdrom::{
    Cdrom, INVALID_FIELD, MEDIUM_MAY_HAVE_CHANGED, NO_MEDIUM, OUT_OF_RANGE, REMOVAL_PREVENTED,
};
use super::cdrom::{SAVING_NOT_SUPPORTED, Sense, UNKNOWN_COMMAND};
use super::drive::{Drive, Transfer};

/// Bytes in a packet.
pub(super) const PACKET: usize = 12;
/// Sectors of a disk in a sector of a CD.
const SECTORS: u32 = 4;
/// Bytes in a sector of a CD.
const CD_SECTOR: u32 = 2048;
/// Most sectors of a CD with 80 minutes; media with more are DVDs.
const MOST_ON_CD: u32 = 80 * 60 * 75;
/// Control field of a data track, and of the lead-out.
const DATA_TRACK: [u8; 2] = [0x14, 0x16];
const LEAD_OUT: u8 = 0xAA;

const TEST_UNIT_READY: u8 = 0x00;
const REQUEST_SENSE: u8 = 0x03;
const INQUIRY: u8 = 0x12;
const START_STOP_UNIT: u8 = 0x1B;
const PREVENT_ALLOW_MEDIUM_REMOVAL: u8 = 0x1E;
const READ_CAPACITY: u8 = 0x25;
const READ_10: u8 = 0x28;
const SEEK_10: u8 = 0x2B;
const READ_TOC: u8 = 0x43;
const GET_CONFIGURATION: u8 = 0x46;
const GET_EVENT_STATUS: u8 = 0x4A;
const READ_DISC_INFORMATION: u8 = 0x51;
const MODE_SENSE_10: u8 = 0x5A;
const READ_12: u8 = 0xA8;
const MECHANISM_STATUS: u8 = 0xBD;

/// What a command answers.
type Answer = Result<(Vec<u8>, usize), Sense>;

fn word(packet: &[u8; PACKET], at: usize) -> usize {
    usize::from(u16::from_be_bytes([packet[at], packet[at + 1]]))
}

fn double(packet: &[u8; PACKET], at: usize) -> u32 {
    u32::from_be_bytes([packet[at], packet[at + 1], packet[at + 2], packet[at + 3]])
}

impl Drive {
    /// A word of a packet was written; true if the packet is complete.
    pub(super) fn packet_word_written(&mut self) -> bool {
        let Ok(packet) = <[u8; PACKET]>::try_from(self.buffer.as_slice()) else { return false };
        self.buffer.clear();
        self.execute_packet(&packet);
        true
    }

    fn execute_packet(&mut self, packet: &[u8; PACKET]) {
        let sectors = (self.geometry.sectors / u64::from(SECTORS)) as u32;
        let Some(cdrom) = &mut self.cdrom else { return self.finish() };
        let command = packet[0];
        if cdrom.changed && !matches!(command, INQUIRY | REQUEST_SENSE | GET_CONFIGURATION | GET_EVENT_STATUS)
        {
            cdrom.changed = false;
            return self.check_condition(MEDIUM_MAY_HAVE_CHANGED);
        }
        let sense = std::mem::take(&mut cdrom.sense);
        let of_medium = matches!(
            command,
            TEST_UNIT_READY | READ_CAPACITY | READ_10 | READ_12 | SEEK_10 | READ_TOC | READ_DISC_INFORMATION
        );
        if of_medium && !cdrom.loaded {
            return self.check_condition(NO_MEDIUM);
        }
        let answer: Answer = match command {
            TEST_UNIT_READY => Ok((Vec::new(), 0)),
            REQUEST_SENSE => Ok((sense_data(sense), packet[4].into())),
            INQUIRY => Ok((inquiry(), packet[4].into())),
            START_STOP_UNIT => cdrom.start_stop(packet[4]),
            PREVENT_ALLOW_MEDIUM_REMOVAL => {
                cdrom.locked = packet[4] & 1 != 0;
                Ok((Vec::new(), 0))
            }
            READ_CAPACITY => Ok(([sectors - 1, CD_SECTOR].map(u32::to_be_bytes).concat(), 8)),
            READ_10 => return self.read(double(packet, 2), word(packet, 7) as u32, sectors),
            READ_12 => return self.read(double(packet, 2), double(packet, 6), sectors),
            SEEK_10 if double(packet, 2) < sectors => Ok((Vec::new(), 0)),
            SEEK_10 => Err(OUT_OF_RANGE),
            READ_TOC => table_of_contents(packet, sectors).map(|data| (data, word(packet, 7))),
            GET_CONFIGURATION => Ok((cdrom.configuration(packet, sectors), word(packet, 7))),
            GET_EVENT_STATUS => cdrom.event_status(packet),
            READ_DISC_INFORMATION => disc_information(packet),
            MODE_SENSE_10 => cdrom.mode_sense(packet),
            MECHANISM_STATUS => Ok((vec![0, 0, 0, 0, 0, 1, 0, 0], word(packet, 8))),
            _ => Err(UNKNOWN_COMMAND),
        };
        match answer {
            Ok((data, most)) => self.reply(data, most),
            Err(sense) => self.check_condition(sense),
        }
    }

    fn read(&mut self, first: u32, count: u32, sectors: u32) {
        if u64::from(first) + u64::from(count) > sectors.into() {
            return self.check_condition(OUT_OF_RANGE);
        }
        if count == 0 {
            return self.finish_packet();
        }
        if self.host_takes_data() {
            let lba = u64::from(first) * u64::from(SECTORS);
            self.start(Transfer { lba, remaining: count * SECTORS, ..self.transfer });
        }
    }
}

impl Cdrom {
    fn start_stop(&mut self, operation: u8) -> Answer {
        match operation & 3 {
            2 if self.locked && self.loaded => return Err(REMOVAL_PREVENTED),
            2 => self.loaded = false,
            3 if !self.loaded => (self.loaded, self.changed) = (true, true),
            _ => {}
        }
        Ok((Vec::new(), 0))
    }

    /// Features (MMC-3, 5.3): profiles, core, removable medium.
    fn configuration(&self, packet: &[u8; PACKET], sectors: u32) -> Vec<u8> {
        let is_dvd = sectors > MOST_ON_CD;
        let (cd, dvd) = (u8::from(self.loaded && !is_dvd), u8::from(self.loaded && is_dvd));
        let features: [(usize, &[u8]); 3] = [
            (0x0000, &[0x00, 0x00, 0x03, 0x08, 0x00, 0x10, dvd, 0, 0x00, 0x08, cd, 0]),
            (0x0001, &[0x00, 0x01, 0x03, 0x08, 0, 0, 0, 0x02, 0, 0, 0, 0]),
            (0x0003, &[0x00, 0x03, 0x03, 0x04, 0x29, 0, 0, 0]),
        ];
        let (only_one, first) = (packet[1] & 3 == 2, word(packet, 2));
        let listed =
            features.iter().filter(|(code, _)| if only_one { *code == first } else { *code >= first });
        let listed: Vec<u8> = listed.flat_map(|(_, feature)| feature.iter().copied()).collect();
        let mut data = (listed.len() as u32 + 4).to_be_bytes().to_vec();
        data.extend([0, 0, 0, cd * 0x08 + dvd * 0x10]);
        data.extend(listed);
        data
    }

    /// Events of the class "media" (MMC-3, 6.9): whether there is a CD, and never a change.
    fn event_status(&self, packet: &[u8; PACKET]) -> Answer {
        if packet[1] & 1 == 0 {
            // Only polling is possible without overlap.
            return Err(INVALID_FIELD);
        }
        let is_media = packet[4] & 0x10 != 0;
        let state = if self.loaded { 0x02 } else { 0x01 };
        let data = if is_media { vec![0, 6, 0x04, 0x10, 0, state, 0, 0] } else { vec![0, 2, 0x80, 0x10] };
        Ok((data, word(packet, 7)))
    }

    /// The pages "read error recovery" and "capabilities" (SFF-8020i, 10.8.6).
    fn mode_sense(&self, packet: &[u8; PACKET]) -> Answer {
        let recovery = [0x01, 0x06, 0, 5, 0, 0, 0, 0];
        // Both forms of mode 2, several sessions; tray, eject, lock; 706 kB/s.
        let capabilities = [
            0x2A,
            0x12,
            0,
            0,
            0x70,
            0,
            0x29 | u8::from(self.locked) << 1,
            0,
            0x02,
            0xC2,
            0,
            0,
            0,
            0x80,
            0x02,
            0xC2,
            0,
            0,
            0,
            0,
        ];
        let mut pages: Vec<Vec<u8>> = match packet[2] & 0x3F {
            0x01 => vec![recovery.to_vec()],
            0x2A => vec![capabilities.to_vec()],
            0x3F => vec![recovery.to_vec(), capabilities.to_vec()],
            _ => return Err(INVALID_FIELD),
        };
        match packet[2] >> 6 {
            // What can be changed: nothing.
            1 => pages.iter_mut().for_each(|page| page[2..].fill(0)),
            3 => return Err(SAVING_NOT_SUPPORTED),
            _ => {}
        }
        let pages = pages.concat();
        // A data CD of 120 mm, or none.
        let medium = if self.loaded { 0x01 } else { 0x70 };
        let mut data = vec![0, pages.len() as u8 + 6, medium, 0, 0, 0, 0, 0];
        data.extend(pages);
        Ok((data, word(packet, 7)))
    }
}

fn sense_data(sense: Sense) -> Vec<u8> {
    let mut data = vec![0; 18];
    (data[0], data[2], data[7], data[12], data[13]) = (0x70, sense.key, 10, sense.code, sense.qualifier);
    data
}

fn inquiry() -> Vec<u8> {
    // A removable CD-ROM; the format of SFF-8020i; 31 bytes follow.
    let mut data = vec![0x05, 0x80, 0x00, 0x21, 31, 0, 0, 0];
    data.extend(b"KVM     CD-ROM          1.0 ");
    data
}

/// Minutes, seconds and frames, or the number of a sector.
fn address(sector: u32, in_minutes: bool) -> [u8; 4] {
    if !in_minutes {
        return sector.to_be_bytes();
    }
    let frame = u64::from(sector) + 150;
    [0, (frame / 75 / 60).min(255) as u8, (frame / 75 % 60) as u8, (frame % 75) as u8]
}

/// One session with one data track.
fn table_of_contents(packet: &[u8; PACKET], sectors: u32) -> Result<Vec<u8>, Sense> {
    let (in_minutes, first) = (packet[1] & 2 != 0, packet[6]);
    // SFF-8020i has the format in the last byte.
    let format = if packet[2] & 0x0F != 0 { packet[2] & 0x0F } else { packet[9] >> 6 };
    let mut data = vec![0, 0, 1, 1];
    let mut entry = |control, track, sector| {
        data.extend([0, control, track, 0]);
        data.extend(address(sector, in_minutes));
    };
    match format {
        0 if first > 1 && first != LEAD_OUT => return Err(INVALID_FIELD),
        0 => {
            if first <= 1 {
                entry(DATA_TRACK[0], 1, 0);
            }
            entry(DATA_TRACK[1], LEAD_OUT, sectors);
        }
        1 => entry(DATA_TRACK[0], 1, 0),
        _ => return Err(INVALID_FIELD),
    }
    data[1] = data.len() as u8 - 2;
    Ok(data)
}

/// A finished disc with one session and one track (MMC-3, 6.19).
fn disc_information(packet: &[u8; PACKET]) -> Answer {
    if packet[1] & 7 != 0 {
        return Err(INVALID_FIELD);
    }
    let mut data = vec![0; 34];
    data[1..8].copy_from_slice(&[32, 0x0E, 1, 1, 1, 1, 0x20]);
    Ok((data, word(packet, 7)))
}

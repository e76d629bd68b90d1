//! A transcript of QEMU's IDE channels and bus master, with a hard disk and a CD.

use std::collections::HashMap;

use super::*;
use crate::devices::ide::{DiskError, DiskGeometry, DiskRequestKind, DiskResult, SECTOR};
use crate::devices::transcript::accesses;
use crate::memory::GuestMemory;

/// Sectors of the hard disk, unit 0, and of the CD, unit 2.
const DISK: u64 = 20_480;
const CD: u64 = 400;

/// The disks: what was written, by unit and sector.
#[derive(Default)]
struct Images(HashMap<(usize, u64), Vec<u8>>);

impl Images {
    /// A sector: as in the transcript's images its number in 8 bytes, then its lowest byte.
    fn sector(&self, unit: usize, lba: u64) -> Vec<u8> {
        let fresh = || [lba.to_le_bytes().to_vec(), vec![lba as u8; SECTOR - 8]].concat();
        self.0.get(&(unit, lba)).cloned().unwrap_or_else(fresh)
    }

    fn carry_out(&mut self, unit: usize, first: u64, sectors: u32, kind: DiskRequestKind) -> DiskResult {
        let range = first..first + u64::from(sectors);
        if range.end > [DISK, 0, CD][unit] {
            return Err(DiskError { lba: first });
        }
        Ok(match kind {
            DiskRequestKind::Read => range.flat_map(|lba| self.sector(unit, lba)).collect(),
            DiskRequestKind::Write { data, .. } => {
                let contents = data.chunks(SECTOR).map(<[u8]>::to_vec);
                self.0.extend(range.map(|lba| (unit, lba)).zip(contents));
                Vec::new()
            }
            DiskRequestKind::Flush => Vec::new(),
        })
    }
}

#[test]
fn a_transcript_of_qemu_gives_the_same_answers() {
    let mut board = Board::default();
    board.attach_disk(0, DiskGeometry::disk(DISK, false));
    board.attach_disk(2, DiskGeometry::cdrom(CD));
    board.set_up_pci();
    let memory = GuestMemory::new(4 << 20).unwrap();
    let mut images = Images::default();
    let mut differences = Vec::new();
    let mut before = "";
    for (number, access) in accesses(include_str!("../../devices/ide/transcript.txt")).enumerate() {
        let (address, size) = (access.address, access.size);
        let in_memory = !access.line.starts_with("in") && !access.line.starts_with("out");
        let found = match (in_memory, access.is_write) {
            (true, true) => {
                memory.write(address, &(access.value as u32).to_le_bytes()).unwrap();
                None
            }
            (true, false) => {
                let mut bytes = [0; 4];
                memory.read(address, &mut bytes).unwrap();
                Some(u64::from(u32::from_le_bytes(bytes)))
            }
            (false, true) => {
                let _ = board.port_out(address as u16, size, access.value as u32);
                None
            }
            (false, false) => {
                let mask = u64::MAX >> (64 - 8 * u32::from(size));
                Some(u64::from(board.port_in(address as u16, size).0) & mask)
            }
        };
        // Bit 4 of the status is obsolete.
        let is_status = !in_memory && matches!(address, 0x1F7 | 0x3F6 | 0x177 | 0x376);
        let compared = if is_status { !0x10 } else { !0 };
        let differs = |found: &u64| access.is_compared && (*found ^ access.value) & compared != 0;
        if let Some(found) = found.filter(differs) {
            differences.push(format!("{number}: {}: {found:#x} (after {before})", access.line));
        }
        before = access.line;
        // The disks answer at once.
        board.transfer_by_dma(&memory);
        while let Some((unit, request)) = board.take_disk_request() {
            let result = images.carry_out(unit, request.lba, request.sectors, request.kind);
            let _ = board.complete_disk_request(unit, result);
            board.transfer_by_dma(&memory);
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}
